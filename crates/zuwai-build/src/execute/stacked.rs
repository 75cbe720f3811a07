//! A stage's tree as a stack of layers, each in a directory of its own: a step's changes are what it has written.

use std::sync::Arc;

use zuwai_rootfs::overlay::{self, LayerDir, OverlayMount, Stack};
use zuwai_rootfs::run::Ran;
use zuwai_rootfs::{ChangeSet, Root, RootfsError};

use crate::error::{BuildError, StepError};

/// A stage's tree. Cheap to clone: layers are shared, and never change once they are in a stack.
#[derive(Debug, Clone)]
pub struct StackedTree {
    /// The tree as it is now; nothing is written through it.
    pub root: Arc<Root>,
    stack: Stack,
    /// Where all that the stage changes goes, and the tree without that, where it is to be a single layer. While a step writes
    /// there, nothing is read through the view of `root`, which shows it too: it is made anew after the step.
    single: Option<(Arc<LayerDir>, Arc<Root>)>,
}

impl StackedTree {
    /// The tree of these layers.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn new(stack: Stack) -> Result<Self, BuildError> {
        let root = stack.view().map_err(BuildError::Isolation)?;
        Ok(Self { root: Arc::new(root), stack, single: None })
    }

    /// Has a command run, whose changes go to a layer of their own.
    ///
    /// # Errors
    /// When it cannot be run or fails, or what it wrote cannot be read.
    pub fn run(
        &mut self,
        command: impl FnOnce(&Root, Option<OverlayMount>) -> Result<Ran, StepError>,
    ) -> Result<ChangeSet, StepError> {
        let upper = self.upper()?;
        command(&self.root, Some(self.stack.mount(Some(&upper))))?;
        let changes = match self.single {
            Some(_) => ChangeSet::default(),
            None => overlay::changes(&self.root, &upper)?,
        };
        self.keep(upper, &changes)?;
        Ok(changes)
    }

    /// Has something written to a layer of its own, through a view of the tree.
    ///
    /// # Errors
    /// When it fails, or the view cannot be had.
    pub fn change(
        &mut self,
        write: impl FnOnce(&Root) -> Result<ChangeSet, StepError>,
    ) -> Result<ChangeSet, StepError> {
        let upper = self.upper()?;
        let root = self.stack.writable(&upper)?;
        let changes = write(&root)?;
        overlay::settle(root, &upper)?;
        self.keep(upper, &changes)?;
        Ok(changes)
    }

    /// Has a layer written that does not depend on the tree below: to an empty root.
    ///
    /// # Errors
    /// When it fails.
    pub fn link(
        &mut self,
        write: impl FnOnce(&Root, &Root) -> Result<ChangeSet, StepError>,
    ) -> Result<(ChangeSet, Root), StepError> {
        let layer = self.stack.room().layer()?;
        let root = layer.root()?;
        let changes = write(&root, &self.root)?;
        self.push(Arc::new(layer))?;
        Ok((changes, root))
    }

    /// From now on all changes go to one layer.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin_single(&mut self) -> Result<(), RootfsError> {
        self.single = Some((Arc::new(self.stack.upper()?), Arc::clone(&self.root)));
        Ok(())
    }

    /// All that changed since [`StackedTree::begin_single`].
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn all_changes(&mut self) -> Result<ChangeSet, RootfsError> {
        let Some((upper, below)) = self.single.take() else { return Ok(ChangeSet::default()) };
        let changes = overlay::changes(&below, &upper)?;
        self.stack.push(upper)?;
        Ok(changes)
    }

    /// Removes the layers that no other tree has.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn discard(self) -> Result<(), RootfsError> {
        drop(self.root);
        let sole = |layer: &&Arc<LayerDir>| Arc::strong_count(layer) == 1;
        self.stack.layers().iter().filter(sole).try_for_each(|layer| layer.remove())
    }

    /// Where the next step writes.
    fn upper(&self) -> Result<Arc<LayerDir>, RootfsError> {
        match &self.single {
            Some((upper, _)) => Ok(Arc::clone(upper)),
            None => self.stack.upper().map(Arc::new),
        }
    }

    /// Shows the tree with what was written, which is a layer of the stack from now on unless more is to go there; without
    /// changes there is nothing in it that the tree does not show already.
    fn keep(&mut self, upper: Arc<LayerDir>, changes: &ChangeSet) -> Result<(), StepError> {
        if self.single.is_some() {
            let mut stack = self.stack.clone();
            stack.push(upper)?;
            self.root = Arc::new(stack.view()?);
            return Ok(());
        }
        if changes.is_empty() { Ok(upper.remove()?) } else { self.push(upper) }
    }

    fn push(&mut self, layer: Arc<LayerDir>) -> Result<(), StepError> {
        self.stack.push(layer)?;
        self.root = Arc::new(self.stack.view()?);
        Ok(())
    }
}
