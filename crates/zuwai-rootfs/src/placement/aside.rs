//! What a target covers: set aside before the step, put back after it.
//!
//! It is moved by a rename, never copied. In the image it goes into the step's scratch directory; on a volume of the
//! user's, another file system, it stays there under another name, so that nothing of it can be lost if the builder is
//! killed. A directory that cannot be renamed, because something is mounted in it, or in a lower layer of an overlayfs,
//! stays and is emptied, as parking empties a root.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use super::covered::Covered;
use super::error::PlacementError;
use super::source::is_same;
use super::spot::Spot;
use super::stray;
use crate::error::RootfsError;
use crate::metadata::{Metadata, Timestamp};
use crate::park;
use crate::quietly::quietly;
use crate::remove::{Fate, remove_tree};
use crate::restore::restore;
use crate::root::{KeepOut, Root};
use crate::walk;

/// What was at a target.
#[derive(Debug)]
pub(super) enum Aside {
    /// Nothing.
    Nothing,
    /// It was renamed.
    Moved(Moved),
    /// It is a directory that stays.
    Emptied(Box<Emptied>),
}

/// Something that was renamed.
#[derive(Debug)]
pub(super) struct Moved {
    /// Where it is; `None` if it is beside the target, in the same directory.
    holding: Option<OwnedFd>,
    name: Vec<u8>,
    /// As it was when it had been moved.
    metadata: Metadata,
}

/// A directory that was emptied.
#[derive(Debug)]
pub(super) struct Emptied {
    /// The directory.
    pub directory: Root,
    /// What was in it.
    pub content: Root,
    /// The files in it that have several names, with their ctimes.
    linked: BTreeMap<ImagePath, Timestamp>,
}

impl Aside {
    /// Sets aside what is at a spot.
    pub fn set(root: &Root, spot: &Spot, scratch: Option<&Path>) -> Result<Self, PlacementError> {
        let Some(there) = spot.there()? else { return Ok(Self::Nothing) };
        let keep_out = root.keep_out();
        if keep_out.contains(&spot.path) || keep_out.reaches_below(&spot.path) {
            if !there.is_directory() {
                return Err(PlacementError::MountPoint { target: spot.target.clone() });
            }
            return Self::emptied(root, spot, scratch);
        }
        let scratch = scratch.filter(|_| !keep_out.covers(&spot.path));
        match Moved::new(spot, scratch) {
            Ok(moved) => Ok(Self::Moved(moved)),
            Err(Errno::XDEV) if there.is_directory() => Self::emptied(root, spot, scratch),
            // The scratch directory is on another file system after all.
            Err(Errno::XDEV) if scratch.is_some() => {
                Moved::new(spot, None).map(Self::Moved).map_err(set_aside(spot))
            }
            Err(Errno::BUSY) => Err(PlacementError::MountPoint { target: spot.target.clone() }),
            Err(error) => Err(set_aside(spot)(error)),
        }
    }

    fn emptied(root: &Root, spot: &Spot, scratch: Option<&Path>) -> Result<Self, PlacementError> {
        Emptied::new(root, spot, scratch).map(|emptied| Self::Emptied(Box::new(emptied)))
    }

    /// The mode of what was set aside.
    pub fn mode(&self) -> Option<u32> {
        match self {
            Self::Nothing => None,
            Self::Moved(moved) => Some(moved.metadata.mode),
            Self::Emptied(emptied) => Metadata::of(&emptied.content).ok().map(|metadata| metadata.mode),
        }
    }

    /// Puts it back: nothing is at the spot any more.
    pub fn put_back(self, root: &Root, spot: &Spot, covered: &mut Covered) -> Result<(), PlacementError> {
        match self {
            Self::Nothing => Ok(()),
            Self::Moved(moved) => {
                let untouched = moved
                    .put_back(spot)
                    .map_err(PlacementError::io("put back what was under", &spot.target))?;
                if untouched && !root.keep_out().covers(&spot.path) {
                    covered.add(spot.path.clone());
                }
                Ok(())
            }
            Self::Emptied(emptied) => {
                let touched = emptied
                    .put_back()
                    .map_err(PlacementError::tree("put back what was under", &spot.target))?;
                if !root.keep_out().covers(&spot.path) {
                    covered.add(spot.path.clone());
                    covered.except(
                        touched.iter().map(|path| spot.path.join(path.as_bytes()).unwrap_or_default()),
                    );
                }
                Ok(())
            }
        }
    }
}

fn set_aside<E: Into<std::io::Error>>(spot: &Spot) -> impl FnOnce(E) -> PlacementError {
    PlacementError::io("set aside what is at the place of", &spot.target)
}

impl Moved {
    fn new(spot: &Spot, scratch: Option<&Path>) -> Result<Self, Errno> {
        let holding =
            scratch.map(|scratch| rustix::fs::open(scratch, walk::DIRECTORY, Mode::empty())).transpose()?;
        let directory = spot.directory();
        let to = holding.as_ref().map_or(directory, OwnedFd::as_fd);
        let name = free_name(to)?;
        quietly(directory, || rustix::fs::renameat(directory, spot.name.as_slice(), to, name.as_slice()))?;
        let metadata = Metadata::at(to, name.as_slice())?;
        Ok(Self { holding, name, metadata })
    }

    /// Whether it is as it was: a file may have been changed by another of its names.
    fn put_back(&self, spot: &Spot) -> Result<bool, Errno> {
        let directory = spot.directory();
        let from = self.holding.as_ref().map_or(directory, OwnedFd::as_fd);
        let untouched = Metadata::at(from, self.name.as_slice())?.ctime == self.metadata.ctime;
        quietly(directory, || {
            rustix::fs::renameat(from, self.name.as_slice(), directory, spot.name.as_slice())
        })?;
        Ok(untouched)
    }
}

