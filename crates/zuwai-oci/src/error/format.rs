//! What is wrong with a document.

use zuwai_layer::Digest;

use crate::media_type::Family;

/// A document is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is not the JSON that it should be.
    #[error("malformed {document}")]
    Json {
        /// What it should be.
        document: &'static str,
        /// The parser's complaint.
        #[source]
        source: serde_json::Error,
    },
    /// It is JSON, but no object.
    #[error("{0} is not a JSON object")]
    NotAnObject(&'static str),
    /// It is longer than is read.
    #[error("{document} is longer than {limit} bytes")]
    TooLarge {
        /// What it is.
        document: &'static str,
        /// How long it may be.
        limit: u64,
    },
    /// It is a manifest of Docker's schema 1.
    #[error(
        "manifest has Docker's schema 1, which is no longer supported; push the image again with a current tool"
    )]
    Schema1,
    /// It has an unknown schema version.
    #[error("manifest has schema version {0}, expected 2")]
    SchemaVersion(String),
    /// The media type it came with is not the one it has.
    #[error("manifest came as {claimed} but says that it is {own}")]
    Disagree {
        /// The Content-Type or descriptor.
        claimed: String,
        /// The document's own.
        own: String,
    },
    /// It has the fields of a manifest and those of an index.
    #[error("manifest has the fields of an image manifest and of an index at once")]
    Ambiguous,
    /// It has a media type that cannot be used here.
    #[error("unsupported media type {0}")]
    Unsupported(String),
    /// It has too many layers.
    #[error("manifest has {count} layers, at most {limit} are allowed")]
    TooManyLayers {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Indexes name indexes.
    #[error("indexes nested deeper than {limit}")]
    TooDeep {
        /// How deep they may be.
        limit: usize,
    },
    /// An index names too many manifests.
    #[error("more than {limit} manifests belong to it")]
    TooManyManifests {
        /// How many may be.
        limit: usize,
    },
    /// It is an index where one image is wanted.
    #[error("it is an index of several images, and only one can be in such an archive")]
    SeveralImages,
    /// A layer cannot be in an image of this family.
    #[error("layer {digest} is {media_type}, which images of the format {family} do not have")]
    Layer {
        /// What it is.
        media_type: String,
        /// The layer.
        digest: Digest,
        /// The family.
        family: Family,
    },
    /// What is to be put into the words of a family is no image.
    #[error("it is no image, or holds what is none, and cannot be put into the format {0}")]
    NoImage(Family),
    /// The config's root file system is not made of layers.
    #[error("image config has a root file system of type {0:?}, expected \"layers\"")]
    RootFsKind(String),
    /// The config is not the one the manifest names.
    #[error("image config has digest {actual}, but the manifest names {expected}")]
    ConfigDigest {
        /// What the manifest says.
        expected: Digest,
        /// What the bytes say.
        actual: Digest,
    },
    /// Manifest and config disagree about the layers.
    #[error("manifest has {layers} layers, but the image config has {diff_ids} diff IDs")]
    LayerCount {
        /// Layers in the manifest.
        layers: usize,
        /// Diff IDs in the config.
        diff_ids: usize,
    },
}

impl FormatError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Layer { media_type, .. } if media_type.ends_with("zstd") => {
                "Docker's format has no zstd layers: take the format oci, or an image with gzip layers"
                    .to_owned()
            }
            Self::SeveralImages => "choose one with --platform".to_owned(),
            Self::Layer { .. } | Self::NoImage(_) => "leave the format as it is".to_owned(),
            _ => return None,
        })
    }
}
