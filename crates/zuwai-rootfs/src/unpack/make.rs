//! Making what an entry says, in an open directory.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use zuwai_layer::{Entry, EntryKind, ImagePath, LayerReader, Xattrs};

use super::Refused;
use super::fill::{self, Filler, Finish};
use super::parents::Fresh;
use crate::error::RootfsError;
use crate::fingerprint::{self, Fingerprinter, Fingerprints, Observed};
use crate::metadata::{Metadata, Timestamp};
use crate::overlay::nodes::{self, Marks, Node};
use crate::root::Root;

/// Where something is made: a name in an open directory, and its path for messages.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) root: &'a Root,
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a [u8],
    pub(super) path: &'a ImagePath,
    /// What is known of new files in the directory.
    pub(super) fresh: &'a Cell<Option<Fresh>>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is there.
    Done,
    /// Something else is in its place; nothing was done, and content not read.
    Exists,
    /// It was refused, and counted.
    Refused,
}

impl Outcome {
    /// Whether it is there, when its place had been cleared.
    pub(super) fn without_rival(self, path: &ImagePath) -> Result<bool, RootfsError> {
        match self {
            Self::Done => Ok(true),
            Self::Refused => Ok(false),
            Self::Exists => Err(RootfsError::io("create", path)(Errno::EXIST)),
        }
    }
}

/// Makes files, links and nodes, and counts what is refused.
#[derive(Default)]
pub(super) struct Maker {
    pub(super) refused: Refused,
    /// What is seen of contents, if anybody wants to know.
    pub(super) fingerprints: Option<Fingerprints>,
    pub(super) filler: Option<Filler>,
}

impl Maker {
    /// Makes a file, symbolic link, device or pipe. Directories and hard links are the caller's.
    pub(super) fn make<R: Read>(
        &mut self,
        place: Place<'_>,
        entry: &Entry,
        layer: &mut LayerReader<R>,
    ) -> Result<Outcome, RootfsError> {
        match &entry.kind {
            EntryKind::File { size } => self.file(place, entry, *size, layer),
            EntryKind::Symlink { target } => self.symlink(place, entry, target),
            EntryKind::CharDevice { major, minor } => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(place, entry, FileType::CharacterDevice, device)
            }
            EntryKind::BlockDevice { major, minor } => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(place, entry, FileType::BlockDevice, device)
            }
            EntryKind::Fifo => self.node(place, entry, FileType::Fifo, 0),
            EntryKind::Directory | EntryKind::Hardlink { .. } => Ok(Outcome::Exists),
        }
    }

    fn file<R: Read>(
        &mut self,
        place: Place<'_>,
        entry: &Entry,
        size: u64,
        layer: &mut LayerReader<R>,
    ) -> Result<Outcome, RootfsError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let asked = entry.mode & 0o777;
        let mode = Mode::from_raw_mode(asked);
        let mut file = match rustix::fs::openat(place.directory, place.name, flags, mode) {
            Ok(file) => File::from(file),
            Err(Errno::EXIST) => return Ok(Outcome::Exists),
            Err(error) => return Err(RootfsError::io("create", place.path)(error)),
        };
        let mut finish = Finish { mtime: Some(entry.mtime), ..Finish::of(entry) };
        let fresh = fresh(place, asked, &file)?;
        if (fresh.uid, fresh.gid) == (entry.uid, entry.gid) {
            finish.owner = None;
        }
        if fresh.mode == entry.mode {
            finish.mode = None;
        }
        if size > fill::SMALL {
            self.copy(place, entry, layer, &mut file)?;
            finish.apply(&file, &mut self.refused)?;
            return Ok(Outcome::Done);
        }
        let mut filler = match self.filler.take() {
            Some(filler) => filler,
            None => Filler::spawn().map_err(RootfsError::io("start a thread to write", place.path))?,
        };
        self.copy(place, entry, layer, filler.content())?;
        let goes_on = filler.add(file, finish);
        self.filler = Some(filler);
        if !goes_on {
            self.finish()?;
        }
        Ok(Outcome::Done)
    }

    /// Copies the content of a file.
    fn copy<R: Read>(
        &mut self,
        place: Place<'_>,
        entry: &Entry,
        layer: &mut LayerReader<R>,
        sink: &mut impl Write,
    ) -> Result<(), RootfsError> {
        let Some(known) = &mut self.fingerprints else {
            layer.copy_content(sink)?.map_err(RootfsError::io("write", place.path))?;
            return Ok(());
        };
        let mut observed = Observed::new(sink);
        layer.copy_content(&mut observed)?.map_err(RootfsError::io("write", place.path))?;
        known.insert(place.path, fingerprint(observed.digest, entry));
        Ok(())
    }

    /// Waits until all files have their content and metadata.
    pub(super) fn finish(&mut self) -> Result<(), RootfsError> {
        if let Some(filler) = self.filler.take() {
            self.refused.add(filler.finish()?);
        }
        Ok(())
    }

    fn symlink(&mut self, place: Place<'_>, entry: &Entry, target: &[u8]) -> Result<Outcome, RootfsError> {
        match rustix::fs::symlinkat(target, place.directory, place.name) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(Outcome::Exists),
            Err(error) => return Err(RootfsError::io("create link", place.path)(error)),
        }
        self.owner(place, entry)?;
        set_times(place, entry)?;
        if let Some(known) = &mut self.fingerprints {
            known.insert(place.path, fingerprint::of_bytes(target));
        }
        Ok(Outcome::Done)
    }

    fn node(
        &mut self,
        place: Place<'_>,
        entry: &Entry,
        kind: FileType,
        device: u64,
    ) -> Result<Outcome, RootfsError> {
        let mode = Mode::from_raw_mode(entry.mode);
        let first_mode = mode & Mode::from_raw_mode(0o777);
        match rustix::fs::mknodat(place.directory, place.name, kind, first_mode, device) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(Outcome::Exists),
            Err(Errno::PERM) if node_later(place, entry, kind, device)? => return Ok(Outcome::Done),
            Err(Errno::PERM | Errno::ACCESS) => {
                self.refused.devices += 1;
                tracing::debug!(path = %place.path, "device node left out: not permitted");
                return Ok(Outcome::Refused);
            }
            Err(error) => return Err(RootfsError::io("create", place.path)(error)),
        }
        self.owner(place, entry)?;
        // It was made just now, and is no link that could be followed.
        rustix::fs::chmodat(place.directory, place.name, mode, AtFlags::empty())
            .map_err(RootfsError::io("set the mode of", place.path))?;
        set_times(place, entry)?;
        self.refused.xattrs += belonging(&entry.xattrs).count() as u64;
        Ok(Outcome::Done)
    }

    /// Notes that a path is another name of one whose content was seen.
    pub(super) fn linked(&mut self, path: &ImagePath, target: &ImagePath) {
        if let Some(known) = &mut self.fingerprints {
            match known.get(target) {
                Some(fingerprint) => known.insert(path, fingerprint),
                None => known.remove(path),
            }
        }
    }

    /// Owner, mode and extended attributes of an open directory.
    pub(super) fn metadata(&mut self, directory: impl AsFd, entry: &Entry) -> Result<(), RootfsError> {
        Finish::of(entry).apply(directory, &mut self.refused)
    }

    fn owner(&mut self, place: Place<'_>, entry: &Entry) -> Result<(), RootfsError> {
        let (uid, gid) = crate::metadata::owner(entry.uid, entry.gid);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::chownat(place.directory, place.name, uid, gid, flags) {
            Err(Errno::PERM | Errno::INVAL) => self.refused.owners += 1,
            other => other.map_err(RootfsError::io("set the owner of", &entry.path))?,
        }
        Ok(())
    }
}

