//! Making mounts read-only without loosening them otherwise, which the kernel refuses in a user namespace.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::system;
use crate::mounts;

/// Makes a mount and all below it read-only. The path is a real one.
pub(super) fn make_all(path: &Path) -> io::Result<()> {
    match system::make_read_only_recursively(&CString::new(path.as_os_str().as_bytes())?) {
        Ok(()) => Ok(()),
        // An older kernel, or a seccomp profile that does not know the call.
        Err(_) => make_each(path),
    }
}

fn make_each(path: &Path) -> io::Result<()> {
    make(path)?;
    for mount in mounts::list()?.iter().filter(|mount| mount.point != path && mount.point.starts_with(path)) {
        match make(&mount.point) {
            // The outer root's mounts are listed with the same names while it is there.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes one mount read-only and leaves its other restrictions as they are.
pub(super) fn make(path: &Path) -> rustix::io::Result<()> {
    let has = rustix::fs::statvfs(path)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (present, flag) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if has.contains(present) {
            flags |= flag;
        }
    }
    rustix::mount::mount_remount(path, flags, "")
}
