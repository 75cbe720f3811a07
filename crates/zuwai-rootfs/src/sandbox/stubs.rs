//! Mount points that an image lacks: made for a step, removed after it, so that they are in no layer.
//!
//! As runc and BuildKit do: links are followed inside the root, missing parents are made, and after the step what was
//! made and is still empty goes again. A directory's times are put back, so that a stub leaves no trace there either.
//! All of this runs inside the root (after `pivot_root` or `chroot`), where no path leads out.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;

/// As the kernel: more links than this in one path are a loop.
const LINK_LIMIT: usize = 40;

/// What was done, in that order.
#[derive(Debug, Default)]
pub(super) struct Stubs {
    done: Vec<Done>,
    /// What is made below these stays.
    left: Vec<PathBuf>,
}

#[derive(Debug)]
enum Done {
    Made(PathBuf),
    /// Mounted on, or about to be.
    Mounted(PathBuf),
}

impl Stubs {
    /// Gives the real path of a file to mount over, which is made if it is missing.
    pub(super) fn file(&mut self, path: &Path) -> io::Result<PathBuf> {
        let path = real_path(path)?;
        if fs::symlink_metadata(&path).is_err() {
            if let Some(parent) = path.parent() {
                self.directories(parent)?;
            }
            quietly(&path, || {
                OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path).map(drop)
            })?;
            self.made(&path);
        }
        self.done.push(Done::Mounted(path.clone()));
        Ok(path)
    }

    /// Leaves what is made below a path from now on: something is mounted there that goes away as a whole, or that keeps
    /// mount points, as a cache does with BuildKit. (Other steps may be using it, and a mount point that is removed takes
    /// their mounts with it.)
    pub(super) fn leave_what_is_made_below(&mut self, path: &Path) {
        self.left.push(path.to_owned());
    }

    fn made(&mut self, path: &Path) {
        if !self.left.iter().any(|left| path.starts_with(left)) {
            self.done.push(Done::Made(path.to_owned()));
        }
    }

    /// Gives the real path of a directory to mount over, which is made if it is missing.
    pub(super) fn directory(&mut self, path: &Path) -> io::Result<PathBuf> {
        let path = real_path(path)?;
        self.directories(&path)?;
        self.done.push(Done::Mounted(path.clone()));
        Ok(path)
    }

    fn directories(&mut self, path: &Path) -> io::Result<()> {
        if fs::symlink_metadata(path).is_ok() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.directories(parent)?;
        }
        quietly(path, || DirBuilder::new().mode(0o755).create(path))?;
        self.made(path);
        Ok(())
    }

    /// Unmounts and removes what is still as it was made, the last first: a stub may lie in what was mounted before it.
    /// A command may have done anything to them meanwhile, so that nothing here is an error.
    pub(super) fn remove(self) {
        for done in self.done.iter().rev() {
            let _ = match done {
                Done::Mounted(path) => {
                    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
                        .map_err(io::Error::from)
                }
                Done::Made(path) => remove_unused(path),
            };
        }
    }
}

fn remove_unused(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        quietly(path, || fs::remove_dir(path))
    } else if metadata.is_file() && metadata.len() == 0 {
        quietly(path, || fs::remove_file(path))
    } else {
        Ok(())
    }
}

/// Does something to an entry and puts back its directory's times.
fn quietly(path: &Path, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty())?;
    crate::quietly::quietly(directory.as_fd(), work)
}

/// Follows every link of an absolute path, also where what it names does not exist.
pub(super) fn real_path(path: &Path) -> io::Result<PathBuf> {
    let mut real = PathBuf::from("/");
    let mut rest: Vec<OsString> = names(path);
    rest.reverse();
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            real.pop();
            continue;
        }
        real.push(&name);
        if let Ok(target) = fs::read_link(&real) {
            links += 1;
            if links > LINK_LIMIT {
                return Err(rustix::io::Errno::LOOP.into());
            }
            real.pop();
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            rest.extend(names(&target).into_iter().rev());
        }
    }
    Ok(real)
}

fn names(path: &Path) -> Vec<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn mtime(path: &Path) -> (i64, i64) {
        let metadata = fs::metadata(path).unwrap();
        (metadata.mtime(), metadata.mtime_nsec())
    }

    #[test]
    fn links_are_followed_to_files_that_do_not_exist() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("a/../run/x", base.join("link")).unwrap();
        std::os::unix::fs::symlink(base.join("loop"), base.join("loop")).unwrap();
        assert_eq!(real_path(&base.join("link")).unwrap(), base.join("run/x"));
        assert_eq!(real_path(&base.join("./none/y")).unwrap(), base.join("none/y"));
        assert!(real_path(&base.join("loop")).is_err());
    }

    #[test]
    fn stubs_go_again_without_a_trace() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        let before = mtime(&base);
        let mut stubs = Stubs::default();
        let made = stubs.file(&base.join("etc/resolv.conf")).unwrap();
        stubs.file(&base.join("etc/hosts")).unwrap();
        assert!(made.is_file());
        assert_eq!(mtime(&base), before);
        stubs.done.retain(|done| matches!(done, Done::Made(_)));
        stubs.remove();
        assert!(!base.join("etc").exists());
        assert_eq!(mtime(&base), before);
    }

    #[test]
    fn what_a_command_left_in_a_stub_stays() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        fs::write(base.join("own"), "").unwrap();
        let mut stubs = Stubs::default();
        stubs.file(&base.join("own")).unwrap();
        let made = stubs.file(&base.join("etc/hosts")).unwrap();
        fs::write(&made, "kept").unwrap();
        stubs.done.retain(|done| matches!(done, Done::Made(_)));
        stubs.remove();
        assert!(made.exists() && base.join("own").exists());
    }
}
