//! Images out of docker archives: those of `docker save`, `podman save`, skopeo, kaniko's `--tar-path` and our own.
//!
//! Such an archive has no manifest that a registry takes: one is made here. A layer that is compressed stays as it is; one
//! that is not gets gzip, by the same compressor as the layers of builds. What proves that a layer is the right one
//! is its diff ID in the image's config.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use serde::Deserialize;
use zuwai_layer::build::TarSink;
use zuwai_layer::compression::{DETECT_LENGTH, Detected, decompress, detect};
use zuwai_layer::digest::DigestWriter;
use zuwai_layer::{Compression, Digest, Level};

use super::archive_error::ArchiveError;
use super::archive_file::ArchiveFile;
use crate::config::{CONFIG_LIMIT, ImageConfig};
use crate::descriptor::Descriptor;
use crate::error::{FormatError, IoContext as _, OciError};
use crate::go_json::null_is_empty;
use crate::image::Image;
use crate::manifest::MANIFEST_LIMIT;
use crate::media_type::{Family, MediaType};
use crate::reference::Reference;
use crate::store::{Store, StoredBlob};

/// A docker archive.
#[derive(Debug)]
pub struct DockerArchive {
    archive: ArchiveFile,
    images: Vec<ArchivedImage>,
}

/// An image as `manifest.json` has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArchivedImage {
    /// The config's file.
    config: String,
    /// The names, `NAME:TAG`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub repo_tags: Vec<String>,
    /// The layers' files, lowest first.
    #[serde(default, deserialize_with = "null_is_empty")]
    layers: Vec<String>,
    /// By diff ID, layers that have a descriptor of their own: those that may not be redistributed.
    #[serde(default, deserialize_with = "null_is_empty")]
    layer_sources: BTreeMap<Digest, Descriptor>,
}

impl DockerArchive {
    /// Reads what an archive holds.
    ///
    /// # Errors
    /// When it is no docker archive, or its `manifest.json` is malformed.
    pub fn new(archive: ArchiveFile) -> Result<Self, OciError> {
        const MANIFEST: &str = "manifest.json";
        if !archive.contains(MANIFEST) {
            let legacy = archive.contains("repositories");
            return Err(archive.error(if legacy { ArchiveError::Legacy } else { ArchiveError::NoImage }));
        }
        let bytes = archive.document(MANIFEST, MANIFEST_LIMIT)?;
        let images: Vec<ArchivedImage> = serde_json::from_slice(&bytes).map_err(|source| {
            let source = FormatError::Json { document: "archive manifest", source };
            archive.error(ArchiveError::Document { name: MANIFEST.to_owned(), source })
        })?;
        Ok(Self { archive, images })
    }

    /// The image that is called `name`, or stands at the place `@N` counted from 0, as skopeo has it; without a name, the
    /// only one.
    ///
    /// # Errors
    /// When there is no such image, or several and no name.
    pub fn image(&self, name: Option<&str>) -> Result<&ArchivedImage, OciError> {
        let known = || -> Vec<String> { self.images.iter().map(ArchivedImage::shown).collect() };
        let Some(name) = name else {
            return match self.images.as_slice() {
                [image] => Ok(image),
                _ => Err(self.archive.error(ArchiveError::Several { known: known() })),
            };
        };
        let found = match name.strip_prefix('@').map(str::parse::<usize>) {
            Some(place) => place.ok().and_then(|place| self.images.get(place)),
            None => {
                let wanted = Reference::parse(name).ok();
                let same =
                    |tag: &String| tag == name || (wanted.is_some() && Reference::parse(tag).ok() == wanted);
                self.images.iter().find(|image| image.repo_tags.iter().any(same))
            }
        };
        found.ok_or_else(|| self.archive.error(ArchiveError::Name { name: name.to_owned(), known: known() }))
    }

    /// The bytes of an image's config, and what they say.
    ///
    /// # Errors
    /// When it is missing or malformed, or has more or fewer layers than `manifest.json`.
    pub fn config(&self, image: &ArchivedImage) -> Result<(Vec<u8>, ImageConfig), OciError> {
        let bytes = self.archive.document(&image.config, CONFIG_LIMIT)?;
        let config = ImageConfig::parse(&bytes).map_err(|source| self.wrong(&image.config, source))?;
        let (layers, diff_ids) = (image.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(self.wrong(&image.config, FormatError::LayerCount { layers, diff_ids }));
        }
        Ok((bytes, config))
    }

