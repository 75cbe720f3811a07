//! What a tree was after the last step, and what changed since.
//!
//! A path is unchanged when everything the system says of it is as recorded: device, inode, ctime, mtime, size, mode,
//! owner, links, device numbers. No program can set a ctime, which is what makes this as safe as reading everything, at
//! the cost of a look. Where the file system's ctime fails a [trial](crate::ctime), everything *is* read: contents, link
//! texts and extended attributes of every scan are kept as [digests](crate::fingerprint) and compared. Nothing is
//! synced.
//!
//! Of directories mode, owner and extended attributes count; that their times, size or links differ says only that
//! something in them came or went.
//!
//! Of a file whose ctime alone differs, content and extended attributes are compared where they are known
//! ([`crate::fingerprint`]); if they are not, it counts as changed. A file of several names is one file: names are
//! reported together, so that a layer keeps them together.
//!
//! Times are compared for equality alone, never by order: files from the future or the past are as good as others, and
//! a clock that is set back between two looks hides nothing, unless a change meets the very nanosecond of the ctime
//! that the same file had before the clock was set. What the clock must do is go on: each look ends only when the clock
//! that the kernel stamps with has ticked beyond the newest stamp seen, so that a change right after a look, within one
//! tick of it, gets a ctime of its own.

mod compare;
mod contents;
mod pass_over;
mod refresh;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use zuwai_layer::ImagePath;

use self::compare::Found;
use crate::change_set::ChangeSet;
use crate::ctime::{self, Ctime};
use crate::error::RootfsError;
use crate::fingerprint::{Fingerprinter, Fingerprints};
use crate::metadata::{self, Timestamp};
use crate::root::Root;
use crate::walk::{self, Directory, Listing};

/// What a tree was after the last step.
#[derive(Debug, Default)]
pub struct Index {
    directories: BTreeMap<ImagePath, Recorded>,
    fingerprints: Fingerprints,
    /// Whether the file system's ctime tells of changes; if not, `fingerprints` has every path that holds anything.
    ctime: Ctime,
    /// The newest ctime recorded.
    newest: Timestamp,
}

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Recorded {
    listing: Listing,
    /// The digest of its extended attributes.
    xattrs: u64,
}

impl Index {
    /// Scans a tree: the baseline that later changes are found against. Tries the ctime of its file system first, with
    /// a file beside the root where that is possible, and says in the log if contents are read for it.
    ///
    /// # Errors
    /// When a directory cannot be read, or a file has to be and cannot.
    pub fn scan(root: &Root, threads: usize) -> Result<Self, RootfsError> {
        let ctime = Ctime::of(root, root.host_path().parent());
        if let Ctime::Doubtful(doubt) = ctime {
            tracing::info!(
                "Changes of {} are found by reading all files: {doubt}",
                root.host_path().display()
            );
        }
        Self::scan_with(root, threads, ctime)
    }

    /// Scans a tree of which is known what its file system's ctime is worth.
    ///
    /// # Errors
    /// As [`Index::scan`].
    pub fn scan_with(root: &Root, threads: usize, ctime: Ctime) -> Result<Self, RootfsError> {
        let all = Mutex::new(Self { ctime, ..Self::default() });
        walk::walk(root, threads, |directory| {
            let recorded = record(&directory)?;
            let newest = newest(directory.listing);
            let fingerprints = match ctime {
                Ctime::Kept => Fingerprints::default(),
                Ctime::Doubtful(_) => contents::of_all(&directory)?,
            };
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.directories.insert(directory.path.clone(), recorded);
            all.fingerprints.extend(fingerprints);
            all.newest = all.newest.max(newest);
            Ok(())
        })?;
        let index = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        index.settle();
        Ok(index)
    }

    /// Adds what unpacking or writing a layer has seen of contents, after the scan that saw the same contents. Where
    /// contents are read, the index knows better: what the file system has made of them.
    pub fn remember(&mut self, fingerprints: Fingerprints) {
        if !self.reads_contents() {
            self.fingerprints.extend(fingerprints);
        }
    }

    /// Finds what changed since the last scan, rescan or refresh, and records the tree as it is now.
    ///
    /// # Errors
    /// When a directory, or a file that has to be compared, cannot be read. The index is then as it was.
    pub fn rescan(&mut self, root: &Root, threads: usize) -> Result<ChangeSet, RootfsError> {
        let all = Mutex::new(Found::default());
        walk::walk(root, threads, |directory| {
            let mut found = self.compare_directory(&directory)?;
            all.lock().unwrap_or_else(PoisonError::into_inner).append(&mut found);
            Ok(())
        })?;
        let found = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        for path in &found.gone {
            self.forget(path);
        }
        self.directories.extend(found.directories);
        self.newest = self.newest.max(found.newest);
        let mut changes = ChangeSet { changes: found.changes.into_iter().collect() };
        for (file, path) in found.touched {
            if found.linked.contains(&file) {
                changes.upsert(path);
            }
        }
        if !self.reads_contents() {
            changes.iter().for_each(|(path, _)| self.fingerprints.remove(path));
        }
        self.fingerprints.extend(found.fingerprints);
        self.settle();
        Ok(changes)
    }

    /// How many paths are recorded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.directories.values().map(|directory| directory.listing.len()).sum()
    }

    /// Whether no path is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops a directory and all below it.
    fn forget(&mut self, directory: &ImagePath) {
        let below = self.directories.range(directory.clone()..).map(|(path, _)| path);
        let below: Vec<ImagePath> = below.take_while(|path| path.starts_with(directory)).cloned().collect();
        for path in below {
            self.directories.remove(&path);
        }
    }

    /// Whether changes are found by reading contents.
    fn reads_contents(&self) -> bool {
        self.ctime != Ctime::Kept
    }

    /// Waits until a change from now on gets another ctime than any recorded: the kernel stamps with a clock that stands
    /// still for up to ten milliseconds, and a change within that time would not be seen.
    fn settle(&self) {
        if self.newest >= ctime::coarse_clock() && !self.reads_contents() {
            ctime::wait_for_tick();
        }
    }
}

fn record(directory: &Directory<'_>) -> Result<Recorded, RootfsError> {
    let xattrs = directory_xattrs(directory.handle, directory.path)?;
    Ok(Recorded { listing: directory.listing.compact(), xattrs })
}

fn newest(listing: &Listing) -> Timestamp {
    listing.iter().map(|(_, metadata)| metadata.ctime).max().unwrap_or_default()
}

/// The digest of a directory's extended attributes.
fn directory_xattrs(directory: impl AsFd, path: &ImagePath) -> Result<u64, RootfsError> {
    let xattrs = metadata::xattrs(directory).map_err(RootfsError::io("read extended attributes of", path))?;
    Ok(Fingerprinter::default().finish(&xattrs))
}
