//! From a reference to one image: through indexes to a manifest and its config, each checked before it is believed.

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use zuwai_layer::Digest;

use crate::config::CONFIG_LIMIT;
use crate::descriptor::Descriptor;
use crate::error::{FormatError, OciError, Request};
use crate::image::Image;
use crate::manifest::{Document, MANIFEST_LIMIT, Manifest, RawManifest};
use crate::media_type::MediaType;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::answer::{Wanted, read_body};
use crate::registry::body::Body;
use crate::registry::retry::Attempts;
use crate::registry::transport::{Call, Target, api_host};
use crate::registry::{Direction, Registry};

/// What we take for a manifest.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// An index may name an index, but not without end.
const DEPTH_LIMIT: usize = 4;

/// An image found in a registry.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedImage {
    /// The reference that was asked for.
    pub reference: Reference,
    /// The digest that the reference itself names: the index's if it names an index.
    pub digest: Digest,
    /// The image; its layers' origins are set to this repository.
    pub image: Image,
}

/// What was found for a platform.
pub(super) struct Selected {
    /// The digest that the reference itself names.
    pub(super) top: Digest,
    /// The manifest as the registry has it.
    pub(super) found: RawManifest,
    /// What it says.
    pub(super) manifest: Manifest,
}

impl Registry {
    /// The manifest or index that a reference names, from the first of its places that has it.
    pub async fn manifest(&self, reference: &Reference) -> Result<RawManifest, OciError> {
        let mut attempts = Attempts::new(self.options().retry, Direction::Pull);
        loop {
            let mut tour = self.tour(reference);
            while let Some(place) = tour.next() {
                match self.manifest_at(&place).await {
                    Ok(found) => {
                        tour.served(&place);
                        return Ok(found);
                    }
                    Err(error) => tour.failed(place, error),
                }
            }
            attempts.again(tour.error()).await?;
        }
    }

    /// The manifest or index that a reference names, as its own registry has it.
    pub(crate) async fn manifest_at(&self, reference: &Reference) -> Result<RawManifest, OciError> {
        let identifier = reference.identifier();
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("pull manifest {identifier} of {}", reference.repository()),
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let call = Call {
            reference,
            mount_from: None,
            direction: Direction::Pull,
            method: Method::GET,
            target: Target::Path(format!("manifests/{identifier}")),
            wanted: Wanted::Manifest,
            headers,
            body: Body::Empty,
            request: request.clone(),
        };
        let mut response = self.transport().send(&call).await?;
        let claimed = header(&response, CONTENT_TYPE.as_str());
        let claimed =
            claimed.as_deref().map(|text| MediaType::from(text.split(';').next().unwrap_or(text).trim()));
        let promised =
            header(&response, "docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let stall = self.options().stall_timeout;
        let bytes = read_body(&mut response, &request, "manifest", MANIFEST_LIMIT, stall).await?;
        let digest = Digest::of(&bytes);
        for expected in reference.digest().copied().into_iter().chain(promised) {
            if expected != digest {
                return Err(OciError::DigestMismatch { request, expected, actual: digest });
            }
        }
        let document = |source| OciError::Document { request: request.clone(), source };
        if let Some(MediaType::DockerSchema1 | MediaType::DockerSchema1Signed) = claimed {
            return Err(document(FormatError::Schema1));
        }
        RawManifest::parse(bytes, claimed.as_ref()).map_err(document)
    }

    /// Finds the image that a reference means on a platform: through indexes to the manifest and its config, all
    /// checked. No layer is fetched. An image that stands alone is taken whatever its platform is: the caller compares.
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedImage, OciError> {
        let Selected { top, found, manifest } = self.select(reference, platform).await?;
        let config_bytes = self.config(reference, &manifest).await?;
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("pull image {} of {}", found.digest, reference.repository()),
        };
        let mut image = Image::from_bytes(found.media_type, found.bytes, config_bytes)
            .map_err(|source| OciError::Document { request, source })?;
        let origin = reference.with_digest(found.digest);
        image.origins = manifest.layers.iter().map(|layer| (layer.digest, origin.clone())).collect();
        Ok(ResolvedImage { reference: reference.clone(), digest: top, image })
    }

