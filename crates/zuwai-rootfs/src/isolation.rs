//! Which of the two ways a build's commands run, and why.
//!
//! What a kernel, a seccomp profile and a container's capabilities allow together cannot be read from anywhere, so it
//! is tried: a child process goes the whole way into a sandbox in the state directory and reports how far it came.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;
use std::str::FromStr;
use std::sync::Arc;

use rustix::fs::StatVfsMountFlags;

use crate::command::HOSTNAME;
use crate::overlay::Room;
use crate::run::Output;
use crate::run_error::RunError;
use crate::sandbox::spec::{Enclosure, Entered, NewRoot, Report, Step};
use crate::sandbox::{STANDARD_MOUNT_POINTS, parent};
use crate::signals::Interrupt;
use crate::step_mount::StepNetwork;
use crate::userns::IdMaps;

/// As `statfs(2)` has it.
const OVERLAYFS_MAGIC: rustix::fs::FsWord = 0x794c_7630;

/// What the user wants: `--isolation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Namespaces where they work, else in place.
    #[default]
    Auto,
    /// A private root directory, entered through namespaces.
    Namespaces,
    /// The `/` of the container that the build itself runs in.
    InPlace,
}

/// A word that is no way to isolate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown isolation {0:?}: it is auto, namespaces or in-place")]
pub struct UnknownIsolation(String);

impl FromStr for Isolation {
    type Err = UnknownIsolation;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "namespaces" => Ok(Self::Namespaces),
            "in-place" => Ok(Self::InPlace),
            _ => Err(UnknownIsolation(word.to_owned())),
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Namespaces => "namespaces",
            Self::InPlace => "in-place",
        })
    }
}

/// How commands run, once it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In a private root directory, entered through user, mount, PID, UTS and IPC namespaces.
    Namespaces,
    /// In the `/` of this container.
    InPlace,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::InPlace => "in-place",
        })
    }
}

/// What was settled, and why: for one line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// How commands run.
    pub mode: Mode,
    /// Why, without the mode's name.
    pub reason: String,
    /// Whether trees can be layers that are mounted over one another; else why not. In place they never are.
    pub overlay: Result<(), String>,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.mode, self.reason)
    }
}

/// Goes all the way into a sandbox in the state directory, in a child process, and starts nothing there.
///
/// # Errors
/// The step that failed.
pub fn probe(state_dir: &Path) -> Result<Entered, RunError> {
    let file = |doing| move |source| RunError::File { doing, path: state_dir.to_owned(), source };
    let flags = rustix::fs::statvfs(state_dir).map_err(|error| file("look at")(error.into()))?.f_flag;
    if flags.contains(StatVfsMountFlags::NOEXEC) {
        let step = format!("execute programs below {}", state_dir.display());
        return Err(RunError::Sandbox { step, error: "it is mounted with noexec".into() });
    }
    let root = state_dir.canonicalize().map_err(file("find"))?.join(format!("probe-{}", std::process::id()));
    std::fs::create_dir_all(&root).map_err(file("make a directory in"))?;
    let enclosure = Enclosure {
        root: NewRoot::Directory(root.clone()),
        hostname: HOSTNAME.to_owned(),
        resolv_conf: Vec::new(),
        hosts: Vec::new(),
        volumes: Vec::new(),
        mounts: Vec::new(),
        network: StepNetwork::Host,
        scratch: None,
    };
    let step = Step { enclosure: Some(enclosure), execution: None, workdir: "/".into() };
    let quiet = Output { stdout: Stdio::null(), stderr: Stdio::null() };
    let report = parent::perform(&step, quiet, &Interrupt::new());
    // Never recursively: were something mounted there after all, it would not be ours to remove. What cannot be removed
    // is an empty directory in a state directory.
    for name in STANDARD_MOUNT_POINTS {
        let _ = std::fs::remove_dir(root.join(name));
    }
    let _ = std::fs::remove_dir(&root);
    match report? {
        Report::Ready(entered) => Ok(entered),
        other => {
            Err(RunError::Sandbox { step: "try it".into(), error: format!("unexpected report {other:?}") })
        }
    }
}

