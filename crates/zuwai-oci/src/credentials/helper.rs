//! Credential helpers: the programs `docker-credential-NAME` (docker's credential helper protocol).
//!
//! A program is looked for once, on the path that the caller gave, and is run only while it is the same file: a build in
//! place puts an image's files around this process, and one of them may have the same name. It runs in a process group
//! of its own that is killed when its time is over. What it says goes into no message: it may hold the secret.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::{Deserialize, Serialize};

use super::Credential;
use super::key::server;
use crate::go_json::{from_object, null_is_empty};
use crate::secret::Secret;

/// How long a helper may take: some ask a cloud, none should ask a person.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Most that is read of what a helper says.
const OUTPUT_LIMIT: u64 = 1 << 20;
/// How the protocol says that there is nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that marks an identity token.
const TOKEN_USER: &str = "<token>";

/// The helper programs that configurations name, and what they are run with. `Debug` does not show their environment.
#[derive(Clone, Default)]
pub struct Helpers {
    programs: BTreeMap<String, Result<Program, HelperError>>,
    environment: Arc<[(OsString, OsString)]>,
    time_limit: Option<Duration>,
}

/// A program as it was found.
#[derive(Clone, Debug)]
struct Program {
    path: PathBuf,
    identity: Identity,
}

/// What tells a file from another at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64, i64, i64);

/// Why a helper gave no answer. Nothing of what it said is in here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelperError {
    /// The name would lead elsewhere.
    #[error("its name is not a plain one")]
    Name,
    /// It is not there.
    #[error("there is no such program on PATH")]
    Missing,
    /// It is not the file that it was.
    #[error("the program is not the one that was there at the start")]
    Changed,
    /// It cannot be started or waited for.
    #[error("it cannot be run: {0}")]
    Run(io::ErrorKind),
    /// It took too long.
    #[error("it gave no answer in {0} seconds")]
    TimedOut(u64),
    /// It said too much.
    #[error("its answer is longer than {OUTPUT_LIMIT} bytes")]
    TooLong,
    /// It failed; the text says how it ended.
    #[error("it failed with {0}")]
    Failed(String),
    /// Its answer is not the protocol's.
    #[error("its answer is not the expected JSON")]
    Malformed,
}

/// What a helper keeps.
#[derive(Serialize, Deserialize)]
struct Answer {
    #[serde(rename = "ServerURL", default, deserialize_with = "null_is_empty")]
    server: String,
    #[serde(rename = "Username", default, deserialize_with = "null_is_empty")]
    username: String,
    #[serde(rename = "Secret", default, deserialize_with = "null_is_empty")]
    secret: String,
}

