//! Which compression a stream has or gets, and reading compressed streams.

mod ahead;
mod decode;

use std::io::{self, Read};

pub use decode::DecompressError;

use crate::error::LayerError;
use crate::reader::LayerReader;

/// How a new layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, which every registry and engine takes.
    #[default]
    Gzip,
    /// Zstandard; OCI images only.
    Zstd,
}

/// How hard a new layer is compressed. The default is a fast level of each algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Level(Option<u8>);

impl Level {
    /// A level by number as users know them; negative means the default. It is clamped to what the algorithm has
    /// (gzip 0 to 12, Zstandard 1 to 22).
    pub fn new(level: i32) -> Self {
        Self(u8::try_from(level.min(255)).ok())
    }

    /// The level in force for gzip.
    ///
    /// Of libdeflate's levels, 1 is a little faster than Go's fastest, which kaniko took by default, and its output
    /// is smaller (224 and 214 MB/s, 114 and 123 MB of 278 MB of /usr/lib); 2 and 3 give 3 % more for 20 to 35 % more
    /// time.
    pub fn for_gzip(self) -> i32 {
        self.0.map_or(1, |level| i32::from(level).min(12))
    }

    /// The level in force for Zstandard; its own default is 3.
    pub fn for_zstd(self) -> i32 {
        self.0.map_or(3, |level| i32::from(level).clamp(1, 22))
    }
}

/// What a stream's first bytes say about its compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Detected {
    /// None that is known.
    Plain,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

/// How many first bytes [`detect`] wants to see.
pub const DETECT_LENGTH: usize = 10;

/// Tells the compression by the magic number at the beginning of a stream.
///
/// For bzip2 the magic of its first block is wanted too: `BZh9` alone may well begin the name of a file in a tar.
pub fn detect(beginning: &[u8]) -> Detected {
    match beginning {
        [0x1f, 0x8b, 0x08, ..] => Detected::Gzip,
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Detected::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Detected::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Detected::Zstd,
        _ => Detected::Plain,
    }
}

/// The uncompressed bytes of a stream, whatever compression it has, which its first bytes tell.
///
/// gzip members, bzip2, xz and Zstandard streams may follow one another; anything else after them is an error, as in
/// Go. A compressed stream is read and decoded on a thread of its own, a few chunks ahead of what is read here, so
/// that decoding and unpacking overlap. The thread ends when the reader is dropped.
///
/// Errors of the decoder are [`DecompressError`]s inside an [`io::Error`]; those of `reader` come as they are.
pub fn decompress(reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let (detected, source) = decode::sniff(reader)?;
    if detected == Detected::Plain {
        return Ok(Box::new(source));
    }
    Ok(Box::new(ahead::ReadAhead::spawn(decode::decoder(detected, source)?)?))
}

/// Whether a stream is a tar archive, compressed or not, as BuildKit's `ADD` asks it: whether its first header is
/// one. An empty archive is not one. Broken compression is a no; a reader that fails is an error.
pub fn is_tar(reader: impl Read + Send) -> io::Result<bool> {
    let (detected, source) = decode::sniff(reader)?;
    let found = decode::decoder(detected, source).and_then(|decoder| {
        match LayerReader::archive(decoder).next() {
            Ok(item) => Ok(item.is_some()),
            Err(LayerError::Read(error)) => Err(error),
            // A header that is one, with a name or a field that will be refused: let that be said.
            Err(
                LayerError::Name(_)
                | LayerError::Hardlink { .. }
                | LayerError::Field { .. }
                | LayerError::Kind { .. },
            ) => Ok(true),
            Err(_) => Ok(false),
        }
    });
    match found {
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<DecompressError>()) => Ok(false),
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_told_by_magic_numbers() {
        for (beginning, detected) in [
            (&b"\x1f\x8b\x08\0\0\0\0\0\0\xff"[..], Detected::Gzip),
            (b"\x1f\x8b\x07\0\0\0\0\0\0\xff", Detected::Plain),
            (b"BZh91AY&SY", Detected::Bzip2),
            (b"BZh1\x17\x72\x45\x38\x50\x90", Detected::Bzip2),
            (b"BZh9-name-", Detected::Plain),
            (b"\xfd7zXZ\0\0\x04", Detected::Xz),
            (b"\x28\xb5\x2f\xfd\x04", Detected::Zstd),
            (b"\x5a\x2a\x4d\x18\x04", Detected::Zstd),
            (b"bin/", Detected::Plain),
            (b"", Detected::Plain),
            (b"\x1f", Detected::Plain),
        ] {
            assert_eq!(detect(beginning), detected, "{beginning:x?}");
        }
    }

    #[test]
    fn levels_are_clamped_to_the_algorithm() {
        for (level, gzip, zstd) in
            [(-1, 1, 3), (0, 0, 1), (1, 1, 1), (9, 9, 9), (15, 12, 15), (100, 12, 22), (i32::MAX, 12, 22)]
        {
            let level = Level::new(level);
            assert_eq!((level.for_gzip(), level.for_zstd()), (gzip, zstd), "{level:?}");
        }
        assert_eq!(Level::new(-1), Level::default());
    }
}
