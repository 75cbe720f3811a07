//! One stage's tree.

use zuwai_layer::{Entry, EntryKind, ImagePath, Xattrs};
use zuwai_rootfs::fingerprint::Fingerprints;
use zuwai_rootfs::index::Index;
use zuwai_rootfs::unpack::Hidden;
use zuwai_rootfs::{ChangeSet, Root, RootfsError};

/// A stage's tree, and what it was after the last step.
#[derive(Debug)]
pub struct StageTree {
    /// The tree.
    pub root: Root,
    /// Every path as it was after the last step; made before the first RUN.
    pub index: Option<Index>,
    /// What unpacking and writing layers saw of contents, until there is an index to remember it.
    pub fingerprints: Fingerprints,
    /// What the image has where something is kept out, in place.
    pub hidden: Hidden,
}

impl StageTree {
    /// A tree of which nothing is known yet.
    pub fn new(root: Root) -> Self {
        Self { root, index: None, fingerprints: Fingerprints::default(), hidden: Hidden::default() }
    }

    /// Notes that the image has a directory where the container has a mount point; whether that is new.
    pub fn add_mount_point(&mut self, path: &ImagePath) -> bool {
        let new = !self.hidden.mount_points.contains_key(path);
        if new {
            self.set_mount_point(path, 0o755, (0, 0));
        }
        new
    }

    /// Notes what directory the image has where the container has a mount point.
    pub fn set_mount_point(&mut self, path: &ImagePath, mode: u32, (uid, gid): (u32, u32)) {
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

    /// Keeps what was seen of contents, to tell a touched file from a changed one later.
    pub fn remember(&mut self, fingerprints: Fingerprints) {
        match &mut self.index {
            Some(index) => index.remember(fingerprints),
            None => self.fingerprints.extend(fingerprints),
        }
    }

    /// Makes the index if this is the first time that it is needed.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn prepare_index(&mut self, threads: usize) -> Result<(), RootfsError> {
        if self.index.is_none() {
            let mut index = Index::scan(&self.root, threads)?;
            index.remember(std::mem::take(&mut self.fingerprints));
            self.index = Some(index);
        }
        Ok(())
    }

    /// Notes what a step wrote that knows what it wrote: the next look must not find it again.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn refresh(&mut self, changes: &ChangeSet) -> Result<(), RootfsError> {
        match &mut self.index {
            Some(index) => index.refresh(&self.root, changes),
            None => Ok(()),
        }
    }

    /// What changed since the last look.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn rescan(&mut self, threads: usize) -> Result<ChangeSet, RootfsError> {
        match &mut self.index {
            Some(index) => index.rescan(&self.root, threads),
            None => Ok(ChangeSet::default()),
        }
    }
}
