//! What the builder tells the helper, and what it hears from it.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::command::StartError;
use crate::overlay::OverlayMount;
use crate::step_mount::{StepMount, StepNetwork};
use crate::volumes::Volume;

/// The first message to the helper: everything it is to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Step {
    /// The private root to enter; `None` in place.
    pub enclosure: Option<Enclosure>,
    /// The command; `None` to go all the way and start nothing, which is how it is found out what works.
    pub execution: Option<Execution>,
    /// The directory the command starts in, absolute in the root; made if missing.
    pub workdir: OsString,
}

/// A root of its own, behind namespaces.
#[derive(Debug, Serialize, Deserialize)]
pub struct Enclosure {
    /// What becomes `/`.
    pub root: NewRoot,
    /// The name of the host.
    pub hostname: String,
    /// The text of `/etc/resolv.conf`.
    pub resolv_conf: Vec<u8>,
    /// The text of `/etc/hosts`.
    pub hosts: Vec<u8>,
    /// The user's volumes.
    pub volumes: Vec<Volume>,
    /// What this step alone sees, in the order in which it is mounted: what lies in another comes after that.
    pub mounts: Vec<StepMount>,
    /// Its network.
    pub network: StepNetwork,
    /// An empty directory for what the step may write and nobody keeps; absolute, without links.
    pub scratch: Option<PathBuf>,
}

/// What becomes `/`.
#[derive(Debug, Serialize, Deserialize)]
pub enum NewRoot {
    /// A directory: absolute, without links.
    Directory(PathBuf),
    /// An overlay with an upper directory, which is mounted in the step's own namespaces alone: set-user-ID programs and
    /// file capabilities count only on what their own user namespace has mounted.
    Overlay(OverlayMount),
}

/// The command and who it is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Execution {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
    /// The capabilities to keep, by number as bits; `None` leaves them as they are.
    pub capabilities: Option<u64>,
}

/// What the builder says after the step.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// The user and group ids are mapped.
    Mapped,
    /// Send this signal to the command, and end everything if it has not ended some seconds later.
    Signal(i32),
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// It is in a user namespace and waits for its ids to be mapped.
    WantsMaps,
    /// It got as far as starting a command would; only where there was none to start.
    Ready(Entered),
    /// The command ended by itself with this code.
    Exited(i32),
    /// A signal ended the command.
    Signaled(i32),
    /// The command could not be started.
    NotStarted(StartError),
    /// Here is the view that was asked for: an open directory comes with this.
    Viewed,
    /// Setting up failed.
    Failed {
        /// What was being done.
        step: String,
        /// What the system answered.
        error: String,
    },
}

/// How the root was entered: where the kernel refuses the best way, there is a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entered {
    /// By `pivot_root`; else by `chroot`.
    pub pivoted: bool,
    /// With a `/proc` of its own; else with the outer one bound in.
    pub fresh_proc: bool,
}

/// Docker's default capabilities, as bits: what root in a RUN may do.
pub const DEFAULT_CAPABILITIES: u64 = {
    // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD
    // AUDIT_WRITE SETFCAP, by their numbers in linux/capability.h
    let numbers = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
    let mut bits = 0;
    let mut at = 0;
    while at < numbers.len() {
        bits |= 1 << numbers[at];
        at += 1;
    }
    bits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_capabilities_are_dockers() {
        assert_eq!(DEFAULT_CAPABILITIES, 0xa804_25fb);
    }
}
