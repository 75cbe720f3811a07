//! What mounts are made of, opened before anything is placed: a target may cover the source of a later mount.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use super::error::PlacementError;
use crate::copy::{self, CopyOptions, SourceTree};
use crate::error::RootfsError;
use crate::metadata::{self, FileKind, Metadata};
use crate::park::set_times;
use crate::root::{KeepOut, Root};
use crate::step_mount::{StepMount, StepMountKind};
use crate::walk;

/// What a mount is made of.
#[derive(Debug)]
pub(super) enum Source<'a> {
    /// A copy of a directory.
    Directory(OwnedFd),
    /// A copy of a file, by its name in a directory.
    File(OwnedFd, Vec<u8>),
    /// A directory that is lent, the one that holds it, and its path.
    Cache(OwnedFd, OwnedFd, &'a Path),
    /// A cache that the step has already, at this target.
    Again(PathBuf),
    /// An empty directory.
    Empty,
    /// A file of its own.
    Content { content: &'a [u8], mode: u32, uid: u32, gid: u32 },
    /// Another name of a socket.
    Socket(OwnedFd, Vec<u8>, &'a Path),
}

impl<'a> Source<'a> {
    /// Opens what a mount is made of.
    pub fn open(mount: &'a StepMount) -> Result<Self, PlacementError> {
        match &mount.kind {
            StepMountKind::Tmpfs { .. } => Ok(Self::Empty),
            StepMountKind::File { content, mode, uid, gid } => {
                Ok(Self::Content { content, mode: *mode, uid: *uid, gid: *gid })
            }
            StepMountKind::Bind { source, .. } => match source.host_path() {
                Some(path) => Self::open_at(path, mount, Self::bind),
                None => Err(PlacementError::Source {
                    doing: "open",
                    path: source.to_string().into(),
                    target: mount.target.clone(),
                    source: Errno::OPNOTSUPP.into(),
                }),
            },
            // What the step writes there is nobody's: a copy, as of any other directory.
            StepMountKind::Cache { directory, read_only: true } => {
                Self::open_at(directory, mount, Self::bind)
            }
            StepMountKind::Cache { directory: cache, .. } => Self::open_at(cache, mount, |parent, name| {
                let directory = open_directory(&parent, &name)?;
                Ok(Self::Cache(directory, parent, cache))
            }),
            StepMountKind::Socket { path } => {
                Self::open_at(path, mount, |parent, name| {
                    match Metadata::at(parent.as_fd(), name.as_slice())?.kind {
                        FileKind::Socket => Ok(Self::Socket(parent, name, path)),
                        _ => Err(Errno::NOTSOCK),
                    }
                })
            }
        }
    }

    fn open_at(
        path: &Path,
        mount: &StepMount,
        open: impl FnOnce(OwnedFd, Vec<u8>) -> Result<Self, Errno>,
    ) -> Result<Self, PlacementError> {
        let failed = |source: Errno| PlacementError::Source {
            doing: "open",
            path: path.to_owned(),
            target: mount.target.clone(),
            source: source.into(),
        };
        let name = path.file_name().unwrap_or(".".as_ref()).as_encoded_bytes().to_vec();
        let parent = path.parent().unwrap_or(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(parent, flags, Mode::empty()).map_err(failed)?;
        open(parent, name).map_err(failed)
    }

    fn bind(parent: OwnedFd, name: Vec<u8>) -> Result<Self, Errno> {
        match Metadata::at(parent.as_fd(), name.as_slice())?.kind {
            FileKind::Directory => Ok(Self::Directory(open_directory(&parent, &name)?)),
            FileKind::Symlink => Err(Errno::LOOP),
            FileKind::Socket => Err(Errno::OPNOTSUPP),
            _ => Ok(Self::File(parent, name)),
        }
    }

    /// Whether a directory is placed.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_) | Self::Cache(..) | Self::Again(_) | Self::Empty)
    }
}

/// Copies a directory over an empty one: what is in it, and its own metadata. What `skipped` names, below the source,
/// is left out.
pub(super) fn copy_directory(from: &OwnedFd, to: &Root, skipped: KeepOut) -> Result<(), RootfsError> {
    copy_inside(from, to, skipped)?;
    let top = ImagePath::root();
    let metadata = Metadata::of(from).map_err(RootfsError::io("look at", &top))?;
    finish(from, to, &metadata).map_err(RootfsError::io("set the metadata of", &top))
}

/// Copies what is in a directory into another.
pub(super) fn copy_inside(from: &OwnedFd, to: &Root, skipped: KeepOut) -> Result<(), RootfsError> {
    let from = rustix::fs::openat(from, ".", walk::DIRECTORY, Mode::empty())
        .map_err(RootfsError::io("open", &ImagePath::root()))?;
    let source = Root::from_directory(from, PathBuf::new(), skipped);
    copy::copy(to, SourceTree::stage(&source), &["."], b"/", &CopyOptions::default()).map(drop)
}

/// Copies a file to a name in a directory.
pub(super) fn copy_file(from: &OwnedFd, name: &[u8], to: &Root, to_name: &[u8]) -> Result<(), RootfsError> {
    let from = rustix::fs::openat(from, ".", walk::DIRECTORY, Mode::empty())
        .map_err(RootfsError::io("open", &ImagePath::root()))?;
    let source = Root::from_directory(from, PathBuf::new(), KeepOut::default());
    // A name is a pattern there.
    let escape = |byte: &u8| if b"*?[]\\".contains(byte) { vec![b'\\', *byte] } else { vec![*byte] };
    let pattern: Vec<u8> = name.iter().flat_map(escape).collect();
    copy::copy(to, SourceTree::stage(&source), &[pattern], to_name, &CopyOptions::default()).map(drop)
}

/// Owner, mode, attributes and times of a directory, when it is full.
fn finish(from: &OwnedFd, to: &Root, metadata: &Metadata) -> Result<(), Errno> {
    rustix::fs::fchown(to, Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)))?;
    for (name, value) in metadata::xattrs(from)? {
        rustix::fs::fsetxattr(to, name.as_slice(), &value, XattrFlags::empty())?;
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(metadata.mode))?;
    set_times(to, metadata.mtime)
}

pub(super) fn open_directory(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, name, walk::DIRECTORY, Mode::empty())
}

/// Whether two handles are of one file.
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev, one.ino) == (other.dev, other.ino)
}

/// Makes another name of a socket; where that cannot be, for it is on another file system, a link that leads to it.
pub(super) fn name_socket(
    parent: &OwnedFd,
    name: &[u8],
    path: &Path,
    to: impl std::os::fd::AsFd + Copy,
    to_name: &[u8],
) -> Result<(), Errno> {
    match rustix::fs::linkat(parent, name, to, to_name, AtFlags::empty()) {
        Err(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK) => {
            rustix::fs::symlinkat(path, to, to_name)
        }
        other => other,
    }
}
