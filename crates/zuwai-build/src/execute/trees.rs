//! Where the trees of stages and images are, for all stages of a build.
//!
//! With namespaces a tree is a stack of layers, or a private directory where overlays cannot be had, and stages can be
//! built side by side. In place the stage being built is in the container's own `/` ([`InPlace`]), one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zuwai_layer::ImagePath;
use zuwai_rootfs::isolation::{self, Mode};
use zuwai_rootfs::overlay::Room;
use zuwai_rootfs::{KeepOut, Root};

use super::image_layers::ImageLayers;
use super::in_place::InPlace;
use super::made_once::MadeOnce;
use super::scanned::ScannedTree;
use super::stage_tree::StageTree;
use crate::error::BuildError;
use crate::plan::{ImageKey, Tree};
use crate::request::{BuildRequest, Surroundings};
use crate::state_dir::StateDir;

/// The trees of one build.
#[derive(Debug)]
pub struct Trees {
    mode: Mode,
    threads: usize,
    directory: PathBuf,
    /// In place alone.
    container: Option<Mutex<Container>>,
    /// Where overlays can be had: the layers that trees stand on.
    layers: Option<ImageLayers>,
    /// The trees of finished stages that are still needed, by position.
    finished: Vec<Mutex<Option<Arc<StageTree>>>>,
    images: MadeOnce<ImageKey, Arc<Root>>,
    /// Parts of build contexts as mounts show them, and where each is.
    context_parts: MadeOnce<(Tree, ImagePath), PathBuf>,
    /// What `from=scratch` means.
    empty: MadeOnce<(), Arc<Root>>,
    /// How many further directories were made.
    further: AtomicUsize,
    /// Held while a tree is let go of: which of two is the last to have a layer is told one after the other.
    releasing: Mutex<()>,
}

/// The `/` of the container, and the stage whose tree is there.
#[derive(Debug)]
struct Container {
    place: InPlace,
    current: Option<usize>,
}

/// The tree that a stage begins with.
#[derive(Debug)]
pub enum Beginning {
    /// Nothing: its base has to be unpacked.
    Empty(ScannedTree),
    /// That of the stage below, as it is.
    Continued(ScannedTree),
}

impl Trees {
    /// Settles where commands run, if any tree is needed at all, for a plan of this many stages.
    ///
    /// # Errors
    /// When there is no place where commands can run.
    pub fn new(
        request: &BuildRequest,
        surroundings: &Surroundings,
        state: &StateDir,
        needed: bool,
        stages: usize,
    ) -> Result<Self, BuildError> {
        let mut directory = state.directory(StateDir::TREES)?;
        let (mut mode, mut layers, mut container) = (Mode::Namespaces, None, None);
        if needed {
            let container = surroundings.container.as_deref();
            let choice = isolation::choose(request.isolation, &directory, container, request.force)
                .map_err(BuildError::Isolation)?;
            tracing::info!("Isolation: {choice}");
            mode = choice.mode;
            if mode == Mode::Namespaces && choice.overlay.is_ok() {
                let room = Arc::new(Room::create(directory.join("layers"))?);
                layers = Some(ImageLayers::new(room, request.threads));
            }
        }
        if needed && mode == Mode::InPlace {
            let place = InPlace::new(request, surroundings, state)?;
            directory = place.directory().to_owned();
            container = Some(Mutex::new(Container { place, current: None }));
        }
        Ok(Self {
            mode,
            threads: request.threads,
            directory,
            container,
            layers,
            finished: (0..stages).map(|_| Mutex::default()).collect(),
            images: MadeOnce::default(),
            context_parts: MadeOnce::default(),
            empty: MadeOnce::default(),
            further: AtomicUsize::new(0),
            releasing: Mutex::default(),
        })
    }

    /// How commands run.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The layers that trees stand on, where they do.
    pub fn layers(&self) -> Option<&ImageLayers> {
        self.layers.as_ref()
    }

    /// The tree of a finished stage, if it is still there.
    pub fn stage(&self, position: usize) -> Option<Arc<StageTree>> {
        lock(self.finished.get(position)?).clone()
    }

