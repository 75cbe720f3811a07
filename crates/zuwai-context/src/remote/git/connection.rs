//! Connections to git servers, whatever the protocol below.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use gix_transport::Protocol;
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::blocking_io::http::Transport as HttpTransport;
use gix_transport::client::git::{ConnectMode, blocking_io::Connection};

use crate::remote::error::RemoteError;
use crate::remote::fetcher::Fetcher;
use crate::remote::git::Access;
use crate::remote::git::remote::GitRemote;
use crate::remote::git::ssh::{self, Said};
use crate::remote::git::web::{Failure, Web};
use crate::remote::http::without_user;

/// A connection, and where it notes what went wrong below git's protocol.
pub(super) struct Wire<'a> {
    pub(super) transport: Box<dyn Transport + 'a>,
    failure: Failure,
    /// What the program ssh says, if that is what it goes through.
    said: Option<Said>,
}

impl Wire<'_> {
    /// What went wrong: what the connection noted, or else what git's protocol says.
    pub(super) fn error(&self, remote: &GitRemote, problem: &str, error: gix_error::Error) -> RemoteError {
        if let Some(noted) = self.failure.borrow_mut().take() {
            return noted;
        }
        match self.said.as_ref().and_then(Said::text) {
            Some(text) => RemoteError::Ssh { location: remote.location(), text },
            None => RemoteError::git(remote, problem, error),
        }
    }
}

/// Connects to a repository's server. HTTP connects when it is first asked.
pub(super) fn connect<'a>(
    fetcher: Fetcher<'a>,
    remote: &GitRemote,
    access: &Access<'_>,
) -> Result<Wire<'a>, RemoteError> {
    let failure: Failure = Rc::default();
    let mut said = None;
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
            let ssh = ssh::start(remote, user.as_deref(), host, *port, path, access.ssh)?;
            said = Some(ssh.said);
            let none: Option<(String, Option<u16>)> = None;
            let mode = ConnectMode::Process;
            Box::new(Connection::new(ssh.output, ssh.input, Protocol::V2, path.as_str(), none, mode, false))
        }
    };
    Ok(Wire { transport, failure, said })
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
