//! Sending blobs and manifests.
//!
//! A blob is asked for first and sent only if it is not there: one POST, then one PUT with the whole file, which every
//! registry takes. Mounting from another repository and sending in pieces will be made here. The manifest goes last, so
//! that an image that can be seen is whole.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;
use zuwai_layer::Digest;

use crate::descriptor::Descriptor;
use crate::error::{OciError, Request};
use crate::image::Image;
use crate::media_type::MediaType;
use crate::reference::Reference;
use crate::registry::answer::Wanted;
use crate::registry::body::Body;
use crate::registry::download::permit;
use crate::registry::transport::{Call, Target, api_host, lock};
use crate::registry::{Direction, Registry};
use crate::store::Store;

/// Media types of documents in a manifest that must be in the registry before it.
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl Registry {
    /// Sends an image to a reference: blobs that are not there, several at a time, then the manifest. Layers that are
    /// not in the store are fetched from the image's origins first. Layers that may not be redistributed are not sent.
    pub async fn push(&self, image: &Image, store: &Store, reference: &Reference) -> Result<(), OciError> {
        store.put_bytes(image.config_bytes())?;
        let mut seen = BTreeSet::new();
        let blobs: Vec<&Descriptor> = image
            .layers()
            .iter()
            .filter(|layer| !layer.media_type.is_foreign_layer())
            .chain([&image.manifest().config])
            .filter(|blob| seen.insert(blob.digest))
            .collect();
        stream::iter(blobs)
            .map(|blob| self.push_from(reference, blob, store, image.origins.get(&blob.digest)))
            .buffer_unordered(self.options().uploads.max(1))
            .try_collect::<Vec<()>>()
            .await?;
        self.put_manifest(reference, image.media_type(), image.manifest_bytes()).await
    }

    /// Sends a blob from the store unless the registry has it. To be used for finished layers while later steps run.
    pub async fn push_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        store: &Store,
    ) -> Result<(), OciError> {
        self.push_from(reference, blob, store, None).await
    }

    async fn push_from(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        store: &Store,
        origin: Option<&Reference>,
    ) -> Result<(), OciError> {
        // One upload of a blob to a repository at a time; who comes second finds it done.
        let upload = lock(self.uploads()).entry((reference.name(), blob.digest)).or_default().clone();
        let mut done = upload.lock().await;
        if *done {
            return Ok(());
        }
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("push blob {} to {}", blob.digest, reference.repository()),
        };
        let _permit = permit(self.upload_permits(), &request).await?;
        if self.has_blob(reference, blob, &request).await? {
            tracing::debug!("blob {} is in {} already", blob.digest, reference.name());
        } else {
            match (store.size(&blob.digest), origin) {
                (Some(size), _) if size == blob.size => {}
                (None, Some(origin)) => self.fetch_blob(origin, blob, store).await?,
                (found, _) => return Err(missing(store, blob, found)),
            }
            self.upload(reference, blob, store, &request).await?;
        }
        *done = true;
        Ok(())
    }

    /// Whether a repository has a blob.
    async fn has_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        request: &Request,
    ) -> Result<bool, OciError> {
        let call = Call {
            reference,
            mount_from: None,
            direction: Direction::Push,
            method: Method::HEAD,
            target: Target::Path(format!("blobs/{}", blob.digest)),
            wanted: Wanted::Blob,
            headers: HeaderMap::new(),
            body: Body::Empty,
            request: request.clone(),
        };
        match self.transport().send(&call).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn upload(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        store: &Store,
        request: &Request,
    ) -> Result<(), OciError> {
        let Some(mut address) = self.start_upload(reference, request).await? else { return Ok(()) };
        // The registry's own parameters stay as they are: some are signed.
        address.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let call = Call {
            reference,
            mount_from: None,
            direction: Direction::Push,
            method: Method::PUT,
            target: Target::Address(address),
            wanted: Wanted::Upload,
            headers: HeaderMap::new(),
            body: Body::File(store.blob_path(&blob.digest), blob.size),
            request: request.clone(),
        };
        let response = self.transport().send(&call).await?;
        let stored = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        match stored.and_then(|text| text.parse::<Digest>().ok()) {
            Some(actual) if actual != blob.digest => {
                Err(OciError::DigestMismatch { request: request.clone(), expected: blob.digest, actual })
            }
            _ => Ok(()),
        }
    }

    /// Begins an upload; the address to send to, or nothing if the registry says that it is done.
    async fn start_upload(&self, reference: &Reference, request: &Request) -> Result<Option<Url>, OciError> {
        let call = Call {
            reference,
            mount_from: None,
            direction: Direction::Push,
            method: Method::POST,
            target: Target::Path("blobs/uploads/".to_owned()),
            wanted: Wanted::Upload,
            headers: HeaderMap::new(),
            body: Body::Empty,
            request: request.clone(),
        };
        let response = self.transport().send(&call).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        let from = response.url().clone();
        self.transport().location(&response, &from, &call).map(Some)
    }

    /// Sends a manifest or index under the reference's tag, or its digest if it has no tag.
    pub async fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &MediaType,
        bytes: &[u8],
    ) -> Result<(), OciError> {
        let digest = Digest::of(bytes);
        let name = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("push manifest {name} to {}", reference.repository()),
        };
        let content_type = HeaderValue::from_str(media_type.as_str()).unwrap_or(OCTETS);
        let call = Call {
            reference,
            mount_from: None,
            direction: Direction::Push,
            method: Method::PUT,
            target: Target::Path(format!("manifests/{name}")),
            wanted: Wanted::Upload,
            headers: HeaderMap::new(),
            body: Body::Bytes(content_type, Bytes::copy_from_slice(bytes)),
            request: request.clone(),
        };
        let response = self.transport().send(&call).await?;
        let stored = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        match stored.and_then(|text| text.parse::<Digest>().ok()) {
            Some(actual) if actual != digest => {
                Err(OciError::DigestMismatch { request, expected: digest, actual })
            }
            _ => Ok(()),
        }
    }

    /// Checks that the registry would let us push, before a long build starts: begins an upload and cancels it.
    pub async fn check_push_permission(&self, reference: &Reference) -> Result<(), OciError> {
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("push to {}", reference.repository()),
        };
        let Some(address) = self.start_upload(reference, &request).await? else { return Ok(()) };
        let call = Call {
            reference,
            mount_from: None,
            direction: Direction::Push,
            method: Method::DELETE,
            target: Target::Address(address),
            wanted: Wanted::Upload,
            headers: HeaderMap::new(),
            body: Body::Empty,
            request,
        };
        // Registries forget uploads by themselves; some do not know how to cancel one.
        if let Err(error) = self.transport().send(&call).await {
            tracing::debug!("upload not cancelled: {error}");
        }
        Ok(())
    }
}

/// Why a blob cannot be sent from the store.
fn missing(store: &Store, blob: &Descriptor, found: Option<u64>) -> OciError {
    let directory = store.directory().to_owned();
    match found {
        Some(actual) => {
            OciError::StoredSize { digest: blob.digest, store: directory, expected: blob.size, actual }
        }
        None => OciError::MissingBlob { digest: blob.digest, store: directory },
    }
}
