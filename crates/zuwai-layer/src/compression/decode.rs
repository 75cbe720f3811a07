//! Decoders, with errors that say which stream was broken and how.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read, Take};
use std::sync::{Arc, Mutex, PoisonError};

use super::{DETECT_LENGTH, Detected, detect};

/// Most memory an xz stream may make its decoder take: twice what `xz -9` needs.
const XZ_MEMORY: u64 = 128 << 20;

/// Largest window of a Zstandard stream (2^27 bytes): the limit of the `zstd` program itself.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Bytes read from the compressed stream at once.
const INPUT: usize = 128 << 10;

/// Why a compressed stream cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// It ends before its own end.
    #[error("{format} stream is truncated")]
    Truncated {
        /// The compression.
        format: &'static str,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// Its bytes make no sense, or ask for more memory than is allowed.
    #[error("{format} stream is corrupt")]
    Corrupt {
        /// The compression.
        format: &'static str,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
}

/// A stream with its first bytes put back.
pub(super) type Sniffed<R> = Chain<Take<Cursor<[u8; DETECT_LENGTH]>>, R>;

/// Looks at a stream's first bytes.
pub(super) fn sniff<R: Read>(mut reader: R) -> io::Result<(Detected, Sniffed<R>)> {
    let mut beginning = [0; DETECT_LENGTH];
    let mut length = 0;
    while length < DETECT_LENGTH {
        match reader.read(&mut beginning[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let detected = detect(&beginning[..length]);
    Ok((detected, Cursor::new(beginning).take(length as u64).chain(reader)))
}

/// The decoder of a stream, working where it is read.
pub(super) fn decoder<'a>(
    detected: Detected,
    source: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let failure = Failure::default();
    let source = BufReader::with_capacity(INPUT, Source { inner: source, failure: failure.clone() });
    let (format, inner): (_, Box<dyn Read + Send + 'a>) = match detected {
        Detected::Plain => return Ok(Box::new(source)),
        Detected::Gzip => ("gzip", Box::new(flate2::bufread::MultiGzDecoder::new(source))),
        Detected::Bzip2 => ("bzip2", Box::new(bzip2::bufread::MultiBzDecoder::new(source))),
        Detected::Xz => ("xz", xz(source)?),
        Detected::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            ("zstd", Box::new(decoder))
        }
    };
    Ok(Box::new(Decoder { format, inner, failure }))
}

fn xz<'a>(source: impl BufRead + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
    Ok(Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream)))
}

/// Where the compressed stream's own failure waits while the decoder hands a stand-in up: what a decoder makes of a
/// network's error is not its business.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    fn put(&self, error: io::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Source<R> {
    inner: R,
    failure: Failure,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let kind = error.kind();
                    self.failure.put(error);
                    return Err(kind.into());
                }
                read => return read,
            }
        }
    }
}

struct Decoder<'a> {
    format: &'static str,
    inner: Box<dyn Read + Send + 'a>,
    failure: Failure,
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|source| {
            if let Some(failure) = self.failure.take() {
                return failure;
            }
            let format = self.format;
            match source.kind() {
                kind @ io::ErrorKind::UnexpectedEof => {
                    io::Error::new(kind, DecompressError::Truncated { format, source })
                }
                _ => io::Error::new(io::ErrorKind::InvalidData, DecompressError::Corrupt { format, source }),
            }
        })
    }
}
