//! Recording what a step wrote that knows what it wrote.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::io::Errno;
use zuwai_layer::ImagePath;

use super::{Index, Recorded, contents, directory_xattrs};
use crate::change_set::{Change, ChangeSet};
use crate::error::RootfsError;
use crate::metadata::{FileKind, Metadata};
use crate::root::Root;
use crate::walk::{self, Listing};

impl Index {
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
                self.refresh_contents(handle.as_fd(), changed, metadata.kind)?;
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

    /// Reads what a path holds now, where contents are read.
    fn refresh_contents(
        &mut self,
        directory: BorrowedFd<'_>,
        path: &ImagePath,
        kind: FileKind,
    ) -> Result<(), RootfsError> {
        if self.reads_contents() {
            let name = path.name().unwrap_or_default();
            let present =
                contents::fingerprint(directory, name, kind).map_err(RootfsError::io("read", path))?;
            if let Some(present) = present {
                self.fingerprints.insert(path, present);
            }
        }
        Ok(())
    }
}
