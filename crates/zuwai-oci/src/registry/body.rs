//! What a request carries, and how long to wait while it is on its way.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use reqwest::header::HeaderValue;
use tokio::io::AsyncReadExt as _;

/// A registry may take this many stall times to digest a blob that was sent whole.
const COMMIT_PATIENCE: u32 = 5;
/// Piece in which files are sent.
const PIECE: usize = 256 << 10;

/// A request's body, which can be sent more than once.
#[derive(Clone)]
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// A small document.
    Bytes(HeaderValue, Bytes),
    /// A file of this length.
    File(PathBuf, u64),
}

/// Waits for an answer as long as something moves, and somewhat longer once all was sent; `None` if the time is over.
pub(super) async fn with_patience<T>(
    answer: impl Future<Output = T>,
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
        let sent = length > 0 && now >= length;
        rounds = if now > before { 0 } else { rounds + 1 };
        before = now;
        if rounds >= if sent { COMMIT_PATIENCE } else { 1 } {
            return None;
        }
    }
}

/// A file as a body, read in pieces.
pub(super) fn file_body(file: File, moved: Arc<AtomicU64>) -> reqwest::Body {
    let file = tokio::fs::File::from_std(file);
    let pieces = stream::try_unfold((file, moved), |(mut file, moved)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await?;
        moved.fetch_add(read as u64, Ordering::Relaxed);
        Ok::<_, std::io::Error>((read > 0).then(|| (piece.freeze(), (file, moved))))
    });
    reqwest::Body::wrap_stream(pieces)
}