/// What a new file came out as.
fn fresh(place: Place<'_>, asked: u32, file: &File) -> Result<Fresh, RootfsError> {
    match place.fresh.get() {
        Some(fresh) if fresh.asked == asked => Ok(fresh),
        _ => {
            let there = Metadata::of(file).map_err(RootfsError::io("look at", place.path))?;
            let fresh = Fresh { asked, mode: there.mode, uid: there.uid, gid: there.gid };
            place.fresh.set(Some(fresh));
            Ok(fresh)
        }
    }
}

fn fingerprint(digest: Fingerprinter, entry: &Entry) -> u64 {
    let xattrs: Xattrs =
        belonging(&entry.xattrs).map(|(name, value)| (name.clone(), value.clone())).collect();
    digest.finish(&xattrs)
}

fn set_times(place: Place<'_>, entry: &Entry) -> Result<(), RootfsError> {
    rustix::fs::utimensat(place.directory, place.name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(RootfsError::io("set the times of", place.path))
}

/// Whether a device that cannot be made through a view is made when that is closed.
fn node_later(place: Place<'_>, entry: &Entry, kind: FileType, device: u64) -> Result<bool, RootfsError> {
    let mtime = Timestamp { seconds: entry.mtime, nanoseconds: 0 };
    let marks = Marks { mode: entry.mode, owner: (entry.uid, entry.gid), mtime };
    nodes::later(place.root, place.directory, place.path, Node { kind, device, marks })
        .map_err(RootfsError::io("create", place.path))
}

/// The extended attributes that are set: an image may carry others, such as labels, that belong to where it was made,
/// or overlayfs's own, which would let it reach into other layers.
pub(super) fn belonging(xattrs: &Xattrs) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
    xattrs.iter().filter(|(name, _)| crate::metadata::belongs_to_image(name))
}

pub(super) fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Makes a directory that the layer has no entry for, with what it has where there is none below either: 0755, 0:0.
pub(super) fn make_parent(parent: &OwnedFd, name: &[u8], path: &ImagePath) -> Result<OwnedFd, RootfsError> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(RootfsError::io("create directory", path))?;
    let made = open_directory(parent, name).map_err(RootfsError::io("open directory", path))?;
    // Only what a set-group-ID directory hands down can make this needed, so a refusal does no harm.
    let _ = rustix::fs::fchown(&made, Some(Uid::ROOT), Some(Gid::ROOT));
    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))
        .map_err(RootfsError::io("set the mode of", path))?;
    Ok(made)
}

pub(super) fn open_directory(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, name, crate::walk::DIRECTORY, Mode::empty())
}
