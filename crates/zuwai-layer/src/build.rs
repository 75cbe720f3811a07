//! A layer from entries to compressed blob in one pass, with both its digests.

use std::io::{self, Write};
use std::ops::{Deref, DerefMut};

use crate::block::{self, BlockCompressor};
use crate::compression::{Compression, Level};
use crate::digest::{Digest, DigestWriter, Digester};
use crate::error::LayerError;
use crate::pipeline::{Pipeline, Stopped};
use crate::writer::LayerWriter;

/// What a finished layer is called, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSummary {
    /// The digest of the uncompressed tar, which stands in the image's config.
    pub diff_id: Digest,
    /// The digest of the blob, which stands in the manifest.
    pub digest: Digest,
    /// The length of the blob in bytes.
    pub size: u64,
    /// The length of the tar in bytes.
    pub uncompressed_size: u64,
}

/// A [`LayerWriter`] whose tar is hashed, compressed, hashed again and written on other threads.
///
/// It is used as the writer that it [derefs](Deref) to, and ended with [`LayerBuilder::finish`].
pub struct LayerBuilder<W: Write + Send + 'static> {
    writer: LayerWriter<TarSink<W>>,
}

impl<W: Write + Send + 'static> LayerBuilder<W> {
    /// Begins a layer that is written to `sink`. The bytes do not depend on `threads`, the number of blocks that
    /// are compressed at once (at least one).
    pub fn new(sink: W, compression: Compression, level: Level, threads: usize) -> Self {
        Self { writer: LayerWriter::new(TarSink::new(sink, compression, level, threads)) }
    }

    /// Ends the layer; the sink is given back when everything has been written to it (it is not flushed or synced).
    pub fn finish(self) -> Result<(W, LayerSummary), LayerError> {
        self.writer.finish()?.finish().map_err(LayerError::Write)
    }
}

impl<W: Write + Send + 'static> Deref for LayerBuilder<W> {
    type Target = LayerWriter<TarSink<W>>;

    fn deref(&self) -> &Self::Target {
        &self.writer
    }
}

impl<W: Write + Send + 'static> DerefMut for LayerBuilder<W> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.writer
    }
}

/// Takes the bytes of any tar, and writes the blob of it.
///
/// What fits one block is done where it is written; with the second block the threads start.
pub struct TarSink<W: Write + Send + 'static> {
    block: Vec<u8>,
    block_length: usize,
    compression: Compression,
    level: Level,
    threads: usize,
    state: State<W>,
}

enum State<W: Write + Send + 'static> {
    Idle(W),
    Running(Pipeline<W>),
    Failed,
}

impl<W: Write + Send + 'static> TarSink<W> {
    /// As [`LayerBuilder::new`], for a tar that comes from elsewhere.
    pub fn new(sink: W, compression: Compression, level: Level, threads: usize) -> Self {
        let block_length = block::length(compression);
        let block = Vec::with_capacity(block_length);
        Self { block, block_length, compression, level, threads, state: State::Idle(sink) }
    }

    /// Writes what is left, waits until it is written, and gives the sink back (not flushed or synced).
    pub fn finish(mut self) -> io::Result<(W, LayerSummary)> {
        if let State::Running(_) = self.state
            && !self.block.is_empty()
        {
            self.send()?;
        }
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(sink) => self.finish_one_block(sink),
            State::Running(pipeline) => pipeline.finish(),
            State::Failed => Err(failed_before()),
        }
    }

    fn finish_one_block(self, sink: W) -> io::Result<(W, LayerSummary)> {
        let mut digester = Digester::default();
        digester.update(&self.block);
        let (diff_id, uncompressed_size) = digester.finish();
        let mut sink = DigestWriter::new(sink);
        match BlockCompressor::new(self.compression, self.level)? {
            Some(mut compressor) => {
                let mut out = Vec::new();
                compressor.compress(&self.block, &mut out)?;
                sink.write_all(&out)?;
            }
            None => sink.write_all(&self.block)?,
        }
        let (sink, digest, size) = sink.finish();
        Ok((sink, LayerSummary { diff_id, digest, size, uncompressed_size }))
    }

    /// Hands the block over to the threads, and starts them before the first one.
    fn send(&mut self) -> io::Result<()> {
        let state = std::mem::replace(&mut self.state, State::Failed);
        let mut pipeline = match state {
            State::Idle(sink) => Pipeline::start(sink, self.compression, self.level, self.threads)?,
            State::Running(pipeline) => pipeline,
            State::Failed => return Err(failed_before()),
        };
        match pipeline.send(std::mem::take(&mut self.block)) {
            Ok(block) => {
                self.block = block;
                self.state = State::Running(pipeline);
                Ok(())
            }
            Err(Stopped) => Err(pipeline.finish().err().unwrap_or_else(failed_before)),
        }
    }
}

fn failed_before() -> io::Error {
    io::Error::other("the layer could not be written before")
}

impl<W: Write + Send + 'static> Write for TarSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full block waits for the byte after it: whether it is the last one decides who compresses it.
        if self.block.len() == self.block_length {
            self.send()?;
        }
        let taken = bytes.len().min(self.block_length - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Does nothing: blocks have a fixed length.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
