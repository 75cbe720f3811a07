//! What can go wrong with a layer.

use std::io;

use crate::path::{ImagePath, PathError};

/// Why a layer cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The stream that the layer is read from failed, or its compression is broken.
    #[error("cannot read the layer")]
    Read(#[source] io::Error),
    /// The stream that the layer is written to failed.
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
    /// The archive ends in the middle of an entry.
    #[error("archive is truncated: it ends inside {place}, after {position} bytes")]
    Truncated {
        /// What was being read.
        place: String,
        /// How many bytes of the archive were there.
        position: u64,
    },
    /// A header is no tar header, or breaks a limit.
    #[error("malformed tar header at byte {position}")]
    Header {
        /// Where in the archive the header (with its extensions) begins.
        position: u64,
        /// What is wrong with it.
        #[source]
        source: tar_core::parse::ParseError,
    },
    /// A field of an entry has a value that cannot be used.
    #[error("entry {path:?}: {field} {value:?} is not valid")]
    Field {
        /// The entry's name as it stands in the archive.
        path: String,
        /// Which field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// An entry is of a type that no layer may hold.
    #[error("entry {path:?} has unknown type {kind:?}")]
    Kind {
        /// The entry's name as it stands in the archive.
        path: String,
        /// The type flag.
        kind: char,
    },
    /// An entry's name is not a path inside the image.
    #[error("entry name is not a path inside the image")]
    Name(#[source] PathError),
    /// A hard link's target is not a path inside the image.
    #[error("hard link {path} has a target that is not a path inside the image")]
    Hardlink {
        /// The link.
        path: ImagePath,
        /// What is wrong with the target.
        #[source]
        source: PathError,
    },
    /// A whiteout marker that names nothing (`.wh.`, `.wh..`), or something below a marker.
    #[error("whiteout marker {0:?} names no path")]
    Marker(String),
    /// A path that cannot be in a layer, because its name begins like a whiteout marker (`.wh.`).
    #[error("{0} cannot be put in a layer: names that begin with \".wh.\" mark deleted files there")]
    ReservedName(ImagePath),
    /// There are more entries than the limit.
    #[error("archive has more than {0} entries")]
    TooManyEntries(u64),
    /// A file's content could not be read while it was put in a layer.
    #[error("cannot read the content of {path}")]
    Content {
        /// The file.
        path: ImagePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file's content is longer or shorter than its entry says.
    #[error("{path} changed while it was read: {declared} bytes were expected, {found}")]
    ContentLength {
        /// The file.
        path: ImagePath,
        /// The length in the entry.
        declared: u64,
        /// What was there: "only N were there", or "more were there".
        found: String,
    },
}
