//! Layers in directories of their own, and the trees that are made of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a test"
)]

#[path = "sandbox/harness.rs"]
#[allow(dead_code, reason = "this program uses its part")]
mod harness;
mod support;

#[path = "overlay/views.rs"]
mod views;

fn main() {
    zuwai_rootfs::sandbox::main_if_helper();
    std::process::exit(harness::run(&views::TESTS.concat()));
}
