//! A blob on its way from a registry to the store, and readers that follow it.
//!
//! The network's pieces go through a short channel to a thread that hashes and writes them; readers on other threads
//! read the same file behind it, so that unpacking overlaps the download without a second copy. Only the end tells
//! whether the content was right, and readers are told so. A transfer that breaks goes on where it was.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use zuwai_layer::Digest;

use crate::descriptor::Descriptor;
use crate::error::{IoContext as _, OciError, Request};
use crate::reference::Reference;
use crate::registry::retry::Attempts;
use crate::registry::transport::{api_host, lock};
use crate::registry::{Direction, Registry};
use crate::store::{BlobWriter, Store, StoredBlob};

/// Bytes that are progress enough for the count of attempts to begin anew; of a small blob, a sixteenth.
const GAIN: u64 = 1 << 20;
/// Pieces between the network and the disk.
const PIECES: usize = 16;

/// A download in progress or done. Cheap to clone; every clone is the same download.
#[derive(Clone)]
pub struct Download {
    state: Arc<State>,
}

/// What a download's task, its waiters and its readers share.
pub(crate) struct State {
    store: Store,
    digest: Digest,
    size: u64,
    progress: Mutex<Progress>,
    changed: Condvar,
    done: watch::Sender<bool>,
}

#[derive(Default)]
struct Progress {
    /// The file being written, once there is one.
    file: Option<Arc<File>>,
    written: u64,
    /// What was wrong with the file before this one, if it is the second.
    damage: Option<Arc<OciError>>,
    outcome: Option<Result<(), Arc<OciError>>>,
}

impl State {
    fn new(blob: &Descriptor, store: &Store) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            digest: blob.digest,
            size: blob.size,
            progress: Mutex::default(),
            changed: Condvar::new(),
            done: watch::Sender::new(false),
        })
    }

    /// Shows readers a file and how much of it they may read.
    fn advance(&self, file: Option<Arc<File>>, written: u64) {
        let mut progress = lock(&self.progress);
        if file.is_some() {
            progress.file = file;
        }
        progress.written = written;
        self.changed.notify_all();
    }

    /// Another file is begun, for what came was damaged: who has read of it is told so.
    fn begin_again(&self, damage: OciError) {
        let mut progress = lock(&self.progress);
        progress.damage = Some(Arc::new(damage));
        progress.file = None;
        progress.written = 0;
        self.changed.notify_all();
    }

    /// Sets the outcome, once.
    fn finish(&self, outcome: Result<(), OciError>) {
        let mut progress = lock(&self.progress);
        if progress.outcome.is_none() {
            progress.outcome = Some(outcome.map_err(Arc::new));
        }
        drop(progress);
        self.changed.notify_all();
        self.done.send_replace(true);
    }

    fn outcome(&self) -> Option<Result<(), OciError>> {
        let outcome = lock(&self.progress).outcome.clone();
        outcome.map(|outcome| outcome.map_err(OciError::Shared))
    }

    /// Whether this failed: then a new attempt is not to join it.
    pub(crate) fn failed(&self) -> bool {
        matches!(lock(&self.progress).outcome, Some(Err(_)))
    }
}

impl Download {
    pub(crate) fn of(state: Arc<State>) -> Self {
        Self { state }
    }

    /// The blob's digest.
    pub fn digest(&self) -> Digest {
        self.state.digest
    }

    /// The blob's length.
    pub fn size(&self) -> u64 {
        self.state.size
    }

    /// Waits until the blob is in the store, verified.
    pub async fn wait(&self) -> Result<(), OciError> {
        let mut done = self.state.done.subscribe();
        loop {
            if let Some(outcome) = self.state.outcome() {
                return outcome;
            }
            // The sender lives in the state, which we hold: this cannot fail.
            let _ = done.wait_for(|done| *done).await;
        }
    }

    /// What was wrong with the first bytes that came, if the blob had to be fetched a second time.
    pub fn damage(&self) -> Option<OciError> {
        lock(&self.state.progress).damage.clone().map(OciError::Shared)
    }

