//! What a step has written, as a change set.
//!
//! The kernel's marks are those of `Documentation/filesystems/overlayfs.rst`: a character device 0:0, or an empty file
//! with `user.overlay.whiteout` in a directory whose `user.overlay.opaque` is `x`, is a removed name; a directory whose
//! `user.overlay.opaque` is `y` shows nothing of what is below.
//!
//! Whatever was opened for writing or got other metadata was copied up whole, so that each file is compared with what is
//! below before it counts: a layer has then what a [scan](crate::Index) would find. One thing differs: a file of
//! several names loses them when it is copied up, as with BuildKit, and the other names stay as they were.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use super::room::LayerDir;
use crate::change_set::ChangeSet;
use crate::error::RootfsError;
use crate::metadata::{self, FileKind, Metadata};
use crate::resolve::link_text;
use crate::root::Root;
use crate::walk::{self, DIRECTORY, Directory, Names};

const OPAQUE: &str = "user.overlay.opaque";
const WHITEOUT: &str = "user.overlay.whiteout";

/// Bytes of each of two files read at once to compare them.
const BUFFER: usize = 64 << 10;

/// What an upper layer, of which no view is open any more, changes of the tree below it.
///
/// # Errors
/// When a directory, or a file that has to be compared, cannot be read.
pub fn changes(below: &Root, upper: &LayerDir) -> Result<ChangeSet, RootfsError> {
    let found = Mutex::new(Found::default());
    walk::walk_chosen(&upper.root()?, 1, Below::Shown, |directory, what_is_below, deeper| {
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.directory(below, &directory, what_is_below, deeper)
    })?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner).finish())
}

/// What is below a directory of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    /// No directory.
    Nothing,
    /// A directory, which shows through unless this one is marked.
    Shown,
    /// A directory that does not: this one is in a marked one.
    Hidden,
}

#[derive(Default)]
struct Found {
    changes: ChangeSet,
    /// Files with several names that were touched but are the same.
    touched: Vec<((u64, u64), ImagePath)>,
    /// The files that changed and have several names.
    linked: BTreeSet<(u64, u64)>,
}

impl Found {
    /// Takes one directory of the layer.
    fn directory(
        &mut self,
        below: &Root,
        directory: &Directory<'_>,
        what_is_below: Below,
        deeper: &mut Vec<(ImagePath, Below)>,
    ) -> Result<(), RootfsError> {
        let failed = |doing| RootfsError::io(doing, directory.path);
        let below = (what_is_below != Below::Nothing).then(|| walk::open(below, directory.path)).transpose();
        let below = below.map_err(failed("open directory below"))?;
        let hidden = what_is_below == Below::Hidden
            || mark(directory.handle, OPAQUE).map_err(failed("read marks of"))? == Some(b'y');
        if let Some(below) = &below
            && hidden
        {
            self.hidden(below, directory)?;
        }
        for (name, now) in directory.listing.iter() {
            let before = match below.as_ref().map(|below| Metadata::at(below.as_fd(), name)) {
                None | Some(Err(Errno::NOENT)) => None,
                Some(before) => {
                    let path = directory.child(name)?;
                    Some(before.map_err(RootfsError::io("look below at", &path))?)
                }
            };
            let before = before.as_ref().zip(below.as_ref());
            self.name(directory, name, now, before)?;
            if now.is_directory() {
                let what_is_below = match before {
                    Some((before, _)) if !before.is_directory() => Below::Nothing,
                    None => Below::Nothing,
                    Some(_) if hidden => Below::Hidden,
                    Some(_) => Below::Shown,
                };
                deeper.push((directory.child(name)?, what_is_below));
            }
        }
        Ok(())
    }

    /// Notes the names that are below a directory which shows nothing of it.
    fn hidden(&mut self, below: &OwnedFd, directory: &Directory<'_>) -> Result<(), RootfsError> {
        let mut names = Names::default();
        names.read(below.as_fd()).map_err(RootfsError::io("read directory below", directory.path))?;
        let kept: BTreeSet<&[u8]> = directory.listing.iter().map(|(name, _)| name).collect();
        for name in names.iter().filter(|name| !kept.contains(name)) {
            self.changes.delete(directory.child(name)?);
        }
        Ok(())
    }