impl Helpers {
    /// Looks for helpers by what follows `docker-credential-` in their names. They will be run with `environment` and
    /// nothing else.
    pub fn find<'a>(
        names: impl IntoIterator<Item = &'a str>,
        path: &OsStr,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let programs = names.into_iter().map(|name| (name.to_owned(), Program::find(name, path)));
        Self {
            programs: programs.collect(),
            environment: environment.into_iter().collect(),
            time_limit: None,
        }
    }

    /// What a helper keeps under a key; none where it has nothing.
    pub(super) fn get(&self, name: &str, key: &str) -> Result<Option<Credential>, HelperError> {
        let (status, output) = self.run(name, "get", server(key).as_bytes())?;
        if !status.success() {
            let said = String::from_utf8_lossy(&output);
            return match said.trim() == NOT_FOUND {
                true => Ok(None),
                false => Err(HelperError::Failed(status.to_string())),
            };
        }
        let answer: Answer = from_object(&output).map_err(|_| HelperError::Malformed)?;
        let secret = Secret::new(answer.secret);
        Ok(match answer.username.as_str() {
            _ if secret.is_empty() => None,
            TOKEN_USER => Some(Credential::IdentityToken(secret)),
            _ => Some(Credential::Basic { username: answer.username, password: secret }),
        })
    }

    /// Gives a helper a credential to keep. Tokens that registries take as they are cannot be kept so.
    pub(super) fn store(&self, name: &str, key: &str, credential: &Credential) -> Result<(), HelperError> {
        let (username, secret) = match credential {
            Credential::Basic { username, password } => (username.as_str(), password),
            Credential::IdentityToken(token) | Credential::RegistryToken(token) => (TOKEN_USER, token),
        };
        let (server, secret) = (server(key).to_owned(), secret.reveal().to_owned());
        let answer = Answer { server, username: username.to_owned(), secret };
        let input = serde_json::to_vec(&answer).map_err(|_| HelperError::Malformed)?;
        match self.run(name, "store", &input)? {
            (status, _) if status.success() => Ok(()),
            (status, _) => Err(HelperError::Failed(status.to_string())),
        }
    }

    /// Makes a helper forget what it keeps under a key; `false` where it has nothing.
    pub(super) fn erase(&self, name: &str, key: &str) -> Result<bool, HelperError> {
        if self.get(name, key)?.is_none() {
            return Ok(false);
        }
        match self.run(name, "erase", server(key).as_bytes())? {
            (status, _) if status.success() => Ok(true),
            (status, _) => Err(HelperError::Failed(status.to_string())),
        }
    }

    /// Runs a helper to its end, and returns how it ended and what it said.
    fn run(&self, name: &str, verb: &str, input: &[u8]) -> Result<(ExitStatus, Vec<u8>), HelperError> {
        let program = self.programs.get(name).ok_or(HelperError::Missing)?.as_ref().map_err(Clone::clone)?;
        let now = fs::metadata(&program.path).map_err(|_| HelperError::Changed)?;
        if Identity::of(&now) != program.identity {
            return Err(HelperError::Changed);
        }
        let mut child = Command::new(&program.path)
            .arg(verb)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(run_error)?;
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_owned();
            // One that does not want to know is no failure.
            std::thread::spawn(move || stdin.write_all(&input));
        }
        finish(child, self.time_limit.unwrap_or(TIME_LIMIT))
    }
}

impl fmt::Debug for Helpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helpers").field("programs", &self.programs).finish_non_exhaustive()
    }
}

impl Program {
    fn find(name: &str, path: &OsStr) -> Result<Self, HelperError> {
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(HelperError::Name);
        }
        let file = format!("docker-credential-{name}");
        // A relative part of PATH would mean whatever directory the build's context is in.
        let places = std::env::split_paths(path).filter(|place| place.is_absolute());
        let found = places.map(|place| place.join(&file)).find_map(|path| {
            let metadata = fs::metadata(&path).ok()?;
            let runs = metadata.is_file() && metadata.mode() & 0o111 != 0;
            runs.then(|| Self { identity: Identity::of(&metadata), path })
        });
        found.ok_or(HelperError::Missing)
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
    }
}

/// Waits for a helper, but not longer than `limit`.
fn finish(mut child: Child, limit: Duration) -> Result<(ExitStatus, Vec<u8>), HelperError> {
    let (sender, receiver) = mpsc::channel();
    let output = child.stdout.take();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.map(|output| output.take(OUTPUT_LIMIT + 1).read_to_end(&mut bytes));
        let _ = sender.send(read.transpose().map(|_| bytes));
    });
    let in_time = ends_within(Pid::from_child(&child), limit);
    // It has not been waited for yet, so that its number still means its group.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let status = child.wait().map_err(run_error)?;
    if !in_time {
        return Err(HelperError::TimedOut(limit.as_secs()));
    }
    // What it started and did not end is dead too, so that the end of its output comes at once.
    let output = receiver.recv_timeout(Duration::from_secs(5)).map_err(|_| HelperError::TimedOut(5))?;
    let output = output.map_err(run_error)?;
    match output.len() as u64 > OUTPUT_LIMIT {
        true => Err(HelperError::TooLong),
        false => Ok((status, output)),
    }
}

