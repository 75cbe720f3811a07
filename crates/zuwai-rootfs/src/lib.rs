//! Root file systems: where images are unpacked, commands run, and changes become layers.
//!
//! The only crate that makes system calls of isolation, and the only one with unsafe code. Every path of an image is
//! resolved inside its [`Root`], never through a link out of it. It knows nothing of Dockerfiles or registries.
//!
//! In reading order:
//! - [`root`]: a directory that holds an image's tree, and what in it is not the image's.

#![cfg_attr(not(test), warn(clippy::pedantic))]

pub mod root;

pub use root::{KeepOut, Root};
