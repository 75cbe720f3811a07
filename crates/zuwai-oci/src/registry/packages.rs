//! Whole packages out of registries and into them: an index with all that it names, byte by byte.

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use zuwai_layer::Digest;

use crate::error::{FormatError, OciError, Request};
use crate::manifest::{Document, RawManifest};
use crate::package::{Gathering, Package};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::answer::Wanted;
use crate::registry::body::Body;
use crate::registry::resolve::{ACCEPTED, header};
use crate::registry::retry::Attempts;
use crate::registry::transport::{Call, Target, api_host};
use crate::registry::{Direction, Registry};
use crate::store::Store;

impl Registry {
    /// What a reference names, with every document below it; with a platform, the one image of an index that suits it. No
    /// blob is fetched.
    ///
    /// # Errors
    /// When a document cannot be had or is malformed, or no image suits.
    pub async fn package(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<Package, OciError> {
        if let Some(platform) = platform {
            return Ok(Package::single(self.select(reference, platform).await?.found));
        }
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("pull manifest {} of {}", reference.identifier(), reference.repository()),
        };
        let wrong = |source| OciError::Document { request: request.clone(), source };
        let mut gathering = Gathering::new(self.manifest(reference).await?);
        while let Some(wanted) = gathering.wanted().map_err(wrong)? {
            gathering.add(self.manifest_below(reference, &wanted).await?);
        }
        let problem = || "nothing came".to_owned();
        gathering.finish().ok_or_else(|| OciError::Answered { request: request.clone(), problem: problem() })
    }

    /// What a reference names, alone; with a platform, the manifest of an index that suits it.
    ///
    /// # Errors
    /// As [`Registry::package`].
    pub async fn document(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<RawManifest, OciError> {
        match platform {
            Some(platform) => Ok(self.select(reference, platform).await?.found),
            None => self.manifest(reference).await,
        }
    }

    /// The bytes of the config that an image's manifest names, checked.
    ///
    /// # Errors
    /// When it cannot be had, or the document is no image's manifest.
    pub async fn config_of(
        &self,
        reference: &Reference,
        document: &RawManifest,
    ) -> Result<Vec<u8>, OciError> {
        match &document.document {
            Document::Manifest(manifest) => self.config(reference, manifest).await,
            Document::Index(_) => Err(FormatError::Unsupported(document.media_type.to_string()).into()),
        }
    }

    /// Sends a package to a reference: blobs that are not there, several at a time, then each document after those it
    /// names, and the top under the reference's tag, so that what can be seen is whole. Blobs that are not in the store
    /// come from `origin`'s repository.
    ///
    /// # Errors
    /// When a blob is nowhere, or the registry refuses something.
    pub async fn push_package(
        &self,
        package: &Package,
        store: &Store,
        origin: Option<&Reference>,
        reference: &Reference,
    ) -> Result<(), OciError> {
        let blobs: Vec<_> = package.blobs().into_iter().map(|blob| (blob, origin)).collect();
        self.push_parts(reference, &blobs, store, async || self.put_documents(package, reference).await).await
    }

    /// Sends a package's documents, the top last.
    async fn put_documents(&self, package: &Package, reference: &Reference) -> Result<(), OciError> {
        for document in package.below() {
            let place = reference.with_digest(document.digest);
            self.put_manifest(&place, &document.media_type, &document.bytes).await?;
        }
        let top = package.top();
        self.put_manifest(reference, &top.media_type, &top.bytes).await
    }

    /// The digest of what a reference's tag names now; none if there is no such tag or repository.
    ///
    /// # Errors
    /// When the registry does not say.
    pub async fn tag_digest(&self, reference: &Reference) -> Result<Option<Digest>, OciError> {
        let identifier = reference.identifier();
        let request = Request {
            host: api_host(reference.registry()).to_owned(),
            action: format!("look for manifest {identifier} of {}", reference.repository()),
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let call = Call {
            reference,
            mount_from: None,
            // Asked where things are sent to, not at a mirror.
            direction: Direction::Push,
            method: Method::HEAD,
            target: Target::Path(format!("manifests/{identifier}")),
            wanted: Wanted::Manifest,
            headers,
            body: Body::Empty,
            request,
        };
        let mut attempts = Attempts::new(self.options().retry, Direction::Push);
        let response = loop {
            match self.transport().send(&call).await {
                Ok(response) => break response,
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => attempts.again(error).await?,
            }
        };
        match header(&response, "docker-content-digest").and_then(|text| text.parse().ok()) {
            Some(digest) => Ok(Some(digest)),
            None => Ok(Some(self.manifest_at(reference).await?.digest)),
        }
    }
}
