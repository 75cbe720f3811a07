//! What a request carries, and how long to wait while it is on its way.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use reqwest::header::HeaderValue;
use tokio::sync::mpsc;

use crate::error::{IoContext as _, OciError};
use crate::registry::blob_part::BlobPart;
use crate::registry::transport::lock;

/// A registry may take this many stall times to digest a large blob that was sent whole, or to bring it to its place.
const COMMIT_PATIENCE: u32 = 5;
/// Smaller ones are digested at once; and as much may wait in buffers of a connection that is dead.
const LARGE: u64 = 8 << 20;
/// Piece in which files are read, and how many of them wait to be sent.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

/// A request's body.
#[derive(Clone)]
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// Nothing, at the end of an upload of this many bytes.
    End(u64),
    /// A small document.
    Bytes(HeaderValue, Bytes),
    /// A part of a file.
    File(FilePart),
    /// What comes from somewhere else. It can be sent once; a request that would have to send it again fails for a while.
    Stream(OnceBody),
}

/// A part of a file as a body.
#[derive(Clone, Debug)]
pub(crate) struct FilePart {
    /// The file.
    pub(crate) path: PathBuf,
    /// Where the part begins.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) length: u64,
    /// How much has been taken to be sent.
    pub(crate) moved: Arc<AtomicU64>,
}

/// A body that can be sent once.
#[derive(Clone)]
pub(crate) struct OnceBody {
    /// How long it is.
    pub(crate) length: u64,
    /// How much has been taken to be sent.
    pub(crate) moved: Arc<AtomicU64>,
    part: Arc<Mutex<Option<BlobPart>>>,
}

impl OnceBody {
    /// A part of a blob of another registry.
    pub(crate) fn new(part: BlobPart, length: u64, moved: Arc<AtomicU64>) -> Self {
        Self { length, moved, part: Arc::new(Mutex::new(Some(part))) }
    }

    /// The body, if it was not taken before.
    pub(super) fn take(&self) -> Option<reqwest::Body> {
        let moved = self.moved.clone();
        let part = lock(&self.part).take()?;
        let pieces = part.into_stream().inspect(move |piece| {
            if let Ok(piece) = piece {
                moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        });
        Some(reqwest::Body::wrap_stream(pieces))
    }
}

impl FilePart {
    /// The part as a body, read by a thread that stays a few pieces ahead.
    pub(super) fn body(&self) -> Result<reqwest::Body, OciError> {
        let moved = self.moved.clone();
        let file = open_at(&self.path, self.offset).at("open", &self.path)?;
        let (sender, receiver) = mpsc::channel(PIECES);
        let length = self.length;
        tokio::task::spawn_blocking(move || read_pieces(file.take(length), &sender));
        let pieces = stream::unfold((receiver, moved), |(mut receiver, moved)| async move {
            let piece: io::Result<Bytes> = receiver.recv().await?;
            if let Ok(piece) = &piece {
                moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
            Some((piece, (receiver, moved)))
        });
        Ok(reqwest::Body::wrap_stream(pieces))
    }
}

fn open_at(path: &Path, offset: u64) -> io::Result<File> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(file)
}

/// Reads until the end, or until nobody takes the pieces any more.
fn read_pieces(mut file: io::Take<File>, sender: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE.min(usize::try_from(file.limit()).unwrap_or(PIECE)));
        let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece);
        match read {
            Ok(0) => return,
            Ok(_) => {
                if sender.blocking_send(Ok(piece.into())).is_err() {
                    return;
                }
            }
            Err(error) => {
                // Nobody there to hear of it has given up already.
                let _ = sender.blocking_send(Err(error));
                return;
            }
        }
    }
}

impl Body {
    /// How many stall times the answer may take once all was sent.
    fn patience(&self) -> u32 {
        match self {
            Self::File(FilePart { length, .. })
            | Self::Stream(OnceBody { length, .. })
            | Self::End(length)
                if *length >= LARGE =>
            {
                COMMIT_PATIENCE
            }
            _ => 1,
        }
    }
}

/// Waits for the answer to `length` bytes as long as something moves, and somewhat longer once all was sent; `None` if the
/// time is over.
pub(super) async fn with_patience<T>(
    answer: impl Future<Output = T>,
    body: &Body,
    moved: &AtomicU64,
    length: u64,
    stall: Duration,
) -> Option<T> {
    tokio::pin!(answer);
    let (mut before, mut rounds) = (0, 0);
    loop {
        if let Ok(answer) = tokio::time::timeout(stall, &mut answer).await {
            return Some(answer);
        }
        let now = moved.load(Ordering::Relaxed);
        let sent = now >= length;
        rounds = if now > before { 0 } else { rounds + 1 };
        before = now;
        if rounds >= if sent { body.patience() } else { 1 } {
            return None;
        }
    }
}
