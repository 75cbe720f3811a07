//! Where the trees of stages and images are.
//!
//! With namespaces each tree is a private directory below the state directory. In place the stage being built is in the
//! container's own `/`; a stage that others still read is parked by renames in the state directory when the next one
//! begins, and what the container itself had in `/` waits there too until the build ends.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zuwai_layer::ImagePath;
use zuwai_rootfs::isolation::{self, Mode};
use zuwai_rootfs::{KeepOut, Root, mounts, park, restore};

use super::stage_tree::StageTree;
use crate::error::BuildError;
use crate::plan::{ImageKey, Tree};
use crate::request::{BuildRequest, Surroundings};
use crate::state_dir::StateDir;

/// The directory of the container's own files, in place, below the directory of trees.
pub const OWN: &str = "own";

/// Where trees are parked, in place, when the state directory is on a volume: what is renamed stays on its file system.
const PARKING: &str = "/.zuwai";

/// The trees of one build.
#[derive(Debug)]
pub struct Trees {
    mode: Mode,
    directory: PathBuf,
    /// What `directory` is in, if that is not the build's state directory.
    parking: Option<StateDir>,
    /// What in `/` is not the image's, in place.
    keep_out: KeepOut,
    stages: BTreeMap<usize, StageTree>,
    /// The stage whose tree is in `/`, in place.
    current: Option<usize>,
    /// What the container had in `/` before the build, in place.
    own: Option<Root>,
    images: Vec<(ImageKey, Root)>,
    /// Parts of the build context as mounts show them, and where each is.
    context_parts: Vec<(Tree, ImagePath, PathBuf)>,
    /// What `from=scratch` means, once it is needed.
    empty: Option<Root>,
    /// How many further directories were made.
    further: usize,
}

impl Trees {
    /// Settles where commands run, if any tree is needed at all.
    ///
    /// # Errors
    /// When there is no place where commands can run.
    pub fn new(
        request: &BuildRequest,
        surroundings: &Surroundings,
        state: &StateDir,
        needed: bool,
    ) -> Result<Self, BuildError> {
        let mut directory = state.directory(StateDir::TREES)?;
        let mut parking = None;
        let mode = if needed {
            let choice = isolation::choose(
                request.isolation,
                &directory,
                surroundings.container.as_deref(),
                request.force,
            )
            .map_err(BuildError::Isolation)?;
            tracing::info!("Isolation: {choice}");
            choice.mode
        } else {
            Mode::Namespaces
        };
        let mut keep_out = KeepOut::default();
        if needed && mode == Mode::InPlace {
            if device(state.path())? != device(Path::new("/"))? {
                let place = StateDir::create(Path::new(PARKING))?;
                directory = place.directory(StateDir::TREES)?;
                parking = Some(place);
            }
            let parked = parking.is_some().then_some(Path::new(PARKING));
            let own =
                [Some(request.root_dir.as_path()), Some(state.path()), request.context.as_deref(), parked];
            let own = own
                .into_iter()
                .flatten()
                .chain(request.build_contexts.places())
                .chain(surroundings.keep_out.iter().map(PathBuf::as_path));
            keep_out = mounts::keep_out(own).map_err(BuildError::Isolation)?;
        }
        Ok(Self {
            mode,
            directory,
            parking,
            keep_out,
            stages: BTreeMap::new(),
            current: None,
            own: None,
            images: Vec::new(),
            context_parts: Vec::new(),
            empty: None,
            further: 0,
        })
    }

    /// How commands run.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// A stage's tree, if it is there.
    pub fn stage(&self, position: usize) -> Option<&StageTree> {
        self.stages.get(&position)
    }

    /// A stage's tree, if it is there.
    pub fn stage_mut(&mut self, position: usize) -> Option<&mut StageTree> {
        self.stages.get_mut(&position)
    }

    /// An image's tree, if it is there.
    pub fn image(&self, image: &ImageKey) -> Option<&Root> {
        self.images.iter().find(|(key, _)| key == image).map(|(_, root)| root)
    }

    /// Goes on in the tree of the stage below, which nobody else needs. False if it has none, or not in its place.
    pub fn take_over(&mut self, position: usize, below: Option<usize>) -> bool {
        let Some(below) = below else { return false };
        if self.mode == Mode::InPlace && self.current != Some(below) {
            return false;
        }
        let Some(tree) = self.stages.remove(&below) else { return false };
        self.stages.insert(position, tree);
        self.current = Some(position);
        true
    }

