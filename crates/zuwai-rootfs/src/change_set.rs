//! The paths that a step changed.

use std::collections::BTreeMap;

use zuwai_layer::ImagePath;

/// What happened to one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was added, or replaced, or its content or metadata is another.
    Upsert,
    /// It is no longer there, nor is anything that was below it.
    Delete,
    /// A directory of this mode and owner, although what is there is kept out: what a container's runtime leaves in the
    /// image where it mounts something, or what a copy of a whole tree has there.
    MountPoint {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// The paths that a step changed, in the order of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeSet {
    /// Real paths (no link on the way) and what happened to them.
    pub changes: BTreeMap<ImagePath, Change>,
}

impl ChangeSet {
    /// Notes that a path was added or changed.
    pub fn upsert(&mut self, path: ImagePath) {
        self.changes.insert(path, Change::Upsert);
    }

    /// Notes that a path was removed; what was noted below it is forgotten.
    pub fn delete(&mut self, path: ImagePath) {
        let below = self.changes.range(&path..).map(|(below, _)| below);
        let below: Vec<ImagePath> = below.take_while(|below| below.starts_with(&path)).cloned().collect();
        for path in &below {
            self.changes.remove(path);
        }
        self.changes.insert(path, Change::Delete);
    }

    /// Notes that the image has a directory where something is mounted.
    pub fn mount_point(&mut self, path: ImagePath, mode: u32, (uid, gid): (u32, u32)) {
        self.changes.insert(path, Change::MountPoint { mode, uid, gid });
    }

    /// Adds later changes.
    ///
    /// A directory that was deleted and then made again would be noted as added only, and what it held before would
    /// show through. Where that can happen, one [rescan](crate::Index::rescan) after both steps gives the set.
    pub fn extend(&mut self, later: Self) {
        for (path, change) in later.changes {
            if change == Change::Delete {
                self.delete(path);
            } else {
                self.changes.insert(path, change);
            }
        }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many paths changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// The changes in order.
    pub fn iter(&self) -> impl Iterator<Item = (&ImagePath, Change)> {
        self.changes.iter().map(|(path, change)| (path, *change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_deletion_takes_what_was_noted_below() {
        let path = |text: &str| ImagePath::new(text).unwrap();
        let mut changes = ChangeSet::default();
        ["a", "a/b", "a/b/c", "a-b", "b"].into_iter().for_each(|text| changes.upsert(path(text)));
        let mut later = ChangeSet::default();
        later.delete(path("a"));
        later.upsert(path("c"));
        changes.extend(later);
        let shown: Vec<_> = changes.iter().map(|(path, change)| (path.to_string(), change)).collect();
        let expected = [
            ("/a", Change::Delete),
            ("/a-b", Change::Upsert),
            ("/b", Change::Upsert),
            ("/c", Change::Upsert),
        ];
        assert_eq!(shown, expected.map(|(path, change)| (path.to_owned(), change)));
    }
}
