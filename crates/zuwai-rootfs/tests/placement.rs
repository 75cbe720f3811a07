//! Mounts of a step placed as files: what the step sees, and that nothing is left of it.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is a test")]

#[path = "placement/listing.rs"]
mod listing;
#[path = "placement/matrix.rs"]
mod matrix;
#[path = "placement/mounted.rs"]
mod mounted;
#[path = "placement/sees.rs"]
mod sees;
mod support;
