//! Cache directories: lent to a step, and taken back with what the step left there, even if it failed.
//!
//! On the same file system the directory itself is moved to its target and back. Else it is copied there, and what is
//! there after the step is copied beside the cache and takes its place in one exchange: a build that is killed meanwhile
//! leaves the cache as it was, and a `.NAME.zuwai-new` beside it, which the next one removes. A build that is killed
//! while it has moved a cache leaves none; the next one begins with an empty one.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, RenameFlags, Uid};
use rustix::io::Errno;

use super::aside::remove_name;
use super::source::{copy_directory, is_same};
use super::stray;
use crate::error::RootfsError;
use crate::metadata::Metadata;
use crate::root::{KeepOut, Root};
use crate::walk;

/// A cache that a step has.
#[derive(Debug)]
pub(super) struct Lent {
    /// The directory that holds it, and its name there.
    home: (Root, Vec<u8>),
    path: PathBuf,
    /// Its directory, as it was before the step.
    directory: OwnedFd,
    metadata: Metadata,
    /// What was placed: the directory itself, or a copy.
    placed: Option<OwnedFd>,
}

impl Lent {
    pub fn new(directory: OwnedFd, parent: OwnedFd, path: &Path) -> Result<Self, RootfsError> {
        let metadata = Metadata::of(&directory).map_err(RootfsError::host("look at", path))?;
        let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
        let home = Root::from_directory(parent, path.to_owned(), KeepOut::default());
        // What a killed build has left of its copy.
        let new = new_name(&name);
        remove_name(&home, &new)?;
        remove_name(&home, &old_name(&new))?;
        Ok(Self { home: (home, name), path: path.to_owned(), directory, metadata, placed: None })
    }

    /// Whether it is this directory.
    pub fn is(&self, directory: &Metadata) -> bool {
        is_same(&self.metadata, directory)
    }

    /// Moves it to a name in a directory; false if that is on another file system.
    pub fn move_to(&mut self, to: BorrowedFd<'_>, name: &[u8]) -> Result<bool, RootfsError> {
        // Once it has been moved nothing may go wrong.
        let placed = self.directory.try_clone().map_err(self.failed("open"))?;
        match rustix::fs::renameat(&self.home.0, self.home.1.as_slice(), to, name) {
            Ok(()) => {
                self.placed = Some(placed);
                Ok(true)
            }
            Err(Errno::XDEV | Errno::BUSY) => Ok(false),
            Err(error) => Err(self.failed("move")(error)),
        }
    }

    /// Copies it over an empty directory, which is named if it is made for that.
    pub fn copy_to(&mut self, to: &Root, made: Option<OwnedFd>, skipped: KeepOut) -> Result<(), RootfsError> {
        self.placed = made;
        copy_directory(&self.directory, to, skipped)
    }

    /// Takes it back from where the step left it. Nothing is there any more then.
    pub fn take_back(self, from: &Root, name: &[u8]) -> Result<(), RootfsError> {
        let there = Metadata::at(from.as_fd(), name).ok().filter(Metadata::is_directory);
        let placed = self.placed.as_ref();
        let is_placed = |there: &Metadata| {
            placed.and_then(|placed| Metadata::of(placed).ok()).is_some_and(|placed| is_same(there, &placed))
        };
        let stray = || {
            placed
                .filter(|_| !there.as_ref().is_some_and(is_placed))
                .and_then(|placed| stray::find(placed.as_fd()))
        };
        if there.is_some() {
            // The step may have moved the cache away and made another: that one is the cache now.
            let stray = stray();
            self.replace_by(from, name)?;
            return stray.map_or(Ok(()), |(directory, name)| remove_name(&directory, &name));
        }
        // What else the step has put in its place is no cache. If it has moved that away, it is found.
        remove_name(from, name)?;
        match stray() {
            Some((directory, name)) => self.replace_by(&directory, &name),
            None => self.empty(),
        }
    }

