//! Help texts. A change of flags shows in review as a change of these files.

use crate::program::run;

fn help(name: &str, arguments: &[&str]) -> String {
    let finished = run(name, arguments, &[]);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{name} {arguments:?}");
    finished.stdout
}

#[test]
fn executor() {
    insta::assert_snapshot!(help("/kaniko/executor", &["--help"]));
    assert_eq!(help("executor", &["-h"]), help("zuwai", &["executor", "help"]));
}

#[test]
fn executor_push() {
    insta::assert_snapshot!(help("executor", &["push", "--help"]));
}

#[test]
fn executor_login() {
    insta::assert_snapshot!(help("executor", &["login", "--help"]));
}

#[test]
fn warmer() {
    insta::assert_snapshot!(help("/kaniko/warmer", &["--help"]));
    assert_eq!(help("zuwai", &["warmer", "--help"]), help("warmer", &["-h"]));
}

#[test]
fn zuwai() {
    insta::assert_snapshot!(help("zuwai", &[]));
    for arguments in [&["help"][..], &["--help"], &["-h"]] {
        assert_eq!(help("zuwai", arguments), help("zuwai", &[]));
    }
}

#[test]
fn zuwai_build() {
    insta::assert_snapshot!(help("zuwai", &["build", "--help"]));
    assert_eq!(help("zuwai", &["help", "build"]), help("zuwai", &["build", "-h"]));
}

#[test]
fn zuwai_check() {
    insta::assert_snapshot!(help("zuwai", &["check", "--help"]));
    assert_eq!(help("zuwai", &["help", "check"]), help("zuwai", &["check", "-h"]));
}

#[test]
fn commands_on_images() {
    for name in ["push", "pull", "copy", "inspect"] {
        insta::assert_snapshot!(format!("zuwai_{name}"), help("zuwai", &[name, "--help"]));
        assert_eq!(help("zuwai", &["help", name]), help("zuwai", &[name, "-h"]));
    }
}

#[test]
fn doctor() {
    insta::assert_snapshot!(help("zuwai", &["doctor", "--help"]));
    insta::assert_snapshot!(help("executor", &["doctor", "--help"]));
    assert_eq!(help("zuwai", &["help", "doctor"]), help("zuwai", &["doctor", "-h"]));
}

#[test]
fn versions() {
    let version = format!("zuwai {}\n", env!("CARGO_PKG_VERSION"));
    for (name, arguments) in
        [("zuwai", &["--version"][..]), ("zuwai", &["version"]), ("executor", &["version"])]
    {
        assert_eq!(help(name, arguments), version);
    }
}

#[test]
fn certificate_authorities_come_along() {
    let pem = help("zuwai", &["ca-roots"]);
    assert!(pem.matches("BEGIN CERTIFICATE").count() > 100);
}
