//! Connections to git servers, whatever the protocol below.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use gix_transport::Protocol;
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::blocking_io::http::Transport as HttpTransport;
use gix_transport::client::git::{ConnectMode, blocking_io::Connection};

use crate::remote::error::RemoteError;
use crate::remote::fetcher::Fetcher;
use crate::remote::git::remote::GitRemote;
use crate::remote::git::web::{Failure, Web};
use crate::remote::git::{Access, SshOptions};
use crate::remote::http::without_user;

/// A connection, and where it notes what went wrong below git's protocol.
pub(super) struct Wire<'a> {
    pub(super) transport: Box<dyn Transport + 'a>,
    pub(super) failure: Failure,
}

impl Wire<'_> {
    /// What went wrong: what the connection noted, or else what git's protocol says.
    pub(super) fn error(&self, remote: &GitRemote, problem: &str, error: gix_error::Error) -> RemoteError {
        self.failure.borrow_mut().take().unwrap_or_else(|| RemoteError::git(remote, problem, error))
    }
}

/// Connects to a repository's server. HTTP connects when it is first asked.
pub(super) fn connect<'a>(
    fetcher: Fetcher<'a>,
    remote: &GitRemote,
    access: &Access<'_>,
) -> Result<Wire<'a>, RemoteError> {
    let failure: Failure = Rc::default();
    let transport: Box<dyn Transport + 'a> = match remote {
        GitRemote::Web(url) => {
            let authorization = access.authorization(url);
            let web = Web::new(fetcher, url, authorization, failure.clone());
            let address = gix_url::parse(without_user(url).as_str().as_bytes())
                .map_err(|error| RemoteError::git(remote, "the address is not one for git", error))?;
            Box::new(HttpTransport::new_http(web, address, Protocol::V2, false))
        }
        GitRemote::Daemon { host, port, path } => {
            let stream = daemon(fetcher, remote, host, *port)?;
            let reader = stream.try_clone().map_err(|error| failed(remote, error))?;
            let host = Some((host.clone(), Some(*port)));
            let mode = ConnectMode::Daemon;
            Box::new(Connection::new(reader, stream, Protocol::V2, path.as_str(), host, mode, false))
        }
        GitRemote::Ssh { user, host, port, path } => {
            let process = Ssh::start(remote, user.as_deref(), host, *port, path, access.ssh)?;
            let none: Option<(String, Option<u16>)> = None;
            let Ssh { input, output, process } = process;
            let output = SshOutput { output, _process: process };
            let mode = ConnectMode::Process;
            Box::new(Connection::new(output, input, Protocol::V2, path.as_str(), none, mode, false))
        }
    };
    Ok(Wire { transport, failure })
}

fn failed(remote: &GitRemote, error: io::Error) -> RemoteError {
    RemoteError::git(remote, "cannot connect", error)
}

/// A connection to a git daemon.
fn daemon(fetcher: Fetcher<'_>, remote: &GitRemote, host: &str, port: u16) -> Result<TcpStream, RemoteError> {
    let stall = fetcher.stall_timeout();
    let connecting = async {
        let addresses = fetcher.registry.addresses(host).await.map_err(io::Error::other)?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match tokio::net::TcpStream::connect(SocketAddr::new(address, port)).await {
                Ok(stream) => return stream.into_std(),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    let patience = fetcher.registry.options().connect_timeout;
    let connected = fetcher.runtime.block_on(async { tokio::time::timeout(patience, connecting).await });
    let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let prepared = stream.and_then(|stream| {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(stall))?;
        stream.set_write_timeout(Some(stall))?;
        Ok(stream)
    });
    prepared.map_err(|error| failed(remote, error))
}

/// A running `ssh`.
struct Ssh {
    input: ChildStdin,
    output: ChildStdout,
    process: Process,
}

impl Ssh {
    /// Starts the machine's `ssh` with `git-upload-pack` at the other end. It reads no configuration and asks nothing;
    /// of credentials it has what the agent has. Where no known hosts are given, it trusts the host that answers, as
    /// BuildKit does, which asks the host for its key just before.
    fn start(
        remote: &GitRemote,
        user: Option<&str>,
        host: &str,
        port: Option<u16>,
        path: &str,
        options: &SshOptions,
    ) -> Result<Self, RemoteError> {
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
        command.env("GIT_PROTOCOL", "version=2").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RemoteError::NoSsh { location: remote.location(), source },
            _ => RemoteError::git(remote, "cannot start ssh", source),
        })?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let process = Process(child);
        let (input, output) = pipes.ok_or_else(|| failed(remote, io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { input, output, process })
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

struct SshOutput {
    output: ChildStdout,
    _process: Process,
}

impl Read for SshOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read(buffer)
    }
}

/// A word for the shell at the other end.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