/// Goes through the life of an overlay in the state directory, in a child process: mounts one with an upper directory,
/// has the kernel mark what is removed and replaced there, and reads that back.
///
/// # Errors
/// Why it cannot be had, in words for the log.
pub fn probe_overlay(state_dir: &Path) -> Result<(), String> {
    let path = state_dir.join(format!("probe-overlay-{}", std::process::id()));
    let tried = match Room::create(&path) {
        Ok(room) => Arc::new(room).try_out().map_err(|error| why_no_overlay(state_dir, &error)),
        Err(error) => Err(error.to_string()),
    };
    // The mounts were another process's, which is gone.
    match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
        _ => {}
    }
    tried
}

/// The kernel's own words are "invalid argument" for the commonest reason of all.
fn why_no_overlay(state_dir: &Path, error: &RunError) -> String {
    match (error, rustix::fs::statfs(state_dir).map(|it| it.f_type)) {
        (RunError::Sandbox { error, .. }, Ok(OVERLAYFS_MAGIC)) => {
            format!("{} is on overlayfs, which holds no upper directory ({error})", state_dir.display())
        }
        _ => with_causes(error),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Settles how commands run. `state_dir` must exist; `container` is what [`detect`](crate::container::detect) found;
/// `force` builds in place even if it found nothing.
///
/// # Errors
/// When nothing that was asked for can be had, or in place would replace the files of a machine.
pub fn choose(
    wanted: Isolation,
    state_dir: &Path,
    container: Option<&str>,
    force: bool,
) -> Result<Choice, RunError> {
    match wanted {
        Isolation::InPlace => in_place(container, force, "asked for", None),
        Isolation::Namespaces => match probe(state_dir) {
            Ok(entered) => Ok(namespaces(entered, probe_overlay(state_dir))),
            Err(error) => Err(RunError::NamespacesRefused { reason: error.to_string() }),
        },
        Isolation::Auto => match probe(state_dir) {
            Ok(entered) => Ok(namespaces(entered, probe_overlay(state_dir))),
            Err(error) => {
                let why = format!("namespaces cannot be had: {error}");
                in_place(container, force, &why, Some(error))
            }
        },
    }
}

fn namespaces(Entered { pivoted, fresh_proc }: Entered, overlay: Result<(), String>) -> Choice {
    let root = if pivoted { "pivot_root" } else { "chroot" };
    let proc = if fresh_proc { "a /proc of its own" } else { "the outer /proc, as a fresh one is refused" };
    let ids = match IdMaps::own() {
        Ok(maps) if maps.is_single() => {
            "; only one user id, so that every file of the image belongs to it and commands run as no other: a grant in \
             /etc/subuid and /etc/subgid, and newuidmap, give more"
        }
        Ok(maps) if !maps.is_usual() => "; fewer than 65536 user or group ids",
        _ => "",
    };
    let trees = match &overlay {
        Ok(()) => "overlay".to_owned(),
        Err(why) => format!("no overlay: {why}, so a private directory that is scanned"),
    };
    let reason = format!("tried and seen to work ({root}, {proc}{ids}; {trees})");
    Choice { mode: Mode::Namespaces, reason, overlay }
}

fn in_place(
    container: Option<&str>,
    force: bool,
    why: &str,
    namespaces: Option<RunError>,
) -> Result<Choice, RunError> {
    let place = match container {
        Some(container) => format!("this is a container: {container}"),
        None if force => "forced, though this does not look like a container".to_owned(),
        None => return Err(RunError::NotInContainer { namespaces: namespaces.map(Box::new) }),
    };
    let overlay = Err("commands run in place".to_owned());
    Ok(Choice { mode: Mode::InPlace, reason: format!("{why}; {place}"), overlay })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written() {
        for word in ["auto", "namespaces", "in-place"] {
            assert_eq!(word.parse::<Isolation>().unwrap().to_string(), word);
        }
        assert!("chroot".parse::<Isolation>().unwrap_err().to_string().contains("namespaces"));
    }

    #[test]
    fn in_place_is_refused_outside_a_container_unless_forced() {
        let choose = |container, force| choose(Isolation::InPlace, Path::new("/none"), container, force);
        let refused = choose(None, false).unwrap_err().to_string();
        assert!(
            refused.contains("should only be run inside of a container, run with the --force flag"),
            "{refused}"
        );
        assert_eq!(choose(None, true).unwrap().mode, Mode::InPlace);
        let choice = choose(Some("docker (/.dockerenv is there)"), false).unwrap();
        assert_eq!(
            choice.to_string(),
            "in-place: asked for; this is a container: docker (/.dockerenv is there)"
        );
    }
}
