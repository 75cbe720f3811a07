//! What `ADD --checksum` says about a file.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The digest that a file must have: `sha256:`, `sha384:` or `sha512:` and lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// Why a text is not a checksum; in BuildKit's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// It is not `algorithm:hex`.
    #[error("invalid checksum digest format")]
    Format,
    /// The algorithm is none that is known.
    #[error("unsupported digest algorithm")]
    Algorithm,
    /// It has too few or too many digits for its algorithm.
    #[error("invalid checksum digest length")]
    Length,
}

impl Checksum {
    /// Reads a checksum as BuildKit does.
    ///
    /// # Errors
    /// When the text is not a digest of a known algorithm.
    pub fn parse(text: &str) -> Result<Self, ChecksumError> {
        let (name, hex) = text.split_once(':').ok_or(ChecksumError::Format)?;
        if name.is_empty() || hex.is_empty() {
            return Err(ChecksumError::Format);
        }
        let (algorithm, length) = match name {
            "sha256" => (Algorithm::Sha256, 64),
            "sha384" => (Algorithm::Sha384, 96),
            "sha512" => (Algorithm::Sha512, 128),
            _ => return Err(ChecksumError::Algorithm),
        };
        if hex.len() != length {
            return Err(ChecksumError::Length);
        }
        if !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ChecksumError::Format);
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }

    /// A hasher of this checksum's algorithm.
    pub(crate) fn hasher(&self) -> Hasher {
        match self.algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.algorithm {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        };
        write!(f, "{name}:{}", self.hex)
    }
}

/// Computes a checksum of everything it is shown.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The checksum of all of them.
    pub(crate) fn finish(self) -> Checksum {
        let (algorithm, bytes) = match self {
            Self::Sha256(hash) => (Algorithm::Sha256, hash.finalize().to_vec()),
            Self::Sha384(hash) => (Algorithm::Sha384, hash.finalize().to_vec()),
            Self::Sha512(hash) => (Algorithm::Sha512, hash.finalize().to_vec()),
        };
        let mut hex = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(hex, "{byte:02x}");
        }
        Checksum { algorithm, hex }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_are_checksums() {
        for (text, expected) in [
            (format!("sha256:{}", "a".repeat(64)), None),
            (format!("sha384:{}", "0".repeat(96)), None),
            (format!("sha512:{}", "f".repeat(128)), None),
            ("a".repeat(64), Some(ChecksumError::Format)),
            ("sha256:".to_owned(), Some(ChecksumError::Format)),
            (format!("sha256:{}", "A".repeat(64)), Some(ChecksumError::Format)),
            ("md5:abcd".to_owned(), Some(ChecksumError::Algorithm)),
            ("sha256:12".to_owned(), Some(ChecksumError::Length)),
        ] {
            match (Checksum::parse(&text), expected) {
                (Ok(checksum), None) => assert_eq!(checksum.to_string(), text),
                (result, expected) => assert_eq!(result.err(), expected, "{text}"),
            }
        }
    }

    #[test]
    fn hashers_compute_what_they_are_named_for() {
        for (text, input) in [
            ("sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", "hello\n"),
            (
                "sha384:1d0f284efe3edea4b9ca3bd514fa134b17eae361ccc7a1eefeff801b9bd6604e01f21f6bf249ef030599f0c218f2ba8c",
                "hello\n",
            ),
            (
                "sha512:e7c22b994c59d9cf2b48e549b1e24666636045930d3da7c1acb299d1c3b7f931f94aae41edda2c2b207a36e10f8bcb8d45223e54878f5b316e7ce3b6bc019629",
                "hello\n",
            ),
        ] {
            let checksum = Checksum::parse(text).unwrap();
            let mut hasher = checksum.hasher();
            hasher.update(input.as_bytes());
            assert_eq!(hasher.finish(), checksum);
        }
    }
}
