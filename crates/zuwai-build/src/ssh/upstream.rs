//! The user's own agent.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// How long an agent that is busy may let a connection wait.
const CONNECTING: Duration = Duration::from_secs(10);

/// The socket of an agent, held open: the path may be moved, in place, after the build has begun.
#[derive(Debug)]
pub struct Upstream {
    path: PathBuf,
    socket: OwnedFd,
}

impl Upstream {
    /// Takes hold of an agent's socket; `None` if the path is something else.
    ///
    /// # Errors
    /// When nothing is at the path, or it cannot be reached.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let socket = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode);
        Ok((kind == FileType::Socket).then(|| Self { path: path.to_owned(), socket }))
    }

    /// Where the agent was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a connection to the agent.
    ///
    /// # Errors
    /// When it does not take one.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let stream =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Of a local socket this bounds how long connecting takes, too.
        set_socket_timeout(&stream, Timeout::Send, Some(CONNECTING))?;
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", self.socket.as_raw_fd()))?;
        rustix::net::connect(&stream, &address)?;
        set_socket_timeout(&stream, Timeout::Send, None)?;
        Ok(stream.into())
    }
}
