//! What is placed at a target, and taken away again.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use super::aside::{Aside, remove_name};
use super::cache::Lent;
use super::error::PlacementError;
use super::secret::Secret;
use super::source::{Source, copy_directory, copy_file, is_same, name_socket};
use super::spot::Spot;
use super::stray;
use crate::error::RootfsError;
use crate::metadata::Metadata;
use crate::root::{KeepOut, Root};
use crate::walk;

/// Mode of a tmpfs's root. As with runc one that covers a directory has that one's mode.
const EVERYONES: u32 = 0o1777;

/// What was placed.
#[derive(Debug)]
pub(super) enum Content {
    /// Something that nobody needs after the step, held by its path; `None` for what is in a directory that stays.
    Passing(Option<OwnedFd>),
    /// A file with a content that must not stay on disk.
    Secret(Secret),
    /// A cache.
    Cache(Box<Lent>),
}

impl Content {
    /// Places something at a spot, from which what was there has been set aside.
    pub fn place(
        root: &Root,
        spot: &Spot,
        aside: &Aside,
        source: Source<'_>,
        skipped: KeepOut,
    ) -> Result<Self, PlacementError> {
        let failed = || PlacementError::tree("place", &spot.target);
        let parent = spot.parent().map_err(PlacementError::io("place", &spot.target))?;
        match source {
            Source::Content { content, mode, uid, gid } => {
                Secret::place(root, spot, content, mode, (uid, gid))
                    .map(Self::Secret)
                    .map_err(PlacementError::io("place", &spot.target))
            }
            Source::Socket(from, name, path) => name_socket(&from, &name, path, spot.directory(), &spot.name)
                .and_then(|()| hold(spot))
                .map_err(PlacementError::io("place", &spot.target)),
            Source::File(from, name) => copy_file(&from, &name, &parent, &spot.name)
                .map_err(failed())
                .and_then(|()| hold(spot).map_err(PlacementError::io("place", &spot.target))),
            Source::Again(target) => rustix::fs::symlinkat(target, spot.directory(), spot.name.as_slice())
                .and_then(|()| hold(spot))
                .map_err(PlacementError::io("place", &spot.target)),
            Source::Cache(directory, parent, path) => {
                let mut lent = Lent::new(directory, parent, path).map_err(failed())?;
                let stays = matches!(aside, Aside::Emptied(_));
                if stays || !lent.move_to(spot.directory(), &spot.name).map_err(failed())? {
                    let (to, made) = Self::directory(spot, aside).map_err(failed())?;
                    lent.copy_to(&to, made, skipped).map_err(failed())?;
                }
                Ok(Self::Cache(Box::new(lent)))
            }
            Source::Directory(from) => {
                let (to, made) = Self::directory(spot, aside).map_err(failed())?;
                let from = covered_by_itself(&from, aside).map_err(failed())?.unwrap_or(from);
                copy_directory(&from, &to, skipped).map_err(failed())?;
                Ok(Self::Passing(made))
            }
            Source::Empty => {
                let (to, made) = Self::directory(spot, aside).map_err(failed())?;
                let everyones = || -> Result<(), Errno> {
                    rustix::fs::fchown(&to, Some(Uid::ROOT), Some(Gid::ROOT))?;
                    rustix::fs::fchmod(&to, Mode::from_raw_mode(aside.mode().unwrap_or(EVERYONES)))
                };
                everyones().map_err(PlacementError::io("place", &spot.target))?;
                Ok(Self::Passing(made))
            }
        }
    }

    /// The directory to fill, and a handle of it if it was made.
    fn directory(spot: &Spot, aside: &Aside) -> Result<(Root, Option<OwnedFd>), RootfsError> {
        let failed = || RootfsError::io("make", &spot.path);
        let open =
            || rustix::fs::openat(spot.directory(), spot.name.as_slice(), walk::DIRECTORY, Mode::empty());
        if let Aside::Emptied(emptied) = aside {
            let (path, keep_out) = (emptied.directory.host_path(), emptied.directory.keep_out());
            let handle = rustix::fs::openat(&emptied.directory, ".", walk::DIRECTORY, Mode::empty())
                .map_err(failed())?;
            return Ok((Root::from_directory(handle, path.to_owned(), keep_out.clone()), None));
        }
        rustix::fs::mkdirat(spot.directory(), spot.name.as_slice(), Mode::RWXU).map_err(failed())?;
        let (handle, made) = (open().map_err(failed())?, open().map_err(failed())?);
        Ok((Root::from_directory(handle, spot.target.clone(), KeepOut::default()), Some(made)))
    }

    /// Whether it is this cache.
    pub fn lends(&self, directory: &OwnedFd) -> bool {
        match (self, Metadata::of(directory)) {
            (Self::Cache(lent), Ok(metadata)) => lent.is(&metadata),
            _ => false,
        }
    }

    /// Takes it away: nothing of it is in the root then, wherever the step has put it.
    pub fn take_away(self, spot: &Spot, aside: &Aside) -> Result<(), PlacementError> {
        let failed = || PlacementError::tree("take away", &spot.target);
        let parent = spot.parent().map_err(PlacementError::io("take away", &spot.target))?;
        match (self, aside) {
            (Self::Cache(lent), Aside::Emptied(emptied)) => {
                lent.copy_back(&emptied.directory).map_err(failed())
            }
            (Self::Cache(lent), _) => lent.take_back(&parent, &spot.name).map_err(failed()),
            // What is in it goes when its own content comes back.
            (Self::Passing(_), Aside::Emptied(_)) => Ok(()),
            (Self::Passing(held), _) => remove(&parent, &spot.name, held.as_ref()).map_err(failed()),
            (Self::Secret(secret), _) => {
                let overwritten = secret.overwrite().map_err(PlacementError::io("overwrite", &spot.target));
                remove(&parent, &spot.name, Some(&secret.held)).map_err(failed())?;
                if Metadata::of(&secret.held).is_ok_and(|left| left.nlink > 0) {
                    tracing::warn!(
                        "the step has made another name of {}, which is an empty file now",
                        spot.target.display()
                    );
                }
                overwritten
            }
        }
    }
}

/// Removes what is at the spot, and what was placed there, if the step has moved it away.
fn remove(parent: &Root, name: &[u8], held: Option<&OwnedFd>) -> Result<(), RootfsError> {
    let stray = held.and_then(|held| {
        let there = Metadata::at(parent.as_fd(), name).ok();
        let own = Metadata::of(held).ok()?;
        if there.is_some_and(|there| is_same(&there, &own)) { None } else { stray::find(held.as_fd()) }
    });
    remove_name(parent, name)?;
    stray.map_or(Ok(()), |(directory, name)| remove_name(&directory, &name))
}

/// Holds what was placed, without opening it.
fn hold(spot: &Spot) -> Result<Content, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(spot.directory(), spot.name.as_slice(), flags, Mode::empty())?;
    Ok(Content::Passing(Some(held)))
}

/// A source that lies in the directory that was emptied is elsewhere now.
fn covered_by_itself(from: &OwnedFd, aside: &Aside) -> Result<Option<OwnedFd>, RootfsError> {
    let Aside::Emptied(emptied) = aside else { return Ok(None) };
    let failed = || RootfsError::host("open", emptied.content.host_path());
    let (own, target) =
        (Metadata::of(from).map_err(failed())?, Metadata::of(&emptied.directory).map_err(failed())?);
    if !is_same(&own, &target) {
        return Ok(None);
    }
    let path = ImagePath::root();
    walk::open(&emptied.content, &path).map(Some).map_err(failed())
}
