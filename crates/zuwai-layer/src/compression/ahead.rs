//! Reading a stream a few chunks ahead on a thread of its own.

use std::io::{self, Read};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Bytes in a chunk: enough that handing over costs nothing, small enough to stay in the cache on its way.
const CHUNK: usize = 256 << 10;

/// Chunks that wait to be read.
const AHEAD: usize = 4;

struct Chunk {
    bytes: Vec<u8>,
    length: usize,
}

/// A reader whose source is read by another thread.
pub(super) struct ReadAhead {
    /// Chunks in order; one of length zero is the end.
    chunks: Receiver<io::Result<Chunk>>,
    /// Where read chunks go back to be filled again.
    empty: Sender<Vec<u8>>,
    current: Chunk,
    position: usize,
    state: State,
}

enum State {
    Reading,
    Ended,
    Failed,
}

impl ReadAhead {
    pub(super) fn spawn(source: impl Read + Send + 'static) -> io::Result<Self> {
        let (filled, chunks) = bounded(AHEAD);
        let (empty, spare) = bounded(AHEAD + 2);
        thread::Builder::new().name("decompress".into()).spawn(move || fill(source, &filled, &spare))?;
        Ok(Self {
            chunks,
            empty,
            current: Chunk { bytes: Vec::new(), length: 0 },
            position: 0,
            state: State::Reading,
        })
    }
}

/// Reads until the end, an error, or until nobody listens any more.
fn fill(mut source: impl Read, filled: &Sender<io::Result<Chunk>>, spare: &Receiver<Vec<u8>>) {
    loop {
        let mut bytes = spare.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        let mut length = 0;
        let mut failure = None;
        while length < CHUNK {
            match source.read(&mut bytes[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let ended = length == 0;
        if (failure.is_none() || !ended) && filled.send(Ok(Chunk { bytes, length })).is_err() {
            return;
        }
        if let Some(error) = failure {
            // Nobody listening is as good as told.
            let _ = filled.send(Err(error));
            return;
        }
        if ended {
            return;
        }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.position == self.current.length {
            match self.state {
                State::Reading => {}
                State::Ended => return Ok(0),
                State::Failed => return Err(io::Error::other("the stream has failed before")),
            }
            match self.chunks.recv() {
                Ok(Ok(chunk)) if chunk.length == 0 => self.state = State::Ended,
                Ok(Ok(chunk)) => {
                    let old = std::mem::replace(&mut self.current, chunk);
                    self.position = 0;
                    if !old.bytes.is_empty() {
                        // The other thread may have ended: then the chunk is not needed.
                        let _ = self.empty.try_send(old.bytes);
                    }
                }
                Ok(Err(error)) => {
                    self.state = State::Failed;
                    return Err(error);
                }
                Err(_) => {
                    self.state = State::Failed;
                    return Err(io::Error::other("the decompression thread ended early"));
                }
            }
        }
        let length = buffer.len().min(self.current.length - self.position);
        buffer[..length].copy_from_slice(&self.current.bytes[self.position..self.position + length]);
        self.position += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_order_and_the_end_stays_the_end() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 17).map(|at| (at / 251) as u8).collect();
        let mut reader = ReadAhead::spawn(io::Cursor::new(bytes.clone())).unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn an_error_comes_after_the_bytes_before_it_and_stays() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("cut off"))
            }
        }
        let mut reader = ReadAhead::spawn((&b"abc"[..]).chain(Broken)).unwrap();
        let mut read = Vec::new();
        assert_eq!(reader.read_to_end(&mut read).unwrap_err().to_string(), "cut off");
        assert_eq!(read, b"abc");
        assert!(reader.read(&mut [0]).is_err());
    }

    #[test]
    fn a_reader_that_is_dropped_ends_its_thread() {
        struct Endless(Sender<()>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let _ = &self.0;
                Ok(buffer.len())
            }
        }
        let (alive, gone) = bounded(0);
        drop(ReadAhead::spawn(Endless(alive)).unwrap());
        // The source is dropped with its thread, and with it the other end of this channel.
        assert!(
            gone.recv_timeout(std::time::Duration::from_secs(20)).is_err_and(|error| error.is_disconnected())
        );
    }
}
