//! Directories that are kept open while a layer is unpacked.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use zuwai_layer::ImagePath;

/// How many directories are kept open.
const OPEN: usize = 16;

/// A directory of the tree.
pub(super) struct Parent {
    /// As the layer names it.
    pub(super) named: ImagePath,
    /// Where that leads.
    pub(super) real: ImagePath,
    pub(super) handle: OwnedFd,
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
