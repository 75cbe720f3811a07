//! Image manifests and indexes, hostile until checked (OCI image spec manifest.md and image-index.md, Docker schema 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::descriptor::Descriptor;
use crate::error::FormatError;
use crate::go_json::{self, null_is_empty};
use crate::media_type::{Family, MediaType};
use crate::platform::Platform;

/// Largest manifest or index that is read: what registries take.
pub const MANIFEST_LIMIT: u64 = 4 << 20;
/// Most layers an image may have. Overlay file systems and docker stop at 127; some images exceed it.
const LAYER_LIMIT: usize = 4096;

/// An image manifest, its fields in Go's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The manifest's own media type; OCI manifests may lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The kind of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<Descriptor>,
    /// What this manifest is about, for referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<Descriptor>>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Every other field.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// An image index or manifest list, its fields in Go's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The index's own media type; OCI indexes may lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The kind of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub manifests: Vec<Descriptor>,
    /// What this index is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<Descriptor>>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Every other field.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a tag or digest names.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

/// The fields that tell a manifest from an index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    schema_version: Option<Value>,
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a manifest or an index and checks its form. `claimed` is the Content-Type it came with; it must agree
    /// with the document's own media type and fields, so that one document cannot be taken for the other
    /// (CVE-2021-41190).
    pub fn parse(bytes: &[u8], claimed: Option<&MediaType>) -> Result<(Self, MediaType), FormatError> {
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(FormatError::TooLarge { document: "manifest", limit: MANIFEST_LIMIT });
        }
        let json = |source| FormatError::Json { document: "manifest", source };
        let outline: Outline = serde_json::from_slice(bytes).map_err(json)?;
        if outline.fs_layers.is_some() || outline.schema_version == Some(Value::from(1)) {
            return Err(FormatError::Schema1);
        }
        if outline.schema_version != Some(Value::from(2)) {
            return Err(FormatError::SchemaVersion(
                outline.schema_version.unwrap_or(Value::Null).to_string(),
            ));
        }
        let known = |media_type: &&MediaType| media_type.is_index() || media_type.is_manifest();
        let own = outline.media_type.as_ref();
        let claimed = claimed.filter(known);
        if let (Some(own), Some(claimed)) = (own, claimed)
            && own != claimed
        {
            return Err(FormatError::Disagree { claimed: claimed.to_string(), own: own.to_string() });
        }
        let media_type = match (own, claimed) {
            (Some(own), _) if known(&own) => own.clone(),
            (Some(own), _) => return Err(FormatError::Unsupported(own.to_string())),
            (None, Some(claimed)) => claimed.clone(),
            (None, None) if outline.manifests.is_some() => MediaType::OciIndex,
            (None, None) => MediaType::OciManifest,
        };
        let ambiguous = match media_type.is_index() {
            true => outline.config.is_some() || outline.layers.is_some(),
            false => outline.manifests.is_some(),
        };
        if ambiguous {
            return Err(FormatError::Ambiguous);
        }
        let document = match media_type.is_index() {
            true => Self::Index(serde_json::from_slice(bytes).map_err(json)?),
            false => Self::Manifest(serde_json::from_slice(bytes).map_err(json)?),
        };
        if let Self::Manifest(manifest) = &document
            && manifest.layers.len() > LAYER_LIMIT
        {
            return Err(FormatError::TooManyLayers { count: manifest.layers.len(), limit: LAYER_LIMIT });
        }
        Ok((document, media_type))
    }
}

impl Manifest {
    /// A manifest of this family.
    pub fn new(family: Family, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(family.manifest()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
            other: Map::new(),
        }
    }

    /// Reads one image's manifest; an index is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        match Document::parse(bytes, None)? {
            (Document::Manifest(manifest), _) => Ok(manifest),
            (Document::Index(_), media_type) => Err(FormatError::Unsupported(media_type.to_string())),
        }
    }

    /// The manifest's bytes, indented as BuildKit writes them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        go_json::to_vec_indented(self).map_err(|source| FormatError::Json { document: "manifest", source })
    }
}

impl Index {
    /// An index of this family.
    pub fn new(family: Family, manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(family.index()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            other: Map::new(),
        }
    }

    /// Reads an index; a manifest is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        match Document::parse(bytes, None)? {
            (Document::Index(index), _) => Ok(index),
            (Document::Manifest(_), media_type) => Err(FormatError::Unsupported(media_type.to_string())),
        }
    }

    /// The index's bytes, indented as BuildKit writes them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        go_json::to_vec_indented(self).map_err(|source| FormatError::Json { document: "index", source })
    }

    /// The manifest that suits a platform best; of several equally good ones the first. Manifests without a platform
    /// are taken where nothing better is there, as containerd does; attestations (`unknown/unknown`) never match.
    pub fn select(&self, wanted: &Platform) -> Option<&Descriptor> {
        let usable = |descriptor: &&Descriptor| {
            descriptor.media_type.is_manifest() || descriptor.media_type.is_index()
        };
        let ranked = self.manifests.iter().filter(usable).filter_map(|descriptor| {
            let rank = match &descriptor.platform {
                Some(platform) => platform.rank_for(wanted)?,
                None => usize::MAX,
            };
            Some((rank, descriptor))
        });
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, descriptor)| descriptor)
    }

    /// The platforms on offer, for a message.
    pub fn platforms(&self) -> Vec<Platform> {
        let known = |platform: &&Platform| platform.os != "unknown";
        self.manifests
            .iter()
            .filter_map(|manifest| manifest.platform.as_ref())
            .filter(known)
            .cloned()
            .collect()
    }
}
