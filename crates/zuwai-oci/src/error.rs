//! What goes wrong with images, stores and registries, and what the user can do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zuwai_layer::Digest;

use crate::archive::{ArchiveError, LayoutError};
use crate::media_type::Family;
use crate::platform::{Platform, PlatformError};
use crate::reference::{Reference, ReferenceError};
use crate::registry::failure::certificate_hint;

/// A document is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is not the JSON that it should be.
    #[error("malformed {document}")]
    Json {
        /// What it should be.
        document: &'static str,
        /// The parser's complaint.
        #[source]
        source: serde_json::Error,
    },
    /// It is JSON, but no object.
    #[error("{0} is not a JSON object")]
    NotAnObject(&'static str),
    /// It is longer than is read.
    #[error("{document} is longer than {limit} bytes")]
    TooLarge {
        /// What it is.
        document: &'static str,
        /// How long it may be.
        limit: u64,
    },
    /// It is a manifest of Docker's schema 1.
    #[error(
        "manifest has Docker's schema 1, which is no longer supported; push the image again with a current tool"
    )]
    Schema1,
    /// It has an unknown schema version.
    #[error("manifest has schema version {0}, expected 2")]
    SchemaVersion(String),
    /// The media type it came with is not the one it has.
    #[error("manifest came as {claimed} but says that it is {own}")]
    Disagree {
        /// The Content-Type or descriptor.
        claimed: String,
        /// The document's own.
        own: String,
    },
    /// It has the fields of a manifest and those of an index.
    #[error("manifest has the fields of an image manifest and of an index at once")]
    Ambiguous,
    /// It has a media type that cannot be used here.
    #[error("unsupported media type {0}")]
    Unsupported(String),
    /// It has too many layers.
    #[error("manifest has {count} layers, at most {limit} are allowed")]
    TooManyLayers {
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Indexes name indexes.
    #[error("indexes nested deeper than {limit}")]
    TooDeep {
        /// How deep they may be.
        limit: usize,
    },
    /// An index names too many manifests.
    #[error("more than {limit} manifests belong to it")]
    TooManyManifests {
        /// How many may be.
        limit: usize,
    },
    /// It is an index where one image is wanted.
    #[error("it is an index of several images, and only one can be in such an archive")]
    SeveralImages,
    /// A layer cannot be in an image of this family.
    #[error("layer {digest} is {media_type}, which images of the format {family} do not have")]
    Layer {
        /// What it is.
        media_type: String,
        /// The layer.
        digest: Digest,
        /// The family.
        family: Family,
    },
    /// What is to be put into the words of a family is no image.
    #[error("it is no image, or holds what is none, and cannot be put into the format {0}")]
    NoImage(Family),
    /// The config's root file system is not made of layers.
    #[error("image config has a root file system of type {0:?}, expected \"layers\"")]
    RootFsKind(String),
    /// The config is not the one the manifest names.
    #[error("image config has digest {actual}, but the manifest names {expected}")]
    ConfigDigest {
        /// What the manifest says.
        expected: Digest,
        /// What the bytes say.
        actual: Digest,
    },
    /// Manifest and config disagree about the layers.
    #[error("manifest has {layers} layers, but the image config has {diff_ids} diff IDs")]
    LayerCount {
        /// Layers in the manifest.
        layers: usize,
        /// Diff IDs in the config.
        diff_ids: usize,
    },
}

impl FormatError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Layer { media_type, .. } if media_type.ends_with("zstd") => {
                "Docker's format has no zstd layers: take the format oci, or an image with gzip layers"
                    .to_owned()
            }
            Self::SeveralImages => "choose one with --platform".to_owned(),
            Self::Layer { .. } | Self::NoImage(_) => "leave the format as it is".to_owned(),
            _ => return None,
        })
    }
}

/// What was asked of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The host that was asked, with its port.
    pub host: String,
    /// What was wanted, such as `pull manifest latest of library/ubuntu`.
    pub action: String,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at registry {}", self.action, self.host)
    }
}

/// One error in a registry's answer (distribution spec, error codes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryMessage {
    /// The code, such as `MANIFEST_UNKNOWN`; empty if there is none.
    pub code: String,
    /// The text; empty if there is none.
    pub message: String,
}