    /// Takes one name of a directory of the layer; `before` is what is below, and the directory it is in.
    fn name(
        &mut self,
        directory: &Directory<'_>,
        name: &[u8],
        now: &Metadata,
        before: Option<(&Metadata, &OwnedFd)>,
    ) -> Result<(), RootfsError> {
        let path = directory.child(name)?;
        let failed = || RootfsError::io::<io::Error>("compare", &path);
        if is_whiteout(directory.handle, name, now).map_err(|error| failed()(error.into()))? {
            if before.is_some() {
                self.changes.delete(path);
            }
            return Ok(());
        }
        let same = match before {
            Some((before, below)) => {
                is_same(name, (below.as_fd(), before), (directory.handle, now)).map_err(failed())?
            }
            None => false,
        };
        let several = now.nlink > 1 && !now.is_directory();
        let file = (now.dev, now.ino);
        if !same {
            if several {
                self.linked.insert(file);
            }
            self.changes.upsert(path);
        } else if several {
            self.touched.push((file, path));
        }
        Ok(())
    }

    /// All names of a file that changed are reported together, so that a layer keeps them together.
    fn finish(mut self) -> ChangeSet {
        for (file, path) in self.touched {
            if self.linked.contains(&file) {
                self.changes.upsert(path);
            }
        }
        self.changes
    }
}

/// Whether this stands for the absence of what is below.
pub(super) fn is_whiteout(
    directory: BorrowedFd<'_>,
    name: &[u8],
    metadata: &Metadata,
) -> Result<bool, Errno> {
    match metadata.kind {
        FileKind::CharDevice => Ok(metadata.rdev == 0),
        FileKind::File if metadata.size == 0 && mark(directory, OPAQUE)? == Some(b'x') => {
            mark(open(directory, name)?.as_fd(), WHITEOUT).map(|mark| mark.is_some())
        }
        _ => Ok(false),
    }
}

/// The first byte of a mark, or zero if it is empty.
fn mark(file: BorrowedFd<'_>, name: &str) -> Result<Option<u8>, Errno> {
    let mut value = [0_u8; 16];
    match rustix::fs::fgetxattr(file, name, value.as_mut_slice()) {
        Ok(_) => Ok(Some(value[0])),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an image would hold the same of both.
fn is_same(
    name: &[u8],
    (below, before): (BorrowedFd<'_>, &Metadata),
    (here, now): (BorrowedFd<'_>, &Metadata),
) -> io::Result<bool> {
    let who = |metadata: &Metadata| (metadata.kind, metadata.mode, metadata.uid, metadata.gid);
    let what = |metadata: &Metadata| (metadata.size, metadata.mtime, metadata.rdev);
    if who(before) != who(now) || (!now.is_directory() && what(before) != what(now)) {
        return Ok(false);
    }
    match now.kind {
        FileKind::Directory => {
            let open = |directory| rustix::fs::openat(directory, name, DIRECTORY, Mode::empty());
            Ok(metadata::xattrs(open(below)?)? == metadata::xattrs(open(here)?)?)
        }
        FileKind::File => {
            let (before, now) = (open(below, name)?, open(here, name)?);
            Ok(metadata::xattrs(&before)? == metadata::xattrs(&now)?
                && same_content(File::from(before), File::from(now))?)
        }
        FileKind::Symlink => Ok(link_text(below, name)? == link_text(here, name)?),
        _ => Ok(true),
    }
}

fn open(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

fn same_content(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let mut buffers = [vec![0; BUFFER], vec![0; BUFFER]];
    loop {
        let [first, second] = &mut buffers;
        let (read, read_too) = (fill(&mut one, first)?, fill(&mut other, second)?);
        if first[..read] != second[..read_too] {
            return Ok(false);
        }
        if read < BUFFER {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or nothing is left.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it has in small pieces.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let piece = self.0.len().min(777).min(buffer.len());
            self.0.take(piece as u64).read(&mut buffer[..piece])?;
            self.0 = &self.0[piece..];
            Ok(piece)
        }
    }

    #[test]
    fn contents_are_compared_to_their_last_byte() {
        let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let mut other = content.clone();
        other[199_999] ^= 1;
        assert!(same_content(content.as_slice(), Slow(&content)).unwrap());
        assert!(!same_content(content.as_slice(), Slow(&other)).unwrap());
        assert!(!same_content(content.as_slice(), Slow(&content[..BUFFER])).unwrap());
        assert!(same_content(&content[..BUFFER], Slow(&content[..BUFFER])).unwrap());
    }
}
