//! What users do wrong, or cannot do yet: exit code 1, nothing on standard output, and words that help.

use std::fmt::Write as _;

use crate::program::run;

/// A name, arguments, and environment variables.
type Line = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// Runs each line and writes down what it says.
fn transcript(context: &std::path::Path, lines: &[Line]) -> String {
    let context = context.to_str().unwrap();
    let mut transcript = String::new();
    for (name, arguments, variables) in lines {
        let real: Vec<String> =
            arguments.iter().map(|argument| argument.replace("CONTEXT", context)).collect();
        let finished = run(name, &real.iter().map(String::as_str).collect::<Vec<_>>(), variables);
        assert_eq!(finished.code, Some(1), "{name} {arguments:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{name} {arguments:?}");
        let variables =
            variables.iter().fold(String::new(), |text, (name, value)| format!("{text}{name}={value} "));
        let _ = writeln!(transcript, "$ {variables}{name} {}", arguments.join(" "));
        let _ = writeln!(transcript, "{}", finished.stderr.replace(context, "CONTEXT"));
    }
    transcript
}

fn context() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    directory
}

#[test]
fn as_executor() {
    let directory = context();
    let lines: &[Line] = &[
        ("executor", &[], &[]),
        ("executor", &["--nope"], &[]),
        ("executor", &["--destination"], &[]),
        ("executor", &["-x"], &[]),
        ("executor", &["---"], &[]),
        ("executor", &["--no-push=maybe"], &[]),
        ("executor", &["--compression=lz4"], &[]),
        ("executor", &["build"], &[]),
        ("executor", &["--no-push"], &[("KANIKO_CLEANUP", "perhaps")]),
        (
            "executor",
            &["--no-push", "--context=CONTEXT"],
            &[("KANIKO_REGISTRY_MIRROR", "https://mirror.example.com")],
        ),
        ("executor", &["--verbosity=loud"], &[]),
        ("executor", &["--log-format=xml"], &[]),
        ("executor", &["--no-push", "--cache", "--reproducible"], &[]),
        ("executor", &["--no-push", "--context=s3://bucket/context.tar.gz"], &[]),
        ("executor", &["--no-push", "--context=CONTEXT/missing"], &[]),
        ("executor", &["--no-push", "--context="], &[]),
        ("executor", &["--no-push", "--context=CONTEXT", "--context-sub-path=../.."], &[]),
        ("executor", &["--no-push", "--context=CONTEXT", "--dockerfile=Other"], &[]),
        ("executor", &["--no-push", "--context=CONTEXT", "--dockerfile=https://example.com/Dockerfile"], &[]),
        ("executor", &["--context=CONTEXT", "--destination=example.com/a:b:c"], &[]),
        ("executor", &["--context=CONTEXT", "--destination=example.com/Name"], &[]),
        (
            "executor",
            &["--no-push", "--context=CONTEXT", "--digest-file=/d", "--image-name-with-digest-file=/n"],
            &[],
        ),
        ("executor", &["--no-push", "--context=CONTEXT", "--custom-platform=a/b/c/d"], &[]),
        ("executor", &["push", "--destination=a/b", "/nowhere/image.tar"], &[]),
        ("executor", &["push", "--nope"], &[]),
        ("executor", &["login", "-u", "user", "example.com"], &[]),
        ("warmer", &["--image=debian"], &[]),
    ];
    insta::assert_snapshot!(transcript(directory.path(), lines));
}

#[test]
fn as_zuwai() {
    let directory = context();
    let lines: &[Line] = &[
        ("zuwai", &["bild"], &[]),
        ("zuwai", &["--nope"], &[]),
        ("zuwai", &["push"], &[]),
        ("zuwai", &["build"], &[]),
        ("zuwai", &["build", "a", "b"], &[]),
        ("zuwai", &["build", "--cache-from=x", "--cache-to", "x", "CONTEXT"], &[("HOME", "CONTEXT")]),
        ("zuwai", &["build", "--nope", "CONTEXT"], &[]),
        ("zuwai", &["build", "CONTEXT"], &[]),
        ("zuwai", &["build", "CONTEXT/missing"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "-f", "Other", "CONTEXT"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "--push", "CONTEXT"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "-t", "Not/A/Name", "CONTEXT"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "-o", "out", "CONTEXT"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "-o", "type=oci", "CONTEXT"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "--secret", "id=x,path=y", "CONTEXT"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "--secret", "id=x,src=CONTEXT/no", "CONTEXT"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "--ssh", "default", "CONTEXT"], &[("HOME", "/tmp"), ("SSH_AUTH_SOCK", "")]),
        ("zuwai", &["build", "--ssh", "default=CONTEXT/Dockerfile", "CONTEXT"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "--platform=a/b/c/d", "CONTEXT"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "-f", "-", "-"], &[("HOME", "/tmp")]),
        ("zuwai", &["build", "https://example.com/x.git"], &[("HOME", "/tmp")]),
    ];
    insta::assert_snapshot!(transcript(directory.path(), lines));
}

#[test]
fn deprecated_flags_warn_as_kaniko_does() {
    let arguments = ["--no-push", "--tarPath=/x.tar", "--log-format=text", "--context=/no/such"];
    let finished = run("executor", &arguments, &[]);
    assert!(
        finished.stderr.contains(r#"level=warning msg="Flag --tarPath is deprecated. Use: --tar-path""#),
        "{}",
        finished.stderr
    );
}

#[test]
fn kanikos_feature_variables_are_taken_without_a_word() {
    let variables = [("FF_KANIKO_COPY_AS_ROOT", "true"), ("FF_KANIKO_OCI_STAGES", "1")];
    let arguments = ["--no-push", "--context=/no/such"];
    let (with, without) = (run("executor", &arguments, &variables), run("executor", &arguments, &[]));
    assert_eq!(with.stderr, without.stderr);
}

#[test]
fn an_argument_that_is_not_utf8_is_an_error() {
    use std::os::unix::ffi::OsStrExt as _;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_zuwai"))
        .arg("build")
        .arg(std::ffi::OsStr::from_bytes(b"\xff"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not valid UTF-8"));
}

#[test]
fn named_contexts() {
    const HOME: &[(&str, &str)] = &[("HOME", "/home/user")];
    let directory = context();
    let lines: &[Line] = &[
        ("zuwai", &["build", "--build-context=x", "CONTEXT"], HOME),
        ("zuwai", &["build", "--build-context=Upper=CONTEXT", "CONTEXT"], HOME),
        ("zuwai", &["build", "--build-context=x=CONTEXT/missing", "CONTEXT"], HOME),
        ("zuwai", &["build", "--build-context=x=CONTEXT/Dockerfile", "CONTEXT"], HOME),
        ("zuwai", &["build", "--build-context=x=target:other", "CONTEXT"], HOME),
        ("zuwai", &["build", "--build-context=x=s3://bucket/key", "CONTEXT"], HOME),
        ("zuwai", &["build", "--build-context=x=docker-image://Not/An/Image", "CONTEXT"], HOME),
        ("zuwai", &["build", "--build-context=x=oci-layout://CONTEXT:latest", "CONTEXT"], HOME),
        (
            "executor",
            &["--context=CONTEXT", "--no-push", "--build-context=x=oci-layout://CONTEXT@sha256:1"],
            &[],
        ),
    ];
    insta::assert_snapshot!(transcript(directory.path(), lines));
}
