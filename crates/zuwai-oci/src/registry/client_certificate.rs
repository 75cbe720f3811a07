//! The certificate that we show to a registry which asks for one (mutual TLS).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::error::OciError;
use crate::registry::tls::FILE_LIMIT;
use crate::store::read_limited;

/// A certificate with its chain and its private key. `Debug` shows neither.
#[derive(Clone)]
pub struct ClientCertificate {
    path: PathBuf,
    key: Arc<CertifiedKey>,
}

impl ClientCertificate {
    /// Reads a certificate, its own first and those of its issuers after it, and its unencrypted private key (PKCS #8,
    /// PKCS #1 or SEC 1), both PEM.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what it should, or the key is not the certificate's.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, OciError> {
        let unusable =
            |path: &Path, problem: String| OciError::Certificates { path: path.to_owned(), problem };
        let bytes = read_limited(certificate, FILE_LIMIT)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<_, PemError>>()
            .map_err(|error| unusable(certificate, format!("it is not PEM: {error}")))?;
        if chain.is_empty() {
            return Err(unusable(certificate, "it holds no PEM certificate".to_owned()));
        }
        let bytes = read_limited(key, FILE_LIMIT)?;
        let private = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
            let encrypted = bytes.windows(9).any(|part| part == b"ENCRYPTED");
            let problem = match (encrypted, error) {
                (true, _) => "its private key is encrypted; take the passphrase off".to_owned(),
                (false, PemError::NoItemsFound) => "it holds no PEM private key".to_owned(),
                (false, error) => format!("it is not PEM: {error}"),
            };
            unusable(key, problem)
        })?;
        let provider = rustls::crypto::ring::default_provider();
        let joined = CertifiedKey::from_der(chain, private, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => unusable(
                key,
                format!("its key does not belong to the certificate in {}", certificate.display()),
            ),
            error => unusable(key, format!("its key cannot be used: {error}")),
        })?;
        Ok(Self { path: certificate.to_owned(), key: Arc::new(joined) })
    }

    pub(crate) fn key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({})", self.path.display())
    }
}
