//! Files that a step is given the content of: secrets, scripts.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::stray;
use crate::copy::transfer::{set_owner_and_mode, write_all};

/// A file that was made. It is held by its path alone: one that is open for writing cannot be executed.
#[derive(Debug)]
pub(super) struct Secret {
    pub held: OwnedFd,
    length: usize,
}

impl Secret {
    /// Makes the file.
    pub fn make(
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
