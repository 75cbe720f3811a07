//! What a layer in a directory of its own takes from the layers below once they are there.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use crate::error::RootfsError;
use crate::metadata::{self, FileKind, Metadata, Timestamp};
use crate::root::Root;
use crate::walk;

/// Why there is a directory that the layer has no entry for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It holds what the layer adds.
    Parent,
    /// It only holds whiteouts or opaque markers, and is needed as far as there is something below that they concern.
    Mark,
    /// One of these, and the layer's own entry for it came later: its metadata is known, what it was below is not.
    Entry,
}

/// What of a layer's directory is to be compared with the layers below.
#[derive(Debug, Default)]
pub struct Implied {
    /// Directories that the layer has no entry for, and which are not hidden from what lies below.
    directories: BTreeMap<ImagePath, Purpose>,
    /// How many of them are for marks alone.
    for_marks: usize,
    pub(super) whiteouts: BTreeSet<ImagePath>,
}

impl Implied {
    /// Whether the layers below do not matter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty() && self.whiteouts.is_empty()
    }

    pub(super) fn insert(&mut self, path: ImagePath, purpose: Purpose) {
        let before = self.directories.insert(path, purpose);
        self.for_marks += usize::from(purpose == Purpose::Mark);
        self.for_marks -= usize::from(before == Some(Purpose::Mark));
    }

    /// The layer has an entry for a directory.
    pub(super) fn has_entry(&mut self, path: &ImagePath) {
        if path.is_root() {
            self.directories.remove(path);
        } else if self.directories.contains_key(path) {
            self.insert(path.clone(), Purpose::Entry);
        }
    }

    /// Whether something at a path or below it was taken to be a directory in the layers below.
    pub(super) fn assumes(&self, path: &ImagePath) -> bool {
        self.directories.range(path..).next().is_some_and(|(next, _)| next.starts_with(path))
    }

    pub(super) fn is_for_marks(&self, path: &ImagePath) -> bool {
        self.for_marks > 0 && self.directories.get(path) == Some(&Purpose::Mark)
    }

    /// Whether there are directories for marks alone below a directory.
    pub(super) fn has_marks_below(&self, directory: &ImagePath) -> bool {
        let below = self.directories.range(directory..).take_while(|(path, _)| path.starts_with(directory));
        self.for_marks > 0
            && below.skip_while(|(path, _)| *path == directory).any(|(_, purpose)| *purpose == Purpose::Mark)
    }

    /// Something is put into a directory: it and those above, as far as they exist, are no longer for marks alone.
    pub(super) fn promote(&mut self, path: &ImagePath) {
        if self.for_marks == 0 {
            return;
        }
        for path in path.ancestors().chain([path.clone()]) {
            if self.is_for_marks(&path) {
                self.insert(path, Purpose::Parent);
            }
        }
    }

    /// Takes the whiteouts at a path and below it.
    pub(super) fn take_whiteouts(&mut self, path: &ImagePath) -> Vec<ImagePath> {
        let taken = subtree(self.whiteouts.range(path..), path);
        for gone in &taken {
            self.whiteouts.remove(gone);
        }
        taken
    }
}

/// A path and all below it, from the sorted paths that begin there.
pub(super) fn subtree<'a>(from: impl Iterator<Item = &'a ImagePath>, top: &ImagePath) -> Vec<ImagePath> {
    from.take_while(|path| path.starts_with(top)).cloned().collect()
}

/// Whether a layer that was unpacked alone stands as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// It does.
    Done,
    /// What it has no entry for is a link or no directory below: see [`LayerUnpacked::NeedsBelow`](super::LayerUnpacked).
    NeedsBelow,
}

