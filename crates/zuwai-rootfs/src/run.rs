//! Running a command in a root.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::command::Command;
use crate::isolation::Mode;
use crate::passwd;
use crate::placement::{self, Covered};
use crate::root::Root;
use crate::run_error::RunError;
use crate::sandbox::parent;
use crate::sandbox::spec::{DEFAULT_CAPABILITIES, Enclosure, Execution, NewRoot, Report, Step};
use crate::signals::Interrupt;
use crate::step_mount::{self, StepMount, StepNetwork};

/// How a command that was started ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It ended by itself with this code.
    Exited(i32),
    /// A signal of this number ended it.
    Signaled(i32),
}

impl Outcome {
    /// Whether it ended by itself with code 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }

    /// The code as a shell would say it: its own, or 128 and the signal's number.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

/// Where a command's output goes.
#[derive(Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: Stdio,
    /// Standard error.
    pub stderr: Stdio,
}

impl Output {
    /// Both to where the builder's own go.
    #[must_use]
    pub fn inherit() -> Self {
        Self { stdout: Stdio::inherit(), stderr: Stdio::inherit() }
    }
}

/// What a command has left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub outcome: Outcome,
    /// What its mounts have covered, in place: for [`Index::pass_over`](crate::Index::pass_over), before the rescan.
    pub covered: Covered,
}

/// As [`run_step`], for who keeps no index of the root.
///
/// # Errors
/// As there.
pub fn run(
    root: &Root,
    command: &Command,
    mode: Mode,
    output: Output,
    interrupt: &Interrupt,
) -> Result<Outcome, RunError> {
    run_step(root, command, mode, output, interrupt).map(|ran| ran.outcome)
}

/// Runs a command in a root to its end. Where the root is a view of an overlay, users, working directory and what
/// volumes give way to are looked up in the view, and the command runs in [`Command::overlay`], which is mounted for it
/// alone. When this returns, no process that it started is left, nor anything of what it
/// saw besides the root.
///
/// # Errors
/// When it could not be started (see [`StartError`](crate::command::StartError)), its mounts could not be placed or
/// taken away, or the build was told to stop.
pub fn run_step(
    root: &Root,
    command: &Command,
    mode: Mode,
    output: Output,
    interrupt: &Interrupt,
) -> Result<Ran, RunError> {
    interrupt.check()?;
    let mounts = step_mount::in_order(&command.mounts);
    let step = step(root, command, &mounts, mode)?;
    let mounts = if mode == Mode::InPlace { mounts.as_slice() } else { &[] };
    // The program must not end before they are taken away.
    let _busy = interrupt.busy();
    let placed = placement::place(root, mounts, command.scratch.as_deref())?;
    let outcome = perform(&step, output, interrupt);
    let covered = placed.undo();
    match (outcome, covered) {
        (Ok(outcome), Ok(covered)) => Ok(Ran { outcome, covered }),
        (Ok(outcome), Err(error)) if outcome.success() => Err(error.into()),
        (outcome, covered) => {
            // That the command failed is the news.
            if let Err(error) = covered {
                tracing::warn!("{error}");
            }
            outcome.map(|outcome| Ran { outcome, covered: Covered::default() })
        }
    }
}

fn perform(step: &Step, output: Output, interrupt: &Interrupt) -> Result<Outcome, RunError> {
    let report = parent::perform(step, output, interrupt);
    interrupt.check()?;
    match report? {
        Report::Exited(code) => Ok(Outcome::Exited(code)),
        Report::Signaled(signal) => Ok(Outcome::Signaled(signal)),
        Report::NotStarted(error) => Err(error.into()),
        other => Err(RunError::Sandbox {
            step: "run the command".into(),
            error: format!("unexpected report {other:?}"),
        }),
    }
}

fn step(root: &Root, command: &Command, mounts: &[StepMount], mode: Mode) -> Result<Step, RunError> {
    let user = passwd::lookup(root, &command.user)?;
    let mut env = command.env.clone();
    // As runc: an empty HOME is none.
    if env.iter().rfind(|(name, _)| name == "HOME").is_none_or(|(_, home)| home.is_empty()) {
        env.retain(|(name, _)| name != "HOME");
        env.push(("HOME".into(), OsString::from_vec(user.home)));
    }
    let mut workdir = b"/".to_vec();
    workdir.extend_from_slice(command.workdir.as_bytes());
    let enclosure = match mode {
        Mode::InPlace if command.network == StepNetwork::None => return Err(RunError::NetworkInPlace),
        Mode::InPlace => None,
        Mode::Namespaces => Some(Enclosure {
            root: new_root(root, command)?,
            hostname: command.hostname.clone(),
            resolv_conf: command.resolv_conf.clone(),
            hosts: command.hosts.clone(),
            volumes: command.volumes.clone(),
            mounts: mounts.to_vec(),
            network: command.network,
            scratch: command.scratch.as_deref().map(real_path).transpose()?,
        }),
    };
    let capabilities = enclosure.as_ref().map(|_| DEFAULT_CAPABILITIES);
    let argv = command.argv.clone();
    let execution = Execution { argv, env, uid: user.uid, gid: user.gid, groups: user.groups, capabilities };
    Ok(Step { enclosure, execution: Some(execution), workdir: OsString::from_vec(workdir) })
}

/// A view is no place to run in: it is mounted nowhere, and nothing may be written to it while it is looked at.
fn new_root(root: &Root, command: &Command) -> Result<NewRoot, RunError> {
    match (&command.overlay, root.overlay()) {
        (Some(overlay), _) if overlay.upper.is_some() => Ok(NewRoot::Overlay(overlay.clone())),
        (None, None) => Ok(NewRoot::Directory(real_path(root.host_path())?)),
        _ => Err(RunError::NowhereToWrite { path: root.host_path().to_owned() }),
    }
}

fn real_path(path: &Path) -> Result<PathBuf, RunError> {
    path.canonicalize().map_err(|source| RunError::File { doing: "find", path: path.to_owned(), source })
}
