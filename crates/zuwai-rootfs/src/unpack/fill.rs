//! New files get their content and metadata, small ones in batches on a thread of their own.
//!
//! Names are made in the order of the layer, on the thread that reads it; what follows needs the open file alone, so
//! whatever happens to its name meanwhile (a hard link, a replacement) is as if it had been filled at once.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;
use zuwai_layer::{Entry, ImagePath, Xattrs};

use super::Refused;
use super::make::{belonging, times};
use crate::error::RootfsError;

/// Files up to this size in bytes go through batches; larger ones are written as they are read.
pub(super) const SMALL: u64 = 64 << 10;

/// Bytes and files of a batch. A few batches are under way, so this bounds memory and open files.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_FILES: usize = 32;
const BATCHES: usize = 2;

/// What an open file or directory is to have.
pub(super) struct Finish {
    /// For messages.
    pub(super) path: ImagePath,
    /// Unless it has it already.
    pub(super) owner: Option<(Option<Uid>, Option<Gid>)>,
    /// Unless it has it already.
    pub(super) mode: Option<Mode>,
    pub(super) xattrs: Xattrs,
    /// Times of directories are set when nothing is put into them any more.
    pub(super) mtime: Option<i64>,
}

impl Finish {
    /// All that an entry says, but its times.
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            path: entry.path.clone(),
            owner: Some(crate::metadata::owner(entry.uid, entry.gid)),
            mode: Some(Mode::from_raw_mode(entry.mode)),
            xattrs: belonging(&entry.xattrs).map(|(name, value)| (name.clone(), value.clone())).collect(),
            mtime: None,
        }
    }

    /// Owner, extended attributes, mode, times. The owner first: giving a file away takes its set-user-ID bit and its
    /// capabilities.
    pub(super) fn apply(&self, file: impl AsFd, refused: &mut Refused) -> Result<(), RootfsError> {
        let (file, path) = (file.as_fd(), &self.path);
        if let Some((uid, gid)) = self.owner {
            match rustix::fs::fchown(file, uid, gid) {
                Err(Errno::PERM | Errno::INVAL) => refused.owners += 1,
                other => other.map_err(RootfsError::io("set the owner of", path))?,
            }
        }
        for (name, value) in &self.xattrs {
            match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOSPC) => {
                    refused.xattrs += 1;
                    let name = String::from_utf8_lossy(name);
                    tracing::debug!(%path, %name, "extended attribute left out: refused");
                }
                other => other.map_err(RootfsError::io("set extended attributes of", path))?,
            }
        }
        if let Some(mode) = self.mode {
            rustix::fs::fchmod(file, mode).map_err(RootfsError::io("set the mode of", path))?;
        }
        if let Some(mtime) = self.mtime {
            rustix::fs::futimens(file, &times(mtime)).map_err(RootfsError::io("set the times of", path))?;
        }
        Ok(())
    }
}

/// Files to be filled, and their contents one after the other.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    files: Vec<(File, usize, Finish)>,
}

impl Batch {
    fn fill(&mut self, refused: &mut Refused) -> Result<(), RootfsError> {
        let mut start = 0;
        for (mut file, end, finish) in self.files.drain(..) {
            let content = self.bytes.get(start..end).unwrap_or_default();
            file.write_all(content).map_err(RootfsError::io("write", &finish.path))?;
            finish.apply(&file, refused)?;
            start = end;
        }
        self.bytes.clear();
        Ok(())
    }
}

/// Fills files on a thread of its own.
pub(super) struct Filler {
    present: Batch,
    full: Sender<Batch>,
    spare: Receiver<Batch>,
    thread: JoinHandle<Result<Refused, RootfsError>>,
}

impl Filler {
    pub(super) fn spawn() -> io::Result<Self> {
        let (full, filling) = bounded::<Batch>(BATCHES);
        let (back, spare) = bounded(BATCHES + 1);
        let thread = std::thread::Builder::new().name("fill".into()).spawn(move || {
            let mut refused = Refused::default();
            for mut batch in &filling {
                batch.fill(&mut refused)?;
                // Nobody waiting for it is no harm.
                let _ = back.try_send(batch);
            }
            Ok(refused)
        })?;
        Ok(Self { present: Batch::default(), full, spare, thread })
    }

    /// Where the content of the next file is put.
    pub(super) fn content(&mut self) -> &mut Vec<u8> {
        &mut self.present.bytes
    }

    /// Hands over a file, whose content was put into [`Filler::content`]. False if the thread has failed.
    pub(super) fn add(&mut self, file: File, finish: Finish) -> bool {
        self.present.files.push((file, self.present.bytes.len(), finish));
        self.present.files.len() < BATCH_FILES && self.present.bytes.len() < BATCH_BYTES || self.send()
    }

    fn send(&mut self) -> bool {
        let next = self.spare.try_recv().unwrap_or_default();
        self.full.send(std::mem::replace(&mut self.present, next)).is_ok()
    }

    /// Waits until all is filled.
    pub(super) fn finish(mut self) -> Result<Refused, RootfsError> {
        // If the thread has failed, it says so itself.
        self.send();
        drop(self.full);
        match self.thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
