//! Moving a finished stage's tree out of the way.
//!
//! The tree is moved by renaming what is at its top, not copied and not deleted. Where a directory holds something that
//! is kept out, or is one that cannot be renamed (overlayfs refuses that for directories of its lower layers), it is
//! made again with the same owner, mode, attributes and times, and what it holds is moved in turn.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use zuwai_layer::{Entry, EntryKind, ImagePath};

use crate::error::RootfsError;
use crate::metadata::{self, Metadata, Timestamp};
use crate::remove::{Fate, remove_tree};
use crate::root::{KeepOut, Root};
use crate::unpack::Hidden;
use crate::walk::{self, Names};

/// A directory that is being made again. No image has such a name.
pub(crate) const UNFINISHED: &[u8] = b".zuwai-unfinished";

/// Moves the tree of a root into a directory on the same file system, which is made if it is missing, and gives the root
/// of the tree there. What is kept out stays, with the directories that lead to it. In place the directory lies below
/// the root itself, and must be kept out.
///
/// With `hidden`, the tree is an image's, and gets what the image has there: its mount points, if they are directories.
/// A directory that only leads to what is kept out, and that the image does not have, is not moved if it is empty.
///
/// # Errors
/// When the directory cannot be made or is not empty, or something cannot be moved: a mount point that is not kept out is
/// busy, another file system cannot be moved to.
pub fn park(root: &Root, into: &Path, hidden: Option<&Hidden>) -> Result<Root, RootfsError> {
    match rustix::fs::mkdirat(CWD, into.as_os_str().as_bytes(), Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(RootfsError::host("create directory", into)(error)),
    }
    let parked = Root::open(into, KeepOut::default()).map_err(RootfsError::host("open directory", into))?;
    let mut names = Names::default();
    names.read(parked.as_fd()).map_err(RootfsError::host("read directory", into))?;
    if names.iter().next().is_some() {
        return Err(RootfsError::host("park in", into)(Errno::NOTEMPTY));
    }
    // Directories to go into, and those made again, whose times are set when they are full.
    let mut waiting = vec![ImagePath::root()];
    let mut made = Vec::new();
    while let Some(directory) = waiting.pop() {
        let from = walk::open(root, &directory).map_err(RootfsError::io("open directory", &directory))?;
        let to = walk::open(&parked, &directory).map_err(RootfsError::host("open directory", into))?;
        // Before its children go, which changes its times.
        let times = Metadata::of(&from).map_err(RootfsError::io("look at", &directory))?.mtime;
        if directory.is_root() {
            same_metadata(&from, &to, &directory)?;
        }
        made.push((directory.clone(), times));
        names.read(from.as_fd()).map_err(RootfsError::io("read directory", &directory))?;
        for name in names.iter() {
            let path = walk::child(&directory, name)?;
            if root.keep_out().covers(&path) {
                continue;
            }
            if !move_name(root, &path, (&from, &to), name)? {
                waiting.push(path);
            }
        }
    }
    if let Some(hidden) = hidden {
        let is_own = |path: &ImagePath| path.is_root() || hidden.leading.contains(path);
        let foreign: Vec<ImagePath> = made
            .iter()
            .rev()
            .map(|(path, _)| path.clone())
            .filter(|path| !is_own(path) && root.keep_out().reaches_below(path))
            .filter(|path| rustix::fs::unlinkat(&parked, path.as_relative(), AtFlags::REMOVEDIR).is_ok())
            .collect();
        made.retain(|(path, _)| !foreign.contains(path));
        hidden.mount_points.values().try_for_each(|entry| make_mount_point(&parked, entry))?;
    }
    for (directory, times) in made.into_iter().rev() {
        let to = walk::open(&parked, &directory).map_err(RootfsError::host("open directory", into))?;
        set_times(&to, times).map_err(RootfsError::io("set the times of", &directory))?;
        if !directory.is_root() && !root.keep_out().reaches_below(&directory) {
            remove_tree(root, &directory, &|_| Fate::Remove)?;
        }
    }
    Ok(parked)
}

/// Removes everything but what is kept out, and the directories that lead to it.
///
/// # Errors
/// When something cannot be removed: a mount point that is not kept out is busy.
pub fn clear(root: &Root) -> Result<(), RootfsError> {
    remove_tree(root, &ImagePath::root(), &|_| Fate::Remove)
}

/// Renames; false if it is a directory that has to be moved child by child, and was made anew for that.
fn move_name(
    root: &Root,
    path: &ImagePath,
    at: (&OwnedFd, &OwnedFd),
    name: &[u8],
) -> Result<bool, RootfsError> {
    let (from, to) = at;
    if !root.keep_out().reaches_below(path) {
        match rustix::fs::renameat(from, name, to, name) {
            Ok(()) => return Ok(true),
            Err(error @ Errno::XDEV) => {
                let metadata = Metadata::at(from.as_fd(), name).map_err(RootfsError::io("look at", path))?;
                if !metadata.is_directory() {
                    return Err(RootfsError::io("move", path)(error));
                }
            }
            Err(error) => return Err(RootfsError::io("move", path)(error)),
        }
    }
    make_again(path, at, name)?;
    Ok(false)
}

/// Makes a directory like another one. It has its name when it has all of its metadata: a build that is killed leaves
/// nothing that could be taken for the other.
fn make_again(path: &ImagePath, (from, to): (&OwnedFd, &OwnedFd), name: &[u8]) -> Result<(), RootfsError> {
    let failed = || RootfsError::io("make again", path);
    rustix::fs::mkdirat(to, UNFINISHED, Mode::RWXU).map_err(failed())?;
    let open = |at: &OwnedFd, name: &[u8]| rustix::fs::openat(at, name, walk::DIRECTORY, Mode::empty());
    same_metadata(&open(from, name).map_err(failed())?, &open(to, UNFINISHED).map_err(failed())?, path)?;
    rustix::fs::renameat(to, UNFINISHED, to, name).map_err(failed())
}

/// Makes the directory of an image that a mount point is hidden by. What is there already stays.
fn make_mount_point(parked: &Root, entry: &Entry) -> Result<(), RootfsError> {
    let path = &entry.path;
    if entry.kind != EntryKind::Directory {
        return Ok(());
    }
    match rustix::fs::mkdirat(parked, path.as_relative(), Mode::RWXU) {
        Ok(()) => {}
        // The parent is one that a command removed.
        Err(Errno::EXIST | Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(RootfsError::io("make again", path)(error)),
    }
    let directory = walk::open(parked, path).map_err(RootfsError::io("open directory", path))?;
    let apply = || -> Result<(), Errno> {
        rustix::fs::fchown(&directory, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(entry.mode))?;
        set_times(&directory, Timestamp { seconds: entry.mtime, nanoseconds: 0 })
    };
    apply().map_err(RootfsError::io("make again", path))
}

/// Gives one directory the owner, attributes and mode of another.
pub(crate) fn same_metadata(from: &OwnedFd, to: &OwnedFd, path: &ImagePath) -> Result<(), RootfsError> {
    let apply = || -> Result<(), Errno> {
        let metadata = Metadata::of(from)?;
        rustix::fs::fchown(to, Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)))?;
        for (name, value) in metadata::xattrs(from)? {
            rustix::fs::fsetxattr(to, name.as_slice(), &value, XattrFlags::empty())?;
        }
        rustix::fs::fchmod(to, Mode::from_raw_mode(metadata.mode))
    };
    apply().map_err(RootfsError::io("make again", path))
}

pub(crate) fn set_times(directory: impl AsFd, mtime: Timestamp) -> Result<(), Errno> {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(directory, ".", &times, AtFlags::empty())
}
