//! Certificate authorities, loaded once at start: after an unpack, `/etc/ssl/certs` may be the image's.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use zuwai_layer::Digest;

use crate::error::OciError;
use crate::registry::client_certificate::ClientCertificate;
use crate::registry::trust::{AsGoDoes, Everybody};
use crate::store::read_limited;

/// Largest certificate file that is read.
pub(crate) const FILE_LIMIT: u64 = 16 << 20;

/// Where Linux distributions keep all certificates in one file; the first that exists is read (Go's list).
const SYSTEM_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where they keep certificates one a file; all are read (Go's list).
const SYSTEM_DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// Where certificate authorities are read from.
#[derive(Clone, Debug, Default)]
pub struct TlsRootSources {
    /// A file of PEM certificates in place of the system's (`SSL_CERT_FILE`).
    pub file: Option<PathBuf>,
    /// Directories of PEM files in place of the system's (`SSL_CERT_DIR`, split at colons); none means the system's.
    pub directories: Vec<PathBuf>,
    /// Directories whose certificates are trusted too (`/kaniko/ssl/certs`).
    pub additional_directories: Vec<PathBuf>,
}

/// The certificates that are trusted: authorities, and servers' own.
#[derive(Clone)]
pub struct TlsRoots {
    store: Arc<RootCertStore>,
    /// The same certificates whole, by their digests.
    certificates: Arc<BTreeSet<Digest>>,
}

impl TlsRoots {
    /// Reads certificate authorities as Go does, so that what kaniko trusted is trusted; where the machine has none,
    /// the bundled ones (Mozilla's) are taken. A file that was asked for by name must be readable; whatever else is
    /// not a certificate is skipped.
    pub fn load(sources: &TlsRootSources) -> Result<Self, OciError> {
        let mut found = Found::none();
        match &sources.file {
            Some(file) => found.add_named_file(file)?,
            None => {
                if let Some(file) = SYSTEM_FILES.iter().map(Path::new).find(|file| file.is_file()) {
                    found.add_if_readable(file);
                }
            }
        }
        let system = SYSTEM_DIRECTORIES.iter().map(PathBuf::from).collect::<Vec<_>>();
        let directories = match sources.directories.is_empty() {
            // The one file of the system holds what its directories hold.
            true if sources.file.is_none() && !found.store.is_empty() => Vec::new(),
            true => system,
            false => sources.directories.clone(),
        };
        for directory in directories.iter().chain(&sources.additional_directories) {
            found.add_directory(directory);
        }
        match found.store.is_empty() {
            true => Ok(Self::default()),
            false => Ok(found.into()),
        }
    }

    /// These certificates and those of a file (`--registry-certificate`).
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate.
    pub fn with_file(&self, file: &Path) -> Result<Self, OciError> {
        let mut found = Found { store: (*self.store).clone(), certificates: (*self.certificates).clone() };
        found.add_named_file(file)?;
        Ok(found.into())
    }

    /// How many certificate authorities there are.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// The client side of TLS: trusting these certificates or everybody, with a certificate of our own where one is
    /// wanted, for these application protocols.
    pub(crate) fn client_config(
        &self,
        verify: bool,
        own: Option<&ClientCertificate>,
        protocols: &[&[u8]],
    ) -> Result<ClientConfig, OciError> {
        let fail = |error: &dyn fmt::Display| OciError::Options(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| fail(&error))?
            .dangerous();
        let builder = match verify {
            true => {
                let verifier = AsGoDoes::new(self.store.clone(), self.certificates.clone(), provider);
                builder.with_custom_certificate_verifier(Arc::new(verifier.map_err(|error| fail(&error))?))
            }
            false => builder.with_custom_certificate_verifier(Arc::new(Everybody(provider))),
        };
        let mut config = match own {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.key()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

impl Default for TlsRoots {
    /// The bundled certificate authorities (Mozilla's).
    fn default() -> Self {
        let mut found = Found::none();
        found.add(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        found.into()
    }
}

impl fmt::Debug for TlsRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsRoots({} certificate authorities)", self.store.len())
    }
}

/// Certificates as they are found.
struct Found {
    store: RootCertStore,
    certificates: BTreeSet<Digest>,
}

impl Found {
    fn none() -> Self {
        Self { store: RootCertStore::empty(), certificates: BTreeSet::new() }
    }

    /// Adds certificates; returns how many of them can be used.
    fn add(&mut self, certificates: impl Iterator<Item = CertificateDer<'static>>) -> usize {
        let before = self.store.len();
        for certificate in certificates {
            self.certificates.insert(Digest::of(&certificate));
            self.store.add_parsable_certificates([certificate]);
        }
        self.store.len() - before
    }

    fn add_file(&mut self, file: &Path) -> Result<usize, OciError> {
        let bytes = read_limited(file, FILE_LIMIT)?;
        Ok(self.add(CertificateDer::pem_slice_iter(&bytes).flatten()))
    }

    /// A file that the user named must be good.
    fn add_named_file(&mut self, file: &Path) -> Result<(), OciError> {
        match self.add_file(file)? {
            0 => {
                let problem = "it holds no PEM certificate".to_owned();
                Err(OciError::Certificates { path: file.to_owned(), problem })
            }
            _ => Ok(()),
        }
    }

    fn add_if_readable(&mut self, file: &Path) {
        if let Err(error) = self.add_file(file) {
            tracing::debug!("certificates skipped: {error}");
        }
    }

    fn add_directory(&mut self, directory: &Path) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        let mut files: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        for file in files {
            self.add_if_readable(&file);
        }
    }
}

impl From<Found> for TlsRoots {
    fn from(found: Found) -> Self {
        Self { store: Arc::new(found.store), certificates: Arc::new(found.certificates) }
    }
}
