//! Compressing one block of a layer.
//!
//! A layer is cut into blocks of a fixed length, and every block becomes a gzip member (or a Zstandard frame) of its
//! own. Readers of both formats take a sequence of them for one stream. So blocks can be compressed in any order, on
//! any number of threads, and the bytes are always the same.

use std::io;

use crate::compression::{Compression, Level};

/// The length of a block, which is as long as it takes to compress as a whole stream does (within 1 %): gzip looks back
/// 32 KiB only, Zstandard megabytes (with blocks of 1 MiB it would lose 7 %).
pub(crate) fn length(compression: Compression) -> usize {
    match compression {
        Compression::None | Compression::Gzip => 1 << 20,
        Compression::Zstd => 4 << 20,
    }
}

/// A compressor of single blocks.
pub(crate) enum BlockCompressor {
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl BlockCompressor {
    /// The compressor of a thread; `None` for blocks that stay as they are.
    pub(crate) fn new(compression: Compression, level: Level) -> io::Result<Option<Self>> {
        Ok(match compression {
            Compression::None => None,
            Compression::Gzip => {
                let level = libdeflater::CompressionLvl::new(level.for_gzip())
                    .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
                Some(Self::Gzip(libdeflater::Compressor::new(level)))
            }
            Compression::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(level.for_zstd())?;
                compressor.include_checksum(true)?;
                Some(Self::Zstd(compressor))
            }
        })
    }

    /// Compresses a block into `out`, in the place of what that holds.
    pub(crate) fn compress(&mut self, block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(compressor) => {
                out.resize(compressor.gzip_compress_bound(block.len()), 0);
                let length = compressor.gzip_compress(block, out).map_err(io::Error::other)?;
                out.truncate(length);
            }
            Self::Zstd(compressor) => {
                out.clear();
                out.reserve(zstd::zstd_safe::compress_bound(block.len()));
                compressor.compress_to_buffer(block, out)?;
            }
        }
        Ok(())
    }
}
