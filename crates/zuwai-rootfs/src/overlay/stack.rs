//! Layers on one another, and views of them.

use std::path::PathBuf;
use std::sync::Arc;

use super::room::{EMPTY_LAYERS, LayerDir, Room};
use super::{OverlayMount, Upper};
use crate::error::RootfsError;
use crate::root::Root;
use crate::run_error::RunError;

/// The most layers that can stand on one another: what the kernel mounts as one (`OVL_MAX_STACK` of its overlayfs).
pub const MOST_LAYERS: usize = 500;

/// The layers of one tree.
#[derive(Debug, Clone)]
pub struct Stack {
    room: Arc<Room>,
    layers: Vec<Arc<LayerDir>>,
}

impl Stack {
    /// One of no layers: an empty tree.
    #[must_use]
    pub fn new(room: Arc<Room>) -> Self {
        Self { room, layers: Vec::new() }
    }

    /// Puts one more layer, of the same room, on top.
    ///
    /// # Errors
    /// When there are [`MOST_LAYERS`] already.
    pub fn push(&mut self, layer: Arc<LayerDir>) -> Result<(), RootfsError> {
        if self.layers.len() == MOST_LAYERS {
            return Err(RootfsError::TooManyLayers { limit: MOST_LAYERS });
        }
        self.layers.push(layer);
        Ok(())
    }

    /// The layers, the lowest first.
    #[must_use]
    pub fn layers(&self) -> &[Arc<LayerDir>] {
        &self.layers
    }

    /// Where they are.
    #[must_use]
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Makes a layer for what is written to this tree: empty, its root directory as that of the tree.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn upper(&self) -> Result<LayerDir, RootfsError> {
        let upper = self.room.layer()?;
        if let Some(top) = self.layers.last() {
            upper.look_like(top)?;
        }
        Ok(upper)
    }

    /// Shows the tree, to be read.
    ///
    /// # Errors
    /// When it cannot be mounted, or the process that does so cannot be started.
    pub fn view(&self) -> Result<Root, RunError> {
        self.open(self.mount(None))
    }

    /// Shows the tree, to be read and written: what is written goes to `upper`. To be closed by
    /// [`settle`](super::settle).
    ///
    /// # Errors
    /// As [`Stack::view`].
    pub fn writable(&self, upper: &LayerDir) -> Result<Root, RunError> {
        self.open(self.mount(Some(upper)))
    }

    /// What another process has to mount to see the tree, and to write to it where there is an upper layer.
    #[must_use]
    pub fn mount(&self, upper: Option<&LayerDir>) -> OverlayMount {
        // An upper directory counts as one of the two that every overlay needs.
        let missing = (2 - usize::from(upper.is_some())).saturating_sub(self.layers.len());
        let empty = EMPTY_LAYERS.iter().take(missing).map(|name| (*name).to_owned());
        let layers = self.layers.iter().map(|layer| layer.name().to_owned());
        OverlayMount {
            room: self.room.path().to_owned(),
            lower: empty.chain(layers).collect(),
            upper: upper.map(|upper| Upper { directory: upper.name().to_owned(), work: upper.work() }),
        }
    }

    fn open(&self, overlay: OverlayMount) -> Result<Root, RunError> {
        let directory = self.room.view(&overlay)?;
        let top = overlay.upper.as_ref().map(|upper| &upper.directory).or(overlay.lower.last());
        let shown: PathBuf = self.room.path().join(format!("view-of-{}", top.map_or("", String::as_str)));
        Ok(Root::of_overlay(directory, shown, overlay))
    }
}