    /// The tree with which a stage begins. With `below`, it goes on in the tree of that stage, which nobody else needs,
    /// if that is in its place. In place, the stage in `/` is parked if `in_use` says so, else removed.
    ///
    /// # Errors
    /// When directories cannot be made, moved or removed.
    pub fn begin(
        &self,
        position: usize,
        below: Option<usize>,
        in_use: impl Fn(usize) -> bool,
    ) -> Result<Beginning, BuildError> {
        let mut container = self.container.as_ref().map(lock);
        let in_its_place =
            |below: &usize| container.as_ref().is_none_or(|container| container.current == Some(*below));
        let below = below.filter(in_its_place).and_then(|below| lock(&self.finished[below]).take());
        let continued = match below.and_then(Arc::into_inner) {
            Some(StageTree::Scanned(tree)) => Some(tree),
            Some(StageTree::Stacked(_)) | None => None,
        };
        if let Some(container) = &mut container {
            if continued.is_none() {
                self.vacate(container, in_use)?;
            }
            container.current = Some(position);
        }
        if let Some(tree) = continued {
            return Ok(Beginning::Continued(tree));
        }
        let root = match &container {
            Some(container) => container.place.root()?,
            None => private_root(&self.directory.join(format!("stage-{position}")))?,
        };
        Ok(Beginning::Empty(ScannedTree::new(root, self.mode, self.threads)))
    }

    /// Keeps the tree of a stage that is finished for those that need it.
    pub fn finish(&self, position: usize, tree: StageTree) {
        *lock(&self.finished[position]) = Some(Arc::new(tree));
    }

    /// The tree of an image that files are taken from; `make` makes it, once.
    ///
    /// # Errors
    /// What `make` gives.
    pub fn image(
        &self,
        image: &ImageKey,
        make: impl FnOnce() -> Result<Root, BuildError>,
    ) -> Result<Arc<Root>, BuildError> {
        self.images.get_or_make(image, || make().map(Arc::new))
    }

    /// Where a part of a build context is; `make` fills a directory with it, once, and says where in that it is.
    ///
    /// # Errors
    /// What `make` gives.
    pub fn context_part<E>(
        &self,
        context: &Tree,
        part: &ImagePath,
        make: impl FnOnce() -> Result<PathBuf, E>,
    ) -> Result<PathBuf, E> {
        self.context_parts.get_or_make(&(context.clone(), part.clone()), make)
    }

    /// The tree with nothing in it.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn empty(&self) -> Result<Arc<Root>, BuildError> {
        self.empty.get_or_make(&(), || self.new_root().map(Arc::new))
    }

    /// A further empty tree.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new_root(&self) -> Result<Root, BuildError> {
        let number = self.further.fetch_add(1, Ordering::Relaxed);
        private_root(&self.directory.join(format!("tree-{number}")))
    }

    /// Removes a further tree that nobody needs any more. One that cannot be removed now goes with the build.
    pub fn discard(&self, root: Root) {
        if let Err(error) = remove(root.host_path()) {
            tracing::debug!("{error}");
        }
    }

    /// Lets go of a finished stage's tree that no other stage needs. In place, the one in `/` stays until its place is
    /// needed.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn release(&self, position: usize) -> Result<(), BuildError> {
        if self.container.as_ref().is_some_and(|container| lock(container).current == Some(position)) {
            return Ok(());
        }
        let _alone = lock(&self.releasing);
        let tree = lock(&self.finished[position]).take();
        match tree.and_then(Arc::into_inner) {
            Some(StageTree::Scanned(tree)) => remove(tree.root.host_path()),
            Some(StageTree::Stacked(tree)) => Ok(tree.discard()?),
            None => Ok(()),
        }
    }

    /// Gives the container back what it had in `/`, if it had anything there.
    ///
    /// # Errors
    /// When something cannot be moved back.
    pub fn close(&self) -> Result<(), BuildError> {
        self.container.as_ref().map_or(Ok(()), |container| lock(container).place.finish())
    }

    /// Makes `/` free of images, in place.
    fn vacate(&self, container: &mut Container, in_use: impl Fn(usize) -> bool) -> Result<(), BuildError> {
        let Some(current) = container.current.take() else { return container.place.move_own_aside() };
        let tree = lock(&self.finished[current]).take();
        match tree.as_deref().filter(|_| in_use(current)) {
            Some(StageTree::Scanned(tree)) => {
                tracing::info!("Saving stage {current} for later use");
                let parked = container.place.park(&format!("stage-{current}"), tree.hidden())?;
                let parked = ScannedTree::new(parked, self.mode, self.threads);
                self.finish(current, StageTree::Scanned(parked));
                Ok(())
            }
            Some(StageTree::Stacked(_)) | None => {
                tracing::info!("Deleting filesystem...");
                container.place.clear()
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn private_root(path: &Path) -> Result<Root, BuildError> {
    fs::create_dir(path).map_err(|source| BuildError::State { path: path.to_owned(), source })?;
    Root::open(path, KeepOut::default()).map_err(|source| BuildError::State { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), BuildError> {
    zuwai_rootfs::remove_directory_all(path)
        .map_err(|source| BuildError::State { path: path.to_owned(), source })
}