/// Whether a process ends in time. It is left to be waited for.
fn ends_within(pid: Pid, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let mut pause = Duration::from_millis(1);
    loop {
        match waitid(WaitId::Pid(pid), options) {
            Ok(None) | Err(rustix::io::Errno::INTR) if Instant::now() >= deadline => return false,
            Ok(None) | Err(rustix::io::Errno::INTR) => std::thread::sleep(pause),
            Ok(Some(_)) | Err(_) => return true,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn run_error(error: io::Error) -> HelperError {
    HelperError::Run(error.kind())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A directory with a helper `test` that is this script.
    fn helper(script: &str) -> (tempfile::TempDir, Helpers) {
        let directory = tempfile::tempdir().unwrap();
        write(&directory, script);
        let environment = [("WHO", "me"), ("PATH", "/usr/bin:/bin")].map(|(k, v)| (k.into(), v.into()));
        let mut helpers =
            Helpers::find(["test", "missing", "../test"], directory.path().as_os_str(), environment);
        helpers.time_limit = Some(Duration::from_secs(20));
        (directory, helpers)
    }

    fn write(directory: &tempfile::TempDir, script: &str) {
        let path = directory.path().join("docker-credential-test");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn answers_are_those_of_the_protocol() {
        let basic = |username: &str, password: &str| {
            Ok(Some(Credential::Basic { username: username.to_owned(), password: Secret::new(password) }))
        };
        let failed = |code: i32| Err(HelperError::Failed(format!("exit status: {code}")));
        for (script, expected) in [
            (
                r#"echo "{\"Username\":\"$WHO $1\",\"Secret\":\"$(cat)\"}""#,
                basic("me get", "https://index.docker.io/v1/"),
            ),
            (
                r#"echo '{"Username":"<token>","Secret":"t"}'"#,
                Ok(Some(Credential::IdentityToken(Secret::new("t")))),
            ),
            (r#"echo '{"Username":"u","Secret":""}'"#, Ok(None)),
            ("echo 'credentials not found in native keychain'; exit 1", Ok(None)),
            ("echo hunter2; exit 3", failed(3)),
            ("echo hunter2", Err(HelperError::Malformed)),
            ("echo '[]'", Err(HelperError::Malformed)),
            ("yes", Err(HelperError::TooLong)),
            // What it leaves behind keeps nobody waiting.
            (r#"sleep 1000 & echo '{"Username":"u","Secret":"s"}'"#, basic("u", "s")),
        ] {
            let (_directory, helpers) = helper(script);
            assert_eq!(helpers.get("test", "index.docker.io"), expected, "{script}");
        }
    }

    #[test]
    fn a_helper_that_hangs_is_ended_with_all_it_started() {
        let (_directory, mut helpers) = helper("sleep 1000 & sleep 1000");
        helpers.time_limit = Some(Duration::from_millis(100));
        assert_eq!(helpers.get("test", "a.io"), Err(HelperError::TimedOut(0)));
    }

    #[test]
    fn only_the_program_that_was_found_is_run() {
        let (directory, helpers) = helper("exit 0");
        assert_eq!(helpers.get("missing", "a.io"), Err(HelperError::Missing));
        assert_eq!(helpers.get("never-named", "a.io"), Err(HelperError::Missing));
        assert_eq!(helpers.get("../test", "a.io"), Err(HelperError::Name));
        fs::remove_file(directory.path().join("docker-credential-test")).unwrap();
        assert_eq!(helpers.get("test", "a.io"), Err(HelperError::Changed));
        write(&directory, "touch $0.was-run");
        assert_eq!(helpers.get("test", "a.io"), Err(HelperError::Changed));
        assert!(!directory.path().join("docker-credential-test.was-run").exists());
        assert!(!format!("{helpers:?}").contains("WHO"));
    }

    #[test]
    fn what_is_stored_is_given_on_standard_input() {
        let (directory, helpers) = helper(
            r#"case $1 in get) cat > /dev/null; cat $0.kept 2> /dev/null || { echo credentials not found in native keychain; exit 1; };;
               store) cat > $0.kept;; erase) rm $0.kept;; esac"#,
        );
        assert_eq!(helpers.erase("test", "a.io"), Ok(false));
        let credential = Credential::Basic { username: "u".to_owned(), password: Secret::new("s\"") };
        helpers.store("test", "a.io", &credential).unwrap();
        let kept = fs::read_to_string(directory.path().join("docker-credential-test.kept")).unwrap();
        assert_eq!(kept, r#"{"ServerURL":"a.io","Username":"u","Secret":"s\""}"#);
        assert_eq!(helpers.get("test", "a.io"), Ok(Some(credential)));
        assert_eq!(helpers.erase("test", "a.io"), Ok(true));
        assert_eq!(helpers.get("test", "a.io"), Ok(None));
    }
}
