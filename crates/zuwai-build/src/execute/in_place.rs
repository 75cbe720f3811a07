//! The container's own `/`, where stages are built in place.
//!
//! What the container itself has there is moved aside before the first stage and given back when the build ends. A
//! finished stage that others read is parked by renames when the next one begins. What is mounted, and what is the
//! builder's own, is never touched.

use std::path::{Path, PathBuf};

use zuwai_rootfs::in_place::{self, InPlaceError};
use zuwai_rootfs::unpack::Hidden;
use zuwai_rootfs::{Root, mounts};

use crate::error::BuildError;
use crate::request::{BuildRequest, Surroundings};
use crate::state_dir::StateDir;

/// The `/` of the container, for one build.
#[derive(Debug)]
pub struct InPlace {
    /// `None` when the container has its files back.
    place: Option<in_place::InPlace>,
    /// Where trees are parked.
    directory: PathBuf,
}

impl InPlace {
    /// Settles what in `/` is not an image's, and where trees are parked. Nothing is moved yet, but for what a build that
    /// was killed has left there.
    ///
    /// # Errors
    /// When nothing can be built there, or another build has it.
    pub fn new(
        request: &BuildRequest,
        surroundings: &Surroundings,
        state: &StateDir,
    ) -> Result<Self, BuildError> {
        let top = Path::new("/");
        let missing = in_place::check(top)?;
        if !missing.is_empty() {
            tracing::warn!(
                "this container lacks {}: steps that need that fail; add it to the capabilities of the container's \
                 securityContext (docker run --cap-add)",
                missing.join(", ")
            );
        }
        let own = [Some(request.root_dir.as_path()), Some(state.path()), request.context.as_deref()];
        let own = own
            .into_iter()
            .flatten()
            .chain(request.build_contexts.places())
            .chain(surroundings.keep_out.iter().map(PathBuf::as_path));
        let keep_out = mounts::keep_out(own).map_err(BuildError::Isolation)?;
        let mut place = in_place::InPlace::begin(top, keep_out)?;
        if request.materialize {
            tracing::info!("The image's files stay in / after the build (--materialize)");
            place.leave_image();
        }
        let directory = place.parking().to_owned();
        Ok(Self { place: Some(place), directory })
    }

    /// Where trees are that can be renamed from and to `/`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `/` without what is not an image's.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn root(&self) -> Result<Root, BuildError> {
        Ok(self.place()?.root()?)
    }

    /// Moves what the container has in `/` aside.
    ///
    /// # Errors
    /// When something cannot be moved.
    pub fn move_own_aside(&mut self) -> Result<(), BuildError> {
        // What this process stands in is moved too; a place that is gone helps nobody who asks where he is.
        let _ = std::env::set_current_dir("/");
        Ok(self.place()?.set_aside()?)
    }

    /// Moves the stage in `/` to a directory of this name, where it is read from then on.
    ///
    /// # Errors
    /// When something cannot be moved.
    pub fn park(&self, name: &str, hidden: &Hidden) -> Result<Root, BuildError> {
        Ok(self.place()?.park(name, hidden)?)
    }

    /// Removes the stage in `/`.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear(&self) -> Result<(), BuildError> {
        Ok(self.place()?.clear()?)
    }

    /// Gives the container back what it had in `/`, or leaves the image's files there if that was asked for. A build that
    /// fails before this gives it back when this is dropped.
    ///
    /// # Errors
    /// When something cannot be moved back.
    pub fn finish(&mut self) -> Result<(), BuildError> {
        self.place.take().map_or(Ok(()), |place| Ok(place.finish()?))
    }

    fn place(&self) -> Result<&in_place::InPlace, InPlaceError> {
        self.place.as_ref().ok_or_else(|| InPlaceError::Ended { path: self.directory.clone() })
    }
}
