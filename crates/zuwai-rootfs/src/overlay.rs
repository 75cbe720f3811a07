//! Trees that are layers, one directory each, seen through overlayfs.
//!
//! Layers are unpacked once each and never changed again; any number of trees stand on them. What a step writes goes to
//! a directory of its own, which is then one more layer.
//!
//! - [`room`]: where the directories of layers are; - [`stack`]: layers on one another, and views of them.
//! - [`nodes`]: device nodes, which cannot be made through a view. - [`changes`]: what a step has written, as a change set.
//! - [`trial`]: whether all this works in some place.

mod changes;
pub(crate) mod nodes;
mod room;
mod stack;
mod trial;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use changes::changes;
pub use nodes::settle;
pub(crate) use room::MOUNT_POINT;
pub use room::{LayerDir, Room};
pub use stack::{MOST_LAYERS, Stack};

/// An overlay as it is mounted: directories of one room, named relative to it, so that hundreds of layers fit into the
/// one page of options that the kernel takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayMount {
    /// The directory of all layers: absolute, without links.
    pub room: PathBuf,
    /// The read-only layers' names, the lowest first.
    pub lower: Vec<String>,
    /// Where changes go; a view that nothing is written to has none.
    pub upper: Option<Upper>,
}

impl OverlayMount {
    /// What the overlay shows, for who does not change it: what went to the upper directory is one more layer.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.lower.extend(self.upper.take().map(|upper| upper.directory));
        self
    }
}

/// Where the changes of an overlay go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upper {
    /// The name of the layer that changes make.
    pub directory: String,
    /// The name of a directory that the kernel works in; made anew for every mount.
    pub work: String,
}
