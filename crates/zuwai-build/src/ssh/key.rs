//! Private keys: reading them from files, and signing.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};
use zeroize::Zeroizing;

use super::ecdsa::{self, Curve};
use super::openssh::{self, Content, PrivateKey};
use super::rsa;
use super::wire::{put_mpint, put_string};

/// rsaEncryption as DER has it (RFC 8017, appendix A.1).
const RSA_ENCRYPTION: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";

/// A private key that signs for SSH. It is never shown.
pub struct Key {
    pair: Pair,
    public_blob: Vec<u8>,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(Curve, EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// What an RSA key's signature hashes the data with. Other keys have a hash of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1, which is no longer safe: nothing is signed with it.
    Sha1,
    /// `rsa-sha2-256` (RFC 8332).
    Sha256,
    /// `rsa-sha2-512` (RFC 8332).
    Sha512,
}

/// Why a file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It holds none.
    #[error("no key found: it is neither an agent's socket nor a private key in OpenSSH's format or PEM")]
    NoKey,
    /// The key needs a passphrase, and nobody can be asked for it.
    #[error("this private key is passphrase protected: add it to an ssh-agent and give the agent's socket")]
    Passphrase,
    /// A key of a kind that is not signed with.
    #[error(
        "unsupported key type {0:?}; there are Ed25519, ECDSA on P-256 and P-384, and RSA of 2048 to 4096 bits"
    )]
    Unsupported(String),
    /// The key is broken, or its numbers are none that are safe.
    #[error("the {kind} key cannot be used: {reason}")]
    Rejected {
        /// The kind of key.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Key {
    /// Reads the first private key of a file, by its PEM label.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = pem(text)?;
        Ok(Self::new(match label.as_str() {
            "OPENSSH PRIVATE KEY" => openssh(&der)?,
            "RSA PRIVATE KEY" => Pair::Rsa(Box::new(RsaKeyPair::from_der(&der).map_err(rejected("RSA"))?)),
            "EC PRIVATE KEY" => match ecdsa::of_sec1(&der) {
                Some((curve, pair)) => Pair::Ecdsa(curve, pair),
                None => return Err(KeyError::Unsupported(label)),
            },
            "PRIVATE KEY" => of_pkcs8(&der)?,
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Passphrase),
            _ => return Err(KeyError::Unsupported(label)),
        }))
    }

    fn new(pair: Pair) -> Self {
        let mut public_blob = Vec::new();
        match &pair {
            Pair::Ed25519(pair) => {
                put_string(&mut public_blob, b"ssh-ed25519");
                put_string(&mut public_blob, pair.public_key().as_ref());
            }
            Pair::Ecdsa(curve, pair) => {
                put_string(&mut public_blob, curve.algorithm());
                put_string(&mut public_blob, curve.name());
                put_string(&mut public_blob, pair.public_key().as_ref());
            }
            Pair::Rsa(pair) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                put_string(&mut public_blob, b"ssh-rsa");
                put_mpint(&mut public_blob, &public.e);
                put_mpint(&mut public_blob, &public.n);
            }
        }
        Self { pair, public_blob }
    }

    /// The public key as SSH writes it (RFC 4253, section 6.6; RFC 5656, section 3.1; RFC 8709, section 4).
    pub fn public_blob(&self) -> &[u8] {
        &self.public_blob
    }

    /// A signature as SSH writes it: the algorithm's name, and what that makes of the data. `None` where it cannot be
    /// had.
    pub fn sign(&self, data: &[u8], hash: Hash) -> Option<Vec<u8>> {
        let (algorithm, bytes) = match &self.pair {
            Pair::Ed25519(pair) => (&b"ssh-ed25519"[..], pair.sign(data).as_ref().to_vec()),
            Pair::Ecdsa(curve, pair) => (curve.algorithm(), ecdsa::sign(pair, data)?),
            Pair::Rsa(pair) => {
                let (algorithm, padding) = match hash {
                    Hash::Sha1 => {
                        tracing::warn!(
                            "a command asked for an RSA signature with SHA-1, which is not safe: refused"
                        );
                        return None;
                    }
                    Hash::Sha256 => (&b"rsa-sha2-256"[..], &RSA_PKCS1_SHA256),
                    Hash::Sha512 => (&b"rsa-sha2-512"[..], &RSA_PKCS1_SHA512),
                };
                let mut bytes = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &SystemRandom::new(), data, &mut bytes).ok()?;
                (algorithm, bytes)
            }
        };
        let mut signature = Vec::new();
        put_string(&mut signature, algorithm);
        put_string(&mut signature, &bytes);
        Some(signature)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private key]")
    }
}

/// The label and content of the first private key among PEM sections. Lines may have any length and end.
fn pem(text: &[u8]) -> Result<(String, Zeroizing<Vec<u8>>), KeyError> {
    let mut rest = std::str::from_utf8(text).map_err(|_| KeyError::NoKey)?;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(KeyError::NoKey)?;
        let (body, after) = after.split_once(&format!("-----END {label}-----")).ok_or(KeyError::NoKey)?;
        if label.ends_with("PRIVATE KEY") {
            // The header of an old PEM that is encrypted (RFC 1421, section 4.6.1.1).
            if body.contains("Proc-Type: 4,ENCRYPTED") {
                return Err(KeyError::Passphrase);
            }
            let mut digits = Zeroizing::new(Vec::with_capacity(body.len()));
            digits.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
            let der = STANDARD.decode(&digits).map_err(|_| KeyError::NoKey)?;
            return Ok((label.to_owned(), Zeroizing::new(der)));
        }
        rest = after;
    }
    Err(KeyError::NoKey)
}

fn openssh(der: &[u8]) -> Result<Pair, KeyError> {
    let key = match openssh::parse(der) {
        Some(Content::Plain(key)) => key,
        Some(Content::Encrypted) => return Err(KeyError::Passphrase),
        None => return Err(KeyError::Rejected { kind: "OpenSSH", reason: "InvalidEncoding".to_owned() }),
    };
    Ok(match key {
        PrivateKey::Ed25519 { seed, public } => {
            let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
            Pair::Ed25519(pair.map_err(rejected("Ed25519"))?)
        }
        PrivateKey::Ecdsa { curve: name, public, private } => {
            let curve = Curve::named(name).ok_or_else(|| unsupported(name))?;
            let pair = ecdsa::key_pair(curve, private, public);
            Pair::Ecdsa(curve, pair.map_err(rejected("ECDSA"))?)
        }
        PrivateKey::Rsa(numbers) => Pair::Rsa(Box::new(rsa::key_pair(&numbers).map_err(rejected("RSA"))?)),
        PrivateKey::Other(name) => return Err(unsupported(name)),
    })
}

fn unsupported(name: &[u8]) -> KeyError {
    KeyError::Unsupported(String::from_utf8_lossy(name).into_owned())
}

/// A key in the format of PKCS#8 (RFC 5958), by trying what there is.
fn of_pkcs8(der: &[u8]) -> Result<Pair, KeyError> {
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Ok(Pair::Ed25519(pair));
    }
    if let Some((curve, pair)) = ecdsa::of_pkcs8(der) {
        return Ok(Pair::Ecdsa(curve, pair));
    }
    if !der.windows(RSA_ENCRYPTION.len()).any(|window| window == RSA_ENCRYPTION) {
        return Err(KeyError::Unsupported("PRIVATE KEY".to_owned()));
    }
    Ok(Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(der).map_err(rejected("RSA"))?)))
}

fn rejected(kind: &'static str) -> impl Fn(KeyRejected) -> KeyError {
    move |error| KeyError::Rejected { kind, reason: error.to_string() }
}