/// A registry's answer that is not the one hoped for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The registry's own words; empty if it gave none.
    pub messages: Vec<RegistryMessage>,
    /// How long to wait before asking again, where it says so (Retry-After).
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// Whether a web server before the registry misses a client certificate, in nginx's words: a status of its own
    /// (495, 496), sent as 400.
    fn wants_certificate(&self) -> bool {
        let said = |message: &RegistryMessage| message.message.contains("SSL certificate");
        matches!(self.status, 400 | 403 | 495 | 496) && self.messages.iter().any(said)
    }

    /// Whether the registry gave this code.
    pub fn has_code(&self, code: &str) -> bool {
        self.messages.iter().any(|message| message.code == code)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        for (index, RegistryMessage { code, message }) in self.messages.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            match (code.as_str(), message.as_str()) {
                ("", text) => f.write_str(text)?,
                (code, "") => f.write_str(code)?,
                (code, text) => write!(f, "{code}: {text}")?,
            }
        }
        Ok(())
    }
}

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

    /// What the user can do about it, to be shown after the error and its causes.
    pub fn hint(&self) -> Option<String> {
        if self.is_immutable_tag() {
            let text = "the tag exists and may not be moved; push another tag, or let --push-ignore-immutable-tag-errors take it as it is";
            return Some(text.to_owned());
        }
        Some(match self.root() {
            Self::Refused { request, answer } | Self::Denied { request, answer, .. } if answer.wants_certificate() => {
                client_certificate_hint(&request.host)
            }
            Self::Unauthorized { request, with_credentials: true, .. } => format!(
                "the registry did not accept the credentials for {}; check user name and password in the docker configuration",
                request.host
            ),
            Self::Unauthorized { request, .. } | Self::Denied { request, with_credentials: false, .. } => {
                format!(
                    "no credentials for {} were found; add them to config.json in the DOCKER_CONFIG directory, or check the image's name",
                    request.host
                )
            }
            Self::Denied { request, .. } => {
                format!(
                    "the credentials for {} lack the permission; ask for pull or push access to the repository",
                    request.host
                )
            }
            Self::NameUnknown { .. } => {
                "check the repository's name; some registries want it to be made before the first push"
                    .to_owned()
            }
            Self::ManifestUnknown { .. } => "check the image's tag".to_owned(),
            Self::Certificate { request, source } => certificate_hint(&request.host, source),
            Self::ClientCertificate { request, .. } => client_certificate_hint(&request.host),
            Self::Proxy { wants_password: true, .. } => {
                "check user and password in HTTPS_PROXY or HTTP_PROXY: http://USER:PASSWORD@HOST:PORT".to_owned()
            }
            Self::Proxy { request, .. } => format!(
                "check HTTPS_PROXY or HTTP_PROXY; if {} is to be reached without a proxy, add it to NO_PROXY",
                request.host
            ),
            Self::UnknownHost { host, .. } => {
                format!("check the name {host} and the name servers in /etc/resolv.conf")
            }
            Self::NoPlace { places, .. } => return places.iter().find_map(|(_, error)| error.hint()),
            Self::PlainHttp { request, .. } => {
                format!("if {} is a plain HTTP registry, name it with --insecure-registry", request.host)
            }
            Self::Connect { request, .. } => {
                format!("check the name and port of {} and that it can be reached from here", request.host)
            }
            Self::DigestMismatch { .. } | Self::Truncated { .. } | Self::TooLong { .. } => {
                "the content was damaged on the way or in the registry; try again, or push the image anew"
                    .to_owned()
            }
            Self::BlobUnknown { .. } => {
                "a part of the image is gone from the registry; push the image anew".to_owned()
            }
            Self::Document { source: FormatError::Json { .. } | FormatError::NotAnObject(_), request } => format!(
                "the image is damaged in its registry, or {} is no registry but a proxy or a web server",
                request.host
            ),
            Self::Document { .. } => {
                "the image is not whole or not of a kind that can be built on; push it anew, or choose another".to_owned()
            }
            Self::NoPlatform { .. } => {
                "choose an image that has the platform, or build for one that this image has".to_owned()
            }
            Self::Layout { source, .. } => source.hint().to_owned(),
            Self::ReadArchive { source, .. } => source.hint().to_owned(),
            Self::Format(error) => return error.hint(),
            Self::CredentialHelper { name, .. } => format!(
                "see what `docker-credential-{name} list` says, or take it out of the docker configuration's credsStore and credHelpers"
            ),
            Self::DockerConfig { .. } => "mend the file, or log in to the registry again".to_owned(),
            Self::Refused { answer: Answer { status: 405, .. }, .. } => {
                "the registry does not allow this; it may be read-only, or a mirror".to_owned()
            }
            Self::Refused { answer: Answer { status: 429, .. }, .. } => {
                "the registry limits the rate of requests; wait, or log in".to_owned()
            }
            Self::Refused { answer: Answer { status: 413, .. }, .. } => {
                "a proxy before the registry refuses bodies of this size; raise its limit".to_owned()
            }
            Self::Refused { answer: Answer { status: 500.., .. }, .. } => {
                "the registry failed; try again".to_owned()
            }
            _ => return None,
        })
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

fn client_certificate_hint(host: &str) -> String {
    format!("name a certificate and its key with --registry-client-cert={host}=CERTIFICATE,KEY")
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
