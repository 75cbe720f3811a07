//! What a layer says about one path (OCI image spec, layer.md).

use std::collections::BTreeMap;

use crate::path::ImagePath;

/// Extended attributes by full name (`user.k`, `security.capability`).
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// One path that a layer adds or replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: ImagePath,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with set-user-ID, set-group-ID and sticky: `0o7777` at most.
    pub mode: u32,
    /// Owner's numeric id.
    pub uid: u32,
    /// Group's numeric id.
    pub gid: u32,
    /// Modification time in seconds since 1970; may be negative.
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// The type of an entry, with what only that type has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file whose content of `size` bytes follows in the archive.
    File {
        /// Length of the content in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link; the target is kept as it was written.
    Symlink {
        /// The link's text.
        target: Vec<u8>,
    },
    /// Another name of a file that stands earlier in the same layer (or, in other tools' layers, in a lower one).
    Hardlink {
        /// The first name.
        target: ImagePath,
    },
    /// A character device.
    CharDevice {
        /// Device numbers.
        major: u32,
        /// Device numbers.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Device numbers.
        major: u32,
        /// Device numbers.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// One thing a layer does to the tree below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerItem {
    /// Adds or replaces a path. The content of a file is read from the layer right after.
    Entry(Entry),
    /// Removes a path that a lower layer has (`.wh.NAME`).
    Whiteout(ImagePath),
    /// Hides everything that lower layers have in this directory (`.wh..wh..opq`).
    Opaque(ImagePath),
}
