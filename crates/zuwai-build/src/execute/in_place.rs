//! The container's own `/`, where stages are built in place.
//!
//! What the container itself has there is moved aside before the first stage and given back when the build ends. A
//! finished stage that others read is parked by renames when the next one begins. What is mounted, and what is the
//! builder's own, is never touched.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zuwai_rootfs::unpack::Hidden;
use zuwai_rootfs::{KeepOut, Root, mounts, park, restore};

use crate::error::BuildError;
use crate::request::{BuildRequest, Surroundings};
use crate::state_dir::StateDir;

/// The directory of the container's own files, below the directory of trees.
pub const OWN: &str = "own";

/// Where trees are parked when the state directory is on a volume: what is renamed stays on its file system.
const PARKING: &str = "/.zuwai";

/// The `/` of the container, for one build.
#[derive(Debug)]
pub struct InPlace {
    /// Where trees are parked.
    directory: PathBuf,
    /// What `directory` is in, if that is not the build's state directory.
    parking: Option<StateDir>,
    /// What in `/` is not the image's.
    keep_out: KeepOut,
    /// What the container had in `/` before the build, once that is moved aside.
    own: Option<Root>,
}

impl InPlace {
    /// Settles what in `/` is not an image's, and where trees are parked. Nothing is moved yet.
    ///
    /// # Errors
    /// When the mounts cannot be listed or a directory cannot be made.
    pub fn new(
        request: &BuildRequest,
        surroundings: &Surroundings,
        state: &StateDir,
    ) -> Result<Self, BuildError> {
        let parking = if device(state.path())? == device(Path::new("/"))? {
            None
        } else {
            Some(StateDir::create(Path::new(PARKING))?)
        };
        let directory = parking.as_ref().unwrap_or(state).directory(StateDir::TREES)?;
        let parked = parking.is_some().then_some(Path::new(PARKING));
        let own = [Some(request.root_dir.as_path()), Some(state.path()), request.context.as_deref(), parked];
        let own = own
            .into_iter()
            .flatten()
            .chain(request.build_contexts.places())
            .chain(surroundings.keep_out.iter().map(PathBuf::as_path));
        let keep_out = mounts::keep_out(own).map_err(BuildError::Isolation)?;
        Ok(Self { directory, parking, keep_out, own: None })
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
        let path = Path::new("/");
        Root::open(path, self.keep_out.clone())
            .map_err(|source| BuildError::State { path: path.to_owned(), source })
    }

    /// Moves what the container has in `/` aside.
    ///
    /// # Errors
    /// When something cannot be moved; what was moved before that goes back.
    pub fn move_own_aside(&mut self) -> Result<(), BuildError> {
        let root = self.root()?;
        // What this process stands in is moved too; a place that is gone helps nobody who asks where he is.
        let _ = std::env::set_current_dir("/");
        let own = self.directory.join(OWN);
        match park::park(&root, &own, None) {
            Ok(parked) => self.own = Some(parked),
            Err(error) => {
                // The rest is still there.
                if let Ok(parked) = Root::open(&own, KeepOut::default()) {
                    restore::restore(&parked, &root)?;
                }
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Moves the stage in `/` to a directory of this name, where it is read from then on.
    ///
    /// # Errors
    /// When something cannot be moved.
    pub fn park(&self, name: &str, hidden: &Hidden) -> Result<Root, BuildError> {
        Ok(park::park(&self.root()?, &self.directory.join(name), Some(hidden))?)
    }

    /// Removes the stage in `/`.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear(&self) -> Result<(), BuildError> {
        Ok(park::clear(&self.root()?)?)
    }

    /// Gives the container back what it had in `/`, if that was moved.
    ///
    /// # Errors
    /// When something cannot be moved back.
    pub fn finish(&mut self) -> Result<(), BuildError> {
        if let Some(own) = self.own.take() {
            self.clear()?;
            restore::restore(&own, &self.root()?)?;
        }
        Ok(())
    }
}

/// A build that failed gives the container back what is its own, too.
impl Drop for InPlace {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!(
                "cannot give the container its files back, they are in {}: {error}",
                self.directory.display()
            );
        }
        if self.parking.take().is_some() {
            // Gone if it is empty: another build may park there too.
            let _ = fs::remove_dir(PARKING);
        }
    }
}

fn device(path: &Path) -> Result<u64, BuildError> {
    let metadata =
        fs::metadata(path).map_err(|source| BuildError::State { path: path.to_owned(), source })?;
    Ok(metadata.dev())
}
