//! What `zuwai check` finds is what BuildKit's own checks find: the Dockerfiles of `checks/`, each with the flags of `NAME.args`
//! and the ignore file `NAME.dockerignore` where there are any. The words and places of Zuwai's alone are pinned in
//! `zuwai-dockerfile`.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zuwai_testkit::command::{Finished, run};
use zuwai_testkit::need::{Need, needs};
use zuwai_testkit::oracle::Oracle;
use zuwai_testkit::zuwai::zuwai;

/// What the oracle needs; no registry, since all bases are `scratch`.
const NEEDS: &[Need] =
    &[Need::Root, Need::Program("mmdebstrap"), Need::Program("unshare"), Need::Program("nsenter")];

/// One Dockerfile of `checks/`.
struct Case {
    name: String,
    flags: Vec<String>,
    context: PathBuf,
}

#[test]
fn findings_are_buildkits() {
    if !needs(NEEDS) {
        return;
    }
    let oracle = Oracle::shared();
    let cases = cases(&oracle.folder().join("checks"));
    assert!(cases.len() >= 40, "only {} Dockerfiles", cases.len());
    let mut different = Vec::new();
    let mut rules = BTreeSet::new();
    for case in &cases {
        let expected = said(&oracle.check(&case.context, &case.flags));
        let got = said(&run(zuwai().arg("check").arg("--format=json").args(&case.flags).arg(&case.context)));
        rules.extend(expected.findings.iter().map(|finding| finding.rule.clone()));
        if !got.is_as(&expected) {
            different.push(format!("{}:\nBuildKit: {expected:#?}\nZuwai: {got:#?}", case.name));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {} differ\n{}",
        different.len(),
        cases.len(),
        different.join("\n\n")
    );
    assert!(rules.len() >= 21, "only {} rules were seen: {rules:?}", rules.len());
}

/// The Dockerfiles, each in a context of its own below `folder`, where the oracle sees them.
fn cases(folder: &Path) -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("checks");
    let paths = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut dockerfiles: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "Dockerfile")).collect();
    dockerfiles.sort();
    let prepare = |dockerfile: PathBuf| {
        let name = dockerfile.file_stem().unwrap().to_str().unwrap().to_owned();
        let context = folder.join(&name);
        std::fs::create_dir_all(&context).unwrap();
        std::fs::copy(&dockerfile, context.join("Dockerfile")).unwrap();
        let ignore = dockerfile.with_extension("dockerignore");
        if ignore.exists() {
            std::fs::copy(ignore, context.join(".dockerignore")).unwrap();
        }
        let flags = std::fs::read_to_string(dockerfile.with_extension("args")).unwrap_or_default();
        Case { name, flags: flags.lines().map(str::to_owned).collect(), context }
    };
    dockerfiles.into_iter().map(prepare).collect()
}

#[derive(Debug)]
struct Said {
    code: i32,
    findings: Vec<Finding>,
    error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    rule: String,
    description: String,
    url: String,
    detail: String,
    lines: Vec<u64>,
}

fn said(finished: &Finished) -> Said {
    let document: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: exit code {}\n{}", finished.code, finished.all()));
    let mut findings: Vec<Finding> =
        document["warnings"].as_array().into_iter().flatten().map(Finding::of).collect();
    findings.sort();
    let error = document["buildError"]["message"].as_str().map(str::to_owned);
    Said { code: finished.code, findings, error }
}

impl Finding {
    fn of(warning: &Value) -> Self {
        let text = |name: &str| warning[name].as_str().unwrap().to_owned();
        let mut detail = text("detail");
        let rule = text("ruleName");
        // Of several suggestions as good BuildKit gives any.
        if rule == "UndefinedArgInFrom" {
            detail.truncate(detail.find(" (did you mean").unwrap_or(detail.len()));
        }
        let ranges = warning["location"]["ranges"].as_array().unwrap();
        let lines = ranges.iter().flat_map(|range| {
            let line = |end: &str| range[end]["line"].as_u64().unwrap();
            line("start")..=line("end")
        });
        Self { rule, description: text("description"), url: text("url"), detail, lines: lines.collect() }
    }
}

impl Said {
    /// Where a mistake stops the checks, BuildKit has looked at some things before it that Zuwai has not, and words some mistakes
    /// otherwise.
    fn is_as(&self, expected: &Said) -> bool {
        let as_many = self.error.as_ref().is_none_or(|error| error.starts_with("lint violation"));
        let findings = if as_many {
            self.findings == expected.findings
        } else {
            self.findings.iter().all(|finding| expected.findings.contains(finding))
        };
        findings && self.code == expected.code && self.error.is_some() == expected.error.is_some()
    }
}
