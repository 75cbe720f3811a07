//! Root file systems: where images are unpacked, commands run, and changes become layers.
//!
//! The only crate that makes system calls of isolation, and the only one with unsafe code. Every path of an image is
//! resolved inside its [`Root`], never through a link out of it. It knows nothing of Dockerfiles or registries.
//!
//! In reading order:
//! - [`root`]: a directory that holds an image's tree, and what in it is not the image's.
//! - [`error`]: what can go wrong.
//! - [`resolve`]: finding what a path of the image leads to.
//! - [`metadata`]: what the system knows of one file.
//! - [`unpack`]: a layer onto a tree, or into a directory of its own.
//! - [`overlay`]: trees that are layers, one directory each, seen through overlayfs.
//! - [`change_set`]: the paths that a step changed.
//! - [`walk`]: reading a whole tree, on several threads.
//! - [`fingerprint`]: short digests of contents, to tell a touched file from a changed one.
//! - [`ctime`]: whether a file system's stamps tell that a file was changed.
//! - [`index`]: what a tree was after the last step, and what changed since.
//! - [`layer`]: a change set as a layer.
//! - [`park`]: moving a finished stage's tree out of the way.
//! - [`restore`]: moving it back.
//! - [`in_place`]: a container's own `/` as a root, and what it has there; `displaced`: what of it cannot stay.
//! - [`path_filter`]: what of a source tree may be copied.
//! - [`path_match`]: wildcards of `COPY`.
//! - [`copy`]: what `COPY` and `ADD` write.
//! - [`archive`]: what `ADD` does with a local archive.
//! - [`passwd`]: users and groups of an image; [`command`]: what a RUN asks for; [`step_mount`]: what it sees besides
//!   the root, and [`place`] where that is; [`run`]: running it.
//! - [`placement`]: the same where no mount can be made.
//! - [`isolation`]: which of the two ways commands run, and why; [`container`] and [`mounts`]: what this process stands in.
//! - [`volumes`]: what a container's user mounted into it, which commands see with namespaces too.
//! - [`sandbox`]: the process that holds a step; [`userns`]: user namespaces; [`signals`]: being told to stop.
//! - [`survey`]: what the place that a build runs in allows, and why not more.
//! - [`run_error`]: what goes wrong there.

#![cfg_attr(not(test), warn(clippy::pedantic))]

pub mod archive;
pub mod change_set;
pub mod command;
pub mod container;
pub mod copy;
pub mod ctime;
mod displaced;
pub mod error;
pub mod fingerprint;
pub mod in_place;
pub mod index;
pub mod isolation;
pub mod layer;
pub mod metadata;
pub mod mounts;
pub mod overlay;
pub mod park;
pub mod passwd;
pub mod path_filter;
pub mod path_match;
pub mod place;
pub mod placement;
mod quietly;
pub mod resolve;
pub mod restore;
pub mod root;
pub mod run;
pub mod run_error;
pub mod sandbox;
pub mod signals;
pub mod step_mount;
pub mod survey;
pub mod unpack;
pub mod userns;
pub mod volumes;
pub mod walk;

mod remove;

pub use change_set::{Change, ChangeSet};
pub use ctime::Ctime;
pub use error::RootfsError;
pub use index::Index;
pub use metadata::{FileKind, Metadata};
pub use remove::remove_directory_all;
pub use root::{KeepOut, Root};
