//! A clean path inside an image.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A path inside an image's file system, counted from its root: no leading slash, no empty, `.` or `..` component.
/// The root itself is the empty path. Bytes, not text: names in an image may be anything but `/` and NUL.
///
/// Paths are ordered component by component, so that a directory comes before what it holds and a subtree is one
/// contiguous range of a sorted map. This is the order in which layers are written.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ImagePath(Vec<u8>);

/// Why bytes are not a path inside an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path leaves the root by `..`.
    #[error("path {0:?} leaves the root file system")]
    Escapes(String),
    /// The path holds a NUL byte.
    #[error("path {0:?} holds a NUL byte")]
    Nul(String),
    /// The path or one of its components is longer than Linux takes (4095 and 255 bytes).
    #[error("path {0:?} is too long")]
    TooLong(String),
}

impl ImagePath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Cleans a relative or absolute path. `..` is resolved by name; one that would leave the root is an error.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, PathError> {
        Self::clean(path.as_ref(), false)
    }

    /// Cleans a path as [`ImagePath::new`] does, but takes the parent of the root to be the root, as a kernel does.
    pub fn clamped(path: impl AsRef<[u8]>) -> Result<Self, PathError> {
        Self::clean(path.as_ref(), true)
    }

    fn clean(path: &[u8], clamp: bool) -> Result<Self, PathError> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        if path.contains(&0) {
            return Err(PathError::Nul(shown()));
        }
        let mut clean: Vec<&[u8]> = Vec::new();
        for component in path.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." if clean.pop().is_none() && !clamp => return Err(PathError::Escapes(shown())),
                b".." => {}
                name if name.len() > 255 => return Err(PathError::TooLong(shown())),
                name => clean.push(name),
            }
        }
        let bytes = clean.join(&b'/');
        if bytes.len() > 4095 { Err(PathError::TooLong(shown())) } else { Ok(Self(bytes)) }
    }

    /// This path followed by another, which is cleaned; an absolute one starts again at the root (as `WORKDIR` joins).
    /// `..` at the root stays there.
    pub fn join(&self, path: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let path = path.as_ref();
        if path.starts_with(b"/") {
            return Self::clamped(path);
        }
        Self::clamped([&self.0, path].join(&b'/'))
    }

    /// The directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.0.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty())
    }

    /// The directories above this path, from the root's first child down; neither the root nor the path itself.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        self.0
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(end, _)| Self(self.0[..end].to_vec()))
    }

    /// The components from the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// Whether this path is `directory` or lies below it.
    pub fn starts_with(&self, directory: &Self) -> bool {
        directory.is_root()
            || self
                .0
                .strip_prefix(directory.0.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path relative to the root directory, for the system: `.` for the root.
    pub fn as_relative(&self) -> &Path {
        if self.is_root() { Path::new(".") } else { Path::new(OsStr::from_bytes(&self.0)) }
    }
}

impl Ord for ImagePath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for ImagePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As a user writes it: absolute, bytes that are not UTF-8 replaced.
impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    #[test]
    fn paths_are_cleaned() {
        for (given, clean) in
            [("", "/"), ("/", "/"), (".", "/"), ("./a//b/", "/a/b"), ("/a/./b", "/a/b"), ("a/../b", "/b")]
        {
            assert_eq!(path(given).to_string(), clean, "{given}");
        }
    }

    #[test]
    fn paths_out_of_the_root_are_refused_or_clamped() {
        for given in ["..", "../a", "a/../../b"] {
            assert!(matches!(ImagePath::new(given), Err(PathError::Escapes(_))), "{given}");
        }
        assert_eq!(ImagePath::clamped("a/../../b").unwrap(), path("b"));
        assert!(matches!(ImagePath::new("a\0b"), Err(PathError::Nul(_))));
        assert!(matches!(ImagePath::new("a".repeat(256)), Err(PathError::TooLong(_))));
    }

    #[test]
    fn joining_follows_working_directory_rules() {
        assert_eq!(path("a").join("b/../c").unwrap(), path("a/c"));
        assert_eq!(path("a").join("/c").unwrap(), path("c"));
        assert_eq!(path("a").join("../../..").unwrap(), ImagePath::root());
    }

    #[test]
    fn parents_come_before_children_and_subtrees_stay_together() {
        let mut paths = [path("a-b"), path("a/c"), path("a"), path("b"), path("a/b/c"), ImagePath::root()];
        paths.sort();
        let shown: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["/", "/a", "/a/b/c", "/a/c", "/a-b", "/b"]);
    }

    #[test]
    fn relations_between_paths() {
        assert!(path("a/b").starts_with(&path("a")));
        assert!(path("a").starts_with(&ImagePath::root()));
        assert!(!path("ab").starts_with(&path("a")));
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(ImagePath::root()));
        assert_eq!(ImagePath::root().parent(), None);
        assert_eq!(path("a/b/c").ancestors().collect::<Vec<_>>(), [path("a"), path("a/b")]);
        assert_eq!(path("a/b").name(), Some(&b"b"[..]));
    }
}
