//! The program as its users meet it: what it prints for help and for mistakes, and its exit codes.

// A test stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod check;
mod context;
mod doctor;
mod help;
mod login;
mod mistakes;
mod moving;
mod passwords;
mod processes;
mod program;
mod scene;
