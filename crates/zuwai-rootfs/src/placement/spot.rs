//! Where a mount goes: the directory that holds its target, made if it is missing.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;
use zuwai_layer::{ImagePath, Xattrs};

use super::error::PlacementError;
use super::stray;
use crate::metadata::{self, Metadata};
use crate::quietly::quietly;
use crate::root::{KeepOut, Root};
use crate::walk;

/// As runc makes mount points, and what leads to them.
const MADE: u32 = 0o755;

/// Where a mount goes. Directories are held open, so that a step that moves them away moves the spot too, as it would
/// move a mount in them.
#[derive(Debug)]
pub(super) struct Spot {
    /// The target as the step names it.
    pub target: PathBuf,
    /// The real path, no link on the way.
    pub path: ImagePath,
    /// Its last name.
    pub name: Vec<u8>,
    /// The innermost directory on the way that was there.
    existing: OwnedFd,
    /// The directories that were there, outermost first.
    above: Vec<Above>,
    /// The directories that were made, outermost first.
    made: Vec<(Vec<u8>, OwnedFd)>,
}

/// A directory that was there: enough to make it again.
#[derive(Debug)]
struct Above {
    path: ImagePath,
    metadata: Metadata,
    xattrs: Xattrs,
}

impl Spot {
    /// Resolves a target inside the root, and makes the directories that lead to it.
    pub fn find(root: &Root, target: &Path) -> Result<Self, PlacementError> {
        let invalid = |source| PlacementError::Target { target: target.to_owned(), source };
        let path = ImagePath::clamped(target.as_os_str().as_bytes()).map_err(|error| invalid(Some(error)))?;
        let path = root.resolve(&path).map_err(PlacementError::tree("find the place of", target))?;
        let Some(name) = path.name().map(<[u8]>::to_vec) else { return Err(invalid(None)) };
        let existing = rustix::fs::openat(root, ".", walk::DIRECTORY, Mode::empty())
            .map_err(PlacementError::io("find the place of", target))?;
        let mut spot =
            Self { target: target.to_owned(), path, name, existing, above: Vec::new(), made: Vec::new() };
        match spot.descend() {
            Ok(()) => Ok(spot),
            Err(error) => {
                spot.remove_made();
                Err(PlacementError::io("make the directory of", target)(error))
            }
        }
    }

    /// Goes to the directory that holds the target, and makes what is missing of the way.
    fn descend(&mut self) -> Result<(), Errno> {
        let mut on_the_way: Vec<ImagePath> = self.path.ancestors().filter(|path| !path.is_root()).collect();
        on_the_way.sort_unstable();
        for path in on_the_way {
            let name = path.name().unwrap_or_default();
            match rustix::fs::openat(self.directory(), name, walk::DIRECTORY, Mode::empty()) {
                Ok(directory) => {
                    let (metadata, xattrs) = (Metadata::of(&directory)?, metadata::xattrs(&directory)?);
                    self.above.push(Above { path, metadata, xattrs });
                    self.existing = directory;
                }
                Err(Errno::NOENT) => {
                    let made = make_directory(self.directory(), name)?;
                    self.made.push((name.to_vec(), made));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The directory that holds the target.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.made.last().map_or(&self.existing, |(_, directory)| directory).as_fd()
    }

    /// The directory that holds the target, to work in it by paths: what is kept out does not concern it.
    pub fn parent(&self) -> Result<Root, Errno> {
        let handle = rustix::fs::openat(self.directory(), ".", walk::DIRECTORY, Mode::empty())?;
        Ok(Root::from_directory(handle, self.target.clone(), KeepOut::default()))
    }

    /// What is at the target now; `None` if nothing is.
    pub fn there(&self) -> Result<Option<Metadata>, PlacementError> {
        match Metadata::at(self.directory(), self.name.as_slice()) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(PlacementError::io("look at the place of", &self.target)(error)),
        }
    }

    /// Makes the directories that were there again if the step has removed them, which it could not have done with a
    /// mount in them.
    pub fn revive(&mut self, root: &Root) -> Result<(), Errno> {
        // An overlayfs does not tell by the number of names.
        if stray::find(self.existing.as_fd()).is_some() {
            return Ok(());
        }
        let mut directory = rustix::fs::openat(root, ".", walk::DIRECTORY, Mode::empty())?;
        for above in &self.above {
            let name = above.path.name().unwrap_or_default();
            directory = match rustix::fs::openat(&directory, name, walk::DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => above.make_again(directory.as_fd(), name)?,
                other => other?,
            };
        }
        self.existing = directory;
        // What was made for the mount went with them, and need not come back.
        Ok(())
    }

    /// Removes the directories that were made for the target, if they are still there and empty.
    pub fn remove_made(&mut self) {
        while let Some((name, directory)) = self.made.pop() {
            let parent = self.directory();
            let same = |now: Metadata| Metadata::of(&directory).is_ok_and(|made| made.ino == now.ino);
            if Metadata::at(parent, name.as_slice()).is_ok_and(same) {
                // What the step has put in it keeps it, as it would keep a mount point.
                let _ = quietly(parent, || rustix::fs::unlinkat(parent, name.as_slice(), AtFlags::REMOVEDIR));
            }
        }
    }
}

impl Above {
    fn make_again(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
        let directory = make_directory(parent, name)?;
        let (uid, gid) = (Uid::from_raw(self.metadata.uid), Gid::from_raw(self.metadata.gid));
        rustix::fs::fchown(&directory, Some(uid), Some(gid))?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(self.metadata.mode))?;
        for (name, value) in &self.xattrs {
            rustix::fs::fsetxattr(&directory, name.as_slice(), value, XattrFlags::empty())?;
        }
        Ok(directory)
    }
}

/// Makes a directory of mode 0755 without a trace in its parent's times. The set-group-ID bit is inherited, as always.
fn make_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    quietly(parent, || rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(MADE)))?;
    let made = rustix::fs::openat(parent, name, walk::DIRECTORY, Mode::empty())?;
    let inherited = Metadata::of(&made)?.mode & 0o2000;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(MADE | inherited))?;
    Ok(made)
}
