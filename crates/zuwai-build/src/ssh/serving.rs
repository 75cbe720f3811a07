//! The threads behind a step's socket: one that accepts, and one for each connection.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::listener::{SocketName, listen};
use super::protocol::{self, Request};
use super::wire::{read_message, write_message};
use super::{Source, SshAgent, SshError};

/// How many connections are served at once; more wait until one ends.
const MOST_CONNECTIONS: usize = 64;

/// Bytes of stack of a connection's thread.
const STACK: usize = 256 << 10;

/// An agent that is served at a socket. Dropping this ends all connections and removes the socket.
#[derive(Debug)]
pub struct Serving {
    shared: Arc<Shared>,
    /// Its other end tells the accepting thread, by closing.
    stop: Option<UnixStream>,
    accepting: Option<JoinHandle<()>>,
    _name: SocketName,
}

/// Serves an agent at a new socket with exactly this mode and owner, until the result is dropped.
///
/// # Errors
/// When the socket cannot be made, for instance because something is at `path`, or its directory is missing.
pub fn serve(agent: &SshAgent, path: &Path, mode: u32, uid: u32, gid: u32) -> Result<Serving, SshError> {
    start(agent, path, mode, uid, gid).map_err(|source| SshError::Serve { path: path.to_owned(), source })
}

fn start(agent: &SshAgent, path: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<Serving> {
    let (listener, name) = listen(path, mode, uid, gid)?;
    let (stop, stopped) = UnixStream::pair()?;
    let shared = Arc::new(Shared {
        agent: agent.clone(),
        connections: Mutex::new(Connections::default()),
        changed: Condvar::new(),
    });
    let accepting = thread::Builder::new().name("ssh agent".to_owned()).stack_size(STACK).spawn({
        let shared = Arc::clone(&shared);
        move || accept(&listener, &stopped, &shared)
    })?;
    Ok(Serving { shared, stop: Some(stop), accepting: Some(accepting), _name: name })
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shared.stop();
        self.stop = None;
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// What the threads of one socket share.
#[derive(Debug)]
struct Shared {
    agent: SshAgent,
    connections: Mutex<Connections>,
    /// A connection has ended, or all are to end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Connections {
    stopping: bool,
    last_number: u64,
    /// The streams of each connection: the command's, and the one to the user's agent.
    open: BTreeMap<u64, Vec<Arc<UnixStream>>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more connection may be served; false if none shall be.
    fn wait_for_room(&self) -> bool {
        let full = |connections: &mut Connections| {
            !connections.stopping && connections.open.len() >= MOST_CONNECTIONS
        };
        let connections = self.changed.wait_while(self.lock(), full);
        !connections.unwrap_or_else(PoisonError::into_inner).stopping
    }

    fn stop(&self) {
        let mut connections = self.lock();
        connections.stopping = true;
        for stream in connections.open.values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(connections);
        self.changed.notify_all();
    }
}

/// One connection among those that are open, until it is dropped.
struct Connection {
    shared: Arc<Shared>,
    number: u64,
}

impl Connection {
    fn new(shared: &Arc<Shared>) -> Self {
        let mut connections = shared.lock();
        connections.last_number += 1;
        let number = connections.last_number;
        connections.open.insert(number, Vec::new());
        Self { shared: Arc::clone(shared), number }
    }

    /// Lets a stream of this connection be closed when serving ends.
    fn add(&self, stream: UnixStream) -> io::Result<Arc<UnixStream>> {
        let mut connections = self.shared.lock();
        if connections.stopping {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let stream = Arc::new(stream);
        connections.open.entry(self.number).or_default().push(Arc::clone(&stream));
        Ok(stream)
    }

    /// Answers what a command asks until it hangs up.
    fn run(&self, client: UnixStream) -> io::Result<()> {
        let client = self.add(client)?;
        match &*self.shared.agent.source {
            Source::Keys(keys) => {
                converse(&client, |request, message| Ok(protocol::answer(request, message, keys)))
            }
            Source::Upstream(upstream) => match upstream.connect() {
                Ok(stream) => {
                    let stream = self.add(stream)?;
                    converse(&client, |request, message| forward(&stream, request, message))
                }
                Err(error) => {
                    tracing::warn!("cannot reach the SSH agent at {}: {error}", upstream.path().display());
                    converse(&client, |_, _| Ok(protocol::failure()))
                }
            },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.lock().open.remove(&self.number);
        self.shared.changed.notify_all();
    }
}

fn accept(listener: &UnixListener, stopped: &UnixStream, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while shared.wait_for_room() {
        let mut ready =
            [PollFd::new(listener, PollFlags::IN), PollFd::new(stopped, PollFlags::IN | PollFlags::HUP)];
        if poll(&mut ready, None).is_err() || !ready[1].revents().is_empty() {
            continue;
        }
        threads.retain(|thread| !thread.is_finished());
        match listener.accept().and_then(|(client, _)| serve_connection(shared, client)) {
            Ok(thread) => threads.push(thread),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!("cannot serve a connection to the SSH agent: {error}");
                // Out of descriptors or threads: some may come free.
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn serve_connection(shared: &Arc<Shared>, client: UnixStream) -> io::Result<JoinHandle<()>> {
    client.set_nonblocking(false)?;
    let connection = Connection::new(shared);
    thread::Builder::new().name("ssh connection".to_owned()).stack_size(STACK).spawn(move || {
        if let Err(error) = connection.run(client) {
            tracing::debug!("a connection to the SSH agent ended: {error}");
        }
    })
}

/// Reads requests and writes answers, one after the other, until the stream ends.
fn converse(
    stream: &UnixStream,
    mut answer: impl FnMut(Request, &[u8]) -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    while let Some(message) = read_message(stream)? {
        let answer = match Request::of(&message) {
            Some(request) => answer(request, &message)?,
            None => protocol::failure(),
        };
        write_message(stream, &answer)?;
    }
    Ok(())
}

/// Asks the user's agent.
fn forward(upstream: &UnixStream, request: Request, message: &[u8]) -> io::Result<Vec<u8>> {
    write_message(upstream, message)?;
    let answer = read_message(upstream)?.ok_or(ErrorKind::UnexpectedEof)?;
    Ok(if request.is_answered_by(&answer) { answer } else { protocol::failure() })
}
