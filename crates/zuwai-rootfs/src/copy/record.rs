//! What a copy has written so far.

use std::collections::BTreeMap;

use zuwai_layer::{ImagePath, PathError};

use crate::change_set::ChangeSet;

/// What was done to one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It is a directory, made or changed.
    Directory,
    /// It is something else, made in place of whatever was there.
    Other,
    /// It is a directory of this mode and owner in the image, but a mount point here.
    MountPoint(u32, (u32, u32)),
    /// It was removed with its directory.
    Gone,
}

/// Collects the paths that a copy writes, so that its layer is made without a scan.
#[derive(Debug, Default)]
pub(crate) struct Record {
    done: BTreeMap<ImagePath, Done>,
}

impl Record {
    /// A directory was made, or its metadata or list of names changed. The root has no place in a layer.
    pub fn directory(&mut self, path: &ImagePath) {
        if !path.is_root() {
            self.done.insert(path.clone(), Done::Directory);
        }
    }

    /// A file, link or device was made.
    pub fn other(&mut self, path: &ImagePath) {
        self.done.insert(path.clone(), Done::Other);
    }

    /// The image has a directory of this mode and owner where something is mounted.
    pub fn mount_point(&mut self, path: &ImagePath, mode: u32, owner: (u32, u32)) {
        self.done.insert(path.clone(), Done::MountPoint(mode, owner));
    }

    /// Something below a directory that is being replaced was removed.
    pub fn gone(&mut self, path: &ImagePath) {
        self.done.insert(path.clone(), Done::Gone);
    }

    /// The change set. What lies below a path that is no directory any more needs no whiteout: the path's own entry
    /// hides it.
    pub fn finish(self) -> ChangeSet {
        let mut changes = ChangeSet::default();
        let mut hidden_by: Option<&ImagePath> = None;
        for (path, done) in &self.done {
            if hidden_by.is_some_and(|above| path.starts_with(above)) {
                continue;
            }
            hidden_by = (*done != Done::Directory).then_some(path);
            match done {
                Done::Gone => changes.delete(path.clone()),
                Done::MountPoint(mode, owner) => changes.mount_point(path.clone(), *mode, *owner),
                Done::Directory | Done::Other => changes.upsert(path.clone()),
            }
        }
        changes
    }

    /// Adds all of this, which is counted from a directory, to a record that is counted from the root.
    pub fn move_below(self, directory: &ImagePath, whole: &mut Self) -> Result<(), PathError> {
        for (path, done) in self.done {
            whole.done.insert(directory.join(path.as_bytes())?, done);
        }
        Ok(())
    }
}
