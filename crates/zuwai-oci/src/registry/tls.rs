//! Certificate authorities, loaded once at start: after an unpack, `/etc/ssl/certs` may be the image's.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::OciError;
use crate::store::read_limited;

/// Largest certificate file that is read.
const FILE_LIMIT: u64 = 16 << 20;

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

/// The certificate authorities that are trusted.
#[derive(Clone)]
pub struct TlsRoots {
    store: Arc<RootCertStore>,
}

impl TlsRoots {
    /// Reads certificate authorities as Go does, so that what kaniko trusted is trusted; where the machine has none,
    /// the bundled ones (Mozilla's) are taken. A file that was asked for by name must be readable; whatever else is
    /// not a certificate is skipped.
    pub fn load(sources: &TlsRootSources) -> Result<Self, OciError> {
        let mut store = RootCertStore::empty();
        match &sources.file {
            Some(file) => {
                let added = add_file(&mut store, file)?;
                if added == 0 {
                    let problem = "it holds no PEM certificate".to_owned();
                    return Err(OciError::Certificates { path: file.clone(), problem });
                }
            }
            None => {
                if let Some(file) = SYSTEM_FILES.iter().map(Path::new).find(|file| file.is_file()) {
                    add_if_readable(&mut store, file);
                }
            }
        }
        let system = SYSTEM_DIRECTORIES.iter().map(PathBuf::from).collect::<Vec<_>>();
        let directories = match sources.directories.is_empty() {
            // The one file of the system holds what its directories hold.
            true if sources.file.is_none() && !store.is_empty() => Vec::new(),
            true => system,
            false => sources.directories.clone(),
        };
        for directory in directories.iter().chain(&sources.additional_directories) {
            add_directory(&mut store, directory);
        }
        match store.is_empty() {
            true => Ok(Self::default()),
            false => Ok(Self { store: Arc::new(store) }),
        }
    }

    /// How many certificate authorities there are.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// The client side of TLS with these authorities, or trusting everybody.
    pub(crate) fn client_config(&self, verify: bool) -> Result<ClientConfig, OciError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| OciError::Options(error.to_string()))?;
        let mut config = match verify {
            true => builder.with_root_certificates(self.store.clone()).with_no_client_auth(),
            false => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TrustEverybody(provider)))
                .with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Default for TlsRoots {
    /// The bundled certificate authorities (Mozilla's).
    fn default() -> Self {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        Self { store: Arc::new(store) }
    }
}

impl fmt::Debug for TlsRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsRoots({} certificate authorities)", self.store.len())
    }
}

/// Adds the certificates of one file; returns how many there were.
fn add_file(store: &mut RootCertStore, file: &Path) -> Result<usize, OciError> {
    let bytes = read_limited(file, FILE_LIMIT)?;
    let certificates = CertificateDer::pem_slice_iter(&bytes).flatten();
    Ok(store.add_parsable_certificates(certificates).0)
}

fn add_if_readable(store: &mut RootCertStore, file: &Path) {
    if let Err(error) = add_file(store, file) {
        tracing::debug!("certificates skipped: {error}");
    }
}

fn add_directory(store: &mut RootCertStore, directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    for file in files {
        add_if_readable(store, &file);
    }
}

/// Takes every certificate, for `--skip-tls-verify`. Signatures of the handshake are still checked.
#[derive(Debug)]
struct TrustEverybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustEverybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
