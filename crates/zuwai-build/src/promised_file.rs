//! Small files about the result, opened before there is one.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::BuildError;
use crate::output::make_parent;

/// A file that will be written when the build has succeeded, and that can be written now.
///
/// It is written in place and not replaced, because what is named is often a device or a mounted file, such as
/// `/dev/termination-log`. A file that was made for this and not [kept](Self::keep) goes away.
#[derive(Debug)]
pub struct PromisedFile {
    path: PathBuf,
    file: File,
    made: bool,
}

impl PromisedFile {
    /// Opens the file, or makes it and the directories above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: &Path) -> Result<Self, BuildError> {
        make_parent(path)?;
        let made = fs::symlink_metadata(path).is_err();
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|source| BuildError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, made })
    }

    /// Writes the text, in place of what the file held.
    ///
    /// # Errors
    /// When the text cannot be written.
    pub fn keep(mut self, text: &str) -> Result<(), BuildError> {
        let is_file = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        let emptied = if is_file { self.file.set_len(0) } else { Ok(()) };
        emptied
            .and_then(|()| self.file.write_all(text.as_bytes()))
            .map_err(|source| BuildError::Write { path: self.path.clone(), source })?;
        self.made = false;
        Ok(())
    }
}

impl Drop for PromisedFile {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_only_if_the_promise_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (new, old) = (directory.path().join("a/new"), directory.path().join("old"));
        fs::write(&old, "longer than what comes").unwrap();
        for path in [&new, &old] {
            drop(PromisedFile::open(path).unwrap());
        }
        assert!(!new.exists());
        assert_eq!(fs::read_to_string(&old).unwrap(), "longer than what comes");
        for path in [&new, &old] {
            PromisedFile::open(path).unwrap().keep("text").unwrap();
            assert_eq!(fs::read_to_string(path).unwrap(), "text");
        }
        PromisedFile::open(Path::new("/dev/null")).unwrap().keep("text").unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_written_is_found_when_it_is_promised() {
        let error = PromisedFile::open(Path::new("/proc/version/digest")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /proc/version"), "{error}");
    }
}
