//! Repositories behind the program `ssh`.

use std::io::{self, Read};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::remote::error::RemoteError;
use crate::remote::git::SshOptions;
use crate::remote::git::remote::GitRemote;

/// Most of what ssh says that is kept.
const TEXT_LIMIT: u64 = 8 << 10;
/// How long ssh may take to end once the conversation failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running `ssh`.
pub(super) struct Ssh {
    /// Where we write.
    pub(super) input: ChildStdin,
    /// What the other end answers.
    pub(super) output: Output,
    /// What ssh and the other end complain of.
    pub(super) said: Said,
}

/// Starts the machine's `ssh` with `git-upload-pack` at the other end. It reads no configuration and asks nothing;
/// of credentials it has what the agent has. Where no known hosts are given, it trusts the host that answers, as
/// BuildKit does, which asks the host for its key just before.
pub(super) fn start(
    remote: &GitRemote,
    user: Option<&str>,
    host: &str,
    port: Option<u16>,
    path: &str,
    options: &SshOptions,
) -> Result<Ssh, RemoteError> {
    let mut command = Command::new("ssh");
    command.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "SendEnv=GIT_PROTOCOL"]);
    match &options.known_hosts {
        Some(file) => {
            let mut option = std::ffi::OsString::from("UserKnownHostsFile=");
            option.push(file);
            command.args(["-o", "StrictHostKeyChecking=yes", "-o"]).arg(option);
        }
        None => {
            command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
            command.args(["-o", "LogLevel=ERROR"]);
        }
    }
    match &options.agent {
        Some(socket) => command.env("SSH_AUTH_SOCK", socket),
        None => command.env_remove("SSH_AUTH_SOCK"),
    };
    if let Some(port) = port {
        command.arg("-p").arg(port.to_string());
    }
    let target = user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
    command.arg("--").arg(target).arg(format!("git-upload-pack {}", quoted(path)));
    command
        .env("GIT_PROTOCOL", "version=2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => RemoteError::NoSsh { location: remote.location(), source },
        _ => RemoteError::git(remote, "cannot start ssh", source),
    })?;
    let pipes = child.stdin.take().zip(child.stdout.take()).zip(child.stderr.take());
    let process = Process(child);
    match pipes {
        Some(((input, output), errors)) => {
            Ok(Ssh { input, output: Output { output, _process: process }, said: Said::of(errors) })
        }
        None => Err(RemoteError::git(remote, "cannot start ssh", io::Error::from(io::ErrorKind::BrokenPipe))),
    }
}

/// A process that does not outlive its connection.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the other end answers.
pub(super) struct Output {
    output: ChildStdout,
    _process: Process,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read(buffer)
    }
}

/// What ssh and the other end complain of. It is read all the time, so that nobody waits for us.
pub(super) struct Said(Receiver<String>);

impl Said {
    fn of(errors: ChildStderr) -> Self {
        let (sender, receiver) = channel();
        // Ends when ssh does.
        std::thread::spawn(move || {
            let mut errors = errors;
            let mut text = Vec::new();
            // What is lost here is lost for a message only.
            let _ = errors.by_ref().take(TEXT_LIMIT).read_to_end(&mut text);
            let _ = io::copy(&mut errors, &mut io::sink());
            let _ = sender.send(String::from_utf8_lossy(&text).trim().to_owned());
        });
        Self(receiver)
    }

    /// All of it once ssh has ended, as it does when the conversation failed; nothing if it said nothing.
    pub(super) fn text(&self) -> Option<String> {
        self.0.recv_timeout(PATIENCE).ok().filter(|text| !text.is_empty())
    }
}

/// A word for the shell at the other end.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
