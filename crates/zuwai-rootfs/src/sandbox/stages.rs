//! The helper's side of a step, from its first instruction to its report.

use std::ffi::OsStr;
use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use super::channel::Channel;
use super::filesystem::Entrance;
use super::spec::{Enclosure, Order, Report, Step};
use super::supervise::{self, Reach};
use super::system::{self, Forked};
use super::{filesystem, network};
use crate::step_mount::StepNetwork;

/// A step of the set-up that failed, and what the system said.
#[derive(Debug)]
pub(super) struct Failure {
    step: String,
    error: String,
}

/// Names what was being done when something failed.
pub(super) trait During<T> {
    fn during(self, step: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> During<T> for Result<T, E> {
    fn during(self, step: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure { step: step.to_string(), error: error.to_string() })
    }
}

impl Failure {
    pub(super) fn new(step: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self { step: step.to_string(), error: error.to_string() }
    }

    /// As a part of a larger step.
    pub(super) fn within(self, step: impl fmt::Display) -> Self {
        Self { step: format!("{step}: {}", self.step), error: self.error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.error)
    }
}

impl From<Failure> for Report {
    fn from(Failure { step, error }: Failure) -> Self {
        Self::Failed { step, error }
    }
}

/// The whole life of the helper. Without its socket it has nobody to tell anything and just ends.
pub(super) fn helper() -> ! {
    let code = match system::channel_from_stdin() {
        Ok(stream) => converse(Channel::new(stream)),
        Err(_) => 1,
    };
    std::process::exit(code)
}

fn converse(mut channel: Channel) -> i32 {
    let Ok(Some(step)) = channel.receive::<Step>() else { return 1 };
    let report = match prepare() {
        Err(failure) => Some(failure.into()),
        Ok(()) => match &step.enclosure {
            Some(enclosure) => enter(&step, enclosure, &mut channel),
            None => return supervise(&step, channel, None),
        },
    };
    match report {
        Some(report) => i32::from(channel.send(&report).is_err()),
        None => 0,
    }
}

/// What every helper does first.
pub(super) fn prepare() -> Result<(), Failure> {
    let _ = rustix::thread::set_name(c"zuwai-sandbox");
    rustix::process::umask(Mode::from_raw_mode(0o022));
    system::start_session().during("start a session")?;
    system::close_descriptors_on_exec().during("list open files")
}

/// Enters new namespaces; their PID 1 does the rest while this process waits for it. Returns a report if that did not
/// come about.
fn enter(step: &Step, enclosure: &Enclosure, channel: &mut Channel) -> Option<Report> {
    match unshare_and_fork(channel, enclosure.network) {
        Err(failure) => Some(failure.into()),
        Ok(Forked::Parent(init)) => {
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(init), WaitOptions::empty()));
            None
        }
        Ok(Forked::Child) => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let channel = channel.sender().map(Channel::new);
            std::process::exit(channel.map_or(1, |channel| supervise(step, channel, Some(enclosure))))
        }
    }
}

/// Becomes root of a user namespace.
pub(super) fn enter_user_namespace(channel: &mut Channel) -> Result<(), Failure> {
    system::unshare(UnshareFlags::NEWUSER).during("make a user namespace")?;
    channel.send(&Report::WantsMaps).during("ask for id maps")?;
    match channel.receive::<Order>().during("wait for id maps")? {
        Some(Order::Mapped) => Ok(()),
        _ => Err(Failure::new("map ids", "no answer")),
    }
}

fn unshare_and_fork(channel: &mut Channel, network: StepNetwork) -> Result<Forked, Failure> {
    enter_user_namespace(channel)?;
    let others = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    system::unshare(others).during("make mount, PID, IPC and UTS namespaces")?;
    if network == StepNetwork::None {
        network::leave().during("leave the network (RUN --network=none)")?;
    }
    system::fork().during("start the namespace's first process")
}

/// Enters the root if there is one, runs the command, puts the root in order again, reports.
fn supervise(step: &Step, channel: Channel, enclosure: Option<&Enclosure>) -> i32 {
    let Ok(sender) = channel.sender().map(Channel::new) else { return 1 };
    let report = in_root(step, channel, enclosure).unwrap_or_else(Report::from);
    i32::from(sender.send(&report).is_err())
}

fn in_root(step: &Step, channel: Channel, enclosure: Option<&Enclosure>) -> Result<Report, Failure> {
    let mut entrance = None;
    if let Some(enclosure) = enclosure {
        // Podman's seccomp profile refuses it; the hosts file knows the name all the same.
        let _ = rustix::system::sethostname(enclosure.hostname.as_bytes());
        entrance = Some(filesystem::enter(enclosure)?);
    }
    let report = run_in_root(step, channel, entrance.as_ref());
    if let Some(entrance) = entrance {
        entrance.stubs.remove();
    }
    report
}

fn run_in_root(step: &Step, channel: Channel, entrance: Option<&Entrance>) -> Result<Report, Failure> {
    make_workdir(&step.workdir)?;
    match (&step.execution, entrance) {
        (Some(execution), _) => {
            let reach = if entrance.is_some() { Reach::Namespace } else { Reach::Descendants };
            let escapable = entrance.is_some_and(|it| !it.entered.pivoted);
            supervise::run(execution, &step.workdir, channel, reach, escapable)
        }
        (None, Some(entrance)) => Ok(Report::Ready(entrance.entered)),
        (None, None) => Err(Failure::new("start a command", "there is none")),
    }
}

/// Makes a missing working directory as runc does. What stands in its way is reported when it is entered.
fn make_workdir(path: &OsStr) -> Result<(), Failure> {
    if Path::new(path).exists() {
        return Ok(());
    }
    match DirBuilder::new().recursive(true).mode(0o755).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Failure::new(format_args!("make working directory {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// The number of the helper's own process, for those that look for its descendants.
pub(super) fn own_pid() -> Pid {
    rustix::process::getpid()
}
