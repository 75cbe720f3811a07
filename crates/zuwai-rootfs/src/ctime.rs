//! Whether the ctime of a file system tells that a file was changed.
//!
//! Linux's own file systems stamp every change with a time that no program can choose. Some others do not: gVisor's
//! files, network file systems whose server stamps with its own clock, FUSE programs that make the ctime up. Instead of
//! a list of names there is a trial: a file is changed in each way that nothing but its ctime tells, after one tick of
//! the clock. What fails is [said](Doubt), and an [`Index`](crate::Index) then compares contents.

use std::fmt;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use rustix::time::ClockId;

use crate::metadata::{Metadata, Timestamp};
use crate::root::Root;

/// What a file's times are set to in the trial, again and again: in 2001.
const SET_BACK: Timespec = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };

/// How much a file system may round a stamp down, in nanoseconds.
const ROUNDING: u32 = 1_000_000;

/// What is known of a file system's ctime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ctime {
    /// Every change gives another.
    #[default]
    Kept,
    /// Contents must be read to find changes.
    Doubtful(Doubt),
}

/// Why a ctime is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It stays when content of the same length is written and the mtime put back.
    Content,
    /// It stays when the mode changes.
    Mode,
    /// It stays when an extended attribute changes.
    Attributes,
    /// Another clock than this machine's makes it.
    Clock,
    /// The trial could not be made.
    Untried(Errno),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content => f.write_str("its ctime stays when a file's content changes"),
            Self::Mode => f.write_str("its ctime stays when a file's mode changes"),
            Self::Attributes => f.write_str("its ctime stays when a file's extended attributes change"),
            Self::Clock => f.write_str("its ctime is not of this machine's clock"),
            Self::Untried(error) => write!(f, "its ctime could not be tried: {error}"),
        }
    }
}

impl Ctime {
    /// Tries the file system of a root, with a small file that is gone afterwards.
    ///
    /// The file is made in `beside` if that directory is on the same device, where it is nobody's; otherwise in the
    /// root itself, but without a name.
    #[must_use]
    pub fn of(root: &Root, beside: Option<&Path>) -> Self {
        let doubt = beside
            .and_then(|beside| Trial::named(root, beside))
            .map_or_else(|| Trial::nameless(root), Ok)
            .and_then(|trial| trial.doubt());
        match doubt {
            Ok(None) => Self::Kept,
            Ok(Some(doubt)) => Self::Doubtful(doubt),
            Err(error) => Self::Doubtful(Doubt::Untried(error)),
        }
    }
}

/// The name of an extended attribute, and two values for it.
type Attribute = (&'static str, [&'static [u8]; 2]);

/// A file to be changed.
struct Trial {
    directory: OwnedFd,
    /// Looked at by its name, as a scan does; without one by its handle.
    name: Option<String>,
    file: OwnedFd,
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = rustix::fs::unlinkat(&self.directory, name.as_str(), AtFlags::empty());
        }
    }
}

