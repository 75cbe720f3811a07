//! A directory that holds an image's tree, and what in it is not the image's.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use zuwai_layer::ImagePath;

use crate::overlay::OverlayMount;

/// Paths inside a root that do not belong to the image: in place these are mount points, the state directory, the
/// executor's own files, the context. They and everything below are never read, changed or put in a layer.
#[derive(Debug, Clone, Default)]
pub struct KeepOut {
    paths: BTreeSet<ImagePath>,
}

impl KeepOut {
    /// Keeps off these paths.
    pub fn new(paths: impl IntoIterator<Item = ImagePath>) -> Self {
        Self { paths: paths.into_iter().collect() }
    }

    /// Keeps off one path more.
    pub fn insert(&mut self, path: ImagePath) {
        self.paths.insert(path);
    }

    /// Whether the path is one of these itself.
    #[must_use]
    pub fn contains(&self, path: &ImagePath) -> bool {
        self.paths.contains(path)
    }

    /// Whether the path is one of these or lies below one.
    #[must_use]
    pub fn covers(&self, path: &ImagePath) -> bool {
        self.paths.contains(path) || path.ancestors().any(|directory| self.paths.contains(&directory))
    }

    /// Whether something to keep off lies strictly below the path.
    #[must_use]
    pub fn reaches_below(&self, path: &ImagePath) -> bool {
        self.paths
            .range((std::ops::Bound::Excluded(path.clone()), std::ops::Bound::Unbounded))
            .next()
            .is_some_and(|next| next.starts_with(path))
    }

    /// The paths, in order.
    pub fn iter(&self) -> impl Iterator<Item = &ImagePath> {
        self.paths.iter()
    }
}

/// A directory that holds an image's tree: `/` itself when building in place, a private directory or a view of an
/// overlay otherwise.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    host_path: PathBuf,
    keep_out: KeepOut,
    overlay: Option<Box<OverlayMount>>,
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
        Ok(Self { directory, host_path, keep_out, overlay: None })
    }

    /// An open directory as a root; `host_path` is for messages.
    pub(crate) fn from_directory(directory: OwnedFd, host_path: PathBuf, keep_out: KeepOut) -> Self {
        Self { directory, host_path, keep_out, overlay: None }
    }

    /// A view of an overlay: a directory of a mount that has no path. `host_path` is for messages alone.
    pub(crate) fn of_overlay(directory: OwnedFd, host_path: PathBuf, overlay: OverlayMount) -> Self {
        Self { directory, host_path, keep_out: KeepOut::default(), overlay: Some(Box::new(overlay)) }
    }

    /// What another process has to mount to see what this root shows; `None` if it is a directory of the host.
    #[must_use]
    pub fn overlay(&self) -> Option<&OverlayMount> {
        self.overlay.as_deref()
    }

    /// Where the directory is on the host (outside the image).
    #[must_use]
    pub fn host_path(&self) -> &Path {
        &self.host_path
    }

    /// What in the directory is not the image's.
    #[must_use]
    pub fn keep_out(&self) -> &KeepOut {
        &self.keep_out
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}