    /// The same for a plain thread; must not be called from async code.
    pub fn wait_blocking(&self) -> Result<(), OciError> {
        let mut progress = lock(&self.state.progress);
        loop {
            if let Some(outcome) = &progress.outcome {
                return outcome.clone().map_err(OciError::Shared);
            }
            progress = self.state.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A reader of the blob from its start, which waits for bytes that have not come yet. It reads to the end only if
    /// the whole blob came and its digest is right; else the last read fails. Who stops before the end must ask
    /// [`Download::wait_blocking`]. Blocking: for plain threads only.
    pub fn reader(&self) -> DownloadReader {
        DownloadReader { state: self.state.clone(), position: 0, began_again: false }
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = lock(&self.state.progress);
        write!(f, "Download({}, {} of {} bytes)", self.state.digest, progress.written, self.state.size)
    }
}

/// See [`Download::reader`].
pub struct DownloadReader {
    state: Arc<State>,
    position: u64,
    /// Whether what was read is of the second file.
    began_again: bool,
}

impl Read for DownloadReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.state.store.check_open()?;
        let mut progress = lock(&self.state.progress);
        let (file, available) = loop {
            if let Some(Err(error)) = &progress.outcome {
                return Err(io::Error::other(OciError::Shared(error.clone())));
            }
            match &progress.damage {
                Some(damage) if self.position > 0 && !self.began_again => {
                    return Err(io::Error::other(OciError::Shared(damage.clone())));
                }
                damage => self.began_again = damage.is_some(),
            }
            match &progress.file {
                Some(file) if progress.written > self.position => {
                    break (file.clone(), progress.written - self.position);
                }
                _ if progress.outcome.is_some() => return Ok(0),
                _ => {}
            }
            progress = self.state.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        };
        drop(progress);
        let length = buffer.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        let read = file.read_at(&mut buffer[..length], self.position)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob's file became shorter"));
        }
        self.position += read as u64;
        Ok(read)
    }
}

/// Ends a download whose task ends without having said how, as when the runtime stops.
struct Abandoned {
    state: Arc<State>,
    request: Request,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        let problem = "the download was abandoned".to_owned();
        self.state.finish(Err(OciError::Answered { request: self.request.clone(), problem }));
    }
}

