//! Making room in the target: destinations, parents, and what stands in the way.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use super::error::CopyError;
use super::record::Record;
use super::source::open_directory_at;
use super::transfer::set_owner_and_mode;
use crate::error::RootfsError;
use crate::metadata::Metadata;
use crate::root::Root;

/// What a new directory gets while it is filled.
const FILLING: Mode = Mode::RWXU;

const SET_GROUP_ID: u32 = 0o2000;

/// A destination as `COPY` takes it.
#[derive(Debug)]
pub(crate) struct Destination {
    /// The clean path, links not followed.
    path: ImagePath,
    /// Whether it was written as a directory: with a slash or `/.` at its end.
    directory: bool,
}

impl Destination {
    pub fn new(written: &[u8]) -> Result<Self, CopyError> {
        let directory =
            written.ends_with(b"/") || written.ends_with(b"/.") || written == b"." || written.is_empty();
        Ok(Self { path: ImagePath::clamped(written)?, directory })
    }
}

/// The root that is written to, and what was written.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub root: &'a Root,
    pub record: Record,
    /// Owner of directories made on the way. `None` is 0:0, or group of the directory above where that has its
    /// set-group-ID bit: the kernel's own rule, which BuildKit leaves alone.
    pub owner: Option<(u32, u32)>,
    /// Mode of directories made on the way from the root to the destination.
    pub mode: u32,
    /// Whether directories made on the way keep the set-group-ID bit that the kernel gives them in one that has it.
    pub keeps_set_group_id: bool,
}

impl Target<'_> {
    /// Makes the destination ready for a file or directory called `name`; where that has to be written. Links in the
    /// destination are followed, also to nowhere; one by the name of the file, in the directory, is not.
    pub fn prepare(
        &mut self,
        destination: &Destination,
        name: &[u8],
        is_directory: bool,
    ) -> Result<ImagePath, RootfsError> {
        let parents = if destination.directory {
            destination.path.clone()
        } else {
            destination.path.parent().unwrap_or_default()
        };
        let parents = self.root.resolve(&parents)?;
        self.make_directories(&parents, self.mode)?;
        let place = self.root.resolve(&destination.path)?;
        let there = self.root.metadata(&place)?;
        if is_directory {
            if there.is_none() {
                self.make_directories(&place, self.mode)?;
            } else if !there.is_some_and(|there| there.is_directory()) {
                return Err(CopyError::NotADirectory { path: place }.into());
            }
            return self.allowed(place).map_err(Into::into);
        }
        let place = if there.is_some_and(|there| there.is_directory()) {
            place.join(name).map_err(CopyError::from)?
        } else {
            place
        };
        self.make_directories(&place.parent().unwrap_or_default(), self.mode)?;
        self.allowed(place).map_err(Into::into)
    }

    /// Makes the destination a directory that something is extracted into. Created parents take no mode from
    /// `--chmod` then.
    pub fn prepare_directory(&mut self, destination: &Destination) -> Result<ImagePath, RootfsError> {
        let place = self.root.resolve(&destination.path)?;
        self.make_directories(&place, 0o755)?;
        Ok(self.allowed(place)?)
    }

    /// Whether nothing is at a destination, and it was not written as a directory.
    pub fn is_new(&self, destination: &Destination) -> Result<bool, RootfsError> {
        let place = self.root.resolve(&destination.path)?;
        Ok(!destination.directory && self.root.metadata(&place)?.is_none())
    }

    fn allowed(&self, path: ImagePath) -> Result<ImagePath, CopyError> {
        if self.root.keep_out().covers(&path) { Err(CopyError::KeptOut { path }) } else { Ok(path) }
    }

    /// Makes a directory and its parents, as far as they are missing. The path is real: no links.
    pub fn make_directories(&mut self, path: &ImagePath, mode: u32) -> Result<(), CopyError> {
        if path.is_root()
            || Metadata::at(self.root.as_fd(), path.as_relative()).is_ok_and(|there| there.is_directory())
        {
            return Ok(());
        }
        let parent = path.parent().unwrap_or_default();
        self.make_directories(&parent, mode)?;
        if self.root.keep_out().covers(path) {
            return Err(CopyError::KeptOut { path: path.clone() });
        }
        match rustix::fs::mkdirat(self.root.as_fd(), path.as_relative(), FILLING) {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOTDIR) => return Err(CopyError::NotADirectory { path: path.clone() }),
            Err(error) => return Err(CopyError::write(path)(error)),
        }
        let new = open_directory_at(self.root.as_fd(), path).map_err(CopyError::write(path))?;
        self.set_metadata(&new, mode).map_err(CopyError::write(path))?;
        self.record.directory(&parent);
        self.record.directory(path);
        Ok(())
    }

    /// Gives a directory that was made just now its owner and mode.
    fn set_metadata(&self, new: &OwnedFd, mode: u32) -> Result<(), Errno> {
        let status = rustix::fs::fstat(new)?;
        let inherited = status.st_mode & SET_GROUP_ID;
        let group = if inherited == 0 { 0 } else { status.st_gid };
        let kept = if self.keeps_set_group_id { inherited } else { 0 };
        set_owner_and_mode(new, self.owner.unwrap_or((0, group)), mode | kept)
    }

    /// Opens a directory by its real path.
    pub fn open(&self, path: &ImagePath) -> Result<OwnedFd, CopyError> {
        open_directory_at(self.root.as_fd(), path).map_err(CopyError::write(path))
    }

    /// Makes the directory `name`, or takes the one that is there; whether it was made.
    pub fn enter(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &ImagePath,
    ) -> Result<(OwnedFd, bool), CopyError> {
        let made = match rustix::fs::mkdirat(directory, name, FILLING) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(CopyError::write(path)(error)),
        };
        if !made && !Metadata::at(directory, name).map_err(CopyError::write(path))?.is_directory() {
            return Err(CopyError::NotADirectory { path: path.clone() });
        }
        let name = ImagePath::new(name)?;
        let open = open_directory_at(directory, &name).map_err(CopyError::write(path))?;
        self.record.directory(path);
        Ok((open, made))
    }
}

/// Removes what is called `name`, if anything is; a directory is not removed but an error.
pub(crate) fn clear(directory: BorrowedFd<'_>, name: &[u8], path: &ImagePath) -> Result<(), CopyError> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => {
            let there = Metadata::at(directory, name);
            if there.is_ok_and(|there| there.is_directory()) {
                return Err(CopyError::ReplacesDirectory { path: path.clone() });
            }
            Err(CopyError::write(path)(error))
        }
    }
}
