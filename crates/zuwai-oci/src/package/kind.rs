//! A package in the other family's media types. Blobs stay as they are; only what the documents call them changes, and
//! with that the digests of the documents.

use std::collections::BTreeMap;

use zuwai_layer::Digest;

use super::{Package, is_document};
use crate::descriptor::Descriptor;
use crate::error::FormatError;
use crate::manifest::{Document, Index, Manifest, RawManifest};
use crate::media_type::{Family, MediaType};

/// A package in one family, and what could not come along.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The package.
    pub package: Package,
    /// Attestations that were left out: Docker's manifest lists have none, and those of the old images would say nothing
    /// of the new ones.
    pub attestations: usize,
}

impl Package {
    /// The package with every document in this family. Documents that are so already keep their bytes; of those that
    /// become Docker's, annotations go, which it does not have.
    ///
    /// # Errors
    /// When a layer has no counterpart in the family (Docker's has no zstd), or a manifest is no image's.
    pub fn in_family(&self, family: Family) -> Result<Converted, FormatError> {
        let mut made: BTreeMap<Digest, Option<RawManifest>> = BTreeMap::new();
        let mut attestations = 0;
        for raw in self.documents() {
            let converted = match &raw.document {
                Document::Manifest(manifest) if family == Family::Docker && is_attestation(manifest) => {
                    attestations += 1;
                    None
                }
                Document::Manifest(manifest) => Some(manifest_in(family, raw, manifest)?),
                Document::Index(index) => Some(index_in(family, raw, index, &made)?),
            };
            made.insert(raw.digest, converted);
        }
        let Some(Some(top)) = made.remove(&self.digest()) else {
            return Err(FormatError::NoImage(family));
        };
        let below = self.below.iter().filter_map(|raw| made.remove(&raw.digest).flatten()).collect();
        Ok(Converted { package: Self { below, top }, attestations })
    }
}

/// Whether a manifest is a statement about an image, as BuildKit puts it into indexes.
fn is_attestation(manifest: &Manifest) -> bool {
    let statement = |layer: &Descriptor| layer.media_type.as_str() == "application/vnd.in-toto+json";
    !manifest.layers.is_empty() && manifest.layers.iter().all(statement)
}

fn manifest_in(family: Family, raw: &RawManifest, manifest: &Manifest) -> Result<RawManifest, FormatError> {
    let is_config = matches!(manifest.config.media_type, MediaType::OciConfig | MediaType::DockerConfig);
    if !is_config || manifest.artifact_type.is_some() || manifest.subject.is_some() {
        return Err(FormatError::NoImage(family));
    }
    let mut changed = manifest.clone();
    changed.config.media_type = family.config();
    changed.layers = layers_in_family(family, &manifest.layers)?;
    if raw.media_type == family.manifest() && changed == *manifest {
        return Ok(raw.clone());
    }
    changed.media_type = Some(family.manifest());
    if family == Family::Docker {
        changed.annotations.clear();
    }
    RawManifest::parse(changed.to_bytes()?, Some(&family.manifest()))
}

fn index_in(
    family: Family,
    raw: &RawManifest,
    index: &Index,
    made: &BTreeMap<Digest, Option<RawManifest>>,
) -> Result<RawManifest, FormatError> {
    let mut changed = index.clone();
    changed.manifests.clear();
    for entry in &index.manifests {
        if !is_document(entry) {
            return Err(FormatError::NoImage(family));
        }
        // What is not there was left out.
        let Some(Some(below)) = made.get(&entry.digest) else { continue };
        let mut entry = Descriptor {
            media_type: below.media_type.clone(),
            digest: below.digest,
            size: below.bytes.len() as u64,
            ..entry.clone()
        };
        if family == Family::Docker {
            entry.annotations.clear();
        }
        changed.manifests.push(entry);
    }
    if raw.media_type == family.index() && changed == *index {
        return Ok(raw.clone());
    }
    changed.media_type = Some(family.index());
    if family == Family::Docker {
        changed.annotations.clear();
    }
    RawManifest::parse(changed.to_bytes()?, Some(&family.index()))
}

