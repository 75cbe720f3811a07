//! Layers in directories of their own, and the trees that are made of them.
//!
//! Views are made by the running program, started again, so this test has its own `main`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a test"
)]

#[path = "overlay/devices.rs"]
mod devices;
#[path = "sandbox/harness.rs"]
#[allow(dead_code, reason = "this program uses its part")]
mod harness;
#[path = "overlay/marks.rs"]
mod marks;
#[path = "overlay/operations.rs"]
mod operations;
#[path = "overlay/ordinary_user.rs"]
mod ordinary_user;
#[path = "overlay/stage.rs"]
mod stage;
mod support;
#[path = "overlay/views.rs"]
mod views;

fn main() {
    zuwai_rootfs::sandbox::main_if_helper();
    ordinary_user::main_if_inside();
    views::main_if_in_room();
    let mut tests = Vec::new();
    tests.extend(views::TESTS);
    tests.extend(marks::TESTS);
    tests.extend(devices::TESTS);
    tests.extend(operations::TESTS);
    tests.extend(ordinary_user::TESTS);
    std::process::exit(harness::run(&tests));
}
