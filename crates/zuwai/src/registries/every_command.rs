//! What every command that talks to registries must take and pass on.

use std::path::Path;

use crate::environment::Environment;
use crate::executor::flags::{EXECUTOR, PUSH, REGISTRY};
use crate::pflag::{Flag, Support, parse};
use crate::registries::options;
use crate::{build_command, copy_command, inspect_command, login_command, pull_command, push_command};

/// The commands that talk to any registry.
const COMMANDS: [(&str, &[Flag]); 7] = [
    ("executor", EXECUTOR),
    ("executor push", PUSH),
    ("zuwai build", build_command::COMMAND.flags),
    ("zuwai push", push_command::COMMAND.flags),
    ("zuwai pull", pull_command::COMMAND.flags),
    ("zuwai copy", copy_command::COMMAND.flags),
    ("zuwai inspect", inspect_command::COMMAND.flags),
];

/// What `zuwai login` has no use for: it asks one registry, by its own name, as one user, and sends it nothing.
const NOT_FOR_LOGIN: [&str; 10] = [
    "credential-helpers",
    "insecure",
    "insecure-pull",
    "push-chunk-size",
    "push-retry",
    "registry-map",
    "registry-mirror",
    "skip-default-registry-fallback",
    "skip-tls-verify",
    "skip-tls-verify-pull",
];

/// A value that shows: it makes other options, or is refused.
fn value(flag: &str) -> &'static str {
    match flag {
        "credential-helpers" => "nobody",
        "image-download-retry" | "push-retry" => "77",
        "insecure-registry" | "skip-tls-verify-registry" | "registry-mirror" => "r.example",
        "push-chunk-size" => "50m",
        "registry-certificate" => "r.example=/nonexistent.pem",
        "registry-client-cert" => "r.example=/nonexistent.pem,/nonexistent.key",
        "registry-map" => "r.example=m.example",
        "insecure"
        | "insecure-pull"
        | "skip-default-registry-fallback"
        | "skip-tls-verify"
        | "skip-tls-verify-pull" => "true",
        other => panic!("no value for --{other}"),
    }
}

fn shown(table: &'static [Flag], arguments: &[String]) -> String {
    let parsed = parse(table, arguments.iter().cloned()).unwrap();
    format!("{:?}", options(&parsed, &Environment::default(), Path::new("/nonexistent")))
}

#[test]
fn takes_every_flag_of_registries_and_passes_it_on() {
    let login = ("zuwai login", login_command::LOGIN.flags);
    for (command, table) in COMMANDS.into_iter().chain([login]) {
        let without = shown(table, &[]);
        for flag in REGISTRY {
            let place = format!("{command} --{}", flag.name);
            let found = table.iter().find(|known| known.name == flag.name);
            if command == login.0 && NOT_FOR_LOGIN.contains(&flag.name) {
                assert!(found.is_none(), "{place}");
                continue;
            }
            let found = found.unwrap_or_else(|| panic!("unknown: {place}"));
            assert_eq!(found.support, Support::Works, "{place}");
            assert_eq!((found.kind, found.environment), (flag.kind, flag.environment), "{place}");
            let with = shown(table, &[format!("--{}={}", flag.name, value(flag.name))]);
            assert_ne!(with, without, "{place} changes nothing");
        }
    }
}
