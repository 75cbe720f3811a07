//! Starts the command, forwards signals to it, and ends everything it left behind.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, WaitStatus};

use super::channel::Channel;
use super::spec::{Execution, Order, Report};
use super::stages::{During as _, Failure};
use super::system::{self, Forked};
use super::{descendants, execute};

/// How long a command that was sent a signal has to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long killing what a command left behind may take: one that waits for a slow disk dies when that has answered.
const PATIENCE: Duration = Duration::from_mins(1);

/// A report of a command that could not be started is never longer.
const START_ERROR_LIMIT: u64 = 1 << 20;

/// What belongs to a step and ends with it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reach {
    /// Everything in this PID namespace, of which this process is the first.
    Namespace,
    /// What descends from this process.
    Descendants,
}

/// Runs the command to its end, and returns when no process of it is left.
pub(super) fn run(
    execution: &Execution,
    workdir: &OsStr,
    channel: Channel,
    reach: Reach,
    escapable: bool,
) -> Result<Report, Failure> {
    if matches!(reach, Reach::Descendants) {
        match rustix::process::set_child_subreaper(Some(super::stages::own_pid())) {
            // gVisor has none; its orphans are found by their groups.
            Err(Errno::INVAL) => {}
            other => other.during("adopt orphans")?,
        }
    }
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during("make a pipe")?;
    // Nobody may look into this process; the command's own program is dumpable again.
    super::close_to_others().during("close this process to others")?;
    let child = match system::fork().during("start the command's process")? {
        Forked::Child => {
            let error = execute::become_command(execution, workdir, escapable);
            let text = serde_json::to_vec(&error).unwrap_or_default();
            let _ = File::from(write).write_all(&text);
            std::process::exit(126)
        }
        Forked::Parent(child) => child,
    };
    drop(write);

    let running = Arc::new(Mutex::new(Some(child)));
    let listened = Arc::clone(&running);
    std::thread::Builder::new()
        .name("orders".into())
        .spawn(move || follow_orders(channel, &listened, reach))
        .during("start a thread")?;

    let mut start_error = Vec::new();
    File::from(read)
        .take(START_ERROR_LIMIT)
        .read_to_end(&mut start_error)
        .during("wait for the command's start")?;
    let status = wait(child, &running).during("wait for the command")?;
    end_all(reach)?;

    if !start_error.is_empty() {
        return serde_json::from_slice(&start_error)
            .map(Report::NotStarted)
            .during("read why the command did not start");
    }
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ok(Report::Exited(code)),
        (None, Some(signal)) => Ok(Report::Signaled(signal)),
        (None, None) => Err(Failure::new("wait for the command", format_args!("unknown status {status:?}"))),
    }
}

/// Waits for the command and buries whoever else dies meanwhile.
fn wait(command: Pid, running: &Mutex<Option<Pid>>) -> io::Result<WaitStatus> {
    loop {
        // Looks first and buries later, so that no signal goes to a number that is another process's by then.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::All, options) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((pid, status)) = rustix::process::wait(WaitOptions::NOHANG)? else { continue };
        if pid == command {
            *running = None;
            return Ok(status);
        }
    }
}

/// Does what the builder says until it is gone, and then ends everything at once.
fn follow_orders(mut channel: Channel, running: &Mutex<Option<Pid>>, reach: Reach) {
    loop {
        match channel.receive::<Order>() {
            Ok(Some(Order::Signal(signal))) => {
                if let Some(command) = *running.lock().unwrap_or_else(PoisonError::into_inner) {
                    // The group, which the command leads: a shell alone would leave what it waits for.
                    if system::kill_group(command, signal).is_err() {
                        let _ = system::kill(command, signal);
                    }
                }
                std::thread::spawn(move || {
                    std::thread::sleep(GRACE);
                    kill_all(reach);
                });
            }
            Ok(Some(Order::Mapped)) => {}
            Ok(None) | Err(_) => {
                kill_all(reach);
                // The main thread ends the process when it has buried them; if it cannot, this does.
                std::thread::sleep(GRACE);
                std::process::exit(1);
            }
        }
    }
}

fn kill_all(reach: Reach) {
    match reach {
        Reach::Namespace => system::kill_all(),
        Reach::Descendants => descendants::kill_all(),
    }
}

/// Kills and buries until nothing is left. Killing again each time catches what was born meanwhile.
fn end_all(reach: Reach) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) if Instant::now() > end => {
                let error = "they cannot be killed, or are started anew faster than that";
                return Err(Failure::new("end the processes that the command left behind", error));
            }
            Ok(None) => {
                kill_all(reach);
                // Whatever dies next brings this on.
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return Ok(()),
        }
    }
}
