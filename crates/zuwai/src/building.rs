//! The one place that starts a build, and what all faces fill into a request the same way.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;
use zuwai_build::hint::RootDir;
use zuwai_build::{BuildRequest, BuildResult, Surroundings};
use zuwai_oci::reference::Reference;
use zuwai_rootfs::isolation::Isolation;
use zuwai_rootfs::signals::Interrupt;
use zuwai_rootfs::userns::{self, Entry};
use zuwai_rootfs::{in_place, mounts, sandbox, signals};

use crate::error::ProgramError;
use crate::failure::Failure;

/// How long a build that was told to stop may take to tidy up after its commands have ended.
const TIDYING: Duration = Duration::from_secs(5);

/// What becomes of this process before a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It builds.
    Builder,
    /// It only watched another one build, and ends with this code.
    Watched(u8),
}

/// Makes an ordinary user's process root in a user namespace of its own, where that can be had and is wanted. Comes
/// before anything that starts a thread.
pub fn become_root(isolation: Isolation) -> Role {
    if isolation == Isolation::InPlace {
        return builder();
    }
    match userns::enter() {
        Entry::NotNeeded => {}
        Entry::Watched(code) => return Role::Watched(exit_code(code)),
        Entry::Inside(maps) if maps.is_single() => warn!(
            "only one user ID can be had here (no ranges in /etc/subuid and /etc/subgid, or no newuidmap): all files \
             will belong to root in the image, and steps that change owners or users fail"
        ),
        Entry::Inside(maps) if !maps.is_usual() => {
            warn!("fewer than 65536 user IDs can be had here: steps that need higher ones fail");
        }
        Entry::Inside(_) => {}
        Entry::Refused(error) => warn!("this user cannot be root in a user namespace: {error}"),
    }
    builder()
}

/// Puts right what a build in this `/` has left that was killed. Comes before anything that a build is asked to read: it
/// may be among what comes back.
pub fn put_right() {
    let own = std::env::current_exe();
    let recovered = mounts::keep_out(own.as_deref().ok())
        .map_err(|error| error.to_string())
        .and_then(|mounts| in_place::recover(Path::new("/"), mounts).map_err(|error| error.to_string()));
    if let Err(error) = recovered {
        warn!("cannot put right what a build that was killed has left in /{}: {error}", in_place::PARKING);
    }
}

/// This process builds: from here on no command that it starts may look into it, for credentials.
fn builder() -> Role {
    if let Err(error) = sandbox::close_to_others() {
        warn!("commands that run in place may read this program's environment: {error}");
    }
    Role::Builder
}

/// Builds. The first SIGTERM, SIGINT, SIGHUP or SIGQUIT ends the running commands and lets the build tidy up; the
/// second ends the program. `root_flag` is the flag that says where a build keeps its files.
///
/// # Errors
/// When the build fails or is told to stop.
pub fn build(
    request: &BuildRequest,
    surroundings: &Surroundings,
    root_flag: &str,
) -> Result<BuildResult, Failure> {
    listen(&surroundings.interrupt);
    zuwai_build::build(request, surroundings).map_err(|error| {
        let failure = Failure::of_build(error, root_dir(request, root_flag));
        ended_by(failure, &surroundings.interrupt)
    })
}

/// Has signals raise the interrupt: the first lets what goes on tidy up, the second ends the program. Comes before anything
/// that starts a thread.
pub fn listen(interrupt: &Interrupt) {
    let raised = interrupt.clone();
    let end = move |signal: i32, asked_again: bool| {
        // Dropping the build's state in the main thread is what tidies up; this only bounds the wait for it.
        if !asked_again {
            std::thread::sleep(TIDYING);
            raised.give_up();
        }
        std::process::exit(128 + signal);
    };
    if let Err(error) = signals::listen(interrupt, end) {
        warn!("signals will end the program without tidying up: {error}");
    }
}

/// A failure with the exit code of the signal that was the reason for it, if one was.
pub fn ended_by(failure: Failure, interrupt: &Interrupt) -> Failure {
    match interrupt.raised() {
        Some(signal) => failure.with_exit_code(exit_code(128 + signal)),
        None => failure,
    }
}

/// Where a build keeps its files, in the words of the face that was used.
pub fn root_dir<'a>(request: &'a BuildRequest, flag: &'a str) -> RootDir<'a> {
    RootDir { path: &request.root_dir, flag }
}

/// A code as the program ends with it.
pub fn exit_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(1)
}

/// The time, in seconds since 1970.
pub fn now() -> i64 {
    Timestamp::now().as_second()
}

/// How many threads are worth having.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How many stages are built side by side for a `--jobs`: by default one a processor.
pub fn jobs(asked_for: i64) -> usize {
    usize::try_from(asked_for).ok().filter(|jobs| *jobs > 0).unwrap_or_else(threads)
}

/// A name the image gets: one with a tag, not one fixed by a digest, which nobody can know before the build.
///
/// # Errors
/// When the text is no such name.
pub fn name_for(flag: &'static str, text: &str) -> Result<Reference, ProgramError> {
    let name = Reference::parse(text).map_err(|source| ProgramError::Reference { flag, source })?;
    if name.digest().is_some() {
        return Err(ProgramError::NameWithDigest { flag, name: text.to_owned() });
    }
    Ok(name)
}
