//! One image layer: a tar archive that changes a file system tree.
//!
//! This crate reads and writes layers as streams: tar entries and whiteouts in and out, compression, and the two
//! digests that name a layer (the diff ID of the tar, the digest of the compressed blob). It never touches a file
//! system and never holds a whole layer or file in memory.
//!
//! In reading order:
//! - [`digest`]: content digests, and readers and writers that compute them.
//! - [`path`]: a clean path inside an image.
//! - [`entry`]: what a layer says about one path.

pub mod digest;
pub mod entry;
pub mod path;

pub use digest::Digest;
pub use entry::{Entry, EntryKind, LayerItem, Xattrs};
pub use path::{ImagePath, PathError};
