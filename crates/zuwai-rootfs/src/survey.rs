//! What the place that a build runs in allows, what it refuses, and what of a Dockerfile cannot be had because of that.
//!
//! What can be tried is tried (see [`isolation`](crate::isolation)); what the kernel says about the process is read beside it,
//! to name the cause. Nothing is changed, and what is made to try it is removed again.
//!
//! - [`Process`]: what the kernel says of this process, read before it enters a user namespace.
//! - [`capability`]: the capabilities that building takes, and what each is for.
//! - [`ability`]: what a Dockerfile may do here.
//! - `file_capabilities`: whether the file system takes them.
//! - `lack`: the same for a hint, once something was refused.

pub mod ability;
pub mod capability;
mod file_capabilities;
mod lack;
mod process;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, StatVfsMountFlags};
use rustix::io::Errno;

pub use ability::{Ability, Verdict};
pub use capability::{Capabilities, Capability};
pub use lack::{lacks_for_commands, lacks_for_files};
pub use process::{Process, Setting};

use crate::ctime::Ctime;
use crate::isolation::{self, Choice, Isolation, Mode};
use crate::mounts;
use crate::root::{KeepOut, Root};
use crate::run_error::RunError;
use crate::userns::{Entry, IdMaps};

/// What a place allows.
#[derive(Debug)]
pub struct Survey {
    /// The process as it was started.
    pub process: Process,
    /// Why an ordinary user's process could not be root in a user namespace of its own; a process that was root, or is now, has
    /// none.
    pub refused: Option<io::Error>,
    /// The ids that files and commands can have.
    pub ids: Option<IdMaps>,
    /// What the builder itself may do now.
    pub capabilities: Capabilities,
    /// How commands would run.
    pub isolation: Result<Choice, RunError>,
    /// The directory where the build would keep its files.
    pub state: StateDir,
    /// Whether the ctime tells changed files where trees would be scanned; not known where there would be none.
    pub ctime: Option<Ctime>,
    /// Why files cannot have capabilities where trees would be.
    pub no_file_capabilities: Option<io::Error>,
    /// Why nothing can be written to this system's `/`: it is read-only, or another user's.
    pub root_refused: Option<io::Error>,
    /// What runtimes have hidden of `/proc`; an empty list is an open `/proc`.
    pub masked: Vec<PathBuf>,
}

/// The directory where a build keeps its files.
#[derive(Debug)]
pub struct StateDir {
    /// The directory.
    pub path: PathBuf,
    /// The kind of its file system, as the kernel lists it.
    pub kind: Option<String>,
    /// Why nothing can be written there.
    pub refused: Option<io::Error>,
    /// Whether programs there cannot be started.
    pub no_exec: bool,
}

impl Survey {
    /// Looks around: `process` as it was before `entry`, which is what came of the wish to be root; `container` is what
    /// [`detect`](crate::container::detect) found.
    #[must_use]
    pub fn take(
        process: Process,
        entry: Entry,
        wanted: Isolation,
        state: &Path,
        container: Option<&str>,
    ) -> Self {
        let (state, made) = StateDir::look_at(state);
        let isolation = match &state.refused {
            None => isolation::choose(wanted, &state.path, container, false),
            Some(error) => Err(RunError::File {
                doing: "make files in",
                path: state.path.clone(),
                source: io::Error::new(error.kind(), error.to_string()),
            }),
        };
        let ctime = isolation.as_ref().ok().and_then(|choice| ctime(choice.mode, &state.path));
        let no_file_capabilities = isolation.as_ref().ok().and_then(|choice| {
            // A namespace's own root may do what the builder may not.
            let tried = file_capabilities::try_one(choice.mode, &state.path);
            tried.err().filter(|error| *error == Errno::NOTSUP).map(io::Error::from)
        });
        // Only what was made here, and is empty again.
        for directory in made {
            let _ = std::fs::remove_dir(directory);
        }
        let refused = if let Entry::Refused(error) = entry { Some(error) } else { None };
        let write = rustix::fs::accessat(rustix::fs::CWD, "/", Access::WRITE_OK, AtFlags::EACCESS);
        Self {
            process,
            refused,
            ids: IdMaps::own().ok(),
            capabilities: Capabilities::effective(),
            isolation,
            state,
            ctime,
            no_file_capabilities,
            root_refused: write.err().map(io::Error::from),
            masked: masked(),
        }
    }

    /// Whether commands can run at all.
    #[must_use]
    pub fn can_run(&self) -> bool {
        ability::verdict(self, Ability::Run).is_ok()
    }
}

impl StateDir {
    /// Makes the directory if it is not there; the second value is what was made, the innermost first.
    fn look_at(path: &Path) -> (Self, Vec<PathBuf>) {
        let made: Vec<PathBuf> =
            path.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
        let refused = try_directory(path).err();
        let flags = rustix::fs::statvfs(path).map(|it| it.f_flag);
        let no_exec = flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::NOEXEC));
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mounts = mounts::list().unwrap_or_default();
        // Of several mounts on one another the last is seen.
        let under = |mount: &&mounts::Mount| real.starts_with(&mount.point);
        let mount = mounts.iter().filter(under).max_by_key(|mount| mount.point.components().count());
        let kind = mount.map(|mount| mount.kind.clone());
        (Self { path: path.to_owned(), kind, refused, no_exec }, made)
    }
}

/// Makes the directory, and in it another one, which is removed again.
fn try_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let probe = path.join(format!("probe-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&probe)?;
    std::fs::remove_dir(&probe)
}

/// In place it is the container's own `/` that is scanned.
fn ctime(mode: Mode, state: &Path) -> Option<Ctime> {
    let scanned = if mode == Mode::InPlace { Path::new("/") } else { state };
    let root = Root::open(scanned, KeepOut::default()).ok()?;
    Some(Ctime::of(&root, Some(state)))
}

/// What lies over parts of `/proc`: why a fresh one is refused in a user namespace.
fn masked() -> Vec<PathBuf> {
    let mounts = mounts::list().unwrap_or_default();
    let below = |path: &Path| path.starts_with("/proc") && path != Path::new("/proc");
    mounts.into_iter().map(|mount| mount.point).filter(|point| below(point)).collect()
}
