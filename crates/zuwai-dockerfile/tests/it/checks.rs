//! What the checks find in the Dockerfiles of `zuwai-testkit/checks`, pinned, without any inputs. The same Dockerfiles are
//! compared with BuildKit's own checks in `zuwai-testkit`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use zuwai_dockerfile::lint::{BaseImage, Inputs, PlatformMismatch, Report, Rule, check};
use zuwai_dockerfile::{Dockerfile, parse};

#[test]
fn findings_are_as_pinned() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zuwai-testkit/checks");
    let entries = std::fs::read_dir(&directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".Dockerfile")).collect();
    names.sort();
    assert!(names.len() >= 40, "only {} Dockerfiles", names.len());
    let mut seen = BTreeMap::new();
    for name in names {
        let mut bytes = Vec::new();
        std::fs::File::open(directory.join(&name)).unwrap().read_to_end(&mut bytes).unwrap();
        let text = match parse(&name, &bytes) {
            Ok(dockerfile) => {
                let ignored = |path: &str| path != "keep";
                let inputs = Inputs { is_ignored: Some(&ignored), ..Inputs::default() };
                let report = check(&dockerfile, &inputs).unwrap();
                seen.extend(report.findings.iter().map(|finding| (finding.rule, ())));
                show(&dockerfile, &report)
            }
            Err(error) => format!("{error}\n"),
        };
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true, snapshot_path => "snapshots/checks" }, {
            insta::assert_snapshot!(name, text);
        });
    }
    for rule in Rule::ALL.into_iter().filter(|rule| *rule != Rule::InvalidBaseImagePlatform) {
        assert!(seen.contains_key(&rule), "no Dockerfile has {}", rule.name());
    }
}

/// The findings as shown to users, each with the lines that BuildKit would name where they are others.
fn show(dockerfile: &Dockerfile, report: &Report) -> String {
    let mut text = String::new();
    let mut findings: Vec<_> = report.findings.iter().collect();
    findings.sort_by_key(|finding| finding.span.start);
    for finding in findings {
        let lines = finding.lines(&dockerfile.source);
        let line = dockerfile.source.start(finding.span).line;
        let _ = writeln!(text, "{}", finding.diagnostic().render(&dockerfile.source));
        if lines != (line..=line) {
            let _ = writeln!(text, "  in lines {} to {}", lines.start(), lines.end());
        }
    }
    if let Some(error) = &report.error {
        let _ = writeln!(text, "{}", error.render(&dockerfile.source));
    }
    if let Some(violation) = report.violation() {
        let _ = writeln!(text, "{violation}");
    }
    text
}

/// Rule and detail of every finding.
fn found(text: &str, inputs: &Inputs<'_>) -> Vec<String> {
    let dockerfile = parse("Dockerfile", text.as_bytes()).unwrap();
    let report = check(&dockerfile, inputs).unwrap();
    let of =
        |finding: &zuwai_dockerfile::lint::Finding| format!("{}: {}", finding.rule.name(), finding.detail);
    report.findings.iter().map(of).collect()
}

fn base(environment: &[(&str, &str)]) -> BaseImage {
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    BaseImage { environment, ..BaseImage::default() }
}

#[test]
fn variables_of_a_known_base_are_known() {
    let text = "FROM image\nCOPY a $GOPATH/$GOROOT\nENV PATH=$PATH:/x\n";
    let bases = BTreeMap::from([(0, base(&[("GOPATH", "/go")]))]);
    let inputs = Inputs { bases, ..Inputs::default() };
    assert_eq!(found(text, &inputs), ["UndefinedVar: Usage of undefined variable '$GOROOT'"]);
    let expected = "UndefinedVar: Usage of undefined variable '$GOPAT' (did you mean $GOPATH?)";
    assert_eq!(found(&text.replace("GOROOT", "GOPAT"), &inputs), [expected]);
}

