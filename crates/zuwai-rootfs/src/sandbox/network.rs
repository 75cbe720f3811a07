//! The network of a step that has none: a namespace with nothing but a loopback device.

use std::io;
use std::os::fd::AsFd as _;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::UnshareFlags;

use super::system;

/// Leaves this process's network for an empty one of the current user namespace, with `lo` up, as BuildKit gives it to
/// `RUN --network=none`. The kernel itself gives `lo` the addresses 127.0.0.1 and `::1`.
pub(super) fn leave() -> io::Result<()> {
    system::unshare(UnshareFlags::NEWNET)?;
    // Any socket takes requests about devices; one of this family needs no IP of either version.
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    system::bring_up_loopback(socket.as_fd())
}
