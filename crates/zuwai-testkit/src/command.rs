//! Other people's programs, run to their end.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use crate::need::find_program;

/// A program found on the PATH, without the environment variables that would have it trust or use what a test did not choose.
///
/// # Panics
/// If there is no such program.
#[must_use]
pub fn program(name: &str) -> Command {
    let path = find_program(name).unwrap_or_else(|| panic!("the program {name} is not installed"));
    let mut command = Command::new(path);
    clean(&mut command);
    command
}

/// Takes from the environment what would decide certificates, proxies, container hosts and credentials.
pub fn clean(command: &mut Command) {
    for name in [
        "AWS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "DOCKER_CONFIG",
        "DOCKER_HOST",
        "REGISTRY_AUTH_FILE",
        "CONTAINERS_CONF",
        "CONTAINERS_STORAGE_CONF",
        "CONTAINERS_REGISTRIES_CONF",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
}

/// What a finished program left.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Exit code; 128 and the signal's number where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output and standard error, for messages.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs a command to its end.
///
/// # Panics
/// If it cannot be started.
pub fn run(command: &mut Command) -> Finished {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    use std::os::unix::process::ExitStatusExt as _;
    Finished {
        code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs a command that must succeed, and gives its standard output.
///
/// # Panics
/// If it fails; the message has the command and all it printed.
pub fn must_run(command: &mut Command) -> String {
    let finished = run(command);
    assert!(finished.code == 0, "{command:?} ended with {}:\n{}", finished.code, finished.all());
    finished.stdout
}

/// Runs `program` with `arguments`; it must succeed.
///
/// # Panics
/// As [`must_run`].
pub fn must<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> String {
    must_run(program(name).args(arguments))
}
