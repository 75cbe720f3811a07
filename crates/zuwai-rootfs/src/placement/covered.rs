//! What mounts have covered, for the index.

use std::collections::BTreeSet;

use zuwai_layer::ImagePath;

/// What mounts of a step in place have covered: it was moved away and back, which gives files another ctime, but the
/// step could not change it. See [`Index::pass_over`](crate::Index::pass_over).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Covered {
    paths: BTreeSet<ImagePath>,
    except: BTreeSet<ImagePath>,
}

impl Covered {
    /// Adds a path, with everything below it.
    pub(super) fn add(&mut self, path: ImagePath) {
        self.paths.insert(path);
    }

    /// Takes out what the step has changed all the same, by another name of the file.
    pub(super) fn except(&mut self, paths: impl Iterator<Item = ImagePath>) {
        self.except.extend(paths);
    }

    /// The paths that were covered, with everything below them.
    pub fn paths(&self) -> impl Iterator<Item = &ImagePath> {
        self.paths.iter()
    }

    /// Whether a path below one of these was changed all the same.
    #[must_use]
    pub fn was_changed(&self, path: &ImagePath) -> bool {
        self.except.contains(path)
    }
}
