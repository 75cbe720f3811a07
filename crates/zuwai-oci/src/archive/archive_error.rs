//! Why an image cannot be taken out of an archive.

use zuwai_layer::Digest;
use zuwai_layer::LayerError;

use crate::error::FormatError;

/// Why an image cannot be taken out of an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no tar, or not a whole one.
    #[error("it cannot be read as a tar archive")]
    Tar(#[source] LayerError),
    /// It is a tar of something else.
    #[error("it holds no image: neither manifest.json nor index.json is in it")]
    NoImage,
    /// It is what docker wrote before version 1.10.
    #[error("it has no manifest.json, only the older file repositories")]
    Legacy,
    /// It is larger inside than images are.
    #[error("more than {limit} entries are in it")]
    TooManyEntries {
        /// How many there may be.
        limit: usize,
    },
    /// A file is named and not there.
    #[error("{name} is missing in it")]
    Missing {
        /// The file.
        name: String,
    },
    /// A name is there twice, so that nobody can say which file is meant.
    #[error("{name} is in it twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A name is something else than a file, or a link that leads to none.
    #[error("{name} is no plain file in it")]
    NoFile {
        /// The name.
        name: String,
    },
    /// A document is longer than is read.
    #[error("{name} is {size} bytes long, at most {limit} are read")]
    TooLong {
        /// The document.
        name: String,
        /// How long it is.
        size: u64,
        /// How long it may be.
        limit: u64,
    },
    /// A document is malformed.
    #[error("{name} cannot be used")]
    Document {
        /// The document.
        name: String,
        /// What is wrong.
        #[source]
        source: FormatError,
    },
    /// A layer is not the one that the image's config means.
    #[error("layer {name} has diff ID {actual}, but the image's config says {expected}")]
    DiffId {
        /// The layer's file.
        name: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// No image has the name.
    #[error("no image in it is called {name:?} (it has: {})", list(known))]
    Name {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It has several images.
    #[error("it has {} images: {}", known.len(), list(known))]
    Several {
        /// What each is called.
        known: Vec<String>,
    },
}

impl ArchiveError {
    /// What the user can do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NoImage => {
                "give an archive of 'docker save', 'podman save', --tar-path or -o type=oci|docker, or the directory of an OCI layout"
            }
            Self::Legacy => "load it into an engine and save it again, with docker 1.10 or newer",
            Self::Name { .. } => "name one of the images after the archive's path and a colon",
            Self::Several { .. } => {
                "name one of them: docker-archive:FILE:NAME or oci-archive:FILE:TAG; a number after :@ counts them from 0"
            }
            _ => "the archive is damaged, or was not written whole; write it anew",
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none that has a name".to_owned() } else { names.join(", ") }
}