    /// Brings an image's layers into the store, each checked by its diff ID, and makes the manifest that it is pushed with.
    /// Compression uses so many threads, on which its bytes do not depend.
    ///
    /// # Errors
    /// When a part is missing or wrong, or cannot be in the family.
    pub fn import(
        &self,
        image: &ArchivedImage,
        family: Family,
        store: &Store,
        threads: usize,
    ) -> Result<Image, OciError> {
        let (config_bytes, config) = self.config(image)?;
        let mut made: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        let mut layers = Vec::new();
        for (name, diff_id) in image.layers.iter().zip(&config.rootfs.diff_ids) {
            let layer = match (made.get(diff_id), image.layer_sources.get(diff_id)) {
                (Some(layer), _) => layer.clone(),
                (None, Some(source)) if source.media_type.is_foreign_layer() => source.clone(),
                (None, _) => self.import_layer(name, diff_id, store, threads)?,
            };
            made.insert(*diff_id, layer.clone());
            layers.push(layer);
        }
        let made = Image::of_config(family, config_bytes, &layers, BTreeMap::new())
            .map_err(|source| self.wrong(&image.config, source))?;
        made.save(store)?;
        Ok(made)
    }

    fn import_layer(
        &self,
        name: &str,
        diff_id: &Digest,
        store: &Store,
        threads: usize,
    ) -> Result<Descriptor, OciError> {
        let (beginning, _) = self.archive.file(name)?;
        let mut magic = Vec::new();
        beginning.take(DETECT_LENGTH as u64).read_to_end(&mut magic).at("read", self.archive.path())?;
        let (layer, actual) = match detect(&magic) {
            Detected::Gzip => self.copy(name, Family::Oci.layer_gzip(), store)?,
            Detected::Zstd => self.copy(name, Family::Oci.layer_zstd(), store)?,
            // What registries' images do not have is compressed anew.
            Detected::Plain | Detected::Bzip2 | Detected::Xz => self.compress(name, store, threads)?,
        };
        match actual == *diff_id {
            true => Ok(layer),
            false => {
                let (name, expected) = (name.to_owned(), *diff_id);
                Err(self.archive.error(ArchiveError::DiffId { name, expected, actual }))
            }
        }
    }

    /// A layer as it is; its descriptor and diff ID.
    fn copy(
        &self,
        name: &str,
        media_type: MediaType,
        store: &Store,
    ) -> Result<(Descriptor, Digest), OciError> {
        let path = self.archive.path();
        let mut writer = store.writer()?;
        io::copy(&mut self.archive.file(name)?.0, &mut writer).at("unpack", path)?;
        let StoredBlob { digest, size } = writer.commit(None)?;
        let mut tar = decompress(store.reader(&digest)?).at("unpack", path)?;
        let mut hashed = DigestWriter::new(io::sink());
        io::copy(&mut tar, &mut hashed).at("unpack", path)?;
        let (_, diff_id, _) = hashed.finish();
        Ok((Descriptor::new(media_type, digest, size), diff_id))
    }

    fn compress(&self, name: &str, store: &Store, threads: usize) -> Result<(Descriptor, Digest), OciError> {
        let path = self.archive.path();
        let mut tar = decompress(self.archive.file(name)?.0).at("unpack", path)?;
        let mut sink = TarSink::new(store.stage()?, Compression::Gzip, Level::default(), threads);
        io::copy(&mut tar, &mut sink).at("unpack", path)?;
        let (staged, summary) = sink.finish().at("unpack", path)?;
        staged.persist(&summary.digest)?;
        let layer = Descriptor::new(Family::Oci.layer_gzip(), summary.digest, summary.size);
        Ok((layer, summary.diff_id))
    }

    fn wrong(&self, name: &str, source: FormatError) -> OciError {
        self.archive.error(ArchiveError::Document { name: name.to_owned(), source })
    }
}

impl ArchivedImage {
    /// What it is called in a message.
    fn shown(&self) -> String {
        match self.repo_tags.as_slice() {
            [] => self.config.clone(),
            names => names.join(" "),
        }
    }
}
