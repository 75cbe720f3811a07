//! Signals to the builder: told to the commands that run, then to the program.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::run_error::RunError;
use crate::sandbox::spec::Order;
use crate::sandbox::system::{self, Forked, SignalSet};
use crate::sandbox::tell;

/// The signals that ask a program to end.
const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// What a first process or one outside a user namespace passes on besides.
const PASSED_ON: [i32; 4] = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH, libc::SIGCONT];

/// How long commands that were told to end are waited for: their own grace, and some time to tidy up.
const PATIENCE: Duration = Duration::from_secs(12);

/// The same signal again so soon after the first is the same request.
const ONCE: Duration = Duration::from_secs(1);

/// Whether the build was told to stop, and the commands to pass that on to. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    shared: Arc<Shared>,
    /// Set when the work of this part of the build is of no use any more, though nobody has told the build to stop.
    abandoned: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    signal: Option<i32>,
    next: u64,
    /// Commands to tell; without a channel, work that must be done before the program ends.
    running: Vec<(u64, Option<UnixStream>)>,
    /// What to do when a signal is raised.
    when_raised: Vec<Work>,
    /// What to do if the program ends before its work does.
    when_given_up: Vec<Work>,
}

struct Work(Box<dyn FnOnce() + Send>);

impl Work {
    fn do_all(all: Vec<Self>) {
        for Self(work) in all {
            work();
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

impl Interrupt {
    /// One that nobody has raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The interrupt of a part of the build: raised with this one, and can be [abandoned](Self::abandon) alone.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), abandoned: Arc::default() }
    }

    /// Ends this part of the build: its running commands, and those that are started later.
    pub fn abandon(&self) {
        let state = self.state();
        self.abandoned.store(true, Ordering::Relaxed);
        for stream in state.running.iter().filter_map(|(_, stream)| stream.as_ref()) {
            let _ = tell(stream, &Order::Signal(libc::SIGTERM));
        }
    }

    /// Tells every running command, and those that are started later, to end by this signal.
    pub fn raise(&self, signal: i32) {
        let mut state = self.state();
        state.signal = Some(signal);
        for stream in state.running.iter().filter_map(|(_, stream)| stream.as_ref()) {
            // A helper that has gone needs no order.
            let _ = tell(stream, &Order::Signal(signal));
        }
        let work = std::mem::take(&mut state.when_raised);
        drop(state);
        Work::do_all(work);
    }

    /// The signal that was raised.
    #[must_use]
    pub fn raised(&self) -> Option<i32> {
        self.state().signal
    }

    /// An error if the build was told to stop.
    ///
    /// # Errors
    /// [`RunError::Interrupted`], [`RunError::Abandoned`].
    pub fn check(&self) -> Result<(), RunError> {
        match self.raised() {
            Some(signal) => Err(RunError::Interrupted { signal }),
            None if self.abandoned.load(Ordering::Relaxed) => Err(RunError::Abandoned),
            None => Ok(()),
        }
    }

    /// Has something done as soon as a signal is raised, by the thread that raises it.
    pub fn when_raised(&self, work: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        if state.signal.is_none() {
            state.when_raised.push(Work(Box::new(work)));
        } else {
            drop(state);
            work();
        }
    }

    /// Has something done by [`Interrupt::give_up`], beside what goes on in other threads.
    pub fn when_given_up(&self, work: impl FnOnce() + Send + 'static) {
        self.state().when_given_up.push(Work(Box::new(work)));
    }

    /// Does what is left to do where the program must end and its work goes on: to be called right before that.
    pub fn give_up(&self) {
        let work = std::mem::take(&mut self.state().when_given_up);
        Work::do_all(work);
    }

    /// Has a command told, until the result is dropped.
    pub(crate) fn attach(&self, stream: UnixStream) -> Attached<'_> {
        let mut state = self.state();
        let abandoned = self.abandoned.load(Ordering::Relaxed).then_some(libc::SIGTERM);
        if let Some(signal) = state.signal.or(abandoned) {
            let _ = tell(&stream, &Order::Signal(signal));
        }
        self.add(&mut state, Some(stream))
    }

    /// Has the program not end at the first signal until the result is dropped, however long that takes.
    pub(crate) fn busy(&self) -> Attached<'_> {
        self.add(&mut self.state(), None)
    }

    fn add(&self, state: &mut State, stream: Option<UnixStream>) -> Attached<'_> {
        state.next += 1;
        let number = state.next;
        state.running.push((number, stream));
        Attached { interrupt: self, number }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_commands(&self) {
        let commands = |state: &mut State| state.running.iter().any(|(_, stream)| stream.is_some());
        let Ok((state, timeout)) = self.shared.changed.wait_timeout_while(self.state(), PATIENCE, commands)
        else {
            return;
        };
        // What hangs is not waited for, nor what comes after it.
        if !timeout.timed_out() {
            drop(self.shared.changed.wait_while(state, |state| !state.running.is_empty()));
        }
    }
}

/// A running command that is told of interrupts, or other work to wait for.
pub(crate) struct Attached<'a> {
    interrupt: &'a Interrupt,
    number: u64,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.interrupt.state().running.retain(|(number, _)| *number != self.number);
        self.interrupt.shared.changed.notify_all();
    }
}

