//! The directory with its patterns.

use std::io;
use std::path::Path;

use zuwai_rootfs::copy::SourceTree;
use zuwai_rootfs::{KeepOut, Root};

use crate::error::ContextError;
use crate::ignore::Ignore;

/// A directory to build from.
#[derive(Debug)]
pub struct Context {
    root: Root,
    ignore: Ignore,
}

impl Context {
    /// Opens a local directory, with the ignore file that counts for this Dockerfile. What `keep_out` covers (paths
    /// counted from the directory, such as the builder's own state) does not exist for the build.
    ///
    /// A Dockerfile that is excluded can still be built from, since it is not read through the context; it cannot be
    /// copied.
    ///
    /// # Errors
    /// When the directory or the ignore file cannot be read.
    pub fn open(
        directory: &Path,
        dockerfile: Option<&Path>,
        keep_out: KeepOut,
    ) -> Result<Self, ContextError> {
        let root = Root::open(directory, keep_out).map_err(|source| {
            let path = directory.to_owned();
            match source.kind() {
                io::ErrorKind::NotADirectory => ContextError::NotADirectory { path },
                _ => ContextError::Open { path, source },
            }
        })?;
        Ok(Self { root, ignore: Ignore::read(directory, dockerfile)? })
    }

    /// What to copy from.
    pub fn source(&self) -> SourceTree<'_> {
        SourceTree::context(&self.root, &self.ignore.patterns)
    }

    /// The ignore file that counts, with its patterns.
    pub fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    /// The directory.
    pub fn root(&self) -> &Root {
        &self.root
    }
}
