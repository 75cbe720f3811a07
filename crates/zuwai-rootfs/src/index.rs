//! What a tree was after the last step.
use crate::change_set::ChangeSet;
use crate::error::RootfsError;
use crate::fingerprint::Fingerprints;
use crate::root::Root;
/// What a tree was after the last step.
#[derive(Debug, Default)]
pub struct Index {}
impl Index {
    /// Scans a tree.
    /// # Errors
    /// x
    pub fn scan(root: &Root, threads: usize) -> Result<Self, RootfsError> {
        let _ = (root, threads);
        todo!()
    }
    /// Adds what unpacking saw of contents.
    pub fn remember(&mut self, fingerprints: Fingerprints) {
        let _ = fingerprints;
        todo!()
    }
    /// Finds changes, and updates the index.
    /// # Errors
    /// x
    pub fn rescan(&mut self, root: &Root, threads: usize) -> Result<ChangeSet, RootfsError> {
        let _ = (root, threads);
        todo!()
    }
    /// Updates the index where a copy has written.
    /// # Errors
    /// x
    pub fn refresh(&mut self, root: &Root, changes: &ChangeSet) -> Result<(), RootfsError> {
        let _ = (root, changes);
        todo!()
    }
}
