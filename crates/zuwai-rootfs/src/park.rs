//! Moving a finished stage's tree out of the way.
use crate::error::RootfsError;
use crate::root::Root;
use std::path::Path;
/// Moves the tree of a root into a directory on the same file system.
/// # Errors
/// x
pub fn park(root: &Root, into: &Path) -> Result<Root, RootfsError> {
    let _ = (root, into);
    todo!()
}
/// Removes everything but what is kept out.
/// # Errors
/// x
pub fn clear(root: &Root) -> Result<(), RootfsError> {
    let _ = root;
    todo!()
}
