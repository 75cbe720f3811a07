//! A stage's tree in a directory of its own, or in the container's `/`: changes are found by looking at all of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use zuwai_layer::{Entry, EntryKind, ImagePath, Xattrs};
use zuwai_rootfs::change_set::Change;
use zuwai_rootfs::fingerprint::Fingerprints;
use zuwai_rootfs::index::Index;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::mounts;
use zuwai_rootfs::run::Ran;
use zuwai_rootfs::unpack::Hidden;
use zuwai_rootfs::{ChangeSet, Root, RootfsError};

use super::base::Seen;
use crate::error::StepError;

/// A stage's tree, and what it was after the last step.
#[derive(Debug)]
pub struct ScannedTree {
    /// The tree.
    pub root: Arc<Root>,
    mode: Mode,
    /// How many threads look for changes.
    threads: usize,
    /// Every path as it was after the last step; made before the first RUN.
    index: Option<Index>,
    /// What unpacking and writing layers saw of contents, until there is an index to remember it.
    fingerprints: Fingerprints,
    /// What the image has where something is kept out, in place.
    hidden: Hidden,
    /// The mount points among that when the tree was first looked at.
    below: BTreeSet<ImagePath>,
    /// Changes are found once, at the end.
    single: bool,
}

impl ScannedTree {
    /// A tree of which nothing is known yet.
    pub fn new(root: Root, mode: Mode, threads: usize) -> Self {
        let (fingerprints, hidden) = (Fingerprints::default(), Hidden::default());
        Self {
            root: Arc::new(root),
            mode,
            threads,
            index: None,
            fingerprints,
            hidden,
            below: BTreeSet::new(),
            single: false,
        }
    }

    /// What the image has where something is kept out.
    pub fn hidden(&self) -> &Hidden {
        &self.hidden
    }

    /// Has a command run, and finds what it changed.
    ///
    /// # Errors
    /// When it cannot be run or fails, or the tree cannot be read.
    pub fn run(
        &mut self,
        command: impl FnOnce(&Root) -> Result<Ran, StepError>,
    ) -> Result<ChangeSet, StepError> {
        self.look()?;
        let ran = command(&self.root)?;
        let mut changes = ChangeSet::default();
        if !self.single {
            if let Some(index) = &mut self.index {
                index.pass_over(&self.root, &ran.covered)?;
            }
            changes = self.rescan()?;
        }
        if self.mode == Mode::InPlace {
            // The container has mounts where BuildKit's runtime leaves directories in an image that lacks them.
            for path in mounts::standard_mount_points() {
                if !self.hidden.mount_points.contains_key(&path) {
                    self.set_mount_point(&path, 0o755, (0, 0));
                    changes.mount_point(path, 0o755, (0, 0));
                }
            }
        }
        Ok(changes)
    }

    /// Has something written that says what it wrote: the next look does not find it again.
    ///
    /// # Errors
    /// When it fails, or what it wrote cannot be looked at.
    pub fn change(
        &mut self,
        write: impl FnOnce(&Root) -> Result<ChangeSet, StepError>,
    ) -> Result<ChangeSet, StepError> {
        let changes = write(&self.root)?;
        if let Some(index) = self.index.as_mut().filter(|_| !self.single) {
            index.refresh(&self.root, &changes)?;
        }
        for (path, change) in changes.iter() {
            if let Change::MountPoint { mode, uid, gid } = change {
                self.set_mount_point(path, mode, (uid, gid));
            }
        }
        Ok(changes)
    }

    /// From now on changes are found once, at the end, by [`ScannedTree::all_changes`].
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn begin_single(&mut self) -> Result<(), RootfsError> {
        self.single = true;
        self.look()
    }

    /// All that changed since [`ScannedTree::begin_single`].
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn all_changes(&mut self) -> Result<ChangeSet, RootfsError> {
        let mut changes = self.rescan()?;
        for (path, entry) in &self.hidden.mount_points {
            if !self.below.contains(path) {
                changes.mount_point(path.clone(), entry.mode, (entry.uid, entry.gid));
            }
        }
        Ok(changes)
    }

    /// Notes what unpacking a layer onto the tree has seen. What came with it is in that layer already.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn unpacked(&mut self, seen: Seen) -> Result<(), RootfsError> {
        self.hidden.extend(seen.hidden);
        if self.index.is_some() {
            self.rescan()?;
        }
        self.remember(seen.fingerprints);
        Ok(())
    }

    /// Keeps what was seen of contents, to tell a touched file from a changed one later.
    pub fn remember(&mut self, fingerprints: Fingerprints) {
        match &mut self.index {
            Some(index) => index.remember(fingerprints),
            None => self.fingerprints.extend(fingerprints),
        }
    }

    /// Looks at the whole tree, if that was not done before.
    fn look(&mut self) -> Result<(), RootfsError> {
        if self.index.is_none() {
            let mut index = Index::scan(&self.root, self.threads)?;
            index.remember(std::mem::take(&mut self.fingerprints));
            self.index = Some(index);
            self.below = self.hidden.mount_points.keys().cloned().collect();
        }
        Ok(())
    }

    fn rescan(&mut self) -> Result<ChangeSet, RootfsError> {
        match &mut self.index {
            Some(index) => index.rescan(&self.root, self.threads),
            None => Ok(ChangeSet::default()),
        }
    }

    /// Notes what directory the image has where the container has a mount point.
    fn set_mount_point(&mut self, path: &ImagePath, mode: u32, (uid, gid): (u32, u32)) {
        let entry = Entry {
            path: path.clone(),
            kind: EntryKind::Directory,
            mode,
            uid,
            gid,
            mtime: 0,
            xattrs: Xattrs::new(),
        };
        self.hidden.mount_points.insert(path.clone(), entry);
    }
}
