//! gVisor: a kernel in a process, as podman's runtime.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::need::{Need, find_program};

/// What it needs of the machine, besides podman.
pub const RUNSC: &[Need] = &[Need::Program("runsc")];

/// A runtime for `podman --runtime`: `runsc` on any kernel and in any control group, with the machine's network.
///
/// # Panics
/// If there is no `runsc`.
#[must_use]
pub fn runtime() -> PathBuf {
    static WRITTEN: OnceLock<PathBuf> = OnceLock::new();
    WRITTEN
        .get_or_init(|| {
            let wrapper = crate::cache::short_directory().join("runsc");
            let program = find_program("runsc").expect("runsc");
            let script = format!(
                "#!/bin/sh\nexec {} --platform=ptrace --network=host --ignore-cgroups \"$@\"\n",
                program.display()
            );
            std::fs::write(&wrapper, script).unwrap();
            std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
            wrapper
        })
        .clone()
}
