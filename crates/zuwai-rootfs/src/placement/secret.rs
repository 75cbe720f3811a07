//! Files that a step is given the content of: secrets, scripts.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::aside::free_name;
use super::spot::Spot;
use super::stray;
use crate::copy::transfer::{set_owner_and_mode, write_all};
use crate::quietly::quietly;
use crate::root::Root;

/// A file that was made. It is held by its path alone: one that is open for writing cannot be executed.
#[derive(Debug)]
pub(super) struct Secret {
    pub held: OwnedFd,
    length: usize,
}

impl Secret {
    /// Makes the file at a spot. A script that could not be executed there, as below a `/dev` that podman has mounted,
    /// is in the root's own directory, and a link leads to it.
    pub fn place(
        root: &Root,
        spot: &Spot,
        content: &[u8],
        mode: u32,
        owner: (u32, u32),
    ) -> std::io::Result<Self> {
        let flags = rustix::fs::fstatvfs(spot.directory())?.f_flag;
        if mode & 0o111 == 0 || !flags.contains(StatVfsMountFlags::NOEXEC) {
            return Self::make(spot.directory(), &spot.name, content, mode, owner);
        }
        let name = free_name(root.as_fd())?;
        quietly(root.as_fd(), || {
            let secret = Self::make(root.as_fd(), &name, content, mode, owner)?;
            let path = root.host_path().join(OsStr::from_bytes(&name));
            let linked = rustix::fs::symlinkat(path, spot.directory(), spot.name.as_slice());
            if let Err(error) = linked {
                secret.overwrite()?;
                rustix::fs::unlinkat(root, name.as_slice(), AtFlags::empty())?;
                return Err(error.into());
            }
            Ok(secret)
        })
    }

    fn make(
        directory: BorrowedFd<'_>,
        name: &[u8],
        content: &[u8],
        mode: u32,
        owner: (u32, u32),
    ) -> std::io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        let secret = Self { held, length: content.len() };
        let written = write_all(file.as_fd(), content)
            .and_then(|()| set_owner_and_mode(&file, owner, mode).map_err(Into::into));
        if let Err(error) = written {
            secret.overwrite()?;
            return Err(error);
        }
        Ok(secret)
    }

    /// Overwrites the content with zeros, wherever the file is now, also on disk, and cuts it off.
    pub fn overwrite(&self) -> std::io::Result<()> {
        let file = stray::open_for_writing(self.held.as_fd())?;
        let zeros = [0; 4 << 10];
        let mut left = self.length;
        while left > 0 {
            let step = left.min(zeros.len());
            write_all(file.as_fd(), &zeros[..step])?;
            left -= step;
        }
        // Else the zeros would never reach a disk that the content has reached.
        match rustix::fs::fdatasync(&file) {
            Ok(()) | Err(Errno::INVAL | Errno::ROFS) => {}
            Err(error) => return Err(error.into()),
        }
        rustix::fs::ftruncate(&file, 0).map_err(Into::into)
    }
}
