//! A command as a RUN instruction asks for it.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zuwai_layer::ImagePath;

use crate::overlay::OverlayMount;
use crate::step_mount::{StepMount, StepNetwork};
use crate::volumes::Volume;

/// A command to run in a root.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program and its arguments; the program is looked up in the image.
    pub argv: Vec<OsString>,
    /// The whole environment; nothing of the builder's is added but `HOME`, where it is not set.
    pub env: Vec<(OsString, OsString)>,
    /// `USER`'s argument, expanded; empty for root.
    pub user: String,
    /// Where it starts; made (mode 0755, root's) if missing, as runc does.
    pub workdir: ImagePath,
    /// The name of the host, in namespaces. BuildKit's is `buildkitsandbox`.
    pub hostname: String,
    /// What the command finds in `/etc/resolv.conf`, in namespaces; in place it finds the container's.
    pub resolv_conf: Vec<u8>,
    /// What the command finds in `/etc/hosts`, in namespaces; must name localhost.
    pub hosts: Vec<u8>,
    /// The root as the step's own process mounts it, in namespaces: the layers of the view that the command is run with,
    /// and a fresh upper directory for what it changes. `None` where the root is a directory of the host.
    pub overlay: Option<OverlayMount>,
    /// What of the outside the command sees, in namespaces; in place it sees all that the container has mounted.
    pub volumes: Vec<Volume>,
    /// What it sees while it runs; one may lie in another, whatever the order.
    pub mounts: Vec<StepMount>,
    /// Its network.
    pub network: StepNetwork,
    /// An empty directory of the builder's, on the state directory's file system, for what a step may write and nobody
    /// keeps, and for what mounts cover in place. What is in it afterwards is removed by the caller.
    pub scratch: Option<PathBuf>,
}

impl Command {
    /// A root shell-less command with an empty environment at `/`.
    #[must_use]
    pub fn new(argv: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            user: String::new(),
            workdir: ImagePath::root(),
            hostname: HOSTNAME.to_owned(),
            resolv_conf: Vec::new(),
            hosts: hosts(HOSTNAME),
            overlay: None,
            volumes: Vec::new(),
            mounts: Vec::new(),
            network: StepNetwork::default(),
            scratch: None,
        }
    }
}

/// The host name that commands of a build see, as with BuildKit.
pub const HOSTNAME: &str = "buildkitsandbox";

/// The text of a hosts file that knows localhost and one host name, as BuildKit writes it.
#[must_use]
pub fn hosts(hostname: &str) -> Vec<u8> {
    format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n").into_bytes()
}

/// Why a program could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StartError {
    /// No program was named.
    #[error("no command given")]
    Empty,
    /// A name without a slash is in no directory of `PATH`.
    #[error("exec: {program:?}: executable file not found in $PATH{}", shell_hint(program))]
    NotInPath {
        /// The program as it was given.
        program: String,
    },
    /// A path leads nowhere.
    #[error("exec: {program:?}: stat {path}: no such file or directory{}", shell_hint(program))]
    NoSuchFile {
        /// The program as it was given.
        program: String,
        /// Where it was looked for.
        path: String,
    },
    /// A file that may not be executed.
    #[error("exec: {program:?}: permission denied")]
    NotExecutable {
        /// The program as it was given.
        program: String,
    },
    /// A directory.
    #[error("exec: {program:?}: is a directory")]
    Directory {
        /// The program as it was given.
        program: String,
    },
    /// The program is there, but not the interpreter or dynamic loader that it asks for.
    #[error(
        "exec {path}: no such file or directory: the program is there, but the {kind} it needs, {interpreter}, is not in the image"
    )]
    NoInterpreter {
        /// The program's path.
        path: String,
        /// Interpreter (of a script) or dynamic loader.
        kind: String,
        /// What it asks for.
        interpreter: String,
    },
    /// Neither a script with a `#!` line nor a program for this machine.
    #[error(
        "exec {path}: exec format error: not a program for this machine, nor a script that begins with #!"
    )]
    Format {
        /// The program's path.
        path: String,
    },
    /// The working directory cannot be entered.
    #[error("cannot enter working directory {path}: {error}")]
    Workdir {
        /// The directory.
        path: String,
        /// What the system answered.
        error: String,
    },
    /// The command's user or group cannot be taken on.
    #[error("cannot run as uid {uid}, gid {gid}: {error}{hint}")]
    Identity {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
        /// What the system answered.
        error: String,
        /// What can be done about it.
        hint: String,
    },
    /// Anything else that the system says.
    #[error("exec {path}: {error}")]
    Exec {
        /// The program's path.
        path: String,
        /// What the system answered.
        error: String,
    },
}

impl StartError {
    /// The code with which a shell, and Docker, end when they cannot start a command: 127 if it was not found, else 126.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Empty | Self::NotInPath { .. } | Self::NoSuchFile { .. } | Self::NoInterpreter { .. } => {
                127
            }
            _ => 126,
        }
    }
}

/// Images without a shell are common, and the shell form of RUN needs one.
fn shell_hint(program: &str) -> &'static str {
    if program == "/bin/sh" {
        ": the image has no shell; use the exec form, RUN [\"program\", \"argument\"], or SHELL, or a base with a shell"
    } else {
        ""
    }
}
