//! `zuwai check` and what stands for it with `zuwai build`: what they print, and the exit code.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::program::{Finished, run};

const WRONG: &str =
    "ARG image\nFROM scratch as Build\nARG version\nCOPY a \\\n  $versoin \\\n\n  $version /\nCMD a\n";

fn context(dockerfile: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
    directory
}

/// Runs `zuwai` with the context's path in place of CONTEXT.
fn zuwai(context: &Path, arguments: &[&str]) -> Finished {
    let context = context.to_str().unwrap();
    let arguments: Vec<String> = arguments.iter().map(|word| word.replace("CONTEXT", context)).collect();
    run("zuwai", &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

/// All that a run said.
fn said(finished: &Finished) -> String {
    let code = finished.code.unwrap();
    format!("{}-- standard error:\n{}-- exit code {code}\n", finished.stdout, finished.stderr)
}

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap()
}

#[test]
fn findings_are_shown_at_their_words() {
    insta::assert_snapshot!(said(&zuwai(context(WRONG).path(), &["check", "CONTEXT"])));
}

#[test]
fn findings_are_told_to_programs() {
    insta::assert_snapshot!(said(&zuwai(context(WRONG).path(), &["check", "--format=json", "CONTEXT"])));
}

#[test]
fn a_mistake_is_an_error_and_not_a_finding() {
    let transcripts: Vec<String> = [
        ("FROM scratch AS Build\nRNU x\n", &["check", "CONTEXT"][..]),
        ("FROM scratch AS Build\nRNU x\n", &["check", "--format=json", "CONTEXT"]),
        ("FROM scratch AS Build\nENV a=${b:?is needed}\n", &["check", "CONTEXT"]),
        ("FROM scratch AS Build\nENV a=\"${b:?is needed}\"\n", &["check", "CONTEXT"]),
        ("FROM $nothing\n", &["check", "CONTEXT"]),
        ("FROM scratch AS build\n", &["check", "--target=biuld", "CONTEXT"]),
        ("# check=error=true\nFROM scratch AS Build\nCMD a\n", &["check", "CONTEXT"]),
        ("FROM scratch\n", &["check", "--build-arg=BUILDKIT_DOCKERFILE_CHECK=no", "CONTEXT"]),
    ]
    .iter()
    .map(|(dockerfile, arguments)| {
        let finished = zuwai(context(dockerfile).path(), arguments);
        assert_eq!(finished.code, Some(1), "{}", said(&finished));
        format!("{dockerfile}$ zuwai {}\n{}\n", arguments.join(" "), said(&finished))
    })
    .collect();
    insta::assert_snapshot!(transcripts.concat());
}

#[test]
fn nothing_to_say_is_success() {
    for arguments in
        [&["check", "CONTEXT"][..], &["build", "--check", "CONTEXT"], &["build", "--call=check", "CONTEXT"]]
    {
        let finished = zuwai(context("FROM scratch\n").path(), arguments);
        let expected = "Check complete, no warnings found.\n-- standard error:\n-- exit code 0\n";
        assert_eq!(said(&finished), expected, "{arguments:?}");
    }
    let finished = zuwai(context("FROM scratch\n").path(), &["check", "--format=json", "CONTEXT"]);
    assert_eq!((finished.code, json(&finished)["warnings"].clone()), (Some(0), Value::Array(Vec::new())));
}

#[test]
fn a_check_in_place_of_a_build_says_the_same() {
    let directory = context(WRONG);
    let text = said(&zuwai(directory.path(), &["check", "CONTEXT"]));
    for arguments in [
        &["build", "--check", "CONTEXT"][..],
        &["build", "--call=check", "--squash", "-t", "x", "CONTEXT"],
        &["build", "--check", "--call=lint,format=text", "CONTEXT"],
    ] {
        assert_eq!(said(&zuwai(directory.path(), arguments)), text, "{arguments:?}");
    }
    let finished =
        zuwai(directory.path(), &["build", "--call=check,format=json,ignorestatus=true", "CONTEXT"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    assert_eq!(json(&finished)["warnings"].as_array().unwrap().len(), 5);
}

#[test]
fn what_the_build_is_given_counts() {
    let directory = context(
        "# check=experimental=CopyIgnoredFile\nARG base=\nFROM ${base:-scratch} AS one\nARG dir\nWORKDIR $dir\nCOPY secret.txt /\nFROM --platform=$BUILDPLATFORM scratch AS two\nCMD a\n",
    );
    std::fs::write(directory.path().join(".dockerignore"), "*.txt\n").unwrap();
    let rules = |arguments: &[&str]| {
        let mut all = vec!["check", "--format=json"];
        all.extend_from_slice(arguments);
        all.push("CONTEXT");
        let warnings = json(&zuwai(directory.path(), &all))["warnings"].take();
        let names = warnings
            .as_array()
            .unwrap()
            .iter()
            .map(|warning| warning["ruleName"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(rules(&[]), ["WorkdirRelativePath", "CopyIgnoredFile", "JSONArgsRecommended"]);
    assert_eq!(rules(&["--target=one", "--build-arg=dir=/x"]), ["CopyIgnoredFile"]);
    let skip = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=JSONArgsRecommended";
    assert_eq!(rules(&["--target", "two", skip]), [""; 0]);
}

#[test]
fn the_dockerfile_comes_from_standard_input_too() {
    let directory = context("RNU wrong\n");
    for arguments in
        [&["check", "-"][..], &["check", "-f", "-"], &["check", "-f", "-", "."], &["build", "--check", "-"]]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_zuwai"))
            .args(arguments)
            .env_clear()
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"FROM scratch\nCMD a\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(
            stdout.contains("\nDockerfile:2:1: JSON arguments recommended for CMD"),
            "{arguments:?}: {stdout}"
        );
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn what_is_typed_wrong_is_said() {
    let directory = context("FROM scratch\n");
    let transcript: String = [
        &["check", "CONTEXT", "more"][..],
        &["check", "--format=xml"],
        &["check", "--call=check"],
        &["check", "-f", "missing", "CONTEXT"],
        &["check", "--platform=a/b/c/d", "CONTEXT"],
        &["build", "--call=outline", "CONTEXT"],
        &["build", "--call=chekc", "CONTEXT"],
        &["build", "--check"],
    ]
    .iter()
    .map(|arguments| {
        let finished = zuwai(directory.path(), arguments);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        let said = finished.stderr.replace(directory.path().to_str().unwrap(), "CONTEXT");
        format!("$ zuwai {}\n{said}\n", arguments.join(" "))
    })
    .collect();
    insta::assert_snapshot!(transcript);
}
