//! Build contexts: what `COPY` and `ADD` can read, and what `.dockerignore` keeps from them.
//!
//! A context is a directory and the patterns that exclude parts of it; nothing is copied to make it. This crate never
//! writes, and never decides what is copied where: it answers which paths exist.
//!
//! In reading order:
//! - [`location`]: what the user named as context.
//! - [`pattern`]: one pattern.
//! - [`patterns`]: the pattern language of `.dockerignore` and `COPY --exclude`.
//! - [`ignore`]: which ignore file counts, and what it says.
//! - [`context`]: the directory with its patterns.
//! - [`scan`]: what a build would get of it; [`digest`]: a digest of that.
//! - [`remote`]: what `ADD` fetches from elsewhere.

pub mod context;
pub mod digest;
pub mod error;
pub mod ignore;
pub mod location;
pub mod pattern;
pub mod patterns;
pub mod remote;
pub mod scan;

pub use context::Context;
pub use error::ContextError;
pub use location::Location;
pub use patterns::Patterns;
