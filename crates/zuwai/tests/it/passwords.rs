//! Passwords that users write where they do not belong, in the addresses that a program is given: no message shows them.

use std::fs;

use crate::program::run;

const SECRET: &str = "hunter2";

/// The program with its lines about all that it does; `CONTEXT` is a folder.
fn refused(name: &str, arguments: &[&str], variables: &[(&str, &str)], dockerfile: &str) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
    let context = directory.path().to_str().unwrap();
    let arguments: Vec<String> = arguments.iter().map(|text| text.replace("CONTEXT", context)).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = run(name, &arguments, &[variables, &[("HOME", context)]].concat());
    assert_eq!(ended.code, Some(1), "{name} {arguments:?}: {}", ended.stderr);
    for text in [ended.stdout, ended.stderr] {
        assert!(!text.contains(SECRET), "{name} {arguments:?} {dockerfile}: {text}");
    }
}

#[test]
fn a_password_in_an_images_name_is_not_told() {
    const NAMES: [&str; 3] = [
        "https://me:hunter2@host.example/x",
        "me:hunter2@host.example/x:1",
        "docker://me:hunter2@h.example/x",
    ];
    for name in NAMES {
        for arguments in [
            &["pull", name][..],
            &["inspect", name],
            &["copy", name, "oci:/nonexistent/x"],
            &["copy", "scratch.example/x", name],
            &["push", "CONTEXT/Dockerfile", name],
            &["login", name, "-u", "me", "-p", "hunter2"],
            &["logout", name],
        ] {
            refused("zuwai", arguments, &[], "FROM scratch\n");
        }
        let build = ["--context=CONTEXT", "--kaniko-dir=CONTEXT/k", "--force", "--isolation=namespaces"];
        let with = |more: &[String], dockerfile: &str| {
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            let arguments = [&build[..], &["--verbosity=trace"], &more].concat();
            refused("executor", &arguments, &[], dockerfile);
        };
        let (flag, quiet) = (|flag: &str| format!("--{flag}={name}"), "--no-push".to_owned());
        with(&[flag("destination")], "FROM scratch\n");
        with(&[flag("registry-mirror"), quiet.clone()], "FROM scratch\n");
        with(&[flag("registry-map=a.example"), quiet.clone()], "FROM scratch\n");
        with(&[format!("--build-arg=B={name}"), quiet.clone()], "ARG B\nFROM ${B}\n");
        with(std::slice::from_ref(&quiet), &format!("FROM {name}\n"));
        with(&[quiet], &format!("FROM scratch\nCOPY --from={name} a b\n"));
    }
}

#[test]
fn a_password_in_a_proxys_address_is_not_told() {
    // The first is used, and nobody is there.
    refused("zuwai", &["inspect", "registry.invalid/x"], &[("HTTPS_PROXY", "me:hunter2@127.0.0.1:1")], "");
    for proxy in [
        "ftp://me:hunter2@proxy.example",
        "http://me:hunter2@proxy example:1",
        "http://me:hunter2@proxy.example:99999",
    ] {
        for variable in ["HTTP_PROXY", "HTTPS_PROXY", "https_proxy"] {
            let login = ["login", "registry.invalid", "-u", "me", "-p", "hunter2"];
            for arguments in [&["inspect", "registry.invalid/x"][..], &login] {
                refused("zuwai", arguments, &[(variable, proxy)], "");
            }
        }
    }
}
