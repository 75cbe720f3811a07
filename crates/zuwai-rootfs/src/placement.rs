//! The mounts of a step where no mount can be made: in place.
//!
//! What a step is to see is put there before it starts, and taken away when it has ended, however it ended. What was at
//! the targets is set aside meanwhile and back after, the very same files; a directory that had to be made on the way
//! goes again; the times of the directories around stay. The layer of the step is the one it would have with mounts.
//!
//! A step that removes, replaces or moves what was placed, which it could not do with a mount, loses nothing: what was
//! covered comes back, and what was placed is found where it is now, and taken away there.
//!
//! What files cannot do:
//! - A bind is a copy. A step that runs as root can write into a read-only one as well; either way it writes into the
//!   copy, and the source stays as it is. The same goes for a read-only cache.
//! - A [cache](cache) that lies on another file system than the root is copied there and back. While one build has a
//!   cache, another that shares it has the state before, or an empty one; the last one to end leaves its own.
//! - A tmpfs is an empty directory on disk, and its size is not limited.
//! - A secret is on the disk (or, below `/dev`, in memory) while the step runs, and overwritten after it.
//! - A script whose place lies on a file system that nothing can be executed from is a link to a file in `/`.
//! - A socket is another name of the builder's own one (a hard link), or a link to it if it is on another file system;
//!   then the step's user must be able to reach the builder's.
//! - Where the container has mounted a file itself nothing can be placed. On a directory that it has mounted, what is
//!   placed stands beside the mounts in it, and what was in it waits in a `.zuwai-covered-N` below it.
//! - A build that is killed leaves things as the step had them: what was covered in the image is in the scratch
//!   directory, what was on a volume is there as `.zuwai-covered-N`.

mod aside;
mod cache;
mod content;
pub mod covered;
pub mod error;
mod secret;
mod source;
mod spot;
mod stray;

use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use zuwai_layer::ImagePath;

use self::aside::Aside;
use self::content::Content;
pub use self::covered::Covered;
pub use self::error::PlacementError;
use self::source::Source;
use self::spot::Spot;
use crate::quietly::quietly;
use crate::root::{KeepOut, Root};
use crate::step_mount::{StepMount, StepMountKind};

/// The mounts of a step, placed. They are taken away when this is dropped, if [`Placed::undo`] was not called.
#[derive(Debug)]
#[must_use]
pub struct Placed<'a> {
    root: &'a Root,
    done: Vec<Placement>,
}

/// One mount.
#[derive(Debug)]
struct Placement {
    spot: Spot,
    aside: Aside,
    content: Option<Content>,
}

/// Places the mounts of a step in a root, in their order. What they cover is set aside in `scratch`, an empty directory
/// on the root's file system, or beside itself if there is none.
///
/// # Errors
/// When one cannot be placed. Those before it are taken away again.
pub fn place<'a>(
    root: &'a Root,
    mounts: &[StepMount],
    scratch: Option<&Path>,
) -> Result<Placed<'a>, PlacementError> {
    let sources = mounts.iter().map(Source::open).collect::<Result<Vec<_>, _>>()?;
    let mut placed = Placed { root, done: Vec::new() };
    for (mount, source) in mounts.iter().zip(sources) {
        placed.add(mount, source, scratch)?;
    }
    Ok(placed)
}

