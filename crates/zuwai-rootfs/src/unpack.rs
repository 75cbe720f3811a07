//! Unpacking layers: onto a tree, as containerd does it, or each into a directory of its own, as overlayfs has it.
//!
//! Onto a tree, links among the parents of an entry are followed inside the root. Missing parents are made (0755, 0:0).
//! A directory over a directory takes on its metadata, anything else over anything replaces it. Whiteouts and opaque
//! markers concern what lower layers have, not what this one has put there. What the local file system or the caller's
//! rights refuse and an image can do without for a moment (device nodes, extended attributes, owners) is counted, not an
//! error.
//!
//! Into a directory of its own ([`unpack_layer_dir`]), the same rules give what an overlay of the layers shows. Layers
//! need not know one another for that, but for the metadata of directories that they have no entry for
//! ([`adopt_parents`]), and for the rare ones that are only understood together with those below.

mod adopt;
mod fill;
mod layer_dir;
mod make;
mod marks;
mod parents;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use zuwai_layer::{Entry, ImagePath};

use crate::fingerprint::Fingerprints;

pub use adopt::{Adopted, Implied, adopt_parents};
pub use layer_dir::{LayerDir, LayerUnpacked, unpack_layer_dir};
pub use tree::unpack;

/// What was left out because it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// Extended attributes (no support in the file system, or no right).
    pub xattrs: u64,
    /// Device nodes (no right to make them).
    pub devices: u64,
    /// Owners (no right to give files away, or an id that is not mapped).
    pub owners: u64,
    /// Paths in whose place something is that is not the image's and cannot be moved.
    pub kept_out: u64,
}

impl Refused {
    /// How many things were left out.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.xattrs + self.devices + self.owners + self.kept_out
    }

    /// Adds those of another layer.
    pub fn add(&mut self, other: Self) {
        self.xattrs += other.xattrs;
        self.devices += other.devices;
        self.owners += other.owners;
        self.kept_out += other.kept_out;
    }
}

/// What unpacking a layer did.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// How many entries and whiteouts were applied.
    pub entries: u64,
    /// What was left out.
    pub refused: Refused,
    /// What it saw of contents, for [`crate::Index::remember`].
    pub fingerprints: Fingerprints,
    /// What it has where something is kept out.
    pub hidden: Hidden,
}

/// What an image has where something is kept out of its root: nothing of it can be seen in the root itself.
#[derive(Debug, Default)]
pub struct Hidden {
    /// Paths of the image that are kept out themselves: mount points that the image has. Their contents are not here.
    pub mount_points: BTreeMap<ImagePath, Entry>,
    /// Directories of the image with something below that is kept out. Others like them are not the image's.
    pub leading: BTreeSet<ImagePath>,
}

impl Hidden {
    /// Adds those of a layer above.
    pub fn extend(&mut self, other: Self) {
        self.mount_points.extend(other.mount_points);
        self.leading.extend(other.leading);
    }
}