    /// Takes back what is in a directory that cannot be moved, and stays.
    pub fn copy_back(&self, from: &Root) -> Result<(), RootfsError> {
        let directory = rustix::fs::openat(from, ".", walk::DIRECTORY, Mode::empty());
        self.copy_from(&directory.map_err(self.failed("copy back"))?, from.keep_out().clone())
    }

    /// Puts another directory in the cache's place.
    fn replace_by(&self, from: &Root, name: &[u8]) -> Result<(), RootfsError> {
        let (home, own_name) = &self.home;
        if !self.is_home() {
            match rustix::fs::renameat(from, name, home, own_name.as_slice()) {
                Ok(()) => return Ok(()),
                // Another build has made the cache anew: what was used last stays.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::XDEV) => {}
                Err(error) => return Err(self.failed("move back")(error)),
            }
        }
        let directory =
            rustix::fs::openat(from, name, walk::DIRECTORY, Mode::empty()).map_err(self.failed("open"))?;
        self.copy_from(&directory, KeepOut::default())?;
        remove_name(from, name)
    }

    /// Copies a directory beside the cache and exchanges the two.
    fn copy_from(&self, from: &OwnedFd, skipped: KeepOut) -> Result<(), RootfsError> {
        let (home, name) = &self.home;
        let new = new_name(name);
        rustix::fs::mkdirat(home, new.as_slice(), Mode::RWXU).map_err(self.failed("make"))?;
        let directory = rustix::fs::openat(home, new.as_slice(), walk::DIRECTORY, Mode::empty());
        let to =
            Root::from_directory(directory.map_err(self.failed("open"))?, PathBuf::new(), KeepOut::default());
        let exchange = || match rustix::fs::renameat_with(
            home,
            new.as_slice(),
            home,
            name.as_slice(),
            RenameFlags::EXCHANGE,
        ) {
            Err(Errno::NOENT) => rustix::fs::renameat(home, new.as_slice(), home, name.as_slice()),
            // For a moment there is none.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let old = old_name(&new);
                rustix::fs::renameat(home, name.as_slice(), home, old.as_slice())?;
                rustix::fs::renameat(home, new.as_slice(), home, name.as_slice())?;
                rustix::fs::renameat(home, old.as_slice(), home, new.as_slice())
            }
            other => other,
        };
        let copied =
            copy_directory(from, &to, skipped).and_then(|()| exchange().map_err(self.failed("exchange")));
        // The old one, or what could not be copied.
        remove_name(home, &new).and(copied)
    }

    /// Makes it empty: the step has removed it.
    fn empty(&self) -> Result<(), RootfsError> {
        let (home, name) = &self.home;
        if self.is_home() {
            remove_name(home, name)?;
        }
        let make = || -> Result<(), Errno> {
            rustix::fs::mkdirat(home, name.as_slice(), Mode::RWXU)?;
            let directory = rustix::fs::openat(home, name.as_slice(), walk::DIRECTORY, Mode::empty())?;
            let (uid, gid) = (Uid::from_raw(self.metadata.uid), Gid::from_raw(self.metadata.gid));
            rustix::fs::fchown(&directory, Some(uid), Some(gid))?;
            rustix::fs::fchmod(&directory, Mode::from_raw_mode(self.metadata.mode))
        };
        make().map_err(self.failed("make"))
    }

    fn failed<E: Into<std::io::Error>>(&self, doing: &'static str) -> impl FnOnce(E) -> RootfsError {
        RootfsError::host(doing, &self.path)
    }

    /// Whether the cache was not moved, but copied.
    fn is_home(&self) -> bool {
        Metadata::at(self.home.0.as_fd(), self.home.1.as_slice())
            .is_ok_and(|there| is_same(&there, &self.metadata))
    }
}

fn new_name(name: &[u8]) -> Vec<u8> {
    [b".", name, b".zuwai-new"].concat()
}

/// Where the old one is for a moment, where a file system exchanges nothing.
fn old_name(new: &[u8]) -> Vec<u8> {
    [new, b"-old"].concat()
}
