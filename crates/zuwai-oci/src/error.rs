//! What goes wrong with images, stores and registries, and what the user can do about it.

mod format;
mod hint;
mod request;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zuwai_layer::Digest;

use crate::archive::{ArchiveError, LayoutError};
use crate::platform::{Platform, PlatformError};
use crate::reference::{Reference, ReferenceError};

pub use format::FormatError;
pub use request::{Answer, RegistryMessage, Request};

/// What goes wrong with images, stores and registries.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// A name is not an image reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A text is not a platform.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A document made here cannot be written, or one given is wrong.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file is longer than is read.
    #[error("{} is longer than {limit} bytes", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// How long it may be.
        limit: u64,
    },
    /// What was written to the store is not what was expected.
    #[error("blob written to {} has digest {actual}, expected {expected}", path.display())]
    StoredDigest {
        /// The temporary file.
        path: PathBuf,
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// A blob that an output needs is not in the store.
    #[error("blob {digest} is not in the store {}", store.display())]
    MissingBlob {
        /// The blob.
        digest: Digest,
        /// The store's directory.
        store: PathBuf,
    },
    /// A blob in the store does not have the length it should.
    #[error("blob {digest} in the store {} is {actual} bytes long, expected {expected}", store.display())]
    StoredSize {
        /// The blob.
        digest: Digest,
        /// The store's directory.
        store: PathBuf,
        /// What its descriptor says.
        expected: u64,
        /// How long it is.
        actual: u64,
    },
    /// An image cannot be taken out of an OCI layout.
    #[error("cannot use the OCI layout {}", directory.display())]
    Layout {
        /// The layout.
        directory: PathBuf,
        /// Why.
        #[source]
        source: Box<LayoutError>,
    },
    /// An archive of images cannot be read.
    #[error("cannot use the archive {}", path.display())]
    ReadArchive {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<ArchiveError>,
    },
    /// An archive cannot be written.
    #[error("cannot write the {kind}")]
    Archive {
        /// Which kind of archive.
        kind: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The docker configuration cannot be understood.
    #[error("malformed docker configuration {}: {problem}", path.display())]
    DockerConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong; never the contents.
        problem: String,
    },
    /// A credential helper failed.
    #[error("docker-credential-{name} failed")]
    CredentialHelper {
        /// Which one.
        name: String,
        /// Why; never what it said.
        #[source]
        problem: crate::credentials::helper::HelperError,
    },
    /// The registry options make no sense.
    #[error("cannot set up the registry client: {0}")]
    Options(String),
    /// A certificate file cannot be used.
    #[error("cannot use the certificates in {}: {problem}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A host has no address.
    #[error("cannot find the host {host}")]
    Resolve {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry wants to know who we are.
    #[error("cannot {request}: not authorised ({answer})")]
    Unauthorized {
        /// What was asked.
        request: Request,
        /// The answer.
        answer: Answer,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// The registry knows who we are, or does not care, and refuses.
    #[error("cannot {request}: denied ({answer})")]
    Denied {
        /// What was asked.
        request: Request,
        /// The answer.
        answer: Answer,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// There is no such repository.
    #[error("cannot {request}: no such repository ({answer})")]
    NameUnknown {
        /// What was asked.
        request: Request,
        /// The answer.
        answer: Answer,
    },
    /// There is no such tag or manifest.
    #[error("cannot {request}: no such image ({answer})")]
    ManifestUnknown {
        /// What was asked.
        request: Request,
        /// The answer.
        answer: Answer,
    },
    /// There is no such blob.
    #[error("cannot {request}: no such blob ({answer})")]
    BlobUnknown {
        /// What was asked.
        request: Request,
        /// The answer.
        answer: Answer,
    },
    /// Any other refusal.
    #[error("cannot {request}: {answer}")]
    Refused {
        /// What was asked.
        request: Request,
        /// The answer.
        answer: Answer,
    },
    /// The answer is not one that a registry gives.
    #[error("cannot {request}: {problem}")]
    Answered {
        /// What was asked.
        request: Request,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The token server's answer cannot be used.
    #[error("cannot {request}: no token from {realm}: {problem}")]
    Token {
        /// What was asked.
        request: Request,
        /// The token server.
        realm: String,
        /// What is wrong.
        problem: String,
    },
    /// A document from a registry is malformed.
    #[error("cannot {request}")]
    Document {
        /// What was asked.
        request: Request,
        /// What is wrong.
        #[source]
        source: FormatError,
    },
    /// What came is not what was asked for.
    #[error("cannot {request}: content has digest {actual}, expected {expected}")]
    DigestMismatch {
        /// What was asked.
        request: Request,
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Less came than should.
    #[error("cannot {request}: truncated, {received} of {expected} bytes came")]
    Truncated {
        /// What was asked.
        request: Request,
        /// How much should come.
        expected: u64,
        /// How much came.
        received: u64,
    },
    /// More came than should.
    #[error("cannot {request}: more than the expected {expected} bytes came")]
    TooLong {
        /// What was asked.
        request: Request,
        /// How much should come.
        expected: u64,
    },
    /// No image of an index suits.
    #[error("{reference} has no image for platform {wanted} (it has: {})", list(available))]
    NoPlatform {
        /// The image.
        reference: Box<Reference>,
        /// What was wanted.
        wanted: Box<Platform>,
        /// What is there.
        available: Vec<Platform>,
    },
    /// The registry's certificate is not trusted.
    #[error("cannot {request}: its TLS certificate is not trusted")]
    Certificate {
        /// What was asked.
        request: Request,
        /// The complaint.
        #[source]
        source: reqwest::Error,
    },
    /// The server wants a certificate from us, or another one.
    #[error("cannot {request}: the server wants another client certificate, or one at all")]
    ClientCertificate {
        /// What was asked.
        request: Request,
        /// The complaint.
        #[source]
        source: reqwest::Error,
    },
    /// The proxy on the way does not let us through.
    #[error(
        "cannot {request}: the proxy {proxy} {}",
        if *wants_password { "wants a user and a password (HTTP 407)" } else { "cannot be used" }
    )]
    Proxy {
        /// What was asked.
        request: Request,
        /// Its host and port.
        proxy: String,
        /// Whether it wants to know who we are, or did not believe it.
        wants_password: bool,
        /// The complaint.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// The registry, or what it redirects to, has no address.
    #[error("cannot {request}: the host {host} is not known")]
    UnknownHost {
        /// What was asked.
        request: Request,
        /// The host.
        host: String,
        /// The complaint.
        #[source]
        source: reqwest::Error,
    },
    /// No place where a registry's images may be has the image.
    #[error("image {reference} not found on any configured mapped registries{}", failures(places))]
    NoPlace {
        /// The image.
        reference: Box<Reference>,
        /// The places, each with what went wrong there.
        places: Vec<(String, OciError)>,
    },
    /// The registry does not speak TLS.
    #[error("cannot {request}: it does not speak HTTPS")]
    PlainHttp {
        /// What was asked.
        request: Request,
        /// The complaint.
        #[source]
        source: reqwest::Error,
    },
    /// Nobody answers.
    #[error("cannot {request}: cannot connect")]
    Connect {
        /// What was asked.
        request: Request,
        /// The complaint.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing came for too long.
    #[error("cannot {request}: nothing came for {seconds} seconds")]
    Timeout {
        /// What was asked.
        request: Request,
        /// For how long.
        seconds: u64,
    },
    /// The connection broke.
    #[error("cannot {request}: the connection failed")]
    Transport {
        /// What was asked.
        request: Request,
        /// The complaint.
        #[source]
        source: reqwest::Error,
    },
    /// A transfer has to be begun again.
    #[error("cannot {request}: the transfer was interrupted")]
    Interrupted {
        /// What was asked.
        request: Request,
    },
    /// An error that several wait for.
    #[error(transparent)]
    Shared(Arc<OciError>),
}

impl OciError {
    /// The error itself, where it was shared by several waiters.
    pub fn root(&self) -> &Self {
        match self {
            Self::Shared(inner) => inner.root(),
            other => other,
        }
    }

    /// Whether this says that an image, repository or blob does not exist.
    pub fn is_not_found(&self) -> bool {
        match self.root() {
            Self::NameUnknown { .. } | Self::ManifestUnknown { .. } | Self::BlobUnknown { .. } => true,
            Self::NoPlace { places, .. } => places.iter().all(|(_, error)| error.is_not_found()),
            _ => false,
        }
    }

    /// Whether this says that a host cannot be talked to at all, whatever it is asked for.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self.root(),
            Self::UnknownHost { .. }
                | Self::Connect { .. }
                | Self::Timeout { .. }
                | Self::Proxy { .. }
                | Self::PlainHttp { .. }
                | Self::Certificate { .. }
                | Self::ClientCertificate { .. }
        )
    }

    /// Whether the same may succeed when it is tried again.
    pub fn is_temporary(&self) -> bool {
        match self.root() {
            Self::Refused { answer, .. } => {
                matches!(answer.status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
            }
            Self::NoPlace { places, .. } => places.iter().any(|(_, error)| error.is_temporary()),
            Self::Connect { .. }
            | Self::Proxy { wants_password: false, .. }
            | Self::Timeout { .. }
            | Self::Transport { .. }
            | Self::Interrupted { .. }
            | Self::Truncated { .. }
            | Self::DigestMismatch { .. } => true,
            _ => false,
        }
    }

    /// Whether what came is not what its digest says.
    pub fn is_damage(&self) -> bool {
        matches!(self.root(), Self::DigestMismatch { .. })
    }

    /// What the registry answered, where it refused.
    pub fn answer(&self) -> Option<&Answer> {
        match self.root() {
            Self::Unauthorized { answer, .. }
            | Self::Denied { answer, .. }
            | Self::NameUnknown { answer, .. }
            | Self::ManifestUnknown { answer, .. }
            | Self::BlobUnknown { answer, .. }
            | Self::Refused { answer, .. } => Some(answer),
            _ => None,
        }
    }

    /// Whether a manifest was refused because the repository lacks a blob that it names.
    pub(crate) fn is_missing_blob(&self) -> bool {
        let codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"];
        self.answer().is_some_and(|answer| codes.iter().any(|code| answer.has_code(code)))
    }

    /// How long the registry wants us to wait, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.root() {
            Self::Refused { answer, .. } => answer.retry_after,
            Self::NoPlace { places, .. } => places.iter().filter_map(|(_, error)| error.retry_after()).min(),
            _ => None,
        }
    }
}

/// An error's message with those of its causes after it.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn failures(places: &[(String, OciError)]) -> String {
    places.iter().map(|(place, error)| format!("; {place}: {}", with_causes(error))).collect()
}

pub(crate) fn list(platforms: &[Platform]) -> String {
    match platforms {
        [] => "none that names its platform".to_owned(),
        all => all.iter().map(Platform::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Names the file in an I/O error.
pub(crate) trait IoContext<T> {
    /// Adds what was tried and on which file.
    fn at(self, action: &'static str, path: &Path) -> Result<T, OciError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, OciError> {
        self.map_err(|source| OciError::Io { action, path: path.to_owned(), source })
    }
}
