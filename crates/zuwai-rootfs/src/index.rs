//! What a tree was after the last step, and what changed since.
//!
//! A path is unchanged when everything the system says of it is as recorded: device, inode, ctime, mtime, size, mode,
//! owner, links, device numbers. No program can set a ctime, which is what makes this as safe as reading everything, at
//! the cost of a look. (Some file systems, such as gVisor's and a few network ones, do not keep ctime so; telling them
//! and reading contents there is not done yet.) Nothing is synced.
//!
//! Of directories mode, owner and extended attributes count; that their times, size or links differ says only that
//! something in them came or went.
//!
//! Of a file whose ctime alone differs, content and extended attributes are compared where they are known
//! ([`crate::fingerprint`]); if they are not, it counts as changed. A file of several names is one file: names are
//! reported together, so that a layer keeps them together.

mod pass_over;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::ClockId;
use zuwai_layer::{ImagePath, Xattrs};

use crate::change_set::{Change, ChangeSet};
use crate::error::RootfsError;
use crate::fingerprint::{self, Fingerprinter, Fingerprints};
use crate::metadata::{self, FileKind, Metadata, Timestamp};
use crate::resolve::link_text;
use crate::root::Root;
use crate::walk::{self, Directory, Listing};

/// What a tree was after the last step.
#[derive(Debug, Default)]
pub struct Index {
    directories: BTreeMap<ImagePath, Recorded>,
    fingerprints: Fingerprints,
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

/// What one thread of a rescan found.
#[derive(Debug, Default)]
struct Found {
    changes: Vec<(ImagePath, Change)>,
    /// Directories to record anew.
    directories: Vec<(ImagePath, Recorded)>,
    /// Directories that are no longer there.
    gone: Vec<ImagePath>,
    /// Files with several names that were touched but are the same.
    touched: Vec<((u64, u64), ImagePath)>,
    /// The files that changed and have several names.
    linked: BTreeSet<(u64, u64)>,
    newest: Timestamp,
}

/// How a path compares with what is recorded of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    /// Its record is another, but nothing that an image holds.
    Touched,
    Changed,
}

