//! Short digests of contents, to tell a file that was only touched from one that was changed.
//!
//! `chown -R` or `chmod -R` that changes nothing still gives every file a new ctime. When everything else the system
//! knows of such a file is as it was, its content and extended attributes are read and compared by these digests, which
//! unpacking and layer writing make of bytes that pass through them anyway. They are compared only with an earlier
//! digest of the same path, never written out, and need not withstand an attacker: whoever made the file can change it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use zuwai_layer::{ImagePath, Xattrs};

/// What is known of the contents of paths.
#[derive(Debug, Clone, Default)]
pub struct Fingerprints {
    /// By the digest of the path, to stay small.
    known: BTreeMap<u64, u64>,
}

impl Fingerprints {
    /// Adds what another step has seen.
    pub fn extend(&mut self, later: Self) {
        if self.known.is_empty() {
            *self = later;
        } else {
            self.known.extend(later.known);
        }
    }

    pub(crate) fn insert(&mut self, path: &ImagePath, fingerprint: u64) {
        self.known.insert(key(path), fingerprint);
    }

    pub(crate) fn remove(&mut self, path: &ImagePath) {
        self.known.remove(&key(path));
    }

    pub(crate) fn get(&self, path: &ImagePath) -> Option<u64> {
        self.known.get(&key(path)).copied()
    }
}

fn key(path: &ImagePath) -> u64 {
    of_bytes(path.as_bytes())
}

/// The digest of a few bytes, such as a link's text.
pub(crate) fn of_bytes(bytes: &[u8]) -> u64 {
    let mut digest = Fingerprinter::default();
    digest.update(bytes);
    digest.finish(&Xattrs::new())
}

/// Digests content that comes in pieces: 64 bits, by folded multiplication.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fingerprinter {
    state: u64,
    length: u64,
    rest: [u8; 8],
    rest_length: usize,
}

impl Fingerprinter {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.rest_length > 0 {
            let taken = bytes.len().min(8 - self.rest_length);
            self.rest[self.rest_length..self.rest_length + taken].copy_from_slice(&bytes[..taken]);
            self.rest_length += taken;
            bytes = &bytes[taken..];
            if self.rest_length < 8 {
                return;
            }
            self.state = mix(self.state, u64::from_le_bytes(self.rest));
        }
        let (words, rest) = bytes.as_chunks::<8>();
        let mut state = self.state;
        for word in words {
            state = mix(state, u64::from_le_bytes(*word));
        }
        self.state = state;
        self.rest[..rest.len()].copy_from_slice(rest);
        self.rest_length = rest.len();
    }

    pub(crate) fn finish(mut self, xattrs: &Xattrs) -> u64 {
        self.rest[self.rest_length..].fill(0);
        let mut state = mix(mix(self.state, u64::from_le_bytes(self.rest)), self.length);
        for part in xattrs.iter().flat_map(|(name, value)| [name, value]) {
            state = mix(state, of_bytes(part));
        }
        state
    }
}

fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word ^ 0x9e37_79b9_7f4a_7c15) * u128::from(0xd1b5_4a32_d192_ed03_u64);
    #[allow(clippy::cast_possible_truncation)] // the two halves
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

/// Digests what is read or written through it.
pub(crate) struct Observed<T> {
    pub(crate) inner: T,
    pub(crate) digest: Fingerprinter,
}

impl<T> Observed<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, digest: Fingerprinter::default() }
    }
}

impl<R: Read> Read for Observed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}

impl<W: Write> Write for Observed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.digest.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_matter() {
        let content: Vec<u8> = (0..1000_u32).map(|n| (n * 7) as u8).collect();
        for size in [1, 3, 7, 8, 9, 64, 999] {
            let mut digest = Fingerprinter::default();
            content.chunks(size).for_each(|piece| digest.update(piece));
            assert_eq!(digest.finish(&Xattrs::new()), of_bytes(&content), "{size}");
        }
    }

    #[test]
    fn contents_and_attributes_that_differ_are_told_apart() {
        let xattr = |name: &str, value: &str| Xattrs::from([(name.into(), value.into())]);
        let with = |xattrs: &Xattrs| {
            let mut digest = Fingerprinter::default();
            digest.update(b"content");
            digest.finish(xattrs)
        };
        let digests = [
            of_bytes(b""),
            of_bytes(b"\0"),
            of_bytes(b"\0\0\0\0\0\0\0\0"),
            of_bytes(b"content"),
            with(&xattr("user.a", "b")),
            with(&xattr("user.ab", "")),
            with(&xattr("user.a", "c")),
        ];
        let distinct: std::collections::BTreeSet<u64> = digests.into_iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }
}
