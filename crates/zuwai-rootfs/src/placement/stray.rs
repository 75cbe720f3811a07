//! Finding what a step has moved away from where it was placed.
//!
//! With a mount there the step could not have moved it. The kernel knows where what is held open is now.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::source::is_same;
use crate::metadata::Metadata;
use crate::root::{KeepOut, Root};
use crate::walk;

/// Where something is: a directory, and a name in it.
pub(super) type Place = (Root, Vec<u8>);

/// Where what is held open is now; `None` if it was removed, or cannot be found.
pub(super) fn find(held: BorrowedFd<'_>) -> Option<Place> {
    let wanted = Metadata::of(held).ok()?;
    let link = rustix::fs::readlink(path_of(held), Vec::new()).ok()?;
    let path = PathBuf::from(std::ffi::OsString::from_vec(link.into_bytes()));
    let (parent, name) = (path.parent()?, path.file_name()?.as_bytes().to_vec());
    let directory = rustix::fs::open(parent, walk::DIRECTORY, Mode::empty()).ok()?;
    let found = Metadata::at(directory.as_fd(), name.as_slice()).ok()?;
    is_same(&found, &wanted)
        .then(|| (Root::from_directory(directory, parent.to_owned(), KeepOut::default()), name))
}

/// Opens for writing what is held open by its path alone, even if it has no name any more.
pub(super) fn open_for_writing(held: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path_of(held), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

fn path_of(held: BorrowedFd<'_>) -> PathBuf {
    Path::new("/proc/self/fd").join(held.as_raw_fd().to_string())
}
