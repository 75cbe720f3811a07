//! The language from outside: golden trees, expansion tables, error texts, and properties that hold for any input.

// Outside of #[test] functions the lint does not know that this is a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checks;
mod expansion;
mod goldens;
mod mistakes;
mod properties;
mod stages;
mod values;
