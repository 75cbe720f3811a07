//! Comparing a directory with what is recorded of it.

use std::collections::BTreeSet;

use zuwai_layer::ImagePath;

use super::{Index, Recorded, contents, directory_xattrs};
use crate::change_set::Change;
use crate::error::RootfsError;
use crate::fingerprint::Fingerprints;
use crate::metadata::{FileKind, Metadata, Timestamp};
use crate::walk::{Directory, Listing};

/// What one thread of a rescan found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) changes: Vec<(ImagePath, Change)>,
    /// Directories to record anew.
    pub(super) directories: Vec<(ImagePath, Recorded)>,
    /// Directories that are no longer there.
    pub(super) gone: Vec<ImagePath>,
    /// Files with several names that were touched but are the same.
    pub(super) touched: Vec<((u64, u64), ImagePath)>,
    /// The files that changed and have several names.
    pub(super) linked: BTreeSet<(u64, u64)>,
    /// What changed files hold, where contents are read.
    pub(super) fingerprints: Fingerprints,
    pub(super) newest: Timestamp,
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
    pub(super) fn compare_directory(&self, directory: &Directory<'_>) -> Result<Found, RootfsError> {
        let mut found = Found { newest: super::newest(directory.listing), ..Found::default() };
        let xattrs = directory_xattrs(directory.handle, directory.path)?;
        let before = self.directories.get(directory.path);
        let same =
            before.is_some_and(|before| before.xattrs == xattrs && before.listing == *directory.listing);
        if same && !self.reads_contents() {
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
        if !same {
            let recorded = Recorded { listing: directory.listing.compact(), xattrs };
            found.directories.push((directory.path.clone(), recorded));
        }
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
        let present = if self.reads_contents() {
            contents::fingerprint(directory.handle, name, metadata.kind)
                .map_err(RootfsError::io("read", &path()?))?
        } else {
            None
        };
        let verdict = match before {
            None => Verdict::Changed,
            Some((_, before)) if before == metadata && !self.reads_contents() => Verdict::Same,
            Some((_, before)) => self.judge(directory, name, before, metadata, present)?,
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
                let path = path()?;
                if let Some(present) = present {
                    found.fingerprints.insert(&path, present);
                }
                found.changes.push((path, Change::Upsert));
            }
        }
        Ok(())
    }

    /// Whether what differs is something that an image holds. `present` is what the path holds, if that was read.
    fn judge(
        &self,
        directory: &Directory<'_>,
        name: &[u8],
        before: &Metadata,
        now: &Metadata,
        present: Option<u64>,
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
        if !matches!(now.kind, FileKind::File | FileKind::Symlink) {
            return Ok(Verdict::Touched);
        }
        let path = directory.child(name)?;
        let Some(known) = self.fingerprints.get(&path) else { return Ok(Verdict::Changed) };
        let present = match present {
            Some(present) => Some(present),
            None => contents::fingerprint(directory.handle, name, now.kind)
                .map_err(RootfsError::io("read", &path))?,
        };
        Ok(if present == Some(known) { Verdict::Touched } else { Verdict::Changed })
    }
}

impl Found {
    pub(super) fn append(&mut self, other: &mut Self) {
        self.changes.append(&mut other.changes);
        self.directories.append(&mut other.directories);
        self.gone.append(&mut other.gone);
        self.touched.append(&mut other.touched);
        self.linked.append(&mut other.linked);
        self.fingerprints.extend(std::mem::take(&mut other.fingerprints));
        self.newest = self.newest.max(other.newest);
    }
}
