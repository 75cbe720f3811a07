//! The socket between builder and helper: one JSON text a line, each way.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message that is taken: a step with the longest argument list and environment that Linux takes, spelled
/// out byte by byte.
const MESSAGE_LIMIT: u64 = 64 << 20;

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: BufReader<UnixStream>,
}

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// The other side's next message; `None` when it has gone.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        let read = self.stream.by_ref().take(MESSAGE_LIMIT).read_until(b'\n', &mut line);
        match read {
            Ok(_) if line.last() == Some(&b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        send(self.stream.get_ref(), message)
    }

    /// A second handle for sending.
    pub(crate) fn sender(&self) -> io::Result<UnixStream> {
        self.stream.get_ref().try_clone()
    }
}

/// Sends one message. Short ones, as all after the first are, cannot be torn apart by another sender's.
pub(crate) fn send(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}
