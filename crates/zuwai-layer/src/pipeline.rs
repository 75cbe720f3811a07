//! The threads between a tar and its blob: blocks are hashed in order, compressed side by side, and hashed again and
//! written in order.
//!
//! Every channel is bounded, so a slow sink slows the tar down; in flight are about two blocks a compressing thread
//! and a few more. A thread that fails ends; its neighbours see the channel closed and end too; the reason is found
//! when the threads are joined.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::block::BlockCompressor;
use crate::build::LayerSummary;
use crate::compression::{Compression, Level};
use crate::digest::{Digest, Digester};

/// A block's way back to be filled again.
type Spare = Vec<u8>;

/// What becomes of a block, once it is compressed.
type Compressed = io::Result<Vec<u8>>;

struct Job {
    block: Vec<u8>,
    reply: Sender<Compressed>,
}

/// What the last thread has in the end: the sink, with the digest and length of a compressed blob.
type Written<W> = io::Result<(W, Option<(Digest, u64)>)>;

/// A running pipeline.
pub(crate) struct Pipeline<W> {
    blocks: Option<Sender<Vec<u8>>>,
    spare: Receiver<Spare>,
    hash: Option<JoinHandle<(Digest, u64)>>,
    write: Option<JoinHandle<Written<W>>>,
    workers: Vec<JoinHandle<()>>,
}

impl<W: Write + Send + 'static> Pipeline<W> {
    /// Starts the threads.
    pub(crate) fn start(sink: W, compression: Compression, level: Level, threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let (blocks, to_hash) = bounded::<Vec<u8>>(1);
        let (jobs, to_compress) = bounded::<Job>(1);
        let (order, to_write) = bounded::<Receiver<Compressed>>(threads + 1);
        let (spares, spare) = bounded::<Spare>(threads + 4);
        let (outputs, output) = bounded::<Vec<u8>>(threads + 4);

        let mut workers = Vec::new();
        if compression != Compression::None {
            for number in 0..threads {
                let compressor = BlockCompressor::new(compression, level)?;
                let (jobs, output, spares) = (to_compress.clone(), output.clone(), spares.clone());
                workers.push(spawn(&format!("compress-{number}"), move || {
                    if let Some(compressor) = compressor {
                        compress(compressor, &jobs, &output, &spares);
                    }
                })?);
            }
        }
        drop((to_compress, output));
        let compressing = compression != Compression::None;
        // What is written unchanged goes straight back to be filled.
        let outputs = if compressing { outputs } else { spares };
        let hash = spawn("hash", move || hash(&to_hash, compressing.then_some(jobs), &order))?;
        let digester = compressing.then(Digester::default);
        let write = spawn("write", move || write(sink, digester, &to_write, &outputs))?;
        Ok(Self { blocks: Some(blocks), spare, hash: Some(hash), write: Some(write), workers })
    }

    /// Hands a block over, and gives an empty one back. An error means that a thread has failed: [`Self::finish`]
    /// says why.
    pub(crate) fn send(&mut self, block: Vec<u8>) -> Result<Vec<u8>, Stopped> {
        let capacity = block.capacity();
        self.blocks.as_ref().ok_or(Stopped)?.send(block).map_err(|_| Stopped)?;
        let mut spare = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(capacity));
        spare.clear();
        Ok(spare)
    }

    /// Waits until everything is written.
    pub(crate) fn finish(mut self) -> io::Result<(W, LayerSummary)> {
        self.blocks = None;
        let lost = || io::Error::other("a compression thread ended early");
        let tar = self.hash.take().and_then(|thread| thread.join().ok());
        let written = self.write.take().and_then(|thread| thread.join().ok()).ok_or_else(lost)?;
        let (sink, blob) = written?;
        let (diff_id, uncompressed_size) = tar.ok_or_else(lost)?;
        let (digest, size) = blob.unwrap_or((diff_id, uncompressed_size));
        Ok((sink, LayerSummary { diff_id, digest, size, uncompressed_size }))
    }
}

/// A layer that is given up is not written to any more once the pipeline is gone.
impl<W> Drop for Pipeline<W> {
    fn drop(&mut self) {
        self.blocks = None;
        // What the threads have to say is of interest to `finish` only.
        let _ = self.hash.take().map(JoinHandle::join);
        let _ = self.write.take().map(JoinHandle::join);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

/// A thread of the pipeline has ended before its time.
#[derive(Debug)]
pub(crate) struct Stopped;

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.into()).spawn(work)
}

/// Hashes the tar, and gives every block its place in the order of writing.
fn hash(
    blocks: &Receiver<Vec<u8>>,
    jobs: Option<Sender<Job>>,
    order: &Sender<Receiver<Compressed>>,
) -> (Digest, u64) {
    let mut digester = Digester::default();
    for block in blocks {
        digester.update(&block);
        let (reply, compressed) = bounded(1);
        let sent = match &jobs {
            Some(jobs) => order.send(compressed).is_ok() && jobs.send(Job { block, reply }).is_ok(),
            None => reply.send(Ok(block)).is_ok() && order.send(compressed).is_ok(),
        };
        if !sent {
            break;
        }
    }
    digester.finish()
}

fn compress(
    mut compressor: BlockCompressor,
    jobs: &Receiver<Job>,
    output: &Receiver<Vec<u8>>,
    spares: &Sender<Spare>,
) {
    for Job { block, reply } in jobs {
        let mut out = output.try_recv().unwrap_or_default();
        let compressed = compressor.compress(&block, &mut out).map(|()| out);
        // A full channel or a gone reader: then the block is simply freed.
        let _ = spares.try_send(block);
        let _ = reply.send(compressed);
    }
}

/// Writes the blob, and hashes it if it is not the tar itself.
fn write<W: Write>(
    mut sink: W,
    mut digester: Option<Digester>,
    order: &Receiver<Receiver<Compressed>>,
    spares: &Sender<Vec<u8>>,
) -> Written<W> {
    for block in order {
        let lost = |_| io::Error::other("a compression thread ended early");
        let compressed = block.recv().map_err(lost)??;
        sink.write_all(&compressed)?;
        if let Some(digester) = &mut digester {
            digester.update(&compressed);
        }
        // A full channel: then the block is simply freed.
        let _ = spares.try_send(compressed);
    }
    Ok((sink, digester.map(Digester::finish)))
}
