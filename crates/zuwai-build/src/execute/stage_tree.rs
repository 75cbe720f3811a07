//! One stage's tree, and how a step changes it.

use std::sync::Arc;

use zuwai_rootfs::fingerprint::Fingerprints;
use zuwai_rootfs::overlay::OverlayMount;
use zuwai_rootfs::run::Ran;
use zuwai_rootfs::{ChangeSet, Root, RootfsError};

use super::scanned::ScannedTree;
use super::stacked::StackedTree;
use crate::error::StepError;

/// A stage's tree.
#[derive(Debug)]
pub enum StageTree {
    /// A directory, whose changes are found by looking at all of it.
    Scanned(ScannedTree),
    /// Layers in directories of their own.
    Stacked(StackedTree),
}

impl StageTree {
    /// The tree as it is now.
    pub fn root(&self) -> &Arc<Root> {
        match self {
            Self::Scanned(tree) => &tree.root,
            Self::Stacked(tree) => &tree.root,
        }
    }

    /// Has a command run in the tree, and finds what it changed. The command gets what it has to mount as its root, where
    /// that is no directory.
    ///
    /// # Errors
    /// When it cannot be run or fails, or the tree cannot be read.
    pub fn run(
        &mut self,
        command: impl FnOnce(&Root, Option<OverlayMount>) -> Result<Ran, StepError>,
    ) -> Result<ChangeSet, StepError> {
        match self {
            Self::Scanned(tree) => tree.run(|root| command(root, None)),
            Self::Stacked(tree) => tree.run(command),
        }
    }

    /// Has something written to the tree that says what it wrote.
    ///
    /// # Errors
    /// When it fails, or what it wrote cannot be looked at.
    pub fn change(
        &mut self,
        write: impl FnOnce(&Root) -> Result<ChangeSet, StepError>,
    ) -> Result<ChangeSet, StepError> {
        match self {
            Self::Scanned(tree) => tree.change(write),
            Self::Stacked(tree) => tree.change(write),
        }
    }

    /// From now on what changes is one layer, and found at the end.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn begin_single(&mut self) -> Result<(), RootfsError> {
        match self {
            Self::Scanned(tree) => tree.begin_single(),
            Self::Stacked(tree) => tree.begin_single(),
        }
    }

    /// All that changed since [`StageTree::begin_single`].
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn all_changes(&mut self) -> Result<ChangeSet, RootfsError> {
        match self {
            Self::Scanned(tree) => tree.all_changes(),
            Self::Stacked(tree) => tree.all_changes(),
        }
    }

    /// Keeps what writing a layer has seen of contents.
    pub fn remember(&mut self, fingerprints: Fingerprints) {
        match self {
            Self::Scanned(tree) => tree.remember(fingerprints),
            Self::Stacked(_) => {}
        }
    }
}
