//! The few tar entries that archives of images need: plain files and directories with short names. What is in layers is
//! written by zuwai-layer.

use std::io::{self, Read, Write};

use crate::error::OciError;

const BLOCK: usize = 512;

/// Writes a tar archive whose entries belong to root and have no time, so that equal images are equal archives.
pub(super) struct TarWriter<W> {
    out: W,
    kind: &'static str,
}

impl<W: Write> TarWriter<W> {
    /// Starts an archive; `kind` is for messages.
    pub(super) fn new(out: W, kind: &'static str) -> Self {
        Self { out, kind }
    }

    /// Appends a small file.
    pub(super) fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), OciError> {
        self.file(name, bytes.len() as u64, bytes)
    }

    /// Appends a file of exactly this length.
    pub(super) fn file(&mut self, name: &str, length: u64, content: impl Read) -> Result<(), OciError> {
        let kind = self.kind;
        self.try_file(name, length, content).map_err(|source| OciError::Archive { kind, source })
    }

    /// Appends a directory.
    pub(super) fn directory(&mut self, name: &str) -> Result<(), OciError> {
        let header = header(&format!("{name}/"), 0, b'5', 0o755);
        self.out.write_all(&header).map_err(|source| OciError::Archive { kind: self.kind, source })
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<(), OciError> {
        let ended = self.out.write_all(&[0; 2 * BLOCK]).and_then(|()| self.out.flush());
        ended.map_err(|source| OciError::Archive { kind: self.kind, source })
    }

    fn try_file(&mut self, name: &str, length: u64, mut content: impl Read) -> io::Result<()> {
        self.out.write_all(&header(name, length, b'0', 0o644))?;
        let copied = io::copy(&mut content, &mut self.out)?;
        if copied != length {
            let message = format!("{name} is {copied} bytes long, expected {length}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        let padding = (BLOCK - (length % BLOCK as u64) as usize) % BLOCK;
        self.out.write_all(&[0; BLOCK][..padding])
    }
}

/// A ustar header. Names here are at most 100 bytes long: the longest is a digest with a directory and an ending.
fn header(name: &str, length: u64, kind: u8, mode: u32) -> [u8; BLOCK] {
    debug_assert!(name.len() <= 100, "{name}");
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    match length < 1 << 33 {
        true => put(124, format!("{length:011o}").as_bytes()),
        false => {
            // Base 256 for what eleven octal digits cannot say.
            put(124, &[0x80, 0, 0, 0]);
            put(128, &length.to_be_bytes());
        }
    }
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_shorter_than_told_is_an_error() {
        let mut archive = TarWriter::new(Vec::new(), "archive");
        assert!(archive.file("a", 3, &b"ab"[..]).is_err());
    }

    #[test]
    fn lengths_beyond_eight_gigabytes_are_written_in_base_256() {
        let header = header("a", 1 << 33, b'0', 0o644);
        assert_eq!(&header[124..136], [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }
}
