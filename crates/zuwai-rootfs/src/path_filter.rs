//! What of a source tree may be copied.

/// Decides which paths of a source tree are copied: a context's `.dockerignore`, or `COPY --exclude`.
pub trait PathFilter: Send + Sync {
    /// What to do with the path, which is counted from the root of the tree: clean, without a leading slash.
    fn verdict(&self, path: &[u8], is_directory: bool) -> Verdict;
}

/// What a [`PathFilter`] says of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is copied.
    Include,
    /// It is not copied itself, but it is a directory in which something may be.
    ExcludeButMayHoldIncluded,
    /// It is not copied, nor is anything below it.
    Prune,
}
