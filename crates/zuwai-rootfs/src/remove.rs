//! Removing trees, with what must stay in them left where it is.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use crate::error::RootfsError;
use crate::metadata::Metadata;
use crate::root::{KeepOut, Root};
use crate::walk::{self, Names};

/// What removing does with one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes.
    Remove,
    /// It stays; what it holds is asked for in turn.
    Stay,
    /// It stays with all it holds.
    StayWhole,
}

/// Removes the real path and all below it, as `fate` says; a directory in which something stays stays too. What is kept
/// out always stays.
///
/// No depth of tree is too deep, also where paths are longer than the system takes them: one directory is open at a time.
pub(crate) fn remove_tree(
    root: &Root,
    path: &ImagePath,
    fate: &dyn Fn(&ImagePath) -> Fate,
) -> Result<(), RootfsError> {
    let mut names = Names::default();
    let mut waiting = Vec::new();
    if remove_name(root, path, fate, None)? {
        waiting.push((path.clone(), false));
    }
    while let Some((directory, emptied)) = waiting.pop() {
        if emptied {
            remove_directory(root, &directory)?;
            continue;
        }
        let handle = open(root, &directory).map_err(RootfsError::io("open directory", &directory))?;
        names.read(handle.as_fd()).map_err(RootfsError::io("read directory", &directory))?;
        if !directory.is_root() && fate_of(root, &directory, fate) == Fate::Remove {
            waiting.push((directory.clone(), true));
        }
        for name in names.iter() {
            let Ok(child) = walk::child(&directory, name) else {
                // Nothing that stays has a path of such a length.
                remove_deep(&handle, name).map_err(RootfsError::io("remove what is deep in", &directory))?;
                continue;
            };
            if remove_name(root, &child, fate, Some(&handle))? {
                waiting.push((child, false));
            }
        }
    }
    Ok(())
}

/// Removes a directory of the host and all in it, however deep that is.
///
/// # Errors
/// When something cannot be removed, or is not there.
pub fn remove_directory_all(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        // It keeps all directories on its way open, which may be more than a process can have.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) => {
            let root = Root::open(path, KeepOut::default())?;
            remove_tree(&root, &ImagePath::root(), &|_| Fate::Remove).map_err(io::Error::other)?;
            std::fs::remove_dir(path)
        }
        other => other,
    }
}

/// Removes a name whose path is longer than the system's limit, and all below it. Directories are moved up to it first, so
/// that two are open at a time.
fn remove_deep(directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let mut names = Names::default();
    let mut waiting = vec![name.to_vec()];
    while let Some(name) = waiting.pop() {
        if !is_full_directory(directory, &name)? {
            continue;
        }
        let below = rustix::fs::openat(directory, &name, walk::DIRECTORY, Mode::empty())?;
        names.read(below.as_fd())?;
        for name in names.iter() {
            if is_full_directory(&below, name)? {
                waiting.push(move_up(&below, name, directory)?);
            }
        }
        rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes a file or an empty directory; says whether it is a directory that is not empty.
fn is_full_directory(directory: &OwnedFd, name: &[u8]) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(false),
        // Some file systems say the second of a directory.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(false),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Moves a name to another directory, and gives the name that it has there.
fn move_up(from: &OwnedFd, name: &[u8], to: &OwnedFd) -> Result<Vec<u8>, Errno> {
    for number in 0_u64.. {
        let free = format!(".deep-{number}").into_bytes();
        match rustix::fs::renameat_with(from, name, to, &free, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(free),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST)
}

/// Removes a path that is no directory; says whether it is one, to be gone into.
fn remove_name(
    root: &Root,
    path: &ImagePath,
    fate: &dyn Fn(&ImagePath) -> Fate,
    parent: Option<&OwnedFd>,
) -> Result<bool, RootfsError> {
    let own_fate = fate_of(root, path, fate);
    let Some(name) = path.name() else { return Ok(own_fate != Fate::StayWhole) };
    let opened;
    let parent = if let Some(parent) = parent {
        parent
    } else {
        opened = open(root, &path.parent().unwrap_or_default())
            .map_err(RootfsError::io("open directory of", path))?;
        &opened
    };
    match own_fate {
        Fate::StayWhole => return Ok(false),
        Fate::Stay => {
            return match Metadata::at(parent.as_fd(), name) {
                Ok(metadata) => Ok(metadata.is_directory()),
                Err(Errno::NOENT) => Ok(false),
                Err(error) => Err(RootfsError::io("look at", path)(error)),
            };
        }
        Fate::Remove => {}
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        Err(Errno::ISDIR) => Ok(true),
        // Some file systems say so of a directory.
        Err(error @ Errno::PERM) => match Metadata::at(parent.as_fd(), name) {
            Ok(metadata) if metadata.is_directory() => Ok(true),
            _ => Err(RootfsError::io("remove", path)(error)),
        },
        Err(error) => Err(RootfsError::io("remove", path)(error)),
    }
}

fn remove_directory(root: &Root, path: &ImagePath) -> Result<(), RootfsError> {
    let removed = walk::open(root, &path.parent().unwrap_or_default())
        .and_then(|parent| rustix::fs::unlinkat(parent, path.name().unwrap_or_default(), AtFlags::REMOVEDIR));
    match removed {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(error) => Err(RootfsError::io("remove directory", path)(error)),
    }
}

fn fate_of(root: &Root, path: &ImagePath, fate: &dyn Fn(&ImagePath) -> Fate) -> Fate {
    if root.keep_out().covers(path) {
        Fate::StayWhole
    } else if root.keep_out().reaches_below(path) {
        match fate(path) {
            Fate::Remove => Fate::Stay,
            other => other,
        }
    } else {
        fate(path)
    }
}

/// Opens a directory to empty it; its owner may have to allow that first.
fn open(root: &Root, path: &ImagePath) -> Result<OwnedFd, Errno> {
    match walk::open(root, path) {
        Err(Errno::ACCESS) => {
            let parent = walk::open(root, &path.parent().unwrap_or_default())?;
            let name = path.name().unwrap_or(b".");
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(&parent, name, flags, Mode::empty())?;
            rustix::fs::chmodat(&parent, name, Mode::RWXU, AtFlags::empty())?;
            walk::open(root, path)
        }
        other => other,
    }
}
