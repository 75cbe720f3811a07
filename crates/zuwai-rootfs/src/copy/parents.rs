//! `COPY --parents`: which directories above a source are kept.
//!
//! The rules are those of BuildKit's frontend 1.20, found with its sources and its build:
//! - A source is cut at its first `/./`. What stands before it is the base, a source like any other: wildcards as of
//!   `COPY`, links followed. Without a `/./` the base is the root of the tree.
//! - What stands behind it is a pattern of the `.dockerignore` language (`**` is any directories), counted from the base.
//!   What it matches is copied, with all that is in it, below the destination, which is a directory. Links are neither
//!   followed nor entered there.
//! - The directories between the base and what is copied take all the metadata of their sources, `--chown` and
//!   `--chmod` included, where they are made; those that are there take the mode of their source.
//! - A base that is a file is copied, whatever stands behind it, if a wildcard found it.
//! - A pattern that is the base itself (`COPY --parents . /to`) matches nothing.
//! - Where neither base nor pattern has wildcards, the source has to be there.

use std::os::fd::AsFd as _;

use zuwai_layer::ImagePath;

use super::error::CopyError;
use super::input::SourceTree;
use super::options::CompilePattern;
use super::source::Found;
use crate::metadata::{FileKind, Metadata};
use crate::path_filter::PathFilter;
use crate::path_match;

/// A source cut at its pivot.
#[derive(Debug)]
pub(crate) struct Pivoted<'a> {
    written: &'a [u8],
    /// Where paths are counted from.
    pub base: &'a [u8],
    /// What is copied, counted from there.
    below: ImagePath,
}

impl<'a> Pivoted<'a> {
    pub fn new(written: &'a [u8]) -> Result<Self, CopyError> {
        const PIVOT: &[u8] = b"/./";
        let cut = written.windows(PIVOT.len()).position(|window| window == PIVOT);
        let (base, below) =
            cut.map_or((&b"/"[..], written), |at| (&written[..at], &written[at + PIVOT.len()..]));
        let below = ImagePath::clamped(below)?;
        if below.is_root() {
            tracing::warn!(
                "COPY --parents {0} copies nothing: write what to copy behind it, such as {0}/*",
                String::from_utf8_lossy(written).trim_end_matches('/')
            );
        }
        Ok(Self { written, base, below })
    }

    /// What of the base is copied.
    pub fn filter(&self, compile: CompilePattern<'_>) -> Result<Box<dyn PathFilter>, CopyError> {
        let bad = |_| CopyError::Pattern { pattern: String::from_utf8_lossy(self.written).into_owned() };
        compile(self.below.as_bytes()).map_err(bad)
    }

    /// Checks that a source without wildcards is there.
    pub fn require(&self, tree: SourceTree<'_>, bases: &[Found]) -> Result<(), CopyError> {
        let wild = [self.base, self.below.as_bytes()].into_iter().any(path_match::has_wildcard);
        if wild || self.below.is_root() {
            return Ok(());
        }
        bases.iter().try_for_each(|base| self.require_below(tree, base))
    }

    fn require_below(&self, tree: SourceTree<'_>, base: &Found) -> Result<(), CopyError> {
        let not_found = |path: &ImagePath| CopyError::NotFound { path: path.clone() };
        let mut path = base.path.clone();
        let mut above = base.metadata;
        for name in self.below.components() {
            if above.kind == FileKind::Symlink {
                return Err(CopyError::ParentIsLink { path: ImagePath::clamped(self.written)?, link: path });
            }
            path = path.join(path_match::unescape(name))?;
            if !above.is_directory() || tree.root.keep_out().covers(&path) {
                return Err(not_found(&path));
            }
            above = Metadata::at(tree.root.as_fd(), path.as_relative()).map_err(|_| not_found(&path))?;
        }
        if tree.is_there(&path, above.is_directory())? { Ok(()) } else { Err(CopyError::Excluded { path }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_cut_at_its_first_pivot() {
        for (written, base, below) in [
            ("a/b/c", "/", "a/b/c"),
            ("./a/b", "/", "a/b"),
            ("/a/b", "/", "a/b"),
            ("a/./b", "a", "b"),
            ("/a/b*/./c/**/e", "/a/b*", "c/**/e"),
            ("a/./b/./c", "a", "b/c"),
            ("./x/./y/*.txt", "./x", "y/*.txt"),
            ("a/./../../b", "a", "b"),
            ("a/b/.", "/", "a/b"),
            ("/./a", "", "a"),
            ("a/./", "a", ""),
            (".", "/", ""),
        ] {
            let pivoted = Pivoted::new(written.as_bytes()).unwrap();
            assert_eq!(
                (pivoted.base, pivoted.below.as_bytes()),
                (base.as_bytes(), below.as_bytes()),
                "{written}"
            );
        }
    }
}
