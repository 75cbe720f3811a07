//! A directory that holds an image's tree, and what in it is not the image's.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use zuwai_layer::{ImagePath, PathError};

use crate::displaced::Displaced;
use crate::overlay::OverlayMount;
use crate::overlay::nodes::{Waiting, What};

/// Paths inside a root that do not belong to the image: in place these are mount points, the state directory, the
/// executor's own files, the context. They and everything below are never read, changed or put in a layer.
#[derive(Debug, Clone, Default)]
pub struct KeepOut {
    paths: BTreeSet<ImagePath>,
    /// What of it is out of the image's way at the moment; clones see the same.
    displaced: Option<Arc<Displaced>>,
}

impl KeepOut {
    /// Keeps off these paths.
    pub fn new(paths: impl IntoIterator<Item = ImagePath>) -> Self {
        Self { paths: paths.into_iter().collect(), displaced: None }
    }

    /// Keeps off one path more.
    pub fn insert(&mut self, path: ImagePath) {
        self.paths.insert(path);
    }

    /// Whether the path is one of these itself.
    #[must_use]
    pub fn contains(&self, path: &ImagePath) -> bool {
        self.paths.contains(path) && !self.is_displaced(path)
    }

    /// Whether the path is one of these or lies below one.
    #[must_use]
    pub fn covers(&self, path: &ImagePath) -> bool {
        (self.paths.contains(path) || path.ancestors().any(|directory| self.paths.contains(&directory)))
            && !self.is_displaced(path)
    }

    /// Whether something to keep off lies strictly below the path.
    #[must_use]
    pub fn reaches_below(&self, path: &ImagePath) -> bool {
        self.paths
            .range((std::ops::Bound::Excluded(path.clone()), std::ops::Bound::Unbounded))
            .take_while(|below| below.starts_with(path))
            .any(|below| !self.is_displaced(below))
    }

    /// The paths, in order.
    pub fn iter(&self) -> impl Iterator<Item = &ImagePath> {
        self.paths.iter().filter(|path| !self.is_displaced(path))
    }

    /// With directories above what is kept out that may give way to an image.
    pub(crate) fn with_displaced(self, displaced: Arc<Displaced>) -> Self {
        Self { displaced: Some(displaced), ..self }
    }

    /// What has given way.
    pub(crate) fn displaced(&self) -> Option<&Displaced> {
        self.displaced.as_deref()
    }

    fn is_displaced(&self, path: &ImagePath) -> bool {
        self.displaced.as_ref().is_some_and(|displaced| displaced.covers(path))
    }
}

/// A directory that holds an image's tree: `/` itself when building in place, a private directory or a view of an
/// overlay otherwise.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    host_path: PathBuf,
    keep_out: KeepOut,
    view: Option<Box<View>>,
}

/// What a root is beyond a directory where it is a view of an overlay.
#[derive(Debug)]
struct View {
    overlay: OverlayMount,
    /// What was written but cannot be made before the view is closed, in order.
    waiting: Mutex<Vec<Waiting>>,
}

impl Root {
    /// Opens an existing directory as a root.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn open(host_path: impl Into<PathBuf>, keep_out: KeepOut) -> std::io::Result<Self> {
        let host_path = host_path.into();
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&host_path, flags, Mode::empty())?;
        Ok(Self::from_directory(directory, host_path, keep_out))
    }

    /// An open directory as a root; `host_path` is for messages.
    pub(crate) fn from_directory(directory: OwnedFd, host_path: PathBuf, keep_out: KeepOut) -> Self {
        Self { directory, host_path, keep_out, view: None }
    }

    /// A view of an overlay: a directory of a mount that has no path. `host_path` is for messages alone.
    pub(crate) fn of_overlay(directory: OwnedFd, host_path: PathBuf, overlay: OverlayMount) -> Self {
        let plain = Self::from_directory(directory, host_path, KeepOut::default());
        Self { view: Some(Box::new(View { overlay, waiting: Mutex::default() })), ..plain }
    }

    /// What another process has to mount to see what this root shows; `None` if it is a directory of the host.
    #[must_use]
    pub fn overlay(&self) -> Option<&OverlayMount> {
        self.view.as_ref().map(|view| &view.overlay)
    }

    /// Where the directory is on the host (outside the image), for a message: a view of an overlay is nowhere, see
    /// [`Root::path_on_host`].
    #[must_use]
    pub fn host_path(&self) -> &Path {
        &self.host_path
    }

    /// Where the directory is on the host; `None` if it is a view of an overlay, which has no path.
    #[must_use]
    pub fn path_on_host(&self) -> Option<&Path> {
        self.view.is_none().then_some(&self.host_path)
    }

    /// A directory of this root as a root of its own, at the end of which links end. Its parts that are not the image's
    /// are kept out of it too. What waits in it is to be [taken over](Root::take_waiting).
    pub(crate) fn below(&self, place: &ImagePath, directory: OwnedFd) -> Result<Self, PathError> {
        let kept = self.keep_out.iter().filter(|path| path.starts_with(place) && *path != place);
        let keep_out = kept
            .map(|path| ImagePath::new(&path.as_bytes()[place.as_bytes().len()..]))
            .collect::<Result<Vec<_>, _>>()?;
        let host_path = self.host_path.join(place.as_relative());
        let view = self.overlay().map(|overlay| View { overlay: overlay.clone(), waiting: Mutex::default() });
        let keep_out = KeepOut::new(keep_out);
        Ok(Self { directory, host_path, keep_out, view: view.map(Box::new) })
    }

    /// What in the directory is not the image's.
    #[must_use]
    pub fn keep_out(&self) -> &KeepOut {
        &self.keep_out
    }

    /// Remembers what is to be made when this view is closed.
    pub(crate) fn wait_for(&self, waiting: Waiting) {
        if let Some(view) = &self.view {
            view.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waiting);
        }
    }

    /// Whether something waits at a real path.
    pub(crate) fn waits(&self, path: &ImagePath) -> bool {
        self.view.as_ref().is_some_and(|view| {
            view.waiting.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|it| it.path == *path)
        })
    }

    /// Takes over what waits in a root that is the directory `place` of this one.
    pub(crate) fn take_waiting(&self, below: Self, place: &ImagePath) -> Result<(), PathError> {
        for Waiting { path, what } in below.close() {
            let what = match what {
                What::LinkTo(target, marks) => What::LinkTo(place.join(target.as_bytes())?, marks),
                node @ What::Node(_) => node,
            };
            self.wait_for(Waiting { path: place.join(path.as_bytes())?, what });
        }
        Ok(())
    }

    /// Closes the directory; gives what waited for that.
    pub(crate) fn close(self) -> Vec<Waiting> {
        let waiting = self.view.map(|view| view.waiting.into_inner());
        waiting.map_or_else(Vec::new, |waiting| waiting.unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}
