//! The attribute `ident`: `$Id$` in a file becomes the name of its blob.
//!
//! git writes `$Id: NAME $`, gitoxide `$Id: NAME$`. No file holds its own name by chance, so that what is between the
//! dollars tells that gitoxide put it there.

use std::fs::{self, File};
use std::io::Read as _;

use gix_index::State;
use gix_index::entry::Mode;
use gix_object::bstr::ByteSlice as _;

use crate::remote::error::{IoContext as _, RemoteError};
use crate::remote::git::checkout::{Repository, below};

/// Largest `.gitattributes` (git's own bound), and largest file that is corrected.
const ATTRIBUTES_LIMIT: usize = 100 << 20;
const FILE_LIMIT: u64 = 64 << 20;

/// Gives the files of a checkout that have their names in them the form that git writes.
pub(super) fn correct(repository: &Repository<'_>, index: &State) -> Result<(), RemoteError> {
    if !is_used(repository, index)? {
        return Ok(());
    }
    for entry in index.entries() {
        if !matches!(entry.mode, Mode::FILE | Mode::FILE_EXECUTABLE) {
            continue;
        }
        let path = below(repository.directory, entry.path(index))?;
        let mut content = Vec::new();
        let file = File::open(&path).at("open", &path)?;
        if file.take(FILE_LIMIT + 1).read_to_end(&mut content).at("read", &path)? as u64 > FILE_LIMIT {
            continue;
        }
        let short = format!("$Id: {}$", entry.id);
        if content.contains_str(&short) {
            let right = content.replace(&short, format!("$Id: {} $", entry.id));
            fs::write(&path, right).at("write", &path)?;
        }
    }
    Ok(())
}

/// Whether any `.gitattributes` speaks of it.
fn is_used(repository: &Repository<'_>, index: &State) -> Result<bool, RemoteError> {
    for entry in index.entries() {
        let path = entry.path(index);
        if path == ".gitattributes" || path.ends_with(b"/.gitattributes") {
            let text = repository.read(&entry.id, ATTRIBUTES_LIMIT)?;
            if text.contains_str("ident") {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
