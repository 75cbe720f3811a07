//! Commands in real sandboxes: under namespaces, in place in containers, as an ordinary user.
//!
//! `run` starts the running program again as its helper, so this test has its own `main` and is its own program inside
//! containers. What needs root, busybox or podman says so when it is skipped.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

#[path = "sandbox/containers.rs"]
mod containers;
#[path = "sandbox/everything.rs"]
mod everything;
#[path = "sandbox/harness.rs"]
mod harness;
#[path = "sandbox/inside.rs"]
mod inside;
#[path = "sandbox/namespaces.rs"]
mod namespaces;
#[path = "sandbox/network.rs"]
mod network;
#[path = "sandbox/ordinary_user.rs"]
mod ordinary_user;
#[path = "sandbox/overlays.rs"]
mod overlays;
#[path = "sandbox/step_mounts.rs"]
mod step_mounts;
#[path = "sandbox/volumes.rs"]
mod volumes;

fn main() {
    zuwai_rootfs::sandbox::main_if_helper();
    inside::main_if_inside();
    let mut tests = Vec::new();
    tests.extend(namespaces::TESTS);
    tests.extend(overlays::TESTS);
    tests.extend(containers::TESTS);
    tests.extend(ordinary_user::TESTS);
    tests.extend(volumes::TESTS);
    tests.extend(step_mounts::TESTS);
    tests.extend(network::TESTS);
    std::process::exit(harness::run(&tests));
}