    /// An empty tree for a stage. In place, the stage in `/` is parked if `in_use` says so, else removed.
    ///
    /// # Errors
    /// When directories cannot be made, moved or removed.
    pub fn open(
        &mut self,
        position: usize,
        in_use: impl Fn(usize) -> bool,
    ) -> Result<&mut StageTree, BuildError> {
        let root = match self.mode {
            Mode::Namespaces => private_root(&self.directory.join(format!("stage-{position}")))?,
            Mode::InPlace => {
                self.vacate(in_use)?;
                open_root(Path::new("/"), self.keep_out.clone())?
            }
        };
        self.current = Some(position);
        let tree = self.stages.entry(position).insert_entry(StageTree::new(root));
        Ok(tree.into_mut())
    }

    /// An empty tree for an image that files are copied from.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open_image(&mut self, image: &ImageKey) -> Result<&Root, BuildError> {
        let root = private_root(&self.directory.join(format!("image-{}", self.images.len())))?;
        self.images.push((image.clone(), root));
        Ok(&self.images[self.images.len() - 1].1)
    }

    /// Where a part of a build context is, if it was asked for before.
    pub fn context_part(&self, context: &Tree, part: &ImagePath) -> Option<&Path> {
        let found = self.context_parts.iter().find(|(tree, path, _)| tree == context && path == part);
        found.map(|(_, _, place)| place.as_path())
    }

    /// Notes where a part of a build context is.
    pub fn remember_context_part(&mut self, context: Tree, part: ImagePath, place: PathBuf) {
        self.context_parts.push((context, part, place));
    }

    /// The tree with nothing in it, if it was made.
    pub fn empty(&self) -> Option<&Root> {
        self.empty.as_ref()
    }

    /// Makes the tree with nothing in it, once.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open_empty(&mut self) -> Result<(), BuildError> {
        if self.empty.is_none() {
            self.empty = Some(self.new_root()?);
        }
        Ok(())
    }

    /// A further empty tree.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new_root(&mut self) -> Result<Root, BuildError> {
        self.further += 1;
        private_root(&self.directory.join(format!("tree-{}", self.further)))
    }

    /// Removes a further tree that nobody needs any more. One that cannot be removed now goes with the build.
    pub fn discard(&self, root: Root) {
        if let Err(error) = remove(root.host_path()) {
            tracing::debug!("{error}");
        }
    }

    /// Lets go of a stage's tree that no later stage needs. In place, the one in `/` stays until its place is needed.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn release(&mut self, position: usize) -> Result<(), BuildError> {
        if self.mode == Mode::InPlace && self.current == Some(position) {
            return Ok(());
        }
        match self.stages.remove(&position) {
            Some(tree) => remove(tree.root.host_path()),
            None => Ok(()),
        }
    }

    /// Gives the container back what it had in `/`, if it had anything there.
    ///
    /// # Errors
    /// When something cannot be moved back.
    pub fn finish(&mut self) -> Result<(), BuildError> {
        if let Some(own) = self.own.take() {
            let root = open_root(Path::new("/"), self.keep_out.clone())?;
            park::clear(&root)?;
            restore::restore(&own, &root)?;
        }
        Ok(())
    }

    /// Makes `/` free of images, in place.
    fn vacate(&mut self, in_use: impl Fn(usize) -> bool) -> Result<(), BuildError> {
        let root = open_root(Path::new("/"), self.keep_out.clone())?;
        match self.current.take() {
            None => {
                // What this process stands in is moved too; a place that is gone helps nobody who asks where he is.
                let _ = std::env::set_current_dir("/");
                let own = self.directory.join(OWN);
                match park::park(&root, &own, None) {
                    Ok(parked) => self.own = Some(parked),
                    Err(error) => {
                        // What was moved before it failed goes back at once: the rest is still there.
                        if let Ok(parked) = Root::open(&own, KeepOut::default()) {
                            restore::restore(&parked, &root)?;
                        }
                        return Err(error.into());
                    }
                }
            }
            Some(current) if in_use(current) => {
                tracing::info!("Saving stage {current} for later use");
                let hidden = self.stages.remove(&current).map(|tree| tree.hidden).unwrap_or_default();
                let place = self.directory.join(format!("stage-{current}"));
                let parked = park::park(&root, &place, Some(&hidden))?;
                self.stages.insert(current, StageTree::new(parked));
            }
            Some(current) => {
                tracing::info!("Deleting filesystem...");
                park::clear(&root)?;
                self.stages.remove(&current);
            }
        }
        Ok(())
    }
}

/// A build that failed gives the container back what is its own, too.
impl Drop for Trees {
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

fn private_root(path: &Path) -> Result<Root, BuildError> {
    fs::create_dir(path).map_err(|source| BuildError::State { path: path.to_owned(), source })?;
    open_root(path, KeepOut::default())
}

fn open_root(path: &Path, keep_out: KeepOut) -> Result<Root, BuildError> {
    Root::open(path, keep_out).map_err(|source| BuildError::State { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), BuildError> {
    fs::remove_dir_all(path).map_err(|source| BuildError::State { path: path.to_owned(), source })
}
