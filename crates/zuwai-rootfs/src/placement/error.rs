//! What goes wrong when mounts are placed as files, or taken away again.

use std::io;
use std::path::{Path, PathBuf};

use zuwai_layer::PathError;

use crate::error::RootfsError;

/// Why a mount of a RUN could not be placed, or undone. Targets are shown as the step names them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// A target that is no path in a root, or the root itself.
    #[error("invalid mount target {target:?}")]
    Target {
        /// The target.
        target: PathBuf,
        /// Why, if it is no path at all.
        #[source]
        source: Option<PathError>,
    },
    /// A directory for a file's place, or the other way round.
    #[error(
        "cannot mount at {target}: not a directory: there is {found}, and this mount is {wanted}",
        target = target.display()
    )]
    Kind {
        /// The target.
        target: PathBuf,
        /// What is mounted.
        wanted: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A file that the container has mounted itself, which no file can stand for.
    #[error(
        "cannot mount at {target} in place: the container has a mount of its own there; choose another target, or \
         isolation by namespaces",
        target = target.display()
    )]
    MountPoint {
        /// The target.
        target: PathBuf,
    },
    /// The source of a mount cannot be used.
    #[error("cannot {doing} {path}, the source of the mount at {target}", path = path.display(), target = target.display())]
    Source {
        /// The verb.
        doing: &'static str,
        /// The source, outside the image.
        path: PathBuf,
        /// The target.
        target: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refused something at the target.
    #[error("cannot {doing} the mount at {target} in place", target = target.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The target.
        target: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A tree of files could not be moved, copied or removed.
    #[error("cannot {doing} the mount at {target} in place", target = target.display())]
    Tree {
        /// The verb.
        doing: &'static str,
        /// The target.
        target: PathBuf,
        /// What went wrong.
        #[source]
        source: Box<RootfsError>,
    },
}

impl PlacementError {
    /// For `map_err`: the system refused this at the target.
    pub(super) fn io<E: Into<io::Error>>(doing: &'static str, target: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { doing, target: target.to_owned(), source: source.into() }
    }

    /// For `map_err`: this did not work out with a tree at the target.
    pub(super) fn tree<E: Into<RootfsError>>(doing: &'static str, target: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Tree { doing, target: target.to_owned(), source: Box::new(source.into()) }
    }
}
