//! A finished image: its manifest and config, as values and as the bytes that its digests are of. Layers stay where
//! they are, in the store or still in a registry.

use std::collections::BTreeMap;

use zuwai_layer::Digest;

use crate::config::ImageConfig;
use crate::descriptor::Descriptor;
use crate::error::{FormatError, OciError};
use crate::manifest::Manifest;
use crate::media_type::{Family, MediaType};
use crate::package::layers_in_family;
use crate::reference::Reference;
use crate::store::Store;

/// An image whose manifest and config agree with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    media_type: MediaType,
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    config: ImageConfig,
    config_bytes: Vec<u8>,
    /// Where layers that are not in the store can be fetched from.
    pub origins: BTreeMap<Digest, Reference>,
}

impl Image {
    /// Makes the image of a config and its layers (one a diff ID, of any family: media types are put into `family`'s
    /// words). Annotations go into the manifest; Docker's manifests have none.
    ///
    /// # Errors
    /// When a layer cannot be in the family, or there are more or fewer layers than diff IDs.
    pub fn assemble(
        family: Family,
        config: ImageConfig,
        layers: &[Descriptor],
        annotations: BTreeMap<String, String>,
    ) -> Result<Self, FormatError> {
        Self::of_config(family, config.to_bytes()?, layers, annotations)
    }

    /// As [`Image::assemble`], for a config that is to stay as it was read, byte by byte.
    pub fn of_config(
        family: Family,
        config_bytes: Vec<u8>,
        layers: &[Descriptor],
        annotations: BTreeMap<String, String>,
    ) -> Result<Self, FormatError> {
        let layers = layers_in_family(family, layers)?;
        let mut manifest = Manifest::new(family, Descriptor::of(family.config(), &config_bytes), layers);
        if family == Family::Oci {
            manifest.annotations = annotations;
        }
        let manifest_bytes = manifest.to_bytes()?;
        Self::from_bytes(family.manifest(), manifest_bytes, config_bytes)
    }

    /// Takes an image as it was read, and checks that the config is the one the manifest names and that it has one
    /// diff ID a layer.
    pub fn from_bytes(
        media_type: MediaType,
        manifest_bytes: Vec<u8>,
        config_bytes: Vec<u8>,
    ) -> Result<Self, FormatError> {
        let manifest = Manifest::parse(&manifest_bytes)?;
        let digest = Digest::of(&config_bytes);
        if digest != manifest.config.digest {
            return Err(FormatError::ConfigDigest { expected: manifest.config.digest, actual: digest });
        }
        let config = ImageConfig::parse(&config_bytes)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(FormatError::LayerCount { layers, diff_ids });
        }
        Ok(Self { media_type, manifest, manifest_bytes, config, config_bytes, origins: BTreeMap::new() })
    }

    /// The digest of the manifest: the image's own.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest_bytes)
    }

    /// The digest of the config: the image ID.
    pub fn config_digest(&self) -> Digest {
        self.manifest.config.digest
    }

    /// The manifest's media type.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The descriptor of the manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(self.media_type.clone(), &self.manifest_bytes)
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest's bytes.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// The config.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The config's bytes.
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.manifest.layers
    }

    /// Sum of the layers' compressed sizes, as far as they are told.
    pub fn layers_size(&self) -> u64 {
        self.layers().iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size))
    }

    /// Puts manifest and config into a store.
    pub fn save(&self, store: &Store) -> Result<(), OciError> {
        store.put_bytes(&self.config_bytes)?;
        store.put_bytes(&self.manifest_bytes)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(diff_ids: &[Digest]) -> ImageConfig {
        let mut config = ImageConfig::empty(&"linux/amd64".parse().unwrap());
        config.rootfs.diff_ids = diff_ids.to_vec();
        config
    }

    #[test]
    fn an_image_is_of_one_family() {
        let layer = Descriptor::of(MediaType::DockerLayerGzip, b"x");
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        for (family, annotated) in [(Family::Oci, true), (Family::Docker, false)] {
            let config = config(&[Digest::of(b"x")]);
            let image =
                Image::assemble(family, config, std::slice::from_ref(&layer), annotations.clone()).unwrap();
            let types =
                [image.media_type(), &image.manifest().config.media_type, &image.layers()[0].media_type];
            assert!(types.iter().all(|media_type| media_type.family() == Some(family)), "{types:?}");
            assert_eq!(!image.manifest().annotations.is_empty(), annotated);
            assert_eq!(image.digest(), Digest::of(image.manifest_bytes()));
        }
    }

    #[test]
    fn manifest_and_config_must_agree() {
        let layer = Descriptor::of(MediaType::OciLayer, b"x");
        let error = Image::assemble(Family::Oci, config(&[]), &[layer], BTreeMap::new()).unwrap_err();
        assert!(matches!(error, FormatError::LayerCount { layers: 1, diff_ids: 0 }), "{error}");
        let image = Image::assemble(Family::Oci, config(&[]), &[], BTreeMap::new()).unwrap();
        let swapped =
            Image::from_bytes(image.media_type().clone(), image.manifest_bytes().to_vec(), b"{}".to_vec());
        assert!(matches!(swapped, Err(FormatError::ConfigDigest { .. })), "{swapped:?}");
    }
}
