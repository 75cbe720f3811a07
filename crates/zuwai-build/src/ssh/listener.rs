//! A step's socket: made with the mode and owner that the mount asks for, and removed again.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// How many connections wait to be accepted.
const BACKLOG: i32 = 128;

/// The name of a socket. It is removed when this is dropped.
#[derive(Debug)]
pub struct SocketName {
    directory: OwnedFd,
    name: OsString,
}

/// Makes a socket that listens at `path`, with exactly that mode and owner, before which nobody can connect to it. The
/// path may have any length, the name in its directory about 80 bytes.
///
/// # Errors
/// When it cannot be made; nothing stays then.
pub fn listen(path: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<(UnixListener, SocketName)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidFilename.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let directory =
        rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &address(&directory, name)?)?;
    let name = SocketName { directory, name: name.to_owned() };

    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&name.directory, &name.name, flags, Mode::empty())?;
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(&file, "", owner.0, owner.1, AtFlags::EMPTY_PATH)?;
    rustix::fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), Mode::from_raw_mode(mode))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok((socket.into(), name))
}

/// A socket's address has room for 108 bytes; through the directory's descriptor any path fits.
fn address(directory: &OwnedFd, name: &OsStr) -> io::Result<SocketAddrUnix> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend(name.as_bytes());
    Ok(SocketAddrUnix::new(path)?)
}

impl Drop for SocketName {
    fn drop(&mut self) {
        match rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => tracing::debug!("cannot remove the socket {}: {error}", self.name.display()),
        }
    }
}
