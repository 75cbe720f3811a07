//! What goes wrong between a `COPY` and its files.

use std::io;

use zuwai_layer::error::LayerError;
use zuwai_layer::{ImagePath, PathError};

/// Why files could not be copied. The Dockerfile's paths are shown as absolute paths inside the source or the image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A source is not in the source tree.
    #[error("\"{path}\": not found")]
    NotFound {
        /// The source, counted from the root of the source tree.
        path: ImagePath,
    },
    /// A source is not to be copied.
    #[error("\"{path}\": not found: it is excluded from the build context, see .dockerignore")]
    Excluded {
        /// The source, counted from the root of the context.
        path: ImagePath,
    },
    /// A here-document's name is no file name.
    #[error(
        "{name} cannot be the name of a here-document: name the file alone, and its directory in the destination"
    )]
    InlineName {
        /// The name, cleaned.
        name: ImagePath,
    },
    /// A link stands on the way to a source of `--parents`.
    #[error(
        "\"{path}\": not found: --parents does not follow {link}, a symbolic link; name what it leads to"
    )]
    ParentIsLink {
        /// The source, counted from the root of the source tree.
        path: ImagePath,
        /// The link.
        link: ImagePath,
    },
    /// A wildcard is malformed.
    #[error("{pattern:?} is not a valid wildcard: a bracket or backslash is not closed")]
    Pattern {
        /// The source as it was written.
        pattern: String,
    },
    /// A source or the destination cannot be a path at all.
    #[error("not a usable path")]
    Path(#[from] PathError),
    /// Symbolic links lead round in a circle.
    #[error("{path}: too many symbolic links")]
    Links {
        /// Where following began.
        path: ImagePath,
    },
    /// Something of the source tree cannot be read.
    #[error("cannot read {path} to copy it")]
    Read {
        /// What is read, counted from the root of the source tree.
        path: ImagePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// What is written, counted from the image's root.
        path: ImagePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file's content cannot be copied.
    #[error("cannot copy the content of {from} to {path}")]
    Content {
        /// What is read, counted from the root of the source tree.
        from: ImagePath,
        /// What is written, counted from the image's root.
        path: ImagePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory would have to go for a file.
    #[error("cannot replace directory {path} with a file")]
    ReplacesDirectory {
        /// The directory in the image.
        path: ImagePath,
    },
    /// A directory is copied onto something else, or a parent of the destination is something else.
    #[error("cannot copy into {path}: it is there and is not a directory")]
    NotADirectory {
        /// What is in the way.
        path: ImagePath,
    },
    /// The destination belongs to the builder's own container.
    #[error(
        "cannot copy to {path} when building in place: it is a mount point or belongs to the builder; choose another \
         destination, or isolation by namespaces"
    )]
    KeptOut {
        /// The destination in the image.
        path: ImagePath,
    },
    /// An archive cannot be extracted.
    #[error("cannot extract {path}")]
    Archive {
        /// The archive, counted from the root of the source tree.
        path: ImagePath,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// A hard link of an archive names nothing that is there.
    #[error("cannot extract hard link {path}: its target {target} is not there")]
    HardlinkTarget {
        /// The link in the image.
        path: ImagePath,
        /// What it names, counted from the directory that the archive is extracted into.
        target: ImagePath,
    },
}

impl CopyError {
    /// For `map_err` on a read of the source tree.
    pub(crate) fn read<E: Into<io::Error>>(path: &ImagePath) -> impl FnOnce(E) -> Self {
        let path = path.clone();
        move |source| Self::Read { path, source: source.into() }
    }

    /// For `map_err` on a write to the target.
    pub(crate) fn write<E: Into<io::Error>>(path: &ImagePath) -> impl FnOnce(E) -> Self {
        let path = path.clone();
        move |source| Self::Write { path, source: source.into() }
    }

    /// For `map_err` on moving content, of which it is not known which side failed.
    pub(crate) fn transfer(from: &ImagePath, to: &ImagePath) -> impl FnOnce(io::Error) -> Self {
        let (from, path) = (from.clone(), to.clone());
        move |source| Self::Content { from, path, source }
    }
}
