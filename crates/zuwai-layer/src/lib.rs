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
//! - [`error`]: what can go wrong.
//! - [`compression`]: which compression a stream has or gets, and reading compressed streams.
//! - [`reader`]: a tar as a sequence of items.
//! - [`writer`]: items as a tar.
//! - [`build`]: items to compressed blob in one pass, with both digests.
//!
//! Behind them: `item` (what a header means), `sparse` (content with holes) and `pax` serve the reader; `header` (tar
//! headers) the writer; `block` (one compressed block) and `pipeline` (the threads) the builder.

pub mod build;
pub mod compression;
pub mod digest;
pub mod entry;
pub mod error;
pub mod path;
pub mod reader;
pub mod writer;

mod block;
mod header;
mod item;
mod pax;
mod pipeline;
mod sparse;

pub use build::{LayerBuilder, LayerSummary};
pub use compression::{Compression, Level};
pub use digest::Digest;
pub use entry::{Entry, EntryKind, LayerItem, Xattrs};
pub use error::LayerError;
pub use path::{ImagePath, PathError};
pub use reader::LayerReader;
pub use writer::LayerWriter;