impl Index {
    /// Scans a tree: the baseline that later changes are found against.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn scan(root: &Root, threads: usize) -> Result<Self, RootfsError> {
        let mut index = Self::default();
        let all = Mutex::new((BTreeMap::new(), Timestamp::default()));
        walk::walk(root, threads, |directory| {
            let recorded = record(&directory)?;
            let newest = newest(directory.listing);
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.0.insert(directory.path.clone(), recorded);
            all.1 = all.1.max(newest);
            Ok(())
        })?;
        (index.directories, index.newest) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        index.settle();
        Ok(index)
    }

    /// Adds what unpacking or writing a layer has seen of contents, after the scan that saw the same contents.
    pub fn remember(&mut self, fingerprints: Fingerprints) {
        self.fingerprints.extend(fingerprints);
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
        for (path, _) in changes.iter() {
            self.fingerprints.remove(path);
        }
        self.settle();
        Ok(changes)
    }

    /// Records what a copy has written. Nothing but these paths is looked at.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub fn refresh(&mut self, root: &Root, changes: &ChangeSet) -> Result<(), RootfsError> {
        let mut directories: BTreeMap<ImagePath, Vec<&ImagePath>> = BTreeMap::new();
        for (path, change) in changes.iter() {
            // Not the image's here, whatever its layer says.
            if matches!(change, Change::MountPoint { .. }) {
                continue;
            }
            self.fingerprints.remove(path);
            if let Some(parent) = path.parent() {
                directories.entry(parent).or_default().push(path);
            }
        }
        for (path, names) in directories {
            self.refresh_directory(root, &path, &names)?;
        }
        self.settle();
        Ok(())
    }

    /// Records some names of one directory, in order. Parents come before their children.
    fn refresh_directory(
        &mut self,
        root: &Root,
        path: &ImagePath,
        changed: &[&ImagePath],
    ) -> Result<(), RootfsError> {
        let handle = match walk::open(root, path) {
            Ok(handle) => handle,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()), // deleted with all it held
            Err(error) => return Err(RootfsError::io("open directory", path)(error)),
        };
        let xattrs = directory_xattrs(handle.as_fd(), path)?;
        let old = self.directories.remove(path).map(|old| old.listing).unwrap_or_default();
        let mut listing = Listing::default();
        let mut old = old.iter().peekable();
        for changed in changed {
            let name = changed.name().unwrap_or_default();
            while let Some((name, metadata)) = old.next_if(|(old, _)| *old < name) {
                listing.push(name, *metadata);
            }
            let before = old.next_if(|(old, _)| *old == name);
            let now = match Metadata::at(handle.as_fd(), name) {
                Ok(metadata) => Some(metadata),
                Err(Errno::NOENT) => None,
                Err(error) => return Err(RootfsError::io("look at", changed)(error)),
            };
            let now = now.filter(|_| !root.keep_out().covers(changed));
            if let Some(metadata) = now {
                self.newest = self.newest.max(metadata.ctime);
                listing.push(name, metadata);
            }
            if now.is_some_and(|metadata| metadata.is_directory()) {
                let child = walk::open(root, changed).map_err(RootfsError::io("open directory", changed))?;
                let xattrs = directory_xattrs(child.as_fd(), changed)?;
                let listing = Listing::default();
                self.directories.entry((*changed).clone()).or_insert(Recorded { listing, xattrs }).xattrs =
                    xattrs;
            } else if before.is_some_and(|(_, metadata)| metadata.is_directory()) {
                self.forget(changed);
            }
        }
        old.for_each(|(name, metadata)| listing.push(name, *metadata));
        self.directories.insert(path.clone(), Recorded { listing: listing.compact(), xattrs });
        Ok(())
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

    fn compare_directory(&self, directory: &Directory<'_>) -> Result<Found, RootfsError> {
        let mut found = Found { newest: newest(directory.listing), ..Found::default() };
        let xattrs = directory_xattrs(directory.handle, directory.path)?;
        let before = self.directories.get(directory.path);
        if before.is_some_and(|before| before.xattrs == xattrs && before.listing == *directory.listing) {
            return Ok(found);
        }
        if before.is_some_and(|before| before.xattrs != xattrs) && !directory.path.is_root() {
            found.changes.push((directory.path.clone(), Change::Upsert));
        }
        let empty = Listing::default();
        let mut old = before.map_or(&empty, |before| &before.listing).iter().peekable();
        let mut new = directory.listing.iter().peekable();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let before = if order.is_le() { old.next() } else { None };
            let now = if order.is_ge() { new.next() } else { None };
            self.compare(directory, before, now, &mut found)?;
        }
        found
            .directories
            .push((directory.path.clone(), Recorded { listing: directory.listing.compact(), xattrs }));
        Ok(found)
    }

    /// Compares one name: as recorded and as it is.
    fn compare(
        &self,
        directory: &Directory<'_>,
        before: Option<(&[u8], &Metadata)>,
        now: Option<(&[u8], &Metadata)>,
        found: &mut Found,
    ) -> Result<(), RootfsError> {
        let Some(name) = now.or(before).map(|(name, _)| name) else { return Ok(()) };
        let path = || directory.child(name);
        let was_directory = before.is_some_and(|(_, metadata)| metadata.is_directory());
        let Some((_, metadata)) = now else {
            if was_directory {
                found.gone.push(path()?);
            }
            found.changes.push((path()?, Change::Delete));
            return Ok(());
        };
        if was_directory && !metadata.is_directory() {
            found.gone.push(path()?);
        }
        let verdict = match before {
            None => Verdict::Changed,
            Some((_, before)) if before == metadata => Verdict::Same,
            Some((_, before)) => self.judge(directory, name, before, metadata)?,
        };
        let linked = metadata.nlink > 1 && !metadata.is_directory();
        let file = (metadata.dev, metadata.ino);
        match verdict {
            Verdict::Touched if linked => found.touched.push((file, path()?)),
            Verdict::Same | Verdict::Touched => {}
            Verdict::Changed => {
                if linked {
                    found.linked.insert(file);
                }
                found.changes.push((path()?, Change::Upsert));
            }
        }
        Ok(())
    }

    /// Whether what differs is something that an image holds.
    fn judge(
        &self,
        directory: &Directory<'_>,
        name: &[u8],
        before: &Metadata,
        now: &Metadata,
    ) -> Result<Verdict, RootfsError> {
        let same = |of: fn(&Metadata) -> (FileKind, u32, u32, u32)| of(before) == of(now);
        if !same(|metadata| (metadata.kind, metadata.mode, metadata.uid, metadata.gid)) {
            return Ok(Verdict::Changed);
        }
        if now.is_directory() {
            return Ok(Verdict::Touched);
        }
        if (before.size, before.mtime, before.rdev) != (now.size, now.mtime, now.rdev) {
            return Ok(Verdict::Changed);
        }
        let path = directory.child(name)?;
        let known = self.fingerprints.get(&path);
        let present = match now.kind {
            FileKind::File | FileKind::Symlink if known.is_none() => return Ok(Verdict::Changed),
            FileKind::File => file_fingerprint(directory.handle, name),
            FileKind::Symlink => {
                link_text(directory.handle, name).map(|text| fingerprint::of_bytes(&text)).map_err(Into::into)
            }
            _ => return Ok(Verdict::Touched),
        };
        match present {
            Ok(present) if Some(present) == known => Ok(Verdict::Touched),
            Ok(_) => Ok(Verdict::Changed),
            Err(error) => Err(RootfsError::io::<std::io::Error>("read", &path)(error)),
        }
    }

    /// Waits until a change from now on gets a later ctime than any recorded: the kernel stamps with a clock that stands
    /// still for up to ten milliseconds, and a change within that time would not be seen.
    fn settle(&self) {
        for _ in 0..20 {
            let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
            let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or_default();
            let newest = self.newest;
            // A clock that was set back, or another machine's, is not waited for.
            if (Timestamp { seconds: now.tv_sec, nanoseconds }) > newest || newest.seconds > now.tv_sec {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Found {
    fn append(&mut self, other: &mut Self) {
        self.changes.append(&mut other.changes);
        self.directories.append(&mut other.directories);
        self.gone.append(&mut other.gone);
        self.touched.append(&mut other.touched);
        self.linked.append(&mut other.linked);
        self.newest = self.newest.max(other.newest);
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

/// The digest of a file's content and extended attributes.
fn file_fingerprint(directory: BorrowedFd<'_>, name: &[u8]) -> Result<u64, std::io::Error> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
    let xattrs: Xattrs = metadata::xattrs(&file)?;
    let mut digest = Fingerprinter::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digest.finish(&xattrs)),
            Ok(read) => digest.update(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