impl Trial {
    /// In a directory of the same device as the root; `None` if it is of another or takes no file.
    fn named(root: &Root, directory: &Path) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty()).ok()?;
        if Metadata::of(&directory).ok()?.dev != Metadata::of(root).ok()?.dev {
            return None;
        }
        Self::create(directory).ok()
    }

    /// In the root itself: where a file can be made without a name so, otherwise with one that is removed at once.
    fn nameless(root: &Root) -> Result<Self, Errno> {
        let directory = root
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::openat(&directory, ".", flags, Mode::RUSR | Mode::WUSR) {
            return Ok(Self { directory, name: None, file });
        }
        let mut trial = Self::create(directory)?;
        if let Some(name) = &trial.name {
            rustix::fs::unlinkat(&trial.directory, name.as_str(), AtFlags::empty())?;
        }
        trial.name = None;
        Ok(trial)
    }

    fn create(directory: OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let process = std::process::id();
        let mut number = 0;
        loop {
            let name = format!(".ctime-{process}-{number}");
            match rustix::fs::openat(&directory, name.as_str(), flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => return Ok(Self { directory, name: Some(name), file }),
                Err(Errno::EXIST) if number < 1000 => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The first thing that speaks against the file system's ctime.
    fn doubt(&self) -> Result<Option<Doubt>, Errno> {
        self.write(b"-")?;
        if !self.tells(|| self.write(b"+"))? {
            return Ok(Some(Doubt::Content));
        }
        if !self.tells(|| rustix::fs::fchmod(&self.file, Mode::RUSR))? {
            return Ok(Some(Doubt::Mode));
        }
        if let Some((name, [value, other])) = self.attribute()? {
            self.set(name, value)?;
            if !self.tells(|| self.set(name, other))? {
                return Ok(Some(Doubt::Attributes));
            }
        }
        let before = coarse_clock();
        self.write(b"-")?;
        let stamp = self.look()?.ctime;
        let late = now(ClockId::Realtime);
        Ok((stamp < before.earlier(ROUNDING) || stamp > late).then_some(Doubt::Clock))
    }

    /// Whether a change gives a later ctime, once the clock has ticked.
    fn tells(&self, change: impl FnOnce() -> Result<(), Errno>) -> Result<bool, Errno> {
        let before = self.look()?.ctime;
        wait_for_tick();
        change()?;
        Ok(self.look()?.ctime > before)
    }

    fn look(&self) -> Result<Metadata, Errno> {
        match &self.name {
            Some(name) => Metadata::at(self.directory.as_fd(), name.as_str()),
            None => Metadata::of(&self.file),
        }
    }

    /// Writes one byte and puts the times back.
    fn write(&self, byte: &[u8]) -> Result<(), Errno> {
        if rustix::io::pwrite(&self.file, byte, 0)? != byte.len() {
            return Err(Errno::IO);
        }
        rustix::fs::futimens(&self.file, &Timestamps { last_access: SET_BACK, last_modification: SET_BACK })
    }

    /// An attribute that can be set here. Where none can, there is none to be changed.
    fn attribute(&self) -> Result<Option<Attribute>, Errno> {
        // A set of capabilities as linux/capability.h has it, revision 2: CAP_NET_RAW, CAP_NET_BIND_SERVICE.
        const RAW: &[u8] = &[0, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        const BIND: &[u8] = &[0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let attributes: [Attribute; 2] = [("user.zuwai", [b"-", b"+"]), ("security.capability", [RAW, BIND])];
        for (name, values) in attributes {
            match self.set(name, values[0]) {
                Ok(()) => return Ok(Some((name, values))),
                Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn set(&self, name: &str, value: &[u8]) -> Result<(), Errno> {
        rustix::fs::fsetxattr(&self.file, name, value, XattrFlags::empty())
    }
}

/// The time of the clock that the kernel stamps with. It stands still for up to ten milliseconds.
pub(crate) fn coarse_clock() -> Timestamp {
    now(ClockId::RealtimeCoarse)
}

/// Waits until a stamp from now on is another than any that was given before, on file systems whose ctime is
/// [kept](Ctime::Kept). A clock that is set meanwhile is another at once.
pub(crate) fn wait_for_tick() {
    let begin = coarse_clock();
    for _ in 0..50 {
        if coarse_clock() != begin {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn now(clock: ClockId) -> Timestamp {
    let now = rustix::time::clock_gettime(clock);
    Timestamp { seconds: now.tv_sec, nanoseconds: u32::try_from(now.tv_nsec).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::KeepOut;

    #[test]
    fn a_local_file_system_is_trusted_and_nothing_is_left_behind() {
        let directory = tempfile::TempDir::new().unwrap();
        let top = directory.path().join("root");
        std::fs::create_dir(&top).unwrap();
        let root = Root::open(&top, KeepOut::default()).unwrap();
        for beside in [Some(directory.path()), None, Some(Path::new("/proc")), Some(Path::new("/missing"))] {
            assert_eq!(Ctime::of(&root, beside), Ctime::Kept, "{beside:?}");
            assert_eq!(std::fs::read_dir(&top).unwrap().count(), 0, "{beside:?}");
            assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "{beside:?}");
        }
    }

    #[test]
    fn a_file_system_that_takes_no_file_is_not_trusted() {
        let root = Root::open("/proc/self", KeepOut::default()).unwrap();
        let Ctime::Doubtful(Doubt::Untried(error)) = Ctime::of(&root, None) else { unreachable!("trusted") };
        assert!(Doubt::Untried(error).to_string().starts_with("its ctime could not be tried: "));
    }

    #[test]
    fn the_clock_ticks_within_the_wait() {
        let before = coarse_clock();
        wait_for_tick();
        assert_ne!(coarse_clock(), before);
    }
}