impl Registry {
    /// Starts to fetch a blob into the store, or joins a download of it that is in progress; one that is in the store
    /// already is not fetched. Must be called inside a tokio runtime (its handle entered); returns at once.
    pub fn download(&self, reference: &Reference, blob: &Descriptor, store: &Store) -> Download {
        let key = (store.directory().to_owned(), blob.digest);
        let mut downloads = lock(self.downloads());
        if let Some(state) =
            downloads.get(&key).and_then(std::sync::Weak::upgrade).filter(|state| !state.failed())
        {
            return Download::of(state);
        }
        let state = State::new(blob, store);
        if store.size(&blob.digest) == Some(blob.size) {
            state.finish(
                store.reader(&blob.digest).map(|file| state.advance(Some(Arc::new(file)), blob.size)),
            );
            return Download::of(state);
        }
        let request = pull_request(reference, blob);
        let guard = Abandoned { state: state.clone(), request: request.clone() };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                downloads.retain(|_, state| state.strong_count() > 0);
                downloads.insert(key, Arc::downgrade(&state));
                let (registry, reference, blob, store) =
                    (self.clone(), reference.clone(), blob.clone(), store.clone());
                runtime.spawn(async move {
                    let outcome = registry.fetch(&reference, &blob, &store, &request, &guard.state).await;
                    guard.state.finish(outcome);
                });
            }
            Err(_) => drop(guard),
        }
        Download::of(state)
    }

    /// Whether a download of a blob into a store is in progress.
    pub(super) fn is_downloading(&self, blob: &Descriptor, store: &Store) -> bool {
        let key = (store.directory().to_owned(), blob.digest);
        let state = lock(self.downloads()).get(&key).and_then(std::sync::Weak::upgrade);
        state.is_some_and(|state| lock(&state.progress).outcome.is_none())
    }

    /// Fetches a blob; once more if it came damaged, from another place where there is one.
    async fn fetch(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        store: &Store,
        request: &Request,
        state: &Arc<State>,
    ) -> Result<(), OciError> {
        let _permit = permit(self.download_permits(), request).await?;
        let Some((place, damage)) = self.fetch_once(reference, blob, store, request, state).await? else {
            return Ok(());
        };
        match self.sent_damaged(reference, &place, blob.digest) {
            true => tracing::warn!("{damage}; asking another place"),
            false => tracing::warn!("{damage}; asking once more"),
        }
        state.begin_again(damage);
        match self.fetch_once(reference, blob, store, request, state).await? {
            Some((_, damage)) => Err(damage),
            None => Ok(()),
        }
    }

    /// Fetches a blob; if what came is damaged, returns the place that sent it, and the error.
    async fn fetch_once(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        store: &Store,
        request: &Request,
        state: &Arc<State>,
    ) -> Result<Option<(Reference, OciError)>, OciError> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let writer = store.writer()?;
        let file = File::open(writer.path()).at("open", writer.path())?;
        state.advance(Some(Arc::new(file)), 0);
        let shared = state.clone();
        let writing = tokio::task::spawn_blocking(move || write(writer, receiver, &shared));
        let outcome = self.receive(reference, blob, &sender).await;
        drop(sender);
        let writer = writing.await.map_err(|error| OciError::Answered {
            request: request.clone(),
            problem: format!("the writing thread failed: {error}"),
        })??;
        let place = outcome?;
        match writer.commit(Some(&blob.digest)) {
            Ok(StoredBlob { .. }) => Ok(None),
            Err(OciError::StoredDigest { expected, actual, .. }) => {
                let request = pull_request(&place, blob);
                Ok(Some((place, OciError::DigestMismatch { request, expected, actual })))
            }
            Err(error) => Err(error),
        }
    }

    /// Hands the blob's bytes on in their order. After a failure it goes on where it was, at the next place that has the
    /// blob. Returns the place that sent its beginning.
    async fn receive(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        sender: &mpsc::Sender<Bytes>,
    ) -> Result<Reference, OciError> {
        let mut attempts = Attempts::new(self.options().retry, Direction::Pull);
        let (mut received, mut first) = (0, None);
        loop {
            let before = received;
            let mut tour = self.blob_tour(reference, blob.digest);
            while let Some(place) = tour.next() {
                let request = pull_request(&place, blob);
                let part = self.receive_part(&place, blob, &request, sender, &mut received).await;
                if received > 0 {
                    first.get_or_insert_with(|| place.clone());
                }
                match part {
                    Ok(()) => return Ok(first.unwrap_or(place)),
                    Err(error) => tour.failed(place, error),
                }
            }
            // A byte a connection would be no progress.
            if received - before >= (blob.size / 16).clamp(1, GAIN) {
                attempts.got_on();
            }
            attempts.again(tour.error()).await?;
        }
    }

    async fn receive_part(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        request: &Request,
        sender: &mpsc::Sender<Bytes>,
        received: &mut u64,
    ) -> Result<(), OciError> {
        let mut part =
            self.open_blob_part(reference, blob, *received, blob.size - *received, request).await?;
        while let Some(piece) = part.next().await? {
            *received += piece.len() as u64;
            // A closed channel means that writing failed: its own error tells why.
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

pub(super) fn pull_request(reference: &Reference, blob: &Descriptor) -> Request {
    Request {
        host: api_host(reference.registry()).to_owned(),
        action: format!("pull blob {} of {}", blob.digest, reference.repository()),
    }
}

/// Writes the pieces that come and lets readers see them.
fn write(
    mut writer: BlobWriter,
    mut pieces: mpsc::Receiver<Bytes>,
    state: &State,
) -> Result<BlobWriter, OciError> {
    let mut written = 0;
    while let Some(piece) = pieces.blocking_recv() {
        let result = writer.write_all(&piece);
        result.at("write", writer.path())?;
        written += piece.len() as u64;
        state.advance(None, written);
    }
    Ok(writer)
}

/// A place among the transfers that may go on at once.
pub(crate) async fn permit<'s>(
    semaphore: &'s Semaphore,
    request: &Request,
) -> Result<tokio::sync::SemaphorePermit<'s>, OciError> {
    let closed =
        |_| OciError::Answered { request: request.clone(), problem: "the client is closed".to_owned() };
    semaphore.acquire().await.map_err(closed)
}
