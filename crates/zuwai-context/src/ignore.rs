//! Which ignore file counts, and what it says.
//!
//! The reader's rules are moby's: a byte order mark at the beginning is skipped, lines that begin with `#` are comments,
//! space around a pattern does not count, and a slash before it means the context's directory as no slash does.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::ContextError;
use crate::patterns::{Answer, Patterns, clean, trim};

/// The most that is read of an ignore file, in bytes. Real ones have a few hundred.
const LIMIT: u64 = 4 << 20;

/// The patterns of an ignore file, and which file it was.
#[derive(Debug, Default)]
pub struct Ignore {
    /// The file; `None` if there was none.
    pub file: Option<PathBuf>,
    /// What it says.
    pub patterns: Patterns,
    lines: Vec<Line>,
}

/// A line of an ignore file that holds a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number, counted from 1.
    pub number: usize,
    /// What it says, without space around it.
    pub text: Vec<u8>,
}

impl Ignore {
    /// Reads `<Dockerfile>.dockerignore` beside the Dockerfile, or else `.dockerignore` of the context's directory.
    /// No such file means that nothing is excluded.
    ///
    /// # Errors
    /// When the file cannot be read or a line of it is not a pattern.
    pub fn read(context: &Path, dockerfile: Option<&Path>) -> Result<Self, ContextError> {
        let own = dockerfile.map(|dockerfile| {
            let mut name = OsString::from(dockerfile);
            name.push(".dockerignore");
            PathBuf::from(name)
        });
        for path in own.into_iter().chain([context.join(".dockerignore")]) {
            if let Some(text) = read_limited(&path)? {
                return Self::parse(path, &text);
            }
        }
        Ok(Self::default())
    }

    /// Reads the text of an ignore file; `file` is what errors call it.
    ///
    /// # Errors
    /// When a line is not a pattern.
    pub fn parse(file: PathBuf, text: &[u8]) -> Result<Self, ContextError> {
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let mut patterns = Vec::new();
        let mut lines = Vec::new();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let trimmed = trim(line);
            if !line.starts_with(b"#") && !trimmed.is_empty() {
                patterns.push(from_the_directory(trimmed));
                lines.push(Line { number: number + 1, text: trimmed.to_vec() });
            }
        }
        match Patterns::new(&patterns) {
            Ok(patterns) => Ok(Self { file: Some(file), patterns, lines }),
            Err((place, source)) => {
                let line = lines.get(place).map_or(0, |line| line.number);
                Err(ContextError::Pattern { path: file, line, source })
            }
        }
    }

    /// The line that decided about a path.
    pub fn line(&self, answer: Answer) -> Option<&Line> {
        self.patterns.place(answer).and_then(|place| self.lines.get(place))
    }
}

/// A pattern as it is counted from the context's directory, with its `!` if it has one.
fn from_the_directory(pattern: &[u8]) -> Vec<u8> {
    let (mark, pattern): (&[u8], &[u8]) = match pattern.strip_prefix(b"!") {
        Some(rest) => (b"!", trim(rest)),
        None => (b"", pattern),
    };
    if pattern.is_empty() {
        return mark.to_vec();
    }
    let cleaned = clean(pattern);
    let relative = cleaned.strip_prefix(b"/").filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
    [mark, relative].concat()
}

fn read_limited(path: &Path) -> Result<Option<Vec<u8>>, ContextError> {
    let error = |source| ContextError::ReadIgnore { path: path.to_owned(), source };
    // A FIFO without a writer would be waited for.
    let nonblocking = i32::from_ne_bytes(rustix::fs::OFlags::NONBLOCK.bits().to_ne_bytes());
    let file = match File::options().read(true).custom_flags(nonblocking).open(path) {
        Ok(file) if !file.metadata().is_ok_and(|metadata| metadata.is_file()) => {
            return Err(error(io::Error::other("it is not a file")));
        }
        Ok(file) => file,
        Err(missing) if matches!(missing.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(other) => return Err(error(other)),
    };
    let mut text = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut text).map_err(error)?;
    if text.len() as u64 > LIMIT {
        return Err(ContextError::IgnoreTooLarge { path: path.to_owned(), limit: LIMIT });
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Patterns {
        Ignore::parse(PathBuf::from("i"), text.as_bytes()).unwrap().patterns
    }

    #[test]
    fn lines_are_read_as_moby_reads_them() {
        let patterns = parse("\u{feff}a\r\n# b\n #c\n\n  /d/  \n//e/./f/../g\n! /d/x\n/\n");
        for path in ["a", "#c", "d", "d/y", "e/g"] {
            assert!(patterns.excludes(path.as_bytes()), "{path}");
        }
        for path in ["b", "# b", "d/x", "e", "f"] {
            assert!(!patterns.excludes(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_bad_line_is_told_by_file_and_line() {
        for (text, message) in [
            ("a\n# comment\n\nb[\n", "dir/.dockerignore:4: invalid pattern"),
            ("!\n", "dir/.dockerignore:1: invalid pattern"),
            ("a\n!/b/..\n", "dir/.dockerignore:2: invalid pattern"),
        ] {
            let error = Ignore::parse(PathBuf::from("dir/.dockerignore"), text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn the_dockerfiles_own_ignore_file_wins() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert!(Ignore::read(directory.path(), Some(&at("Dockerfile"))).unwrap().patterns.is_empty());
        std::fs::write(at(".dockerignore"), "a").unwrap();
        std::fs::write(at("other.Dockerfile.dockerignore"), "").unwrap();
        let read = |dockerfile: Option<&Path>| Ignore::read(directory.path(), dockerfile).unwrap();
        for (dockerfile, file, excluded) in [
            (None, ".dockerignore", true),
            (Some("Dockerfile"), ".dockerignore", true),
            (Some("other.Dockerfile"), "other.Dockerfile.dockerignore", false),
        ] {
            let ignore = read(dockerfile.map(at).as_deref());
            assert_eq!(ignore.file, Some(at(file)));
            assert_eq!(ignore.patterns.excludes(b"a"), excluded, "{dockerfile:?}");
        }
    }

    #[test]
    fn unreadable_and_huge_ignore_files_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".dockerignore");
        std::fs::create_dir(&path).unwrap();
        let error = Ignore::read(directory.path(), None).unwrap_err();
        assert!(matches!(error, ContextError::ReadIgnore { .. }), "{error}");
        std::fs::remove_dir(&path).unwrap();
        File::create(&path).unwrap().set_len(LIMIT + 1).unwrap();
        let error = Ignore::read(directory.path(), None).unwrap_err();
        assert!(matches!(error, ContextError::IgnoreTooLarge { .. }), "{error}");
    }
}
