//! What a name stands for, whole: a manifest, or an index with every document below it, as the bytes that their digests
//! are of. Blobs stay where they are. This is what is copied: nothing in it is understood further than it takes to know
//! what else belongs to it.

mod gathering;
mod kind;

use std::collections::BTreeSet;

use zuwai_layer::Digest;

pub(crate) use gathering::Gathering;
pub use kind::{Converted, layers_in_family};

use crate::descriptor::Descriptor;
use crate::error::FormatError;
use crate::image::Image;
use crate::manifest::{Document, Manifest, RawManifest};

/// Manifests and indexes that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// What is below the top, each document after those it names.
    below: Vec<RawManifest>,
    top: RawManifest,
}

impl Package {
    /// One document alone: an image's manifest.
    pub fn single(top: RawManifest) -> Self {
        Self { below: Vec::new(), top }
    }

    /// The package of one image.
    ///
    /// # Errors
    /// When the image's manifest is malformed, which one that was read or assembled is not.
    pub fn of(image: &Image) -> Result<Self, FormatError> {
        let manifest = RawManifest::parse(image.manifest_bytes().to_vec(), Some(image.media_type()))?;
        Ok(Self::single(manifest))
    }

    /// The document that names all the others.
    pub fn top(&self) -> &RawManifest {
        &self.top
    }

    /// The digest of the top: the package's own.
    pub fn digest(&self) -> Digest {
        self.top.digest
    }

    /// What is below the top, in the order in which it is to be sent: each document after those it names.
    pub fn below(&self) -> &[RawManifest] {
        &self.below
    }

    /// Every document, the top last.
    pub fn documents(&self) -> impl Iterator<Item = &RawManifest> {
        self.below.iter().chain([&self.top])
    }

    /// The manifests of images and of what else is no index.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.documents().filter_map(|raw| match &raw.document {
            Document::Manifest(manifest) => Some(manifest.as_ref()),
            Document::Index(_) => None,
        })
    }

    /// The blobs that the documents name, each once. Layers that may not be redistributed are not among them: their
    /// descriptors say where they can be had. What an index names that is neither manifest nor index is one, as
    /// in the indexes that BuildKit writes for its caches.
    pub fn blobs(&self) -> Vec<&Descriptor> {
        let mut seen = BTreeSet::new();
        let named = self.documents().flat_map(|raw| -> Vec<&Descriptor> {
            match &raw.document {
                Document::Manifest(manifest) => manifest.layers.iter().chain([&manifest.config]).collect(),
                Document::Index(index) => {
                    index.manifests.iter().filter(|entry| !is_document(entry)).collect()
                }
            }
        });
        named
            .filter(|blob| !blob.media_type.is_foreign_layer())
            .filter(|blob| seen.insert(blob.digest))
            .collect()
    }
}

/// Whether a descriptor in an index names a manifest or an index.
fn is_document(entry: &Descriptor) -> bool {
    entry.media_type.is_manifest() || entry.media_type.is_index()
}
