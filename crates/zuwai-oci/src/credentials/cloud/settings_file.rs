//! Files of settings and tokens.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::OciError;
use crate::secret::Secret;
use crate::store::read_limited;

/// Largest file that is read.
const FILE_LIMIT: u64 = 1 << 20;

/// A file of settings, read when the program starts: later the file of that name may be an image's. Whether it is
/// readable matters only once somebody needs it.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    path: PathBuf,
    content: Result<Option<Secret>, String>,
}

impl SettingsFile {
    /// Reads a file; one that is not there is not an error yet.
    pub fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let content = match read_text(&path) {
            Ok(text) => Ok(Some(text)),
            Err(OciError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(told(&error)),
        };
        Self { path, content }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; none where there is no such file.
    ///
    /// # Errors
    /// When it could not be read, or is not UTF-8 or too long.
    pub fn text(&self) -> Result<Option<&str>, String> {
        self.content.as_ref().map(|text| text.as_ref().map(Secret::reveal)).map_err(Clone::clone)
    }
}

/// Reads a file with a token, which is renewed from time to time and so read when it is needed.
pub(crate) fn read_token(path: &Path) -> Result<Secret, String> {
    let text = read_text(path).map_err(|error| told(&error))?;
    let token = text.reveal().trim();
    match token.is_empty() {
        true => Err(format!("{} is empty", path.display())),
        false => Ok(Secret::new(token)),
    }
}

fn read_text(path: &Path) -> Result<Secret, OciError> {
    let failed = |source| OciError::Io { action: "read", path: path.to_owned(), source };
    // A pipe would keep us waiting.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    let bytes = read_limited(path, FILE_LIMIT)?;
    String::from_utf8(bytes).map(Secret::new).map_err(|_| failed(io::Error::other("not UTF-8")))
}

/// An error and its cause in one line.
fn told(error: &OciError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_when_it_is_made_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings");
        assert_eq!(SettingsFile::read(&path).text(), Ok(None));
        fs::write(&path, "hunter2").unwrap();
        let file = SettingsFile::read(&path);
        fs::write(&path, "an image's").unwrap();
        assert_eq!(file.text(), Ok(Some("hunter2")));
        assert!(!format!("{file:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_no_text_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (content, problem) in
            [(&b"\xff"[..], "not UTF-8"), (b" \n", "empty"), (&vec![b'x'; 1 << 21], "longer")]
        {
            fs::write(&path, content).unwrap();
            let told = read_token(&path).unwrap_err();
            assert!(told.contains(problem) && told.contains("token"), "{told}");
        }
        assert!(read_token(directory.path()).unwrap_err().contains("not a regular file"));
        fs::write(&path, "a-token\n").unwrap();
        assert_eq!(read_token(&path).unwrap().reveal(), "a-token");
    }
}