impl Placed<'_> {
    fn add(
        &mut self,
        mount: &StepMount,
        source: Source<'_>,
        scratch: Option<&Path>,
    ) -> Result<(), PlacementError> {
        let mut spot = Spot::find(self.root, &mount.target)?;
        let aside = match check_kind(&spot, &source).and_then(|()| Aside::set(self.root, &spot, scratch)) {
            Ok(aside) => aside,
            Err(error) => {
                spot.remove_made();
                return Err(error);
            }
        };
        let skipped = skipped(mount, &self.root.host_path().join(spot.path.as_relative()), scratch);
        let source = self.unless_lent(source);
        // From now on there is something to undo.
        self.done.push(Placement { spot, aside, content: None });
        let Some(Placement { spot, aside, content }) = self.done.last_mut() else { return Ok(()) };
        match quietly(spot.directory(), || Content::place(self.root, spot, aside, source, skipped)) {
            Ok(placed) => *content = Some(placed),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A cache can be in one place only: a second target leads to the first.
    fn unless_lent<'s>(&self, source: Source<'s>) -> Source<'s> {
        let Source::Cache(directory, ..) = &source else { return source };
        let lends = |placement: &&Placement| {
            placement.content.as_ref().is_some_and(|content| content.lends(directory))
        };
        match self.done.iter().find(lends) {
            Some(Placement { spot, .. }) => {
                Source::Again(self.root.host_path().join(spot.path.as_relative()))
            }
            None => source,
        }
    }

    /// Takes the mounts away, the last first, and gives what they have covered.
    ///
    /// # Errors
    /// The first thing that went wrong, after everything was tried.
    pub fn undo(mut self) -> Result<Covered, PlacementError> {
        self.undo_all()
    }

    fn undo_all(&mut self) -> Result<Covered, PlacementError> {
        let mut covered = Covered::default();
        let mut first = None;
        while let Some(placement) = self.done.pop() {
            let errors = quietly(self.root.as_fd(), || placement.undo(self.root, &mut covered));
            for error in errors {
                if first.is_none() {
                    first = Some(error);
                } else {
                    tracing::warn!("{error}");
                }
            }
        }
        first.map_or(Ok(covered), Err)
    }
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.undo_all() {
            tracing::warn!("{error}");
        }
    }
}

impl Placement {
    /// Tries everything, whatever fails on the way.
    fn undo(mut self, root: &Root, covered: &mut Covered) -> Vec<PlacementError> {
        let mut errors = Vec::new();
        let revived = self.spot.revive(root);
        errors.extend(
            revived.map_err(PlacementError::io("make again the directory of", &self.spot.target)).err(),
        );
        if let Aside::Emptied(emptied) = &mut self.aside {
            let revived = emptied.revive(&self.spot);
            errors.extend(
                revived.map_err(PlacementError::tree("make again the place of", &self.spot.target)).err(),
            );
        }
        let Self { mut spot, aside, content } = self;
        quietly(spot.directory(), || {
            let taken = match content {
                Some(content) => content.take_away(&spot, &aside),
                // Half of it was placed, perhaps.
                None => remove_half(&spot, &aside),
            };
            errors.extend(taken.err());
            errors.extend(aside.put_back(root, &spot, covered).err());
        });
        spot.remove_made();
        errors
    }
}

fn remove_half(spot: &Spot, aside: &Aside) -> Result<(), PlacementError> {
    if matches!(aside, Aside::Emptied(_)) {
        return Ok(());
    }
    let parent = spot.parent().map_err(PlacementError::io("take away", &spot.target))?;
    aside::remove_name(&parent, &spot.name).map_err(PlacementError::tree("take away", &spot.target))
}

/// As with mounts, a directory stands for a directory only, and anything else for anything else.
fn check_kind(spot: &Spot, source: &Source<'_>) -> Result<(), PlacementError> {
    let Some(there) = spot.there()? else { return Ok(()) };
    if there.is_directory() == source.is_directory() {
        return Ok(());
    }
    let wanted = if source.is_directory() { "a directory" } else { "a file" };
    Err(PlacementError::Kind { target: spot.target.clone(), wanted, found: there.kind.shown() })
}

/// What of a source is not copied: what is being made of it, and what is set aside.
fn skipped(mount: &StepMount, place: &Path, scratch: Option<&Path>) -> KeepOut {
    let from = match &mount.kind {
        StepMountKind::Bind { source, .. } => source.host_path(),
        StepMountKind::Cache { directory, .. } => Some(directory.as_path()),
        _ => None,
    };
    let Some(from) = from else { return KeepOut::default() };
    let inside = |path: &Path| ImagePath::new(path.strip_prefix(from).ok()?.as_os_str().as_bytes()).ok();
    let paths: [Option<PathBuf>; 2] = [Some(place.to_owned()), scratch.map(Path::to_owned)];
    KeepOut::new(paths.iter().flatten().filter_map(|path| inside(path)).filter(|path| !path.is_root()))
}
