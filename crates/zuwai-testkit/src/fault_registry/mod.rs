//! A registry of our own, small and whole, in which things go wrong on command.
//!
//! It speaks HTTP/1.1 on 127.0.0.1, keeps blobs in files (none is ever whole in memory), checks digests, ranges and what
//! manifests name, mounts between repositories, redirects to a storage host of its own, and asks for bearer tokens if it is
//! told to. What goes wrong is ordered with [`FaultRegistry::fault`]; what came is in [`FaultRegistry::log`].
//!
//! Reading order: `fault` (what can go wrong), `serve` (a request's way), `api`, `blobs`, `tokens`, `answer`.

mod answer;
mod api;
mod blobs;
mod fault;
mod serve;
mod tokens;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use fault::{Cut, Fault, Loss, Operation, Place, Redirect, RetryAfter, Rule};
pub use tokens::Lifetime;

use crate::http::Head;
use blobs::Blobs;
use tokens::Tokens;

/// A running registry; it ends when dropped.
#[derive(Debug)]
pub struct FaultRegistry {
    state: Arc<State>,
}

/// What connections share.
#[derive(Debug)]
struct State {
    address: SocketAddr,
    storage: SocketAddr,
    blobs: Blobs,
    tokens: Option<Tokens>,
    rules: Mutex<Vec<Rule>>,
    log: Mutex<Vec<Logged>>,
    /// Entries of the log that are of no interest any more.
    forgotten: AtomicUsize,
    closed: AtomicBool,
    /// Connections that have not ended.
    connections: AtomicUsize,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Logged {
    /// What it was for; `None` if there is no such thing.
    pub operation: Option<Operation>,
    /// Method, path and query, headers.
    pub head: Head,
    /// Whether the storage host was asked.
    pub is_storage: bool,
    /// Bytes of the body that came.
    pub received: u64,
    /// The answer's status; 0 if there was none, or not yet.
    pub status: u16,
}

impl FaultRegistry {
    /// A registry that lets everybody in.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start() -> Self {
        Self::with_tokens(None)
    }

    /// A registry that wants bearer tokens, which its own token server gives to everybody for pulling, and to
    /// [`crate::registry::USER`] with [`crate::registry::PASSWORD`] for all.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn bearer(lifetime: Lifetime) -> Self {
        Self::with_tokens(Some(Tokens::new(lifetime)))
    }

    fn with_tokens(tokens: Option<Tokens>) -> Self {
        let listen = || TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (registry, storage) = (listen(), listen());
        let state = Arc::new(State {
            address: registry.local_addr().unwrap(),
            storage: storage.local_addr().unwrap(),
            blobs: Blobs::new(),
            tokens,
            rules: Mutex::default(),
            log: Mutex::default(),
            forgotten: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        for (listener, is_storage) in [(registry, false), (storage, true)] {
            let state = state.clone();
            std::thread::spawn(move || serve::accept(&listener, &state, is_storage));
        }
        Self { state }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.state.address.to_string()
    }

    /// `127.0.0.1:PORT` of the storage host.
    #[must_use]
    pub fn storage(&self) -> String {
        self.state.storage.to_string()
    }

    /// `127.0.0.1:PORT/NAME`.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.state.address)
    }

    /// Orders a fault; it happens to the next such request, and once, unless the rule is told otherwise. A request
    /// meets the first rule that concerns it.
    pub fn fault(&self, operation: Operation, fault: Fault) -> Rule {
        let rule = Rule::new(operation, fault);
        self.state.rules.lock().unwrap().push(rule.clone());
        rule
    }

    /// Takes back all that was ordered.
    pub fn mend(&self) {
        self.state.rules.lock().unwrap().clear();
    }

    /// The requests so far, without those that only ask whether a registry is there.
    #[must_use]
    pub fn log(&self) -> Vec<Logged> {
        let log = self.state.log.lock().unwrap();
        let recent = log.iter().skip(self.state.forgotten.load(Ordering::Relaxed));
        recent.filter(|logged| logged.operation != Some(Operation::Ping)).cloned().collect()
    }

    /// How many requests of a kind came so far.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        self.log().iter().filter(|logged| logged.operation == Some(operation)).count()
    }

    /// Forgets the requests so far.
    pub fn forget_log(&self) {
        let entries = self.state.log.lock().unwrap().len();
        self.state.forgotten.store(entries, Ordering::Relaxed);
    }

    /// Waits until every connection has ended, and with it what its last request began. Clients must have been dropped.
    ///
    /// # Panics
    /// If they do not end in half a minute.
    pub fn settle(&self) {
        let start = Instant::now();
        while self.state.connections.load(Ordering::SeqCst) > 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "connections do not end: {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The digests of a repository's blobs.
    #[must_use]
    pub fn blobs(&self, repository: &str) -> BTreeSet<String> {
        self.state.blobs.of(repository)
    }

    /// The bytes of a manifest, by tag or digest.
    #[must_use]
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Vec<u8>> {
        self.state.blobs.manifest(repository, reference).map(|(_, (_, bytes))| bytes)
    }

    /// Puts a file's content into a repository; its digest.
    ///
    /// # Panics
    /// If the file cannot be read.
    pub fn put_blob(&self, repository: &str, file: &Path) -> String {
        let blobs = &self.state.blobs;
        let upload = blobs.upload(&blobs.begin()).unwrap();
        std::fs::copy(file, &upload).unwrap();
        let digest = blobs::digest_of(&upload).unwrap();
        assert!(blobs.commit(repository, &upload, &digest).unwrap());
        digest
    }

    /// Puts a manifest under a tag, or under its digest alone; its digest. What it names is not looked at.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: &[u8],
    ) -> String {
        self.state.blobs.put_manifest(repository, tag, (media_type.to_owned(), bytes.to_vec()))
    }
}

impl Drop for FaultRegistry {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Relaxed);
        // The listeners' threads wait for a connection to see it.
        for address in [self.state.address, self.state.storage] {
            let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        }
    }
}

impl State {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The fault whose turn it is.
    fn strike(&self, operation: Operation, head: &Head) -> Option<Fault> {
        self.rules.lock().unwrap().iter().find_map(|rule| rule.strike(operation, head))
    }

    /// Takes note of a request; its place in the log.
    fn note(&self, head: &Head, is_storage: bool) -> usize {
        let mut log = self.log.lock().unwrap();
        let operation = Operation::of(head);
        log.push(Logged { operation, head: head.clone(), is_storage, received: 0, status: 0 });
        log.len() - 1
    }

    /// Completes the note.
    fn amend(&self, place: usize, received: u64, status: u16) {
        if let Some(logged) = self.log.lock().unwrap().get_mut(place) {
            (logged.received, logged.status) = (received, status);
        }
    }
}
