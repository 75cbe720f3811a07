//! The mounts a command sees, and the way into its root.
//!
//! The root is entered first and furnished after, so that every path of a mount is resolved inside the image: a link in
//! it can lead nowhere else. Sources are named relative to the working directory, which meanwhile is the old root.
//! What is mounted is what runc and BuildKit mount, minus what a user namespace may not have.

use std::ffi::CStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::memory_file::MemoryFile;
use super::overlay::{self, mounting};
use super::spec::{Enclosure, Entered, NewRoot};
use super::stages::{During as _, Failure};
use super::stubs::Stubs;
use super::{read_only, step_mounts, volumes};
use crate::step_mount::StepNetwork;

/// The directories that a runtime makes in every root it starts a command in, and that stay in the image: BuildKit's
/// layers have them where the base has not. In place nothing makes them, so the caller adds them after the first RUN.
pub(crate) const STANDARD_MOUNT_POINTS: [&str; 3] = ["proc", "sys", "dev"];

const NO_SURPRISES: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Device nodes that every command may use.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// As runc has them: what of /proc must not be written, and what must not be seen. A user namespace does not close
/// these by itself for a root that is the machine's.
const PROC_READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Links to the devices of the network in which `/sys` was mounted.
const NETWORK_DEVICES: &str = "/sys/class/net";

/// A root that was entered.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) entered: Entered,
    pub(super) stubs: Stubs,
}

/// Makes the root this process's `/`, furnished. Needs mount, PID and user namespaces of its own.
pub(super) fn enter(enclosure: &Enclosure) -> Result<Entrance, Failure> {
    let old_root = open_directory("/").during("open the outer root")?;
    let pivoted = change_root(&enclosure.root)?;
    rustix::process::fchdir(&old_root).during("go back to the outer root")?;

    let fresh_proc = mount_proc()?;
    mount_dev()?;
    mount_sys(enclosure.network)?;
    mask(fresh_proc)?;
    let mut stubs = Stubs::default();
    if let Err(failure) = furnish(&mut stubs, enclosure) {
        stubs.remove();
        return Err(failure);
    }

    if pivoted {
        rustix::mount::unmount(".", UnmountFlags::DETACH).during("let go of the outer root")?;
    }
    rustix::process::chdir("/").during("enter the root")?;
    Ok(Entrance { entered: Entered { pivoted, fresh_proc }, stubs })
}

/// Mounts what is not the same for every root.
fn furnish(stubs: &mut Stubs, enclosure: &Enclosure) -> Result<(), Failure> {
    for volume in &enclosure.volumes {
        volumes::bind(stubs, volume)?;
    }
    for (path, text) in [("/etc/resolv.conf", &enclosure.resolv_conf), ("/etc/hosts", &enclosure.hosts)] {
        // As with BuildKit, a mount of the step's at the same place stands for the usual one.
        if enclosure.mounts.iter().all(|mount| mount.target != Path::new(path)) {
            bind_text(stubs, path, text)?;
        }
    }
    step_mounts::mount_all(stubs, enclosure)
}

/// Whether it was done by `pivot_root`, after which the old root lies unseen over the new one until it is detached.
fn change_root(root: &NewRoot) -> Result<bool, Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).during("make all mounts private")?;
    let root = mount_root(root)?;
    let shown = root.display();
    rustix::process::chdir(&root).during(format_args!("enter {shown}"))?;
    let refusal = match rustix::process::pivot_root(".", ".") {
        Ok(()) => return Ok(true),
        Err(refusal) => refusal,
    };
    rustix::process::chroot(".")
        .during(format_args!("change the root to {shown} (pivot_root: {refusal})"))?;
    Ok(false)
}

/// Makes the new root a mount, which it has to be to become `/`, and says where.
fn mount_root(root: &NewRoot) -> Result<PathBuf, Failure> {
    match root {
        NewRoot::Directory(directory) => {
            rustix::mount::mount_bind_recursive(directory, directory)
                .during(format_args!("bind {} on itself", directory.display()))?;
            Ok(directory.clone())
        }
        NewRoot::Overlay(overlay) => {
            // On the directory that the kernel works in: it is there, it is this step's alone, and nobody needs its name.
            let work = overlay.upper.as_ref().map(|upper| overlay.room.join(&upper.work));
            let target = work.ok_or_else(|| Failure::new("mount the root", "it has no upper directory"))?;
            overlay::mount(overlay, &target).during(mounting(overlay))?;
            Ok(target)
        }
    }
}

fn open_directory(path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a directory of the root to mount on; a link there is refused, as runc refuses it.
fn mount_point(path: &str) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::new(format_args!("mount {path}"), "in the image this is not a directory")),
        Err(_) => DirBuilder::new().mode(0o755).create(path).during(format_args!("make {path}")),
    }
}

