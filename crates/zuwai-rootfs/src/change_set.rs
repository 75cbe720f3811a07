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

    /// Notes that a path was removed.
    pub fn delete(&mut self, path: ImagePath) {
        self.changes.insert(path, Change::Delete);
    }

    /// Adds later changes.
    pub fn extend(&mut self, later: Self) {
        self.changes.extend(later.changes);
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
