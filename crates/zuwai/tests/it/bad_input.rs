//! What cannot be built: each a clear error with its place, exit code 1 or the failing RUN's, nothing pushed, nothing left
//! behind. Both faces say the same.

mod dockerfiles;
mod flags;
mod images;
mod places;
mod registries;
mod runs;