    /// Finds the manifest that a reference means on a platform, through indexes.
    pub(super) async fn select(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Selected, OciError> {
        let mut found = self.manifest(reference).await?;
        let top = found.digest;
        for _ in 0..DEPTH_LIMIT {
            let index = match &found.document {
                Document::Manifest(manifest) => {
                    let manifest = manifest.as_ref().clone();
                    return Ok(Selected { top, found, manifest });
                }
                Document::Index(index) => index,
            };
            let Some(chosen) = index.select(platform) else {
                return Err(OciError::NoPlatform {
                    reference: Box::new(reference.clone()),
                    wanted: Box::new(platform.clone()),
                    available: index.platforms(),
                });
            };
            let chosen = chosen.clone();
            found = self.manifest_below(reference, &chosen).await?;
        }
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("pull manifest {} of {}", reference.identifier(), reference.repository()),
        };
        Err(OciError::Answered { request, problem: format!("indexes nested deeper than {DEPTH_LIMIT}") })
    }

    /// A manifest that an index of the same repository names, as long as it says there.
    pub(super) async fn manifest_below(
        &self,
        reference: &Reference,
        chosen: &Descriptor,
    ) -> Result<RawManifest, OciError> {
        let found = self.manifest(&reference.with_digest(chosen.digest)).await?;
        let received = found.bytes.len() as u64;
        if received == chosen.size {
            return Ok(found);
        }
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("pull manifest {} of {}", chosen.digest, reference.repository()),
        };
        Err(OciError::Truncated { request, expected: chosen.size, received })
    }

    /// The config that a manifest names, from the first place of the image that has it.
    pub(super) async fn config(
        &self,
        reference: &Reference,
        manifest: &Manifest,
    ) -> Result<Vec<u8>, OciError> {
        let mut attempts = Attempts::new(self.options().retry, Direction::Pull);
        loop {
            let mut tour = self.tour(reference);
            while let Some(place) = tour.next() {
                match self.config_at(&place, manifest).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => tour.failed(place, error),
                }
            }
            attempts.again(tour.error()).await?;
        }
    }

    /// The config that a manifest names, its length and digest checked.
    async fn config_at(&self, reference: &Reference, manifest: &Manifest) -> Result<Vec<u8>, OciError> {
        let config = &manifest.config;
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("pull config {} of {}", config.digest, reference.repository()),
        };
        let document = |source| OciError::Document { request: request.clone(), source };
        let known = match &config.media_type {
            MediaType::OciConfig | MediaType::DockerConfig => true,
            // What old versions of docker wrote.
            other => other.as_str() == "application/octet-stream",
        };
        if !known {
            return Err(document(FormatError::Unsupported(config.media_type.to_string())));
        }
        if config.size > CONFIG_LIMIT {
            return Err(document(FormatError::TooLarge { document: "image config", limit: CONFIG_LIMIT }));
        }
        self.small_blob(reference, config, &request).await
    }

    /// A blob that is small enough to be held, its digest checked.
    async fn small_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        request: &Request,
    ) -> Result<Vec<u8>, OciError> {
        let mut part = self.open_blob_part(reference, blob, 0, blob.size, request).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = part.next().await? {
            bytes.extend_from_slice(&piece);
        }
        let actual = Digest::of(&bytes);
        match actual == blob.digest {
            true => Ok(bytes),
            false => {
                Err(OciError::DigestMismatch { request: request.clone(), expected: blob.digest, actual })
            }
        }
    }
}

/// A header of an answer.
pub(super) fn header(response: &reqwest::Response, name: &str) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
