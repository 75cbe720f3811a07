//! `docker save`'s format: a tar of layers, the config, and a `manifest.json` that names them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde::Serialize;
use zuwai_layer::Digest;

use super::append_blob;
use super::tar::TarWriter;
use crate::descriptor::Descriptor;
use crate::error::{FormatError, OciError};
use crate::go_json;
use crate::image::Image;
use crate::media_type::MediaType;
use crate::reference::Reference;
use crate::store::Store;

/// One image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
    /// By diff ID, the descriptors of layers that may not be redistributed, with the addresses they can be had from.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layer_sources: BTreeMap<Digest, Descriptor>,
}

/// Writes `docker save`'s format, which `docker load`, `podman load` and skopeo's `docker-archive:` read. Streams; the
/// layers must be in the store, but for those that may not be redistributed: of these the archive says where they are.
/// `names` become the image's tags; names without a tag have none there.
///
/// File names are those that kaniko's archives have: `sha256:HEX` for the config, `HEX.tar.gz` for a layer.
pub fn write_docker_archive(
    out: impl Write,
    image: &Image,
    store: &Store,
    names: &[Reference],
) -> Result<(), OciError> {
    let json = |source| FormatError::Json { document: "archive manifest", source };
    let tagged: BTreeSet<(String, String)> =
        names.iter().filter_map(|name| Some((name.familiar_name(), name.tag()?.to_owned()))).collect();
    let entry = Entry {
        config: image.config_digest().to_string(),
        repo_tags: tagged.iter().map(|(name, tag)| format!("{name}:{tag}")).collect(),
        layers: image.layers().iter().map(file_name).collect(),
        layer_sources: foreign_layers(image),
    };
    let mut archive = TarWriter::new(out, "docker archive");
    archive.bytes("manifest.json", &go_json::to_vec(&[entry]).map_err(json)?)?;
    if !tagged.is_empty() {
        // What engines before manifest.json read: the top layer by name and tag.
        let top =
            image.layers().last().map_or_else(|| image.config_digest().hex(), |layer| layer.digest.hex());
        let mut repositories: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for (name, tag) in &tagged {
            repositories.entry(name).or_default().insert(tag, &top);
        }
        archive.bytes("repositories", &go_json::to_vec(&repositories).map_err(json)?)?;
    }
    archive.bytes(&image.config_digest().to_string(), image.config_bytes())?;
    let mut seen = BTreeSet::new();
    for layer in image.layers() {
        if layer.media_type.is_foreign_layer() && !store.contains(&layer.digest) {
            continue;
        }
        // Names must not repeat, and an image may have the same layer twice.
        if seen.insert(layer.digest) {
            append_blob(&mut archive, &file_name(layer), store, layer)?;
        }
    }
    archive.finish()
}

/// docker's `LayerSources`.
fn foreign_layers(image: &Image) -> BTreeMap<Digest, Descriptor> {
    let diff_ids = image.config().rootfs.diff_ids.iter().copied();
    let layers = diff_ids.zip(image.layers().iter().cloned());
    layers.filter(|(_, layer)| layer.media_type.is_foreign_layer()).collect()
}

fn file_name(layer: &Descriptor) -> String {
    let ending = match layer.media_type {
        MediaType::OciLayer | MediaType::DockerLayer | MediaType::OciForeignLayer => "tar",
        MediaType::OciLayerZstd | MediaType::DockerLayerZstd | MediaType::OciForeignLayerZstd => "tar.zst",
        _ => "tar.gz",
    };
    format!("{}.{ending}", layer.digest.hex())
}
