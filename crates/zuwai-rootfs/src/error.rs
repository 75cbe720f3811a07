//! What can go wrong with a root file system.

use std::io;

use zuwai_layer::{ImagePath, LayerError, PathError};

/// Why something could not be done in a root file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootfsError {
    /// The system refused something at a path of the image.
    #[error("cannot {doing} {path}")]
    Io {
        /// The verb: open, read, create, remove.
        doing: &'static str,
        /// The path in the image.
        path: ImagePath,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The system refused something outside of the image.
    #[error("cannot {doing} {path}", path = path.display())]
    Host {
        /// The verb.
        doing: &'static str,
        /// The path on the host.
        path: std::path::PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A path that leads to something that cannot be used there.
    #[error("{path} is {found}, not {wanted}")]
    Kind {
        /// The path in the image.
        path: ImagePath,
        /// What is there.
        found: &'static str,
        /// What is wanted.
        wanted: &'static str,
    },
    /// A file that is read whole is larger than any real one.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// The path in the image.
        path: ImagePath,
        /// The limit in bytes.
        limit: usize,
    },
    /// Something that is needed is not there.
    #[error("{0} does not exist")]
    Missing(ImagePath),
    /// A name or a link of the image that is no path.
    #[error("a path in {directory} cannot be used")]
    Name {
        /// Where it was found.
        directory: ImagePath,
        /// Why.
        #[source]
        source: PathError,
    },
    /// A hard link of a layer whose target is nowhere.
    #[error("hard link {path} has no target: {target} is neither in this layer nor below it")]
    NoLinkTarget {
        /// The link.
        path: ImagePath,
        /// What it should be another name of.
        target: ImagePath,
    },
    /// What overlayfs needs to see in a layer's directory could not be put there.
    #[error("cannot mark {path} as {what}, with {with}: layers cannot be directories of an overlay here")]
    OverlayMark {
        /// The path in the image.
        path: ImagePath,
        /// What it is to be: removed, opaque.
        what: &'static str,
        /// How that is written: a character device 0:0, an extended attribute.
        with: &'static str,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A layer that would replace the root by something that is not a directory, or remove it.
    #[error("the layer replaces or removes the root directory")]
    ReplacesRoot,
    /// More layers than the kernel mounts as one.
    #[error(
        "a tree of more than {limit} layers cannot be mounted, the kernel takes no more: squash layers of the base image"
    )]
    TooManyLayers {
        /// How many it takes.
        limit: usize,
    },
    /// `COPY` or `ADD` failed.
    #[error(transparent)]
    Copy(#[from] crate::copy::CopyError),
    /// The layer itself could not be read or written.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl RootfsError {
    /// For `map_err`: the system refused to do this at that path of the image.
    pub fn io<E: Into<io::Error>>(doing: &'static str, path: &ImagePath) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { doing, path: path.clone(), source: source.into() }
    }

    /// For `map_err`: the system refused to do this at that path of the host.
    pub fn host<E: Into<io::Error>>(doing: &'static str, path: &std::path::Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Host { doing, path: path.to_owned(), source: source.into() }
    }
}
