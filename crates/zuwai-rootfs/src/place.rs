//! Where a file or directory is that a step is shown from another tree.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zuwai_layer::ImagePath;

use crate::overlay::OverlayMount;
use crate::root::Root;

/// A file or directory of a tree: one with a path on the host, or one that is seen only where an overlay is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A path on the host: absolute, without links.
    Host(PathBuf),
    /// A path in an overlay that nothing writes to.
    Overlay {
        /// The overlay, without an upper directory.
        overlay: OverlayMount,
        /// The path from the overlay's root: relative, without links; empty for the root itself.
        path: PathBuf,
    },
}

impl Place {
    /// Where a path of a root is, as [`Root::resolve`] gave it: without links.
    #[must_use]
    pub fn of(root: &Root, path: &ImagePath) -> Self {
        let relative = if path.is_root() { Path::new("") } else { path.as_relative() };
        match root.overlay() {
            Some(overlay) => {
                Self::Overlay { overlay: overlay.clone().read_only(), path: relative.to_owned() }
            }
            None if path.is_root() => Self::Host(root.host_path().to_owned()),
            None => Self::Host(root.host_path().join(relative)),
        }
    }

    /// The path on the host, if it has one.
    #[must_use]
    pub fn host_path(&self) -> Option<&Path> {
        match self {
            Self::Host(path) => Some(path),
            Self::Overlay { .. } => None,
        }
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::Host(path)
    }
}

/// For messages.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(path) => path.display().fmt(f),
            Self::Overlay { overlay, path } => {
                let layers = overlay.lower.len();
                write!(f, "/{} (of {layers} layers in {})", path.display(), overlay.room.display())
            }
        }
    }
}
