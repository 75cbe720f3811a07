//! One stage's tree, and how a step changes it.

use std::sync::Arc;

use zuwai_rootfs::fingerprint::Fingerprints;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::run::Ran;
use zuwai_rootfs::{ChangeSet, Root};

use super::scanned::ScannedTree;
use crate::error::StepError;

/// A stage's tree.
#[derive(Debug)]
pub enum StageTree {
    /// A directory, whose changes are found by looking at all of it.
    Scanned(ScannedTree),
}

impl StageTree {
    /// An empty directory, or the container's `/`.
    pub fn scanned(root: Root, mode: Mode, threads: usize) -> Self {
        Self::Scanned(ScannedTree::new(root, mode, threads))
    }

    /// The tree as it is now.
    pub fn root(&self) -> &Arc<Root> {
        match self {
            Self::Scanned(tree) => &tree.root,
        }
    }

    /// Has a command run in the tree, and finds what it changed.
    ///
    /// # Errors
    /// When it cannot be run or fails, or the tree cannot be read.
    pub fn run(
        &mut self,
        command: impl FnOnce(&Root) -> Result<Ran, StepError>,
    ) -> Result<ChangeSet, StepError> {
        match self {
            Self::Scanned(tree) => tree.run(command),
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
        }
    }

    /// Keeps what writing a layer has seen of contents.
    pub fn remember(&mut self, fingerprints: Fingerprints) {
        match self {
            Self::Scanned(tree) => tree.remember(fingerprints),
        }
    }
}
