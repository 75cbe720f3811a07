//! A bound on how many files a tree may have.
//!
//! A few trees that name one another many times stand for more files than any disk holds; they are counted before a
//! list of the files is made.

use gix_hash::{Kind, ObjectId};
use gix_object::{FindExt as _, TreeRefIter};

use crate::remote::git::checkout::Objects;

/// Most files and directories of a repository, and how deep they may lie.
const ENTRY_LIMIT: u64 = 10_000_000;
const DEPTH_LIMIT: usize = 1024;

/// Counts what a tree stands for.
///
/// # Errors
/// What is wrong with it, as text.
pub(super) fn check(objects: &Objects, tree: &ObjectId) -> Result<(), String> {
    let mut left = ENTRY_LIMIT;
    // Directories that are still to be counted, and how deep they lie.
    let mut directories = vec![(*tree, 0)];
    let mut buffer = Vec::new();
    while let Some((directory, depth)) = directories.pop() {
        let found = objects.find(&directory, &mut buffer).map_err(|error| error.to_string())?;
        if found.kind != gix_object::Kind::Tree {
            return Err(format!("{directory} is not a tree"));
        }
        for entry in TreeRefIter::from_bytes(found.data, Kind::Sha1) {
            let entry = entry.map_err(|error| error.to_string())?;
            left = left.checked_sub(1).ok_or_else(|| format!("more than {ENTRY_LIMIT} files"))?;
            if entry.mode.is_tree() {
                if depth == DEPTH_LIMIT {
                    return Err(format!("directories more than {DEPTH_LIMIT} deep"));
                }
                directories.push((entry.oid.to_owned(), depth + 1));
            }
        }
    }
    Ok(())
}
