//! What is known of an image without moving it.

use serde_json::{Map, Value, json};
use zuwai_oci::archive::Layout;
use zuwai_oci::config::{CONFIG_LIMIT, ImageConfig};
use zuwai_oci::descriptor::Descriptor;
use zuwai_oci::error::{FormatError, OciError};
use zuwai_oci::manifest::{Document, Index, Manifest, RawManifest};
use zuwai_oci::media_type::MediaType;
use zuwai_oci::platform::Platform;
use zuwai_rootfs::signals::Interrupt;

use super::TransferRequest;
use super::session::Session;
use super::source::{Opened, Source, entry};
use crate::error::BuildError;

/// An image's documents.
#[derive(Debug)]
pub struct Inspection {
    /// What the source was called.
    pub name: String,
    /// The manifest or index.
    pub manifest: RawManifest,
    /// The bytes of the config, if the manifest is an image's.
    pub config: Option<Vec<u8>>,
}

/// Looks at an image. A docker archive has no manifest: then it is the one that a push would make.
///
/// # Errors
/// When it cannot be had, or is damaged.
pub fn inspect(request: &TransferRequest, interrupt: &Interrupt) -> Result<Inspection, BuildError> {
    let session = Session::start(&request.registry, &request.root_dir, interrupt)?;
    session.settle(looked_at(request, &session))
}

fn looked_at(request: &TransferRequest, session: &Session<'_>) -> Result<Inspection, BuildError> {
    let source = &request.source;
    let failed = |error| source.failed(error);
    let platform = request.platform.as_ref();
    let (manifest, config) = match source {
        Source::Registry(reference) => {
            let look = async {
                let manifest = session.registry.document(reference, platform).await?;
                let config = match image_config(&manifest) {
                    Some(_) => Some(session.registry.config_of(reference, &manifest).await?),
                    None => None,
                };
                Ok((manifest, config))
            };
            session.run(look)?.map_err(failed)?
        }
        _ => match source.open(session)? {
            Opened::Layout(layout, which) => {
                let entry = entry(&layout, &which).map_err(failed)?;
                in_layout(&layout, &entry, platform).map_err(failed)?
            }
            Opened::Docker(archive, name) => {
                let (image, _) = source.import(&archive, name.as_deref(), request, session)?;
                let media_type = Some(image.media_type());
                let manifest = RawManifest::parse(image.manifest_bytes().to_vec(), media_type)?;
                (manifest, Some(image.config_bytes().to_vec()))
            }
        },
    };
    Ok(Inspection { name: source.to_string(), manifest, config })
}

fn in_layout(
    layout: &Layout,
    entry: &Descriptor,
    platform: Option<&Platform>,
) -> Result<(RawManifest, Option<Vec<u8>>), OciError> {
    let manifest = layout.document_of(entry, platform)?;
    let config = image_config(&manifest)
        .map(|config| layout.document(&config.digest, Some(config.size), CONFIG_LIMIT))
        .transpose()?;
    Ok((manifest, config))
}

/// The config of what is an image.
fn image_config(manifest: &RawManifest) -> Option<&Descriptor> {
    match &manifest.document {
        Document::Manifest(manifest) => Some(&manifest.config)
            .filter(|config| matches!(config.media_type, MediaType::OciConfig | MediaType::DockerConfig)),
        Document::Index(_) => None,
    }
}

impl Inspection {
    /// What a person or a program wants to know, as JSON.
    ///
    /// # Errors
    /// When the config is malformed.
    pub fn summary(&self) -> Result<Value, FormatError> {
        let mut summary = Map::new();
        summary.insert("name".to_owned(), self.name.clone().into());
        summary.insert("digest".to_owned(), self.manifest.digest.to_string().into());
        summary.insert("mediaType".to_owned(), self.manifest.media_type.as_str().into());
        match &self.manifest.document {
            Document::Index(index) => add_index(&mut summary, index),
            Document::Manifest(manifest) => {
                let config = self.config.as_deref().map(ImageConfig::parse).transpose()?;
                add_manifest(&mut summary, manifest, config.as_ref());
            }
        }
        Ok(Value::Object(summary))
    }
}

fn add_index(summary: &mut Map<String, Value>, index: &Index) {
    let platforms: Vec<String> = index.platforms().iter().map(Platform::to_string).collect();
    summary.insert("platforms".to_owned(), platforms.into());
    let manifests: Vec<Value> = index.manifests.iter().map(entry_summary).collect();
    summary.insert("manifests".to_owned(), manifests.into());
    add_annotations(summary, &index.annotations);
}

fn entry_summary(entry: &Descriptor) -> Value {
    let mut shown = Map::new();
    shown.insert("digest".to_owned(), entry.digest.to_string().into());
    shown.insert("mediaType".to_owned(), entry.media_type.as_str().into());
    shown.insert("size".to_owned(), entry.size.into());
    if let Some(platform) = &entry.platform {
        shown.insert("platform".to_owned(), platform.to_string().into());
    }
    add_annotations(&mut shown, &entry.annotations);
    Value::Object(shown)
}

fn add_manifest(summary: &mut Map<String, Value>, manifest: &Manifest, config: Option<&ImageConfig>) {
    if let Some(kind) = &manifest.artifact_type {
        summary.insert("artifactType".to_owned(), kind.clone().into());
    }
    if let Some(config) = config {
        summary.insert("imageId".to_owned(), manifest.config.digest.to_string().into());
        summary.insert("platform".to_owned(), config.platform().to_string().into());
        if let Some(created) = &config.created {
            summary.insert("created".to_owned(), created.as_str().into());
        }
    }
    let size = manifest.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
    summary.insert("size".to_owned(), size.into());
    let diff_ids = config.map(|config| config.rootfs.diff_ids.as_slice()).unwrap_or_default();
    let layer = |(place, layer): (usize, &Descriptor)| {
        let mut shown = json!({
            "digest": layer.digest.to_string(),
            "mediaType": layer.media_type.as_str(),
            "size": layer.size,
        });
        if let Some(diff_id) = diff_ids.get(place) {
            shown["diffId"] = diff_id.to_string().into();
        }
        shown
    };
    let layers: Vec<Value> = manifest.layers.iter().enumerate().map(layer).collect();
    summary.insert("layers".to_owned(), layers.into());
    add_annotations(summary, &manifest.annotations);
    if let Some(config) = config {
        // The names are those of the config itself.
        let shown = serde_json::to_value(&config.config).unwrap_or_default();
        summary.insert("config".to_owned(), shown);
    }
}

fn add_annotations(shown: &mut Map<String, Value>, annotations: &std::collections::BTreeMap<String, String>) {
    if !annotations.is_empty() {
        shown.insert("annotations".to_owned(), json!(annotations));
    }
}