/// Makes a layer's directory fit the layers below: directories that the layer has no entry for take on owner, mode,
/// extended attributes and times of those below (where there are none, they are 0755 and 0:0 already); whiteouts of
/// what is not there go, since overlayfs would list them in a directory that is of one layer alone.
///
/// `below` is a view of the layers below; `None` for the lowest layer.
///
/// # Errors
/// When the system fails to look or to change something.
pub fn adopt_parents(below: Option<&Root>, layer: &Root, implied: &Implied) -> Result<Adopted, RootfsError> {
    for path in &implied.whiteouts {
        if matches!(look(below, path)?, Below::Nothing) {
            unlink(layer, path, AtFlags::empty())?;
        }
    }
    // The deepest first, so that none changes once it has its times.
    for (path, purpose) in implied.directories.iter().rev() {
        match (look(below, path)?, purpose) {
            (Below::Directory(_) | Below::Nothing, Purpose::Entry) | (Below::Nothing, Purpose::Parent) => {}
            (Below::Directory(directory), _) => adopt(layer, path, &directory)?,
            (Below::Nothing | Below::Other { link: false }, Purpose::Mark) => {
                unlink(layer, path, AtFlags::REMOVEDIR)?;
            }
            (Below::Other { .. }, _) => return Ok(Adopted::NeedsBelow),
        }
    }
    Ok(Adopted::Done)
}

/// What the layers below have at a path.
enum Below {
    Nothing,
    Directory(OwnedFd),
    Other { link: bool },
}

/// Looks without following links: what a directory above leads to is that directory's matter.
fn look(below: Option<&Root>, path: &ImagePath) -> Result<Below, RootfsError> {
    let Some(below) = below else { return Ok(Below::Nothing) };
    match walk::open_beneath(below, path) {
        Ok(directory) => return Ok(Below::Directory(directory)),
        Err(Errno::NOENT) => return Ok(Below::Nothing),
        Err(Errno::NOTDIR | Errno::LOOP) => {}
        Err(error) => return Err(RootfsError::io("open directory", path)(error)),
    }
    let there = walk::open_beneath(below, &path.parent().unwrap_or_default())
        .and_then(|parent| Metadata::at(parent.as_fd(), path.name().unwrap_or(b".")));
    match there {
        Ok(there) => Ok(Below::Other { link: there.kind == FileKind::Symlink }),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(Below::Nothing),
        Err(error) => Err(RootfsError::io("look at", path)(error)),
    }
}

/// Gives a directory of the layer the metadata of the one below.
fn adopt(layer: &Root, path: &ImagePath, below: &OwnedFd) -> Result<(), RootfsError> {
    let there = Metadata::of(below).map_err(RootfsError::io("look at", path))?;
    let xattrs = metadata::xattrs(below).map_err(RootfsError::io("read extended attributes of", path))?;
    let ours = walk::open_beneath(layer, path).map_err(RootfsError::io("open directory", path))?;
    rustix::fs::fchown(&ours, Some(Uid::from_raw(there.uid)), Some(Gid::from_raw(there.gid)))
        .map_err(RootfsError::io("set the owner of", path))?;
    for (name, value) in &xattrs {
        rustix::fs::fsetxattr(&ours, name.as_slice(), value, XattrFlags::empty())
            .map_err(RootfsError::io("set extended attributes of", path))?;
    }
    rustix::fs::fchmod(&ours, Mode::from_raw_mode(there.mode))
        .map_err(RootfsError::io("set the mode of", path))?;
    rustix::fs::futimens(&ours, &times(there.mtime)).map_err(RootfsError::io("set the times of", path))
}

/// Removes something of the layer; the directory that held it keeps its times.
fn unlink(layer: &Root, path: &ImagePath, flags: AtFlags) -> Result<(), RootfsError> {
    let named = path.parent().unwrap_or_default();
    let parent = walk::open_beneath(layer, &named).map_err(RootfsError::io("open directory", &named))?;
    let before = Metadata::of(&parent).map_err(RootfsError::io("look at", &named))?;
    rustix::fs::unlinkat(&parent, path.name().unwrap_or_default(), flags)
        .map_err(RootfsError::io("remove", path))?;
    rustix::fs::futimens(&parent, &times(before.mtime)).map_err(RootfsError::io("set the times of", &named))
}

fn times(mtime: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
