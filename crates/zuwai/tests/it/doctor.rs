//! `zuwai doctor` and `executor doctor`.

use std::fs;

use serde_json::Value;

use crate::program::run;

fn examine(face: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let finished = run(face, &[&["doctor", "--format=json"], arguments].concat(), &[]);
    assert_eq!(finished.stderr, "");
    (finished.code, serde_json::from_str(&finished.stdout).unwrap())
}

fn state<'a>(findings: &'a Value, name: &str) -> &'a str {
    let found = findings.as_array().unwrap().iter().find(|finding| finding["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {findings}"))["state"].as_str().unwrap()
}

#[test]
fn the_place_is_looked_at_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("not/there/yet");
    for (face, flag) in [("zuwai", "--root-dir"), ("executor", "--kaniko-dir")] {
        let (code, report) = examine(face, &[&format!("{flag}={}", inner.display())]);
        assert_eq!(state(&report["findings"], "state"), "ok", "{report}");
        let runs = state(&report["abilities"], "run") == "ok";
        assert_eq!(code, Some(i32::from(!runs)), "{report}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn people_get_a_line_for_each_finding() {
    let directory = tempfile::tempdir().unwrap();
    let finished = run("zuwai", &["doctor", &format!("--root-dir={}", directory.path().display())], &[]);
    assert!(finished.stdout.starts_with("This place:\n"), "{}", finished.stdout);
    for name in ["isolation", "overlay", "state", "user", "capabilities", "run", "packages", "network"] {
        let line = finished.stdout.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
        assert!(line.is_some(), "{name}: {}", finished.stdout);
    }
}

#[test]
fn a_state_directory_that_cannot_be_had_is_said_with_what_to_do() {
    let (code, report) = examine("zuwai", &["--root-dir=/proc/none"]);
    assert_eq!(code, Some(1));
    assert_eq!(state(&report["findings"], "state"), "no");
    assert!(report["advice"][0]["gives"].as_str().unwrap().starts_with("a state directory"), "{report}");
    assert_eq!(report["isolation"], Value::Null);
}

#[test]
fn what_is_typed_wrong_is_said() {
    for (arguments, expected) in [
        (&["doctor", "here"][..], "error: \"zuwai doctor\" takes no arguments, not 1: here\n"),
        (&["doctor", "--root"], "error: unknown flag: --root\n"),
        (&["doctor", "--format=xml"], "error: invalid argument \"xml\" for \"--format\" flag"),
    ] {
        let finished = run("zuwai", arguments, &[]);
        assert_eq!(finished.code, Some(1));
        assert!(finished.stderr.starts_with(expected), "{}", finished.stderr);
    }
}
