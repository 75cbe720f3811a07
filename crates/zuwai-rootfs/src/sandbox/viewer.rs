//! The helper that shows the builder overlays: its own side.
//!
//! The builder may be root in a container that lets it mount nothing. This process mounts in namespaces of its own, opens
//! what it has mounted, detaches the mount and hands the open directory over: it goes on working for whoever holds it,
//! and the mount ends with its last holder. What the builder does through it, it does as itself.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::Mode;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::channel::Channel;
use super::spec::Report;
use super::stages::{self, During as _, Failure};
use super::{overlay, system};
use crate::overlay::{MOUNT_POINT, OverlayMount};
use crate::walk::DIRECTORY;

/// The whole life of the helper: it makes one view after another until the builder lets go of the channel.
pub(super) fn viewer() -> ! {
    let code = match system::channel_from_stdin() {
        Ok(stream) => serve(Channel::new(stream)),
        Err(_) => 1,
    };
    std::process::exit(code)
}

fn serve(mut channel: Channel) -> i32 {
    if let Err(failure) = enter(&mut channel) {
        return i32::from(channel.send(&Report::from(failure)).is_err());
    }
    while let Ok(Some(overlay)) = channel.receive::<OverlayMount>() {
        let sent = match open(&overlay) {
            Ok(directory) => channel.send_with_descriptor(&Report::Viewed, directory.as_fd()),
            Err(failure) => channel.send(&Report::from(failure)),
        };
        if sent.is_err() {
            return 1;
        }
    }
    0
}

fn enter(channel: &mut Channel) -> Result<(), Failure> {
    stages::prepare()?;
    stages::enter_user_namespace(channel)?;
    system::unshare(UnshareFlags::NEWNS).during("make a mount namespace")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).during("make all mounts private")
}

fn open(overlay: &OverlayMount) -> Result<OwnedFd, Failure> {
    let target = overlay.room.join(MOUNT_POINT);
    let mounting = || overlay::mounting(overlay);
    overlay::mount(overlay, &target).during(mounting())?;
    let opened = rustix::fs::open(&target, DIRECTORY, Mode::empty());
    rustix::mount::unmount(&target, UnmountFlags::DETACH).during(mounting())?;
    opened.during(mounting())
}
