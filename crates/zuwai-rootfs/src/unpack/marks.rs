//! What overlayfs reads from the directory of a layer (kernel: Documentation/filesystems/overlayfs.rst).

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, XattrFlags};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use crate::error::RootfsError;
use crate::metadata::{FileKind, Metadata};

/// Whether this is how overlayfs writes that something of the layers below is gone.
pub(super) fn is_whiteout(there: &Metadata) -> bool {
    there.kind == FileKind::CharDevice && there.device() == (0, 0)
}

/// Removes a name of the layers below: a character device 0:0, which needs no capability.
pub(super) fn make_whiteout(
    directory: BorrowedFd<'_>,
    name: &[u8],
    path: &ImagePath,
) -> Result<(), RootfsError> {
    let device = rustix::fs::makedev(0, 0);
    rustix::fs::mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), device).map_err(refused(
        path,
        "removed",
        "a character device 0:0",
    ))
}

/// Hides what the layers below have in a directory.
pub(super) fn make_opaque(directory: impl AsFd, path: &ImagePath) -> Result<(), RootfsError> {
    rustix::fs::fsetxattr(directory, "user.overlay.opaque", b"y", XattrFlags::empty()).map_err(refused(
        path,
        "opaque",
        "the extended attribute user.overlay.opaque",
    ))
}

fn refused(path: &ImagePath, what: &'static str, with: &'static str) -> impl FnOnce(Errno) -> RootfsError {
    move |source| RootfsError::OverlayMark { path: path.clone(), what, with, source: source.into() }
}
