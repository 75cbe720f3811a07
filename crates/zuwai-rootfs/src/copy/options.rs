//! How `COPY` and `ADD` copy.

use std::fmt;

use super::mode_change::ModeChange;
use crate::path_filter::PathFilter;
use crate::path_match::BadPattern;

/// Makes a filter that lets through what a pattern matches, with all that is in it, and nothing else. The pattern is a
/// clean relative path with wildcards, or empty, and matches nothing then.
pub type CompilePattern<'a> = &'a dyn Fn(&[u8]) -> Result<Box<dyn PathFilter>, BadPattern>;

/// How `COPY` and `ADD` copy.
#[derive(Clone, Copy, Default)]
pub struct CopyOptions<'a> {
    /// `--chown`: user and group of everything written, also of created parents and of what is in an extracted archive.
    /// `None` gives each file what the source tree says, keeps owners as they are in archives, and gives created parents
    /// 0:0.
    pub owner: Option<(u32, u32)>,
    /// What `--chmod` does to the mode of everything written. `None` keeps each source's own.
    pub mode: Option<&'a ModeChange>,
    /// What `--exclude` leaves out. Paths are counted from the directory that is copied; it does not concern sources
    /// that are files.
    pub exclude: Option<&'a dyn PathFilter>,
    /// `--parents`, and how its patterns are read; see [`parents`](super::parents).
    pub parents: Option<CompilePattern<'a>>,
    /// Whether sources that are tar archives, compressed or not, are extracted: `ADD` without `--unpack=false`. What is
    /// no archive is copied, `--unpack=true` or not. `mode` and `exclude` do not concern what is in an archive.
    pub extract: bool,
}

impl fmt::Debug for CopyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOptions")
            .field("owner", &self.owner)
            .field("mode", &self.mode)
            .field("excludes", &self.exclude.is_some())
            .field("parents", &self.parents.is_some())
            .field("extract", &self.extract)
            .finish()
    }
}