/// A `/proc` of the new PID namespace; where the outer one has masked parts, the kernel allows only that one itself.
fn mount_proc() -> Result<bool, Failure> {
    mount_point("/proc")?;
    let Err(refusal) = rustix::mount::mount("proc", "/proc", "proc", NO_SURPRISES, None) else {
        return Ok(true);
    };
    rustix::mount::mount_bind_recursive("proc", "/proc")
        .during(format_args!("bind /proc (a fresh one: {refusal})"))?;
    Ok(false)
}

fn mount_dev() -> Result<(), Failure> {
    mount_point("/dev")?;
    let flags = MountFlags::NOSUID | MountFlags::STRICTATIME;
    mount("tmpfs", "/dev", flags, c"mode=755,size=65536k").during("mount /dev")?;
    for name in DEVICES {
        let (outer, inner) = (format!("dev/{name}"), format!("/dev/{name}"));
        if fs::symlink_metadata(&outer).is_ok() {
            create(&inner, 0o666).during(format_args!("make {inner}"))?;
            rustix::mount::mount_bind(&outer, &inner).during(format_args!("bind {inner}"))?;
        }
    }
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
        ("pts/ptmx", "/dev/ptmx"),
    ] {
        symlink(target, link).during(format_args!("make {link}"))?;
    }
    let directory = |path| DirBuilder::new().mode(0o755).create(path).during(format_args!("make {path}"));
    directory("/dev/pts")?;
    directory("/dev/shm")?;
    directory("/dev/mqueue")?;
    mount("tmpfs", "/dev/shm", NO_SURPRISES, c"mode=1777,size=65536k").during("mount /dev/shm")?;
    // Few builds need terminals or message queues, and some kernels refuse them; the group of terminals is not mapped
    // for every user.
    let terminals = MountFlags::NOSUID | MountFlags::NOEXEC;
    let _ = mount("devpts", "/dev/pts", terminals, c"newinstance,ptmxmode=0666,mode=0620,gid=5")
        .or_else(|_| mount("devpts", "/dev/pts", terminals, c"newinstance,ptmxmode=0666,mode=0620"));
    let _ = mount("mqueue", "/dev/mqueue", NO_SURPRISES, c"");
    Ok(())
}

/// A fresh `/sys` shows the devices of the step's own network namespace, if it has one. Else, or where the outer one has
/// masked parts, the kernel refuses it, and the outer one must do; an empty one does for a build where that cannot be had
/// either.
fn mount_sys(network: StepNetwork) -> Result<(), Failure> {
    mount_point("/sys")?;
    let fresh = network == StepNetwork::None && mount("sysfs", "/sys", NO_SURPRISES, c"").is_ok();
    if fresh {
        // Programs look there for how much memory and how many processors they may use.
        let _ = rustix::mount::mount_bind_recursive("sys/fs/cgroup", "/sys/fs/cgroup");
    } else if rustix::mount::mount_bind_recursive("sys", "/sys").is_err() {
        return Ok(());
    } else if network == StepNetwork::None && fs::symlink_metadata(NETWORK_DEVICES).is_ok() {
        cover(Path::new(NETWORK_DEVICES), true).during("hide the network's devices")?;
    }
    read_only::make_all(Path::new("/sys")).during("make /sys read-only")
}

/// Closes what of `/proc` and `/sys` reaches the machine. An outer `/proc` is as closed as the container has it.
fn mask(fresh_proc: bool) -> Result<(), Failure> {
    for path in PROC_READ_ONLY.iter().filter(|_| fresh_proc) {
        match rustix::mount::mount_bind_recursive(*path, *path) {
            Ok(()) => read_only::make(Path::new(path)).during(format_args!("make {path} read-only"))?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(Failure::new(format_args!("make {path} read-only"), error)),
        }
    }
    for path in MASKED.iter().filter(|path| fresh_proc || !path.starts_with("/proc")) {
        let Ok(metadata) = fs::symlink_metadata(path) else { continue };
        cover(Path::new(path), metadata.is_dir()).during(format_args!("mask {path}"))?;
    }
    Ok(())
}

/// Hides a directory under an empty one, anything else under `/dev/null`.
pub(super) fn cover(path: &Path, is_directory: bool) -> rustix::io::Result<()> {
    if is_directory {
        rustix::mount::mount("tmpfs", path, "tmpfs", NO_SURPRISES | MountFlags::RDONLY, c"size=0k")
    } else {
        rustix::mount::mount_bind("dev/null", path)
    }
}

/// Mounts a text over a file of the root, read-only.
fn bind_text(stubs: &mut Stubs, path: &str, text: &[u8]) -> Result<(), Failure> {
    let target = stubs.file(Path::new(path)).during(format_args!("make {path}"))?;
    let file = MemoryFile { content: text, mode: 0o644, owner: (0, 0) };
    file.mount(&target).during(format_args!("mount {path}"))
}

fn mount(kind: &str, path: &str, flags: MountFlags, data: &CStr) -> rustix::io::Result<()> {
    rustix::mount::mount(kind, path, kind, flags, data)
}

fn create(path: &str, mode: u32) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map(drop)
}
