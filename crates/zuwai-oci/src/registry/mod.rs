//! The conversation with registries (OCI distribution spec).
//!
//! In reading order: [`options`] says how to talk to whom, with what [`tls`], `trust`, `client_certificate` and `proxies`
//! hold; `clients` are made of it; `dns` finds hosts; `places` says where an image may be; `transport` sends one request
//! with its `body` to the `origin` of its registry and follows it through redirects and `authorization` (`challenge`,
//! `token`); `answer` turns refusals into errors (`immutable`: which mean a tag that may not be moved; `scrub`: what is
//! not said of them), `failure` what never came to an answer; [`retry`] says what is tried again. [`resolve`],
//! [`download`] (by `blob_part`s), `push` (by `upload`s from a `blob_source`) and `packages` are what the rest of the house
//! uses.

mod answer;
mod authorization;
mod blob_part;
mod blob_source;
mod body;
mod challenge;
mod client_certificate;
mod clients;
pub(crate) mod dns;
pub mod download;
pub(crate) mod failure;
mod immutable;
mod login;
pub mod options;
mod origin;
mod packages;
mod places;
mod proxies;
mod push;
pub mod resolve;
pub mod retry;
mod scrub;
pub mod tls;
mod token;
mod transport;
mod trust;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Semaphore;
use zuwai_layer::Digest;

pub use client_certificate::ClientCertificate;
pub use download::{Download, DownloadReader};
pub use options::{RegistryOptions, registry_key};
pub use places::Mirrors;
pub use proxies::Proxies;
pub use resolve::ResolvedImage;
pub use retry::RetryPolicy;
pub use tls::{TlsRootSources, TlsRoots};

use crate::descriptor::Descriptor;
use crate::error::OciError;
use crate::reference::Reference;
use crate::store::Store;
use places::Experience;
use transport::Transport;
pub(crate) use transport::lock;

/// What is done with a registry; pulling and pushing have options of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Reading.
    Pull,
    /// Writing, and the reading that belongs to it.
    Push,
}

/// Downloads in progress, by store and digest.
type Downloads = BTreeMap<(PathBuf, Digest), Weak<download::State>>;
/// Uploads, by repository and digest: whether they are done.
type Uploads = BTreeMap<(String, Digest), Arc<tokio::sync::Mutex<bool>>>;
/// A repository of a registry that a blob is known to be in.
type Placed = BTreeMap<(String, Digest), Reference>;

/// A client for every registry. Cheap to clone; clones share connections, tokens and transfers in progress.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    downloads: Mutex<Downloads>,
    uploads: Mutex<Uploads>,
    placed: Mutex<Placed>,
    experience: Experience,
    download_permits: Semaphore,
    upload_permits: Semaphore,
}

impl Registry {
    /// A client with these options. Name servers and hosts are read here, once, before any image is unpacked.
    pub fn new(options: RegistryOptions) -> Result<Self, OciError> {
        let (downloads, uploads) = (options.downloads.max(1), options.uploads.max(1));
        Ok(Self {
            inner: Arc::new(Inner {
                transport: Transport::new(Arc::new(options))?,
                downloads: Mutex::default(),
                uploads: Mutex::default(),
                placed: Mutex::default(),
                experience: Experience::default(),
                download_permits: Semaphore::new(downloads),
                upload_permits: Semaphore::new(uploads),
            }),
        })
    }

    /// The options.
    pub fn options(&self) -> &RegistryOptions {
        self.inner.transport.options()
    }

    /// A client for servers that are no registries: the same certificate authorities, proxies, name servers and
    /// connection time-out. It checks every certificate, follows no redirect, and sends no credentials.
    pub fn web_client(&self) -> reqwest::Client {
        self.transport().web_client().clone()
    }

    /// The addresses of a host, for connections that are not HTTP: by the name servers and the hosts file that were
    /// read when the client was made.
    pub async fn addresses(&self, host: &str) -> Result<Vec<std::net::IpAddr>, OciError> {
        self.transport().resolver().addresses(host).await
    }

    /// Fetches a blob into the store and waits until it is there and verified.
    pub async fn fetch_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        store: &Store,
    ) -> Result<(), OciError> {
        self.download(reference, blob, store).wait().await
    }

    fn transport(&self) -> &Transport {
        &self.inner.transport
    }

    fn downloads(&self) -> &Mutex<Downloads> {
        &self.inner.downloads
    }

    fn uploads(&self) -> &Mutex<Uploads> {
        &self.inner.uploads
    }

    fn placed(&self) -> &Mutex<Placed> {
        &self.inner.placed
    }

    fn experience(&self) -> &Experience {
        &self.inner.experience
    }

    fn download_permits(&self) -> &Semaphore {
        &self.inner.download_permits
    }

    fn upload_permits(&self) -> &Semaphore {
        &self.inner.upload_permits
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("options", self.options()).finish_non_exhaustive()
    }
}