/// An image's layers in the words of one family.
///
/// # Errors
/// When a layer cannot be in it: Docker's images have no zstd layers, and of foreign ones only those with gzip. What is of
/// no family stays as it is.
pub fn layers_in_family(family: Family, layers: &[Descriptor]) -> Result<Vec<Descriptor>, FormatError> {
    let convert = |layer: &Descriptor| {
        let media_type = layer.media_type.in_family(family);
        let fits = media_type.family().is_none_or(|own| own == family);
        // Some tools write it; podman and older engines refuse it.
        match fits && media_type != MediaType::DockerLayerZstd {
            true => Ok(Descriptor { media_type, ..layer.clone() }),
            false => Err(FormatError::Layer {
                media_type: layer.media_type.to_string(),
                digest: layer.digest,
                family,
            }),
        }
    };
    layers.iter().map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw_manifest(family: Family, layers: Vec<Descriptor>) -> RawManifest {
        let mut manifest = Manifest::new(family, Descriptor::of(family.config(), b"{}"), layers);
        if family == Family::Oci {
            manifest.annotations.insert("a".to_owned(), "b".to_owned());
        }
        RawManifest::parse(manifest.to_bytes().unwrap(), None).unwrap()
    }

    fn indexed(family: Family, below: Vec<RawManifest>) -> Package {
        let entries = below.iter().map(RawManifest::descriptor).collect();
        let top = Index::new(family, entries).to_bytes().unwrap();
        Package { below, top: RawManifest::parse(top, None).unwrap() }
    }

    fn types(package: &Package) -> Vec<Option<Family>> {
        let own = package.documents().map(|raw| raw.media_type.family());
        own.chain(package.blobs().iter().map(|blob| blob.media_type.family())).collect()
    }

    #[test]
    fn an_index_and_all_below_it_changes_family_and_back() {
        let layer = Descriptor::of(MediaType::OciLayerGzip, b"x");
        let package = indexed(Family::Oci, vec![raw_manifest(Family::Oci, vec![layer])]);
        let same = package.in_family(Family::Oci).unwrap();
        assert_eq!(same.package, package, "what is of the family keeps its bytes");
        let docker = package.in_family(Family::Docker).unwrap().package;
        assert_eq!(types(&docker), [Some(Family::Docker); 4]);
        assert!(docker.manifests().all(|manifest| manifest.annotations.is_empty()));
        let Document::Index(index) = &docker.top().document else { panic!("an index stays one") };
        assert_eq!(index.manifests[0].digest, docker.below()[0].digest);
        let back = docker.in_family(Family::Oci).unwrap().package;
        assert_eq!(types(&back), [Some(Family::Oci); 4]);
        assert_eq!(docker.blobs()[0].digest, back.blobs()[0].digest);
    }

    #[test]
    fn what_docker_does_not_have_is_refused_or_left_out() {
        for (media_type, taken) in [
            ("application/vnd.oci.image.layer.v1.tar+zstd", false),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", false),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar", false),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", true),
            ("application/x.unknown", true),
        ] {
            let layer = Descriptor::of(MediaType::from(media_type), b"x");
            let package = Package::single(raw_manifest(Family::Oci, vec![layer]));
            assert_eq!(package.in_family(Family::Docker).is_ok(), taken, "{media_type}");
            assert!(package.in_family(Family::Oci).is_ok(), "{media_type}");
        }
        let image = raw_manifest(Family::Oci, vec![Descriptor::of(MediaType::OciLayerGzip, b"x")]);
        let statement = Descriptor::of(MediaType::from("application/vnd.in-toto+json"), b"y");
        let package = indexed(Family::Oci, vec![image, raw_manifest(Family::Oci, vec![statement])]);
        let converted = package.in_family(Family::Docker).unwrap();
        assert_eq!((converted.package.below().len(), converted.attestations), (1, 1));
        assert_eq!(package.in_family(Family::Oci).unwrap().package, package);
    }
}
