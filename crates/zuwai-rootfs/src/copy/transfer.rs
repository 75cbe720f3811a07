//! Moving one file's bytes and metadata.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, SeekFrom, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use zuwai_layer::Xattrs;

use crate::metadata::Timestamp;

/// Size of the buffer for what the kernel cannot copy itself.
const BUFFER: usize = 128 << 10;

/// Copies contents, and remembers what the two file systems can do.
#[derive(Debug)]
pub(crate) struct Transfer {
    buffer: Vec<u8>,
    clone: bool,
    in_kernel: bool,
    warned_of_xattrs: bool,
}

impl Transfer {
    pub fn new() -> Self {
        Self { buffer: vec![0; BUFFER], clone: true, in_kernel: true, warned_of_xattrs: false }
    }

    /// Copies all of a file's content to a new file: shared blocks where the file system can, holes kept.
    pub fn content(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> io::Result<()> {
        if size <= BUFFER as u64 {
            return self.through_buffer(from, to, u64::MAX).map(drop);
        }
        if self.clone {
            match rustix::fs::ioctl_ficlone(to, from) {
                Ok(()) => return Ok(()),
                Err(_) => self.clone = false,
            }
        }
        let blocks = u64::try_from(rustix::fs::fstat(from)?.st_blocks).unwrap_or(0);
        if blocks.saturating_mul(512) >= size {
            self.run(from, to, u64::MAX)
        } else {
            self.sparse(from, to, size)
        }
    }

    /// Copies only what is data, and leaves the holes.
    fn sparse(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> io::Result<()> {
        rustix::fs::ftruncate(to, size)?;
        let mut position = 0;
        while position < size {
            position = match rustix::fs::seek(from, SeekFrom::Data(position)) {
                Ok(data) => data,
                Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            let end = rustix::fs::seek(from, SeekFrom::Hole(position))?;
            rustix::fs::seek(from, SeekFrom::Start(position))?;
            rustix::fs::seek(to, SeekFrom::Start(position))?;
            self.run(from, to, end - position)?;
            position = end;
        }
        Ok(())
    }

    /// Copies a run of bytes from the present positions, to the end of the file at most.
    fn run(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: u64) -> io::Result<()> {
        let mut left = length;
        while self.in_kernel && left > 0 {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 30);
            match rustix::fs::copy_file_range(from, None, to, None, step) {
                // Some file systems (and all that make up their content) end at once: read them to be sure.
                Ok(0) => break,
                Ok(copied) => left -= copied as u64,
                Err(Errno::INTR) => {}
                Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) if left < length => {
                    return Err(Errno::NOSPC.into());
                }
                Err(_) => self.in_kernel = false,
            }
        }
        self.through_buffer(from, to, left).map(drop)
    }

    fn through_buffer(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: u64) -> io::Result<u64> {
        let mut left = length;
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = match rustix::io::read(from, &mut self.buffer[..step]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            write_all(to, &self.buffer[..read])?;
            left -= read as u64;
        }
        Ok(length - left)
    }

    /// Sets extended attributes. That the file system or the kernel refuses them is a warning, once.
    pub fn xattrs(
        &mut self,
        to: BorrowedFd<'_>,
        xattrs: &Xattrs,
        shown: &dyn std::fmt::Display,
    ) -> Result<(), Errno> {
        for (name, value) in xattrs {
            match rustix::fs::fsetxattr(to, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(error @ (Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::INVAL)) => {
                    if !self.warned_of_xattrs {
                        self.warned_of_xattrs = true;
                        tracing::warn!(
                            "cannot set extended attribute {} of {shown}, nor perhaps of others: {error}",
                            String::from_utf8_lossy(name)
                        );
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes all bytes.
pub(crate) fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Sets owner and mode of an open file or directory, in the order that keeps set-user-ID bits.
pub(crate) fn set_owner_and_mode(file: impl AsFd, owner: (u32, u32), mode: u32) -> Result<(), Errno> {
    let (uid, gid) = crate::metadata::owner(owner.0, owner.1);
    rustix::fs::fchown(&file, uid, gid)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
}

/// Sets the owner of a name in a directory; links are not followed.
pub(crate) fn set_owner_at(directory: BorrowedFd<'_>, name: &[u8], owner: (u32, u32)) -> Result<(), Errno> {
    let (uid, gid) = crate::metadata::owner(owner.0, owner.1);
    rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
}

/// A modification time; the time of access stays.
pub(crate) fn times(mtime: Timestamp) -> Timestamps {
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let last_modification = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    Timestamps { last_access: omit, last_modification }
}
