//! Why an image cannot be taken out of an OCI layout.

use std::path::PathBuf;

use zuwai_layer::Digest;

use crate::error::{FormatError, list};
use crate::platform::Platform;

/// Why an image cannot be taken out of an OCI layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The layout's own index is none.
    #[error("its index cannot be used")]
    Index(#[source] FormatError),
    /// The index has several images, and none under the tag.
    #[error("no image is tagged {tag:?} (it has: {})", tags(known))]
    Tag {
        /// What was asked for.
        tag: String,
        /// The tags there are.
        known: Vec<String>,
    },
    /// The index has several images, and none was named.
    #[error("it has several images, or none (tags: {})", tags(known))]
    Several {
        /// The tags there are.
        known: Vec<String>,
    },
    /// A blob is not there.
    #[error("blob {digest} is missing")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// A blob is not as long as it should be.
    #[error("blob {digest} is {actual} bytes long, expected {expected}")]
    Length {
        /// The blob.
        digest: Digest,
        /// What its descriptor says.
        expected: u64,
        /// How long it is.
        actual: u64,
    },
    /// A blob is not what its name says.
    #[error("{} has digest {actual}, expected {expected}", path.display())]
    Damaged {
        /// The blob's file.
        path: PathBuf,
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// A manifest, index or config is malformed.
    #[error("{digest} cannot be used")]
    Document {
        /// The document.
        digest: Digest,
        /// What is wrong.
        #[source]
        source: FormatError,
    },
    /// No image of an index suits.
    #[error("{digest} has no image for platform {wanted} (it has: {})", list(available))]
    Platform {
        /// The index.
        digest: Digest,
        /// What was wanted.
        wanted: Box<Platform>,
        /// What is there.
        available: Vec<Platform>,
    },
    /// Indexes name indexes.
    #[error("{digest}: indexes nested deeper than {limit}")]
    Depth {
        /// The innermost that was looked at.
        digest: Digest,
        /// How deep they may be.
        limit: usize,
    },
}

impl LayoutError {
    /// What the user can do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Several { .. } => "name one by its tag, as oci:DIRECTORY:TAG",
            Self::Tag { .. } => "name one of the tags, or a digest after @",
            Self::Platform { .. } => {
                "choose an image that has the platform, or build for one that this image has"
            }
            _ => "the layout is not whole or not of a kind that can be built on; write it anew",
        }
    }
}

fn tags(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