/// Listens for the signals that ask a program to end: the first raises the interrupt, waits for the commands to end and
/// then calls `end`, which tidies up and exits; another one calls `end` at once, and tells it so (`true`). Must be called
/// before the program has other threads: only threads started later leave the signals to the listener.
///
/// # Errors
/// When the system refuses.
pub fn listen(interrupt: &Interrupt, end: impl Fn(i32, bool) + Send + Sync + 'static) -> io::Result<()> {
    let signals = SignalSet::new(&ENDING);
    signals.block_only()?;
    let interrupt = interrupt.clone();
    let end = Arc::new(end);
    let listener = move || {
        let mut first: Option<(i32, Instant)> = None;
        while let Ok(signal) = signals.wait() {
            match first {
                // Who sends it to a process and to its group, as timeout(1) and terminals do, means it once.
                Some((first, when)) if first == signal && when.elapsed() < ONCE => continue,
                Some(_) => {
                    end(signal, true);
                    continue;
                }
                None => first = Some((signal, Instant::now())),
            }
            interrupt.raise(signal);
            let (interrupt, end) = (interrupt.clone(), Arc::clone(&end));
            std::thread::spawn(move || {
                interrupt.wait_for_commands();
                end(signal, false);
            });
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(listener).map(drop)
}

/// Which of two processes this is after [`reap_if_first`] or [`enter_user_namespace`](crate::userns::enter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that goes on as the program.
    Program,
    /// The one that watched the program to its end, and now ends with this code.
    Watcher(i32),
}

/// A container's first process inherits every orphan, must bury them, and is not ended by any signal that it does not
/// handle. If this process is one, forks: the child goes on as the program, this one passes signals on and buries the
/// dead until the program ends. Must be called before the program has threads.
///
/// # Errors
/// When the system refuses to fork.
pub fn reap_if_first() -> io::Result<Side> {
    if rustix::process::getpid() != Pid::INIT {
        return Ok(Side::Program);
    }
    fork_watched(|| Ok(()), |_| Ok(()))
}

/// Forks for a program that this process watches. `child` runs in the child before it goes on, `parent` beside it here;
/// if that fails, the child is killed.
pub(crate) fn fork_watched(
    child: impl FnOnce() -> io::Result<()>,
    parent: impl FnOnce(Pid) -> io::Result<()>,
) -> io::Result<Side> {
    let signals: Vec<i32> = ENDING.iter().chain(&PASSED_ON).copied().chain([libc::SIGCHLD]).collect();
    let signals = SignalSet::new(&signals);
    signals.block_only()?;
    let unblock = || SignalSet::new(&[]).block_only();
    match system::fork() {
        Err(error) => unblock().and(Err(error)),
        Ok(Forked::Child) => unblock().and_then(|()| child()).map(|()| Side::Program),
        Ok(Forked::Parent(pid)) => {
            if let Err(error) = parent(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
                unblock()?;
                return Err(error);
            }
            // It has the program's environment, and is as readable to a command in place as the program would be.
            crate::sandbox::close_to_others()?;
            watch(pid, &signals).map(Side::Watcher)
        }
    }
}

fn watch(program: Pid, signals: &SignalSet) -> io::Result<i32> {
    loop {
        let signal = signals.wait()?;
        if signal != libc::SIGCHLD {
            let _ = system::kill(program, signal);
            continue;
        }
        // One SIGCHLD may stand for many.
        while let Some((pid, status)) = rustix::process::wait(WaitOptions::NOHANG).unwrap_or(None) {
            if pid == program {
                return Ok(exit_code(status));
            }
        }
    }
}

fn exit_code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    #[test]
    fn running_commands_and_later_ones_are_told() {
        let interrupt = Interrupt::new();
        interrupt.check().unwrap();
        let (running, told) = UnixStream::pair().unwrap();
        let _attached = interrupt.attach(running);
        interrupt.clone().raise(libc::SIGTERM);
        let (later, told_later) = UnixStream::pair().unwrap();
        let _attached_later = interrupt.attach(later);
        for stream in [told, told_later] {
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            assert_eq!(line, "{\"Signal\":15}\n");
        }
        assert!(matches!(interrupt.check(), Err(RunError::Interrupted { signal: libc::SIGTERM })));
    }

    #[test]
    fn what_must_be_done_before_the_end_is_waited_for() {
        let interrupt = Interrupt::new();
        let done = std::sync::atomic::AtomicBool::new(false);
        let busy = interrupt.busy();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                interrupt.wait_for_commands();
                done.load(std::sync::atomic::Ordering::SeqCst)
            });
            std::thread::sleep(Duration::from_millis(50));
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            drop(busy);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn what_is_to_be_done_is_done_once_and_in_its_time() {
        let interrupt = Interrupt::new();
        let done = Arc::new(Mutex::new(Vec::new()));
        let noting = |what: &'static str| {
            let done = Arc::clone(&done);
            move || done.lock().unwrap().push(what)
        };
        interrupt.when_given_up(noting("given up"));
        interrupt.when_raised(noting("raised"));
        assert!(done.lock().unwrap().is_empty());
        interrupt.clone().raise(libc::SIGTERM);
        interrupt.raise(libc::SIGTERM);
        interrupt.when_raised(noting("raised before"));
        assert_eq!(*done.lock().unwrap(), ["raised", "raised before"]);
        interrupt.clone().give_up();
        interrupt.give_up();
        assert_eq!(*done.lock().unwrap(), ["raised", "raised before", "given up"]);
    }

    #[test]
    fn a_command_that_ended_is_told_nothing() {
        let interrupt = Interrupt::new();
        let (running, told) = UnixStream::pair().unwrap();
        drop(interrupt.attach(running));
        interrupt.raise(libc::SIGINT);
        assert_eq!(BufReader::new(told).lines().count(), 0);
        interrupt.wait_for_commands();
    }
}
