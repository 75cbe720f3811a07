//! The builder's side of a step: starts the helper, tells it what to do, maps its ids, hears how it ended.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

use super::HELPER_NAME;
use super::channel::Channel;
use super::spec::{Order, Report, Step};
use crate::run::Output;
use crate::run_error::RunError;
use crate::signals::Interrupt;
use crate::userns;

/// The running program, also where its file is gone or hidden by the image.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Has a helper do a step and gives its last report, when no process of the step is left.
///
/// # Errors
/// When the helper cannot be started, set up its sandbox or tell how it went.
pub fn perform(step: &Step, output: Output, interrupt: &Interrupt) -> Result<Report, RunError> {
    let failed = |doing| move |source| RunError::Helper { doing, source };
    let (mut helper, mut channel) = start(HELPER_NAME, output)?;
    let report = converse(step, &mut channel, &helper, interrupt);
    // Without its channel the helper ends whatever still runs.
    drop(channel);
    let status = helper.wait().map_err(failed("wait for"))?;
    match report? {
        Some(Report::Failed { step, error }) => Err(RunError::Sandbox { step, error }),
        Some(report) => Ok(report),
        None => Err(RunError::HelperGone { status }),
    }
}

/// Starts this program as a helper of that name, and opens the channel to it.
pub(super) fn start(name: &str, output: Output) -> Result<(Child, Channel), RunError> {
    let failed = |doing| move |source| RunError::Helper { doing, source };
    let (ours, theirs) = UnixStream::pair().map_err(failed("open a channel to"))?;
    let helper = Command::new(OWN_PROGRAM)
        .arg0(name)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(output.stdout)
        .stderr(output.stderr)
        .spawn()
        .map_err(failed("start"))?;
    Ok((helper, Channel::new(ours)))
}

fn converse(
    step: &Step,
    channel: &mut Channel,
    helper: &Child,
    interrupt: &Interrupt,
) -> Result<Option<Report>, RunError> {
    let failed = |doing| move |source| RunError::Helper { doing, source };
    if let Err(error) = channel.send(step) {
        // A helper that could not even start up closes the channel: how it ended says more.
        return if error.kind() == std::io::ErrorKind::BrokenPipe {
            Ok(None)
        } else {
            Err(failed("write to")(error))
        };
    }
    if step.enclosure.is_some() {
        match channel.receive().map_err(failed("read from"))? {
            Some(Report::WantsMaps) => map_ids(channel, helper)?,
            other => return Ok(other),
        }
    }
    let _attached = interrupt.attach(channel.sender().map_err(failed("write to"))?);
    channel.receive().map_err(failed("read from"))
}

/// Maps the ids of a helper that has said that it wants that.
pub(super) fn map_ids(channel: &Channel, helper: &Child) -> Result<(), RunError> {
    let failed = |doing| move |source| RunError::Helper { doing, source };
    let pid = i32::try_from(helper.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| failed("find")(std::io::ErrorKind::NotFound.into()))?;
    userns::map_child(pid).map_err(|error| RunError::Sandbox {
        step: "map user and group ids".into(),
        error: error.to_string(),
    })?;
    channel.send(&Order::Mapped).map_err(failed("write to"))
}
