//! Image manifests and indexes, hostile until checked (OCI image spec manifest.md and image-index.md, Docker schema 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zuwai_layer::Digest;

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
    Manifest(Box<Manifest>),
    /// Several.
    Index(Index),
}

/// A manifest or index as it lies in a registry or a layout.
#[derive(Clone, Debug, PartialEq)]
pub struct RawManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// Their media type.
    pub media_type: MediaType,
    /// What they say.
    pub document: Document,
}

impl RawManifest {
    /// Takes these bytes for a document, as [`Document::parse`] does.
    pub fn parse(bytes: Vec<u8>, claimed: Option<&MediaType>) -> Result<Self, FormatError> {
        let (document, media_type) = Document::parse(&bytes, claimed)?;
        Ok(Self { digest: Digest::of(&bytes), bytes, media_type, document })
    }

    /// What an index says of it, but for the platform.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.bytes.len() as u64)
    }
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
        let outline: Outline = go_json::from_object(bytes).map_err(json)?;
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
            false => Self::Manifest(Box::new(serde_json::from_slice(bytes).map_err(json)?)),
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
            (Document::Manifest(manifest), _) => Ok(*manifest),
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

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

    fn descriptor(platform: &str) -> String {
        format!(r#"{{"mediaType":"{OCI}","digest":"{DIGEST}","size":5{platform}}}"#)
    }

    #[test]
    fn hostile_documents_are_refused() {
        let one = descriptor("");
        let layers = vec![one.clone(); LAYER_LIMIT + 1].join(",");
        for (text, claimed, expected) in [
            (String::new(), None, "malformed manifest"),
            ("[]".to_owned(), None, "malformed manifest"),
            ("{}".to_owned(), None, "schema version null"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), None, "schema 1"),
            (r#"{"schemaVersion":3}"#.to_owned(), None, "schema version 3"),
            (r#"{"schemaVersion":2}"#.to_owned(), None, "malformed manifest"),
            (format!(r#"{{"schemaVersion":2,"config":{one},"layers":[],"manifests":[]}}"#), None, "at once"),
            (format!(r#"{{"schemaVersion":2,"config":{one},"manifests":[]}}"#), Some(OCI_INDEX), "at once"),
            (
                format!(r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{one}}}"#),
                Some(OCI_INDEX),
                "came as",
            ),
            (
                r#"{"schemaVersion":2,"mediaType":"text/plain"}"#.to_owned(),
                None,
                "unsupported media type text/plain",
            ),
            (format!(r#"{{"schemaVersion":2,"config":{one},"layers":[{layers}]}}"#), None, "4097 layers"),
            (
                format!(r#"{{"schemaVersion":2,"config":{}}}"#, one.replace(":5", ":-5")),
                None,
                "malformed manifest",
            ),
            (
                format!(r#"{{"schemaVersion":2,"config":{}}}"#, one.replace("sha256:", "sha256:../")),
                None,
                "malformed manifest",
            ),
            (" ".repeat(MANIFEST_LIMIT as usize + 1), None, "longer than"),
        ] {
            let error = Document::parse(text.as_bytes(), claimed.map(MediaType::from).as_ref()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}: {expected}");
        }
    }

    #[test]
    fn kind_is_told_by_media_type_header_or_fields() {
        let one = descriptor("");
        for (text, claimed, expected) in [
            (format!(r#"{{"schemaVersion":2,"config":{one},"layers":null}}"#), None, MediaType::OciManifest),
            (format!(r#"{{"schemaVersion":2,"manifests":[{one}]}}"#), None, MediaType::OciIndex),
            (r#"{"schemaVersion":2}"#.to_owned(), Some(OCI_INDEX), MediaType::OciIndex),
            (format!(r#"{{"schemaVersion":2,"config":{one}}}"#), Some("text/plain"), MediaType::OciManifest),
            (
                format!(
                    r#"{{"schemaVersion":2,"mediaType":"{}","config":{one}}}"#,
                    MediaType::DockerManifest.as_str()
                ),
                None,
                MediaType::DockerManifest,
            ),
        ] {
            let (_, media_type) =
                Document::parse(text.as_bytes(), claimed.map(MediaType::from).as_ref()).unwrap();
            assert_eq!(media_type, expected, "{text}");
        }
    }

    #[test]
    fn unknown_fields_are_written_again_where_they_stood() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{{"mediaType":"a/b","digest":"{DIGEST}","size":5,"zz":[1],"aa":{{"b":null}}}},"layers":[],"annotations":{{"k":"<v>"}},"new":{{"z":1,"a":2}}}}"#
        );
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        let written = go_json::to_vec(&manifest).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), text.replace("<v>", "\\u003cv\\u003e"));
    }

    #[test]
    fn the_best_platform_of_an_index_is_taken() {
        let platform = |os: &str, architecture: &str, variant: &str| {
            descriptor(&format!(
                r#","platform":{{"architecture":"{architecture}","os":"{os}","variant":"{variant}"}}"#
            ))
        };
        let all = [
            platform("unknown", "unknown", ""),
            platform("linux", "arm", "v6"),
            platform("linux", "arm", "v7"),
            platform("windows", "amd64", ""),
            platform("linux", "amd64", "v3"),
            platform("linux", "amd64", ""),
            platform("linux", "arm64", "v8"),
        ];
        let index =
            Index::parse(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(",")).as_bytes());
        let index = index.unwrap();
        for (wanted, expected) in [
            ("linux/amd64", Some("linux/amd64")),
            ("linux/amd64/v3", Some("linux/amd64/v3")),
            ("linux/amd64/v2", Some("linux/amd64")),
            ("linux/arm64", Some("linux/arm64/v8")),
            ("linux/arm", Some("linux/arm/v7")),
            ("linux/arm/v8", Some("linux/arm/v7")),
            ("linux/arm/v6", Some("linux/arm/v6")),
            ("linux/arm/v5", None),
            ("windows/amd64", Some("windows/amd64")),
            ("linux/s390x", None),
        ] {
            let chosen = index.select(&wanted.parse().unwrap());
            let chosen = chosen.and_then(|entry| entry.platform.as_ref()).map(Platform::to_string);
            assert_eq!(chosen.as_deref(), expected, "{wanted}");
        }
        assert_eq!(index.platforms().len(), 6);
    }

    proptest::proptest! {
        #[test]
        fn no_document_panics(text in r#"[ -~]{0,60}|\{("schemaVersion":2,?)?("manifests":\[[^a]{0,9}\])?\}"#) {
            let _ = Document::parse(text.as_bytes(), None);
        }
    }
}
