//! `docs/status.md` says what is proven: each row of `features.tsv` with the differential cases that use the feature.
//!
//! A feature without a case fails, as does a case with a feature that has no row, and a page that is not what the cases
//! say. `ZUWAI_UPDATE=1` writes the page.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "status/features.rs"]
mod features;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use zuwai_testkit::case::Case;

const BEGIN: &str =
    "<!-- from here on made by the tests: ZUWAI_UPDATE=1 cargo test -p zuwai-testkit --test status -->\n";
const END: &str = "<!-- to here -->\n";

/// The cases that use a feature, by what they prove.
#[derive(Default)]
struct Proofs {
    equal: Vec<String>,
    documented: Vec<String>,
    refused: Vec<String>,
}

#[test]
fn every_feature_is_proven_and_the_page_says_so() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut proofs: BTreeMap<String, Proofs> = BTreeMap::new();
    for case in Case::all(&here.join("cases")) {
        let read = |name: &str| std::fs::read_to_string(case.folder().join(name)).ok();
        let (refused, documented) = (read("expect-error").is_some(), read("Dockerfile.same").is_some());
        for feature in features::features(read("Dockerfile").unwrap().as_bytes()) {
            let proofs = proofs.entry(feature).or_default();
            match (refused, documented) {
                (true, _) => &mut proofs.refused,
                (false, true) => &mut proofs.documented,
                (false, false) => &mut proofs.equal,
            }
            .push(case.name.clone());
        }
    }
    let rows = std::fs::read_to_string(here.join("features.tsv")).unwrap();
    let mut table = String::from("| feature | what it is | state | proven by |\n|---|---|---|---|\n");
    let mut unproven = Vec::new();
    for row in rows.lines().filter(|row| !row.is_empty()) {
        let (feature, meaning) = row.split_once('\t').unwrap_or_else(|| panic!("{row:?} has no tab"));
        match proofs.remove(feature) {
            Some(proofs) => table += &line(feature, meaning, &proofs),
            None => unproven.push(feature),
        }
    }
    let unnamed: Vec<_> = proofs.keys().collect();
    assert!(unproven.is_empty() && unnamed.is_empty(), "no case has {unproven:?}; no row for {unnamed:?}");
    let page = here.join("../../docs/status.md");
    let written = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = written.split_once(BEGIN).expect("the page has the first mark");
    let (_, after) = rest.split_once(END).expect("the page has the second mark");
    let expected = format!("{before}{BEGIN}{table}{END}{after}");
    if std::env::var_os("ZUWAI_UPDATE").is_some() {
        std::fs::write(&page, &expected).unwrap();
    }
    let current = std::fs::read_to_string(&page).unwrap() == expected;
    assert!(current, "docs/status.md is not what the cases say; ZUWAI_UPDATE=1 writes it");
}

fn line(feature: &str, meaning: &str, proofs: &Proofs) -> String {
    let (state, cases) = match proofs {
        Proofs { equal, .. } if !equal.is_empty() => ("as BuildKit", equal),
        Proofs { documented, .. } if !documented.is_empty() => ("as documented", documented),
        Proofs { refused, .. } => ("refused by name", refused),
    };
    let mut named = cases.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if cases.len() > 3 {
        let _ = write!(named, " and {} more", cases.len() - 3);
    }
    let feature = feature.replace('|', "\\|");
    format!("| `{feature}` | {meaning} | {state} | {named} |\n")
}
