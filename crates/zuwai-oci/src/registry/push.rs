//! Sending blobs and manifests.
//!
//! A blob is asked for first and sent only if it is not there and cannot be mounted from another repository. The manifest
//! goes last, so that an image that can be seen is whole.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Method, Response};
use zuwai_layer::Digest;

use crate::descriptor::Descriptor;
use crate::error::{OciError, Request};
use crate::image::Image;
use crate::media_type::MediaType;
use crate::reference::Reference;
use crate::registry::answer::Wanted;
use crate::registry::blob_source::BlobSource;
use crate::registry::body::Body;
use crate::registry::download::permit;
use crate::registry::retry::Attempts;
use crate::registry::transport::{Call, Target, api_host, lock};
use crate::registry::upload::{Session, Upload, check_stored_digest};
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
        let blobs: Vec<_> = blobs.into_iter().map(|blob| (blob, image.origins.get(&blob.digest))).collect();
        let put = async || self.put_manifest(reference, image.media_type(), image.manifest_bytes()).await;
        self.push_parts(reference, &blobs, store, put).await
    }

    /// Brings blobs into a repository, then puts there what names them. Where the registry says to that that it lacks a
    /// blob, both are done once more.
    pub(super) async fn push_parts(
        &self,
        reference: &Reference,
        blobs: &[(&Descriptor, Option<&Reference>)],
        store: &Store,
        put: impl AsyncFn() -> Result<(), OciError>,
    ) -> Result<(), OciError> {
        self.push_blobs(reference, blobs, store).await?;
        match put().await {
            Err(error) if error.is_missing_blob() => {
                tracing::debug!("{error}: looking for the blobs again");
                self.push_blobs_again(reference, blobs, store).await?;
                put().await
            }
            done => done,
        }
    }

    /// Brings blobs into a repository, several at a time; each from the store or from where it can be had.
    async fn push_blobs(
        &self,
        reference: &Reference,
        blobs: &[(&Descriptor, Option<&Reference>)],
        store: &Store,
    ) -> Result<(), OciError> {
        stream::iter(blobs)
            .map(|(blob, origin)| self.push_blob(reference, blob, store, *origin))
            .buffer_unordered(self.options().uploads.max(1))
            .try_collect()
            .await
    }

    /// Once more for a registry that says to a manifest that it lacks a blob: what was there a moment ago may be gone with
    /// its garbage, or not be there yet.
    async fn push_blobs_again(
        &self,
        reference: &Reference,
        blobs: &[(&Descriptor, Option<&Reference>)],
        store: &Store,
    ) -> Result<(), OciError> {
        for (blob, _) in blobs {
            lock(self.uploads()).remove(&(reference.name(), blob.digest));
        }
        tokio::time::sleep(self.options().retry.first_delay).await;
        self.push_blobs(reference, blobs, store).await
    }

    /// Brings a blob into a repository unless it is there: from the store, or from where it can be had (`origin`). To be
    /// used for finished layers while later steps run.
    pub async fn push_blob(
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
        let request = blob_request(reference, blob);
        let _permit = permit(self.upload_permits(), &request).await?;
        let mut attempts = Attempts::new(self.options().retry, Direction::Push);
        let there = loop {
            match self.has_blob(reference, blob, &request).await {
                Ok(there) => break there,
                Err(error) => attempts.again(error).await?,
            }
        };
        if there {
            tracing::debug!("blob {} is in {} already", blob.digest, reference.name());
        } else {
            self.bring(reference, blob, store, origin, &request).await?;
        }
        lock(self.placed()).insert((reference.registry().to_owned(), blob.digest), reference.clone());
        *done = true;
        Ok(())
    }

    /// Brings a blob into a repository that lacks it, in the way that costs least: by a mount from another repository of
    /// the registry, from the store, or from the registry that has it.
    async fn bring(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        store: &Store,
        origin: Option<&Reference>,
        request: &Request,
    ) -> Result<(), OciError> {
        let session = match self.mount(reference, blob, origin, request).await {
            Mounted::Done => return Ok(()),
            Mounted::Not(session) => session,
        };
        let upload = |source| Upload::new(self, reference, blob, source, request);
        match (store.size(&blob.digest), origin) {
            (Some(size), _) if size == blob.size => {
                upload(BlobSource::Store(store, blob)).send(session).await
            }
            (None, Some(origin)) => {
                if !self.is_downloading(blob, store) {
                    match upload(BlobSource::Registry(self, origin, blob)).send(session).await {
                        Ok(()) => return Ok(()),
                        // Kept on the way, it can be sent as often as need be; and then it is clear which side failed.
                        Err(error) => tracing::debug!("{error}: fetching it first"),
                    }
                }
                self.fetch_blob(origin, blob, store).await?;
                upload(BlobSource::Store(store, blob)).send(None).await
            }
            (found, _) => Err(missing(store, blob, found)),
        }
    }

    /// Tries to mount a blob from another repository of the same registry where it is known to be. What cannot be mounted
    /// is sent; why, nobody needs to know.
    async fn mount(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        origin: Option<&Reference>,
        request: &Request,
    ) -> Mounted {
        let placed = lock(self.placed()).get(&(reference.registry().to_owned(), blob.digest)).cloned();
        let is_other = |from: &&Reference| {
            from.registry() == reference.registry() && from.repository() != reference.repository()
        };
        // A mirror of the origin may stand in the same registry.
        let served = origin.map(|origin| self.places(origin)).unwrap_or_default();
        let Some(from) = served.iter().chain(placed.as_ref()).find(is_other) else {
            return Mounted::Not(None);
        };
        match self.start_upload(reference, Some((from, blob.digest)), request).await {
            Ok(None) => {
                tracing::debug!("blob {} mounted from {}", blob.digest, from.name());
                Mounted::Done
            }
            Ok(session) => Mounted::Not(session),
            Err(error) => {
                tracing::debug!("blob {} not mounted from {}: {error}", blob.digest, from.name());
                Mounted::Not(None)
            }
        }
    }

    /// Whether a repository has a blob.
    pub(super) async fn has_blob(
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
            // One of another length is none that could be used: what was cut off on its way, in a careless registry. Some
            // say nothing of the length, or zero.
            Ok(response) => Ok(length(&response).is_none_or(|length| length == 0 || length == blob.size)),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
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
        let mut attempts = Attempts::new(self.options().retry, Direction::Push);
        loop {
            match self.transport().send(&call).await {
                Ok(response) => return check_stored_digest(&response, digest, &request),
                Err(error) => attempts.again(error).await?,
            }
        }
    }

    /// Checks that the registry would let us push, before a long build starts: begins an upload and cancels it.
    pub async fn check_push_permission(&self, reference: &Reference) -> Result<(), OciError> {
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("push to {}", reference.repository()),
        };
        let mut attempts = Attempts::new(self.options().retry, Direction::Push);
        let session = loop {
            match self.start_upload(reference, None, &request).await {
                Ok(session) => break session,
                Err(error) => attempts.again(error).await?,
            }
        };
        if let Some(session) = session {
            self.cancel_upload(reference, session, &request).await;
        }
        Ok(())
    }
}

/// What came of a mount.
enum Mounted {
    /// The blob is there.
    Done,
    /// It is not; many registries then begin an upload at once.
    Not(Option<Session>),
}

/// The length that the answer to a HEAD tells: it has no body, whose length the library would tell.
fn length(response: &Response) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn blob_request(reference: &Reference, blob: &Descriptor) -> Request {
    Request {
        host: api_host(reference.registry()).to_owned(),
        action: format!("push blob {} to {}", blob.digest, reference.repository()),
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
