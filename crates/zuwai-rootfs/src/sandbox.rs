//! The process that holds one step of a build, and how it becomes the command.
//!
//! Between `fork` and `exec` a process with many threads may do next to nothing. So the builder starts its own binary
//! again (`/proc/self/exe`, with [`HELPER_NAME`] for a name): a process with one thread, an empty environment and no
//! secret in its memory, which does the work and stays as the supervisor of everything the command starts.
//!
//! In the order of a step's life:
//! - [`spec`]: what the builder tells the helper and hears from it; `channel`: the socket between them.
//! - [`parent`]: the builder's side.
//! - `stages`: the helper's side: namespaces where wanted, then the supervisor.
//! - `filesystem`: the mounts a command sees, and the way into its root; `volumes`: the user's among them; `step_mounts`:
//!   the step's own, of which `memory_file` and `throwaway` make some, and `place` finds the sources; `read_only`: how
//!   mounts are closed; `stubs`: mount points made and removed again.
//! - `overlay`: layers of one tree, mounted as one.
//! - `network`: having none.
//! - `supervise`: starts the command, forwards signals, ends what it left behind; `descendants`: how, in place.
//! - `execute`: the last stage: identity, capabilities, look-up, `execve`.
//! - `views`: a second kind of helper, which shows the builder itself the layers of a tree as one; `viewer`: its side.
//! - `system`: the system calls that need unsafe code. Nothing else in the workspace has any.

mod channel;
mod descendants;
mod execute;
mod filesystem;
mod memory_file;
mod network;
mod overlay;
pub mod parent;
mod place;
mod read_only;
pub mod spec;
mod stages;
mod step_mounts;
mod stubs;
mod supervise;
pub(crate) mod system;
mod throwaway;
mod viewer;
pub(crate) mod views;
mod volumes;

pub(crate) use channel::send as tell;
pub(crate) use filesystem::STANDARD_MOUNT_POINTS;

/// The name (`argv[0]`) by which the binary knows that it is to be the helper.
pub const HELPER_NAME: &str = "zuwai-sandbox";

/// The name of the helper that makes views of overlays.
const VIEWER_NAME: &str = "zuwai-viewer";

/// Becomes the helper if this process was started as one, and then never returns. Every program that runs commands
/// calls this before anything else.
pub fn main_if_helper() {
    match std::env::args_os().next() {
        Some(name) if name == HELPER_NAME => stages::helper(),
        Some(name) if name == VIEWER_NAME => viewer::viewer(),
        _ => {}
    }
}

/// Lets no other process look into this one's memory, environment and open files, which hold credentials: in place a
/// command runs beside the builder with the builder's own user id. Called by the program once it is the process it will
/// stay (see [`userns::enter`](crate::userns::enter)).
///
/// # Errors
/// When the system refuses.
pub fn close_to_others() -> std::io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}
