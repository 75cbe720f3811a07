//! Directories that are kept open while a layer is unpacked.

use std::cell::Cell;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use zuwai_layer::ImagePath;

use super::make::Place;
use crate::root::Root;

/// How many directories are kept open.
const OPEN: usize = 16;

/// A directory of the tree.
pub(super) struct Parent {
    /// As the layer names it.
    pub(super) named: ImagePath,
    /// Where that leads.
    pub(super) real: ImagePath,
    pub(super) handle: OwnedFd,
    /// What a new file in it came out as.
    pub(super) fresh: Cell<Option<Fresh>>,
}

/// What a new file has before anything is set. That is the same for all of one directory that ask for the same mode:
/// the process, its file mode creation mask, the directory's group and default access list decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fresh {
    /// The mode that was asked for.
    pub(super) asked: u32,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Parent {
    pub(super) fn new(named: ImagePath, real: ImagePath, handle: OwnedFd) -> Self {
        Self { named, real, handle, fresh: Cell::new(None) }
    }

    /// A name in it, whose path is given.
    pub(super) fn place<'a>(&'a self, root: &'a Root, name: &'a [u8], path: &'a ImagePath) -> Place<'a> {
        Place { root, directory: self.handle.as_fd(), name, path, fresh: &self.fresh }
    }
}

/// The directories last used, the most recent at the end. Whoever replaces or removes anything but a file clears them,
/// so that what stands here leads to where it did.
#[derive(Default)]
pub(super) struct OpenParents(Vec<Rc<Parent>>);

impl OpenParents {
    pub(super) fn get(&mut self, named: &ImagePath) -> Option<Rc<Parent>> {
        let known = self.0.iter().rposition(|parent| parent.named == *named)?;
        self.0[known..].rotate_left(1);
        self.0.last().cloned()
    }

    pub(super) fn keep(&mut self, parent: Parent) -> Rc<Parent> {
        let parent = Rc::new(parent);
        self.0.retain(|known| known.named != parent.named);
        if self.0.len() == OPEN {
            self.0.remove(0);
        }
        self.0.push(Rc::clone(&parent));
        parent
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