impl Emptied {
    fn new(root: &Root, spot: &Spot, scratch: Option<&Path>) -> Result<Self, PlacementError> {
        let failed = || PlacementError::tree("set aside what is at the place of", &spot.target);
        let path = root.host_path().join(spot.path.as_relative());
        let below = root.keep_out().iter().filter(|kept| kept.starts_with(&spot.path) && **kept != spot.path);
        let relative = |kept: &ImagePath| {
            kept.as_relative()
                .strip_prefix(spot.path.as_relative())
                .ok()
                .map(|path| path.as_os_str().as_bytes().to_vec())
        };
        let mut keep_out =
            KeepOut::new(below.filter_map(relative).filter_map(|path| ImagePath::new(path).ok()));
        // Beside what is in a volume, which is another file system.
        let holding = match scratch.filter(|_| !root.keep_out().covers(&spot.path)) {
            Some(scratch) => scratch.to_owned(),
            None if root.keep_out().contains(&spot.path) => path.clone(),
            None => path.parent().unwrap_or(&path).to_owned(),
        };
        let at =
            rustix::fs::openat(CWD, &holding, walk::DIRECTORY, Mode::empty()).map_err(set_aside(spot))?;
        let name = free_name(at.as_fd()).map_err(set_aside(spot))?;
        if holding == path {
            keep_out.insert(ImagePath::new(&name).unwrap_or_default());
        }
        let directory = Root::open(&path, keep_out).map_err(set_aside(spot))?;
        let into: PathBuf = holding.join(std::ffi::OsStr::from_bytes(&name));
        let made = quietly(at.as_fd(), || rustix::fs::mkdirat(&at, name.as_slice(), Mode::RWXU));
        made.map_err(set_aside(spot))?;
        let parked = quietly(at.as_fd(), || park::park(&directory, &into, None));
        match parked.and_then(|content| Ok((linked(&content)?, content))) {
            Ok((linked, content)) => Ok(Self { directory, content, linked }),
            Err(error) => {
                // What was moved before it failed goes back at once: the rest is still there.
                if let Ok(parked) = Root::open(&into, KeepOut::default()) {
                    restore(&parked, &directory).and_then(|()| remove_emptied(&parked)).map_err(failed())?;
                }
                Err(failed()(error))
            }
        }
    }

    /// Makes the directory again if the step has removed it, which it could not have done with a mount there.
    pub fn revive(&mut self, spot: &Spot) -> Result<(), RootfsError> {
        let failed = || RootfsError::io("make again", &spot.path);
        let there = spot.there().ok().flatten();
        let own = Metadata::of(&self.directory).map_err(failed())?;
        if there.is_some_and(|there| is_same(&there, &own)) || stray::find(self.directory.as_fd()).is_some() {
            return Ok(());
        }
        let parent = spot.parent().map_err(failed())?;
        remove_name(&parent, &spot.name)?;
        rustix::fs::mkdirat(&parent, spot.name.as_slice(), Mode::RWXU).map_err(failed())?;
        let new = rustix::fs::openat(&parent, spot.name.as_slice(), walk::DIRECTORY, Mode::empty())
            .map_err(failed())?;
        let host_path = self.directory.host_path().to_owned();
        self.directory = Root::from_directory(new, host_path, self.directory.keep_out().clone());
        Ok(())
    }

    /// Gives the files that were changed meanwhile, by other names that they have.
    fn put_back(self) -> Result<Vec<ImagePath>, RootfsError> {
        let mut now = linked(&self.content)?;
        now.retain(|path, ctime| self.linked.get(path) != Some(ctime));
        park::clear(&self.directory)?;
        restore(&self.content, &self.directory)?;
        // Which is in the directory itself, perhaps.
        quietly(self.directory.as_fd(), || remove_emptied(&self.content))?;
        Ok(now.into_keys().collect())
    }
}

/// Removes the directory that held what was set aside.
fn remove_emptied(content: &Root) -> Result<(), RootfsError> {
    rustix::fs::unlinkat(CWD, content.host_path(), AtFlags::REMOVEDIR)
        .map_err(RootfsError::host("remove", content.host_path()))
}

/// The files of a tree that have several names, with their ctimes.
fn linked(tree: &Root) -> Result<BTreeMap<ImagePath, Timestamp>, RootfsError> {
    let found = Mutex::new(BTreeMap::new());
    walk::walk(tree, 1, |directory| {
        for (name, metadata) in directory.listing.iter() {
            if metadata.nlink > 1 && !metadata.is_directory() {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.insert(directory.child(name)?, metadata.ctime);
            }
        }
        Ok(())
    })?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Removes what is called `name` in a directory, with all below it.
pub(super) fn remove_name(directory: &Root, name: &[u8]) -> Result<(), RootfsError> {
    let path =
        ImagePath::new(name).map_err(|source| RootfsError::Name { directory: ImagePath::root(), source })?;
    remove_tree(directory, &path, &|_| Fate::Remove)
}

/// A name that nothing has in a directory. One that a killed build has left is not taken again: it holds what that
/// build has covered.
pub(super) fn free_name(directory: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    for number in 0..u32::MAX {
        let name = format!(".zuwai-covered-{number}").into_bytes();
        match Metadata::at(directory, name.as_slice()) {
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(name),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST)
}
