//! What is copied.

use std::fmt;

use zuwai_layer::ImagePath;

use super::error::CopyError;
use crate::path_filter::PathFilter;
use crate::root::Root;

/// One source of a `COPY` or `ADD`.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// What a path or wildcard means in a tree. It is as the user wrote it, with variables replaced; it is counted from
    /// the root of the tree, and cannot leave it.
    Path(SourceTree<'a>, &'a [u8]),
    /// A file that `ADD` fetched, or the directory of a repository. Its name is no wildcard, whatever is in it, and it has
    /// to be there. A directory gives all its metadata to a destination that is not there and was written without a slash.
    Fetched {
        /// Where it lies.
        tree: SourceTree<'a>,
        /// Its path there, with no link on the way.
        path: &'a ImagePath,
        /// Whether a file is extracted if it is an archive: only with `--unpack=true`.
        extract: bool,
    },
    /// A here-document.
    Inline(InlineFile<'a>),
}

/// Where `COPY` reads: a finished stage or an image, or a build context.
#[derive(Clone, Copy)]
pub struct SourceTree<'a> {
    /// The tree. What its keep-out covers is not read.
    pub root: &'a Root,
    /// Which of its paths exist for the copy; all if `None`.
    pub filter: Option<&'a dyn PathFilter>,
    /// Whether file capabilities are copied. They are from stages and images; from a build context BuildKit does not
    /// carry them.
    pub file_capabilities: bool,
    /// Who owns what is copied without `--chown`; `None` keeps each source's own.
    pub owner: Option<(u32, u32)>,
}

impl<'a> SourceTree<'a> {
    /// A finished stage or an image: everything is there, and keeps its owner.
    #[must_use]
    pub fn stage(root: &'a Root) -> Self {
        Self { root, filter: None, file_capabilities: true, owner: None }
    }

    /// A build context, seen through its ignore file; what is copied from it belongs to 0:0.
    #[must_use]
    pub fn context(root: &'a Root, filter: &'a dyn PathFilter) -> Self {
        Self { root, filter: Some(filter), file_capabilities: false, owner: Some((0, 0)) }
    }
}

impl fmt::Debug for SourceTree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceTree")
            .field("root", self.root)
            .field("filtered", &self.filter.is_some())
            .finish()
    }
}

/// A file whose content stands in the Dockerfile.
#[derive(Debug, Clone, Copy)]
pub struct InlineFile<'a> {
    /// Its name, which it gets where the destination is a directory.
    pub name: &'a [u8],
    /// What it holds.
    pub content: &'a [u8],
}

impl InlineFile<'_> {
    /// Its mode without `--chmod`.
    pub(crate) const MODE: u32 = 0o644;

    /// Its name, cleaned. BuildKit makes the file in an empty directory first, so that it has to be one alone.
    pub(crate) fn file_name(&self) -> Result<ImagePath, CopyError> {
        let name = ImagePath::clamped(self.name)?;
        if name.components().count() == 1 { Ok(name) } else { Err(CopyError::InlineName { name }) }
    }
}
