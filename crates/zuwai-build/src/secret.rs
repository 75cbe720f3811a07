//! Secrets of a build: what `RUN --mount=type=secret`, and what reaches sources by HTTP or git, may ask for by an ID.
//!
//! The program reads them at its start, before anything is unpacked: in place, the container's files are moved away
//! then. They stay in memory, are overwritten there when the build ends, and show in no log, error or `Debug`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use zeroize::Zeroizing;

/// No secret is larger, in bytes: BuildKit's limit.
pub const SECRET_LIMIT: usize = 500 << 10;

/// One secret and the ID that mounts and sources name it by.
#[derive(Debug)]
pub struct Secret {
    /// What the Dockerfile calls it.
    pub id: String,
    /// What is secret.
    pub content: SecretContent,
}

/// The bytes of a secret, at most [`SECRET_LIMIT`]. They are overwritten when this is dropped.
pub struct SecretContent(Zeroizing<Box<[u8]>>);

/// A secret larger than [`SECRET_LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too big. max size {}KiB", SECRET_LIMIT >> 10)]
pub struct TooBig;

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadSecretError {
    /// There is more of it than a secret may have.
    #[error(transparent)]
    TooBig(#[from] TooBig),
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SecretContent {
    /// Takes a copy of the bytes.
    ///
    /// # Errors
    /// When they are too many.
    pub fn new(bytes: &[u8]) -> Result<Self, TooBig> {
        if bytes.len() > SECRET_LIMIT {
            return Err(TooBig);
        }
        Ok(Self(Zeroizing::new(Box::from(bytes))))
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// When it cannot be read, or has more than [`SECRET_LIMIT`] bytes.
    pub fn read(source: impl Read) -> Result<Self, ReadSecretError> {
        // As large as it may become: a buffer that grows would leave copies behind.
        let mut buffer = Zeroizing::new(Vec::with_capacity(SECRET_LIMIT + 1));
        source.take(SECRET_LIMIT as u64 + 1).read_to_end(&mut buffer)?;
        Ok(Self::new(&buffer)?)
    }

    /// The secret itself, for the one place that hands it over.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The secrets of a build. Of two with the same ID the later one counts, as with BuildKit.
#[derive(Debug, Default)]
pub struct Secrets(BTreeMap<String, SecretContent>);

impl Secrets {
    /// The secret of this ID, if there is one: an ID of a mount, or a name such as `GIT_AUTH_TOKEN.github.com`.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&SecretContent> {
        self.0.get(id)
    }
}

impl FromIterator<Secret> for Secrets {
    fn from_iter<I: IntoIterator<Item = Secret>>(secrets: I) -> Self {
        Self(secrets.into_iter().map(|secret| (secret.id, secret.content)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(id: &str, content: &str) -> Secret {
        Secret { id: id.to_owned(), content: SecretContent::new(content.as_bytes()).unwrap() }
    }

    #[test]
    fn a_secret_is_found_by_its_id_and_never_shown() {
        let secrets: Secrets =
            [secret("a", "first"), secret("GIT_AUTH_TOKEN.host", "hunter2"), secret("a", "second")]
                .into_iter()
                .collect();
        assert_eq!(secrets.get("a").unwrap().reveal(), b"second");
        assert_eq!(secrets.get("GIT_AUTH_TOKEN.host").unwrap().reveal(), b"hunter2");
        assert!(secrets.get("GIT_AUTH_TOKEN").is_none());
        let shown = format!("{secrets:?} {:?}", secret("b", "hunter2"));
        assert!(shown.contains("[secret]") && !shown.contains("hunter2") && !shown.contains("second"));
    }

    #[test]
    fn the_limit_is_buildkits() {
        let read = |size: u64| SecretContent::read(io::repeat(b'x').take(size));
        assert_eq!(read(512_000).unwrap().reveal().len(), 512_000);
        assert_eq!(read(512_001).unwrap_err().to_string(), "too big. max size 500KiB");
        assert_eq!(read(u64::MAX).unwrap_err().to_string(), "too big. max size 500KiB");
        assert_eq!(SecretContent::new(&[0; 512_001]).unwrap_err(), TooBig);
        assert!(read(0).unwrap().reveal().is_empty());
    }
}
