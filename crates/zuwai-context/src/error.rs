//! What can go wrong with a context.

use std::io;
use std::path::PathBuf;

use crate::pattern::PatternError;

/// Why a context cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A kind of context that is known and not done yet.
    #[error("build context {location:?}: {scheme} contexts are not supported yet, only local directories")]
    NotSupported {
        /// What the user named, without credentials.
        location: String,
        /// Which kind it is.
        scheme: &'static str,
    },
    /// A kind of context that nobody knows.
    #[error("build context {location:?}: unknown scheme {scheme:?}")]
    UnknownScheme {
        /// What the user named, without credentials.
        location: String,
        /// What stands before `://`.
        scheme: String,
    },
    /// The context's directory cannot be opened.
    #[error("cannot open build context {path}", path = path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The context is something else than a directory.
    #[error("build context {path} is not a directory", path = path.display())]
    NotADirectory {
        /// What was named.
        path: PathBuf,
    },
    /// An ignore file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    ReadIgnore {
        /// The ignore file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An ignore file is larger than any real one.
    #[error("{path} is larger than {limit} bytes", path = path.display())]
    IgnoreTooLarge {
        /// The ignore file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// A line of an ignore file is not a pattern.
    #[error("{path}:{line}: invalid pattern", path = path.display())]
    Pattern {
        /// The ignore file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: PatternError,
    },
}