#[test]
fn a_variable_may_come_from_an_unknown_base_unless_a_known_one_is_nearly_the_same() {
    let text = "FROM image\nARG version=1\nCOPY $CATALINA_HOME $versoin /\n";
    let expected = "UndefinedVar: Usage of undefined variable '$versoin' (did you mean $version?)";
    assert_eq!(found(text, &Inputs::default()), [expected]);
    assert_eq!(found(&text.replace("=1", ""), &Inputs::default()), [expected]);
    let text = "FROM image AS a\nFROM a\nCOPY $CATALINA_HOME /\n";
    assert_eq!(found(text, &Inputs::default()), [] as [String; 0]);
}

#[test]
fn a_base_of_another_platform_is_found_where_its_stage_is_needed() {
    let mismatch = PlatformMismatch { found: "linux/arm64".to_owned(), expected: "linux/amd64".to_owned() };
    let image = BaseImage { platform_mismatch: Some(mismatch), ..BaseImage::default() };
    let bases = BTreeMap::from([(0, image.clone()), (1, image)]);
    let inputs = Inputs { bases, all_stages: false, ..Inputs::default() };
    let expected = "InvalidBaseImagePlatform: Base image two was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build";
    assert_eq!(found("FROM one\nFROM two\n", &inputs), [expected]);
}

#[test]
fn a_base_with_a_shell_has_a_shell() {
    let bases = BTreeMap::from([(0, BaseImage { has_shell: true, ..BaseImage::default() })]);
    assert_eq!(found("FROM one\nCMD a\n", &Inputs { bases, ..Inputs::default() }), [] as [String; 0]);
}

#[test]
fn a_build_looks_at_the_stages_that_it_builds() {
    let text = "FROM scratch AS a\nWORKDIR a\nFROM scratch AS b\nWORKDIR b\nFROM scratch AS c\nWORKDIR c\nCOPY --from=a / /\n";
    let workdir = |path: &str| {
        format!(
            "WorkdirRelativePath: Relative workdir {path:?} can have unexpected results if the base image changes"
        )
    };
    let build = |target| Inputs { target, all_stages: false, ..Inputs::default() };
    assert_eq!(found(text, &Inputs::default()), ["a", "b", "c"].map(workdir));
    assert_eq!(found(text, &build(None)), ["a", "c"].map(workdir));
    assert_eq!(found(text, &build(Some("b"))), ["b"].map(workdir));
}

#[test]
fn values_from_outside_count() {
    let build_args = BTreeMap::from([("dir".to_owned(), "/x".to_owned())]);
    let inputs = Inputs { build_args, ..Inputs::default() };
    assert_eq!(found("FROM scratch\nARG dir=$nobody\nWORKDIR $dir\n", &inputs), [] as [String; 0]);
    let rules: Vec<_> = found("FROM scratch\nARG dir=$nobody\nWORKDIR $dir\n", &Inputs::default());
    assert_eq!(rules.len(), 2, "{rules:?}");
}

#[test]
fn the_build_argument_stands_in_for_the_directive() {
    let inputs = |text: &str| {
        let build_args = BTreeMap::from([("BUILDKIT_DOCKERFILE_CHECK".to_owned(), text.to_owned())]);
        Inputs { build_args, ..Inputs::default() }
    };
    let text = "# check=skip=all;error=true\nFROM scratch AS Build\n";
    let dockerfile = parse("Dockerfile", text.as_bytes()).unwrap();
    let report = |text| check(&dockerfile, &inputs(text));
    assert_eq!(report("").unwrap().findings.len(), 1);
    assert_eq!(report("").unwrap().violation(), None);
    let violation = "lint violation found for rules: StageNameCasing";
    assert_eq!(report("error=true").unwrap().violation().as_deref(), Some(violation));
    let expected = "failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: invalid check option \"x\"";
    assert_eq!(report("x").unwrap_err(), expected);
}

#[test]
fn many_stages_on_each_other_are_checked() {
    let mut text = "FROM scratch AS s0\n".to_owned();
    for number in 1..5000 {
        let _ = write!(text, "FROM s{} AS s{number}\nENV v{number}=$v{}\n", number - 1, number - 1);
    }
    assert_eq!(found(&text, &Inputs::default()).len(), 1);
}
