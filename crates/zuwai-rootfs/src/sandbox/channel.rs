//! The socket between builder and helper: one JSON text a line, each way.

use std::io::{self, BufRead as _, BufReader, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message that is taken: a step with the longest argument list and environment that Linux takes, spelled
/// out byte by byte.
const MESSAGE_LIMIT: u64 = 64 << 20;

/// The longest message that may bring an open file along.
const SHORT_MESSAGE_LIMIT: usize = 64 << 10;

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

    /// Sends one short message and an open file with it.
    pub(crate) fn send_with_descriptor(
        &self,
        message: &impl Serialize,
        descriptor: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let descriptors = [descriptor];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let stream = self.stream.get_ref();
        let sent = rustix::net::sendmsg(stream, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
        let mut rest = stream;
        rest.write_all(&line[sent..])
    }

    /// The other side's next message, which is short, and the open file that came with it, if any; `None` when the other
    /// side has gone. Nothing may be waiting behind that message.
    pub(crate) fn receive_with_descriptor<T: DeserializeOwned>(
        &mut self,
    ) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        let (mut line, mut descriptor) = (Vec::new(), None);
        while line.last() != Some(&b'\n') {
            let mut piece = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::io::retry_on_intr(|| {
                let mut pieces = [IoSliceMut::new(&mut piece)];
                rustix::net::recvmsg(
                    self.stream.get_ref(),
                    &mut pieces,
                    &mut control,
                    RecvFlags::CMSG_CLOEXEC,
                )
            })?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    descriptor = descriptors.last();
                }
            }
            line.extend_from_slice(&piece[..received.bytes]);
            if received.bytes == 0 || line.len() > SHORT_MESSAGE_LIMIT {
                return Ok(None);
            }
        }
        Ok(Some((serde_json::from_slice(&line)?, descriptor)))
    }

    /// Lets the other side know that nothing more will come.
    pub(crate) fn close(&self) {
        let _ = self.stream.get_ref().shutdown(std::net::Shutdown::Both);
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
