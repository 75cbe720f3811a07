//! The way of a web server's answer into a file.

use std::fs::File;
use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use crate::remote::checksum::{Checksum, Hasher};

/// The body on its way to the file. As Go's client does, what the server compressed on the way only is decompressed.
pub(crate) enum Body {
    /// As it comes.
    Plain(Box<Sink>),
    /// Decompressed.
    Gzip(Box<MultiGzDecoder<Sink>>),
}

impl Body {
    /// A body that goes into `sink`, decompressed if it comes as gzip.
    pub(crate) fn new(sink: Sink, gzip: bool) -> Self {
        match gzip {
            true => Self::Gzip(Box::new(MultiGzDecoder::new(sink))),
            false => Self::Plain(Box::new(sink)),
        }
    }

    /// Takes the next piece.
    pub(crate) fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(sink) => sink.write_all(piece),
            Self::Gzip(decoder) => decoder.write_all(piece),
        }
    }

    /// The sink with all of it.
    pub(crate) fn finish(self) -> io::Result<Sink> {
        match self {
            Self::Plain(sink) => Ok(*sink),
            Self::Gzip(decoder) => decoder.finish(),
        }
    }
}

/// The file, and what is learnt about its content.
pub(crate) struct Sink {
    /// The file.
    pub(crate) file: File,
    /// Computes what it must be.
    pub(crate) hasher: Option<Hasher>,
    /// Bytes written.
    pub(crate) size: u64,
}

impl Sink {
    /// A file with nothing in it yet.
    pub(crate) fn new(file: File, checksum: Option<&Checksum>) -> Self {
        Self { file, hasher: checksum.map(Checksum::hasher), size: 0 }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..written]);
        }
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
