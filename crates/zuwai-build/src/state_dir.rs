//! Everything a build keeps on disk, in a directory of its own that goes when the build ends.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zuwai_rootfs::signals::Interrupt;
use zuwai_rootfs::{KeepOut, Root, park};

use crate::error::BuildError;

/// What names of builds' directories begin with.
const BUILD: &str = "build-";

/// What a directory is called until its lock is held.
const STARTING: &str = "starting-";

const LOCK: &str = "lock";

/// How often the directory of a build that goes on is emptied before it is left.
const ATTEMPTS: usize = 100;

/// The state of one build: `ROOT_DIR/build-N`, readable by its owner alone.
///
/// Two builds never share one, so that builds side by side and builds one after the other do not see each other's
/// trees. The directory is removed when the value is dropped, whatever way the build ended. A build that is killed leaves
/// it: the next one removes it, for the lock in it tells the living from the dead. The kernel lets go of that when a
/// build ends, however it ends.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// The directory of trees in it.
    pub const TREES: &str = "trees";

    /// Makes a new directory below `root_dir`, which is made too if it is missing. Those that killed builds have left
    /// there go.
    ///
    /// # Errors
    /// When a directory cannot be made, for instance on a read-only or full file system.
    pub fn create(root_dir: &Path) -> Result<Self, BuildError> {
        let failed = |path: &Path, source| BuildError::State { path: path.to_owned(), source };
        fs::create_dir_all(root_dir).map_err(|source| failed(root_dir, source))?;
        let root_dir = fs::canonicalize(root_dir).map_err(|source| failed(root_dir, source))?;
        remove_left(&root_dir);
        let (starting, lock) = start(&root_dir)?;
        for number in 0.. {
            let path = root_dir.join(format!("{BUILD}{number}"));
            // Never onto another build's directory, for no such directory is empty.
            match fs::rename(&starting, &path) {
                Ok(()) => return Ok(Self { path, _lock: lock }),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::AlreadyExists
                            | io::ErrorKind::DirectoryNotEmpty
                            | io::ErrorKind::NotADirectory
                    ) => {}
                Err(source) => return Err(failed(&path, source)),
            }
        }
        unreachable!("an unbounded range of names ends at an error")
    }

    /// Has it removed too where a build that was told to stop does not come to its end in time.
    pub fn remove_when_given_up(&self, interrupt: &Interrupt) {
        let path = self.path.clone();
        interrupt.when_given_up(move || remove_in_use(&path));
    }

    /// Where it is; an absolute path without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it, made now.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf, BuildError> {
        let path = self.path.join(name);
        match DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
            Err(source) => Err(BuildError::State { path, source }),
        }
    }

    /// Removes a directory in it that nobody needs any more. What cannot be removed now goes, or is said, with the rest.
    pub fn remove_directory(&self, name: &str) {
        let path = self.path.join(name);
        let removed = Root::open(&path, KeepOut::default())
            .and_then(|root| park::clear(&root).map_err(io::Error::other));
        if let Err(error) = removed {
            tracing::debug!("cannot remove {}: {error}", path.display());
        }
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Makes a directory with a lock in it that is held: nobody ever sees one that has its name and not its lock.
fn start(root_dir: &Path) -> Result<(PathBuf, File), BuildError> {
    for number in 0.. {
        let path = root_dir.join(format!("{STARTING}{number}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {
                let lock = lock(&path).map_err(|source| BuildError::State { path: path.clone(), source })?;
                return Ok((path, lock));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(BuildError::State { path, source }),
        }
    }
    unreachable!("an unbounded range of names ends at an error")
}

fn lock(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(directory.join(LOCK))?;
    if let Err(TryLockError::Error(error)) = file.try_lock() {
        // A file system without locks: nobody can lock it, so nobody will take it for a dead build's.
        tracing::debug!("{} cannot be locked: {error}", directory.display());
    }
    Ok(file)
}

/// Removes what killed builds have left. That something cannot be removed is no reason not to build.
fn remove_left(root_dir: &Path) {
    let Ok(entries) = fs::read_dir(root_dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(BUILD));
        let is_number = number.is_some_and(|number| number.parse::<u64>().is_ok());
        if !is_number || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        // Held until all of it is gone.
        let Some(_lock) = lock_of_the_dead(&path) else { continue };
        tracing::info!("Removing {}, which a build that was killed has left", path.display());
        if let Err(error) = remove(&path) {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

/// The lock of a directory whose build is no more; `None` if it is at it, or that cannot be told.
fn lock_of_the_dead(directory: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).open(directory.join(LOCK)).ok()?;
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => {
            tracing::debug!("{} cannot be locked: {error}", directory.display());
            None
        }
    }
}

/// Removes a directory however deep it is; the lock last, so that one that could not be removed whole is known again.
fn remove(path: &Path) -> io::Result<()> {
    let lock = zuwai_layer::ImagePath::new(LOCK).map(|lock| KeepOut::new([lock])).unwrap_or_default();
    let root = Root::open(path, lock)?;
    park::clear(&root).map_err(io::Error::other)?;
    fs::remove_dir_all(path)
}

/// As [`remove`], while other threads may still write there.
fn remove_in_use(path: &Path) {
    for _ in 0..ATTEMPTS {
        match remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_side_by_side_have_directories_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        let root_dir = parent.path().join("a/b");
        let (one, two) = (StateDir::create(&root_dir).unwrap(), StateDir::create(&root_dir).unwrap());
        assert_ne!(one.path(), two.path());
        let inside = one.directory("roots").unwrap();
        assert!(inside.is_dir());
        drop(one);
        assert!(!inside.exists() && two.path().is_dir());
        drop(two);
        assert_eq!(fs::read_dir(&root_dir).unwrap().count(), 0);
    }

    #[test]
    fn the_state_of_a_build_that_goes_on_is_removed_when_it_is_given_up() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(parent.path()).unwrap();
        let trees = state.directory(StateDir::TREES).unwrap();
        let interrupt = Interrupt::new();
        state.remove_when_given_up(&interrupt);
        let writing = std::thread::spawn(move || {
            // Writes until there is nowhere to write to.
            (0..).take_while(|number| fs::write(trees.join(format!("{number}")), "x").is_ok()).count()
        });
        while fs::read_dir(state.path().join(StateDir::TREES)).unwrap().count() < 100 {}
        interrupt.give_up();
        assert!(!state.path().exists());
        assert!(writing.join().unwrap() >= 100);
    }

    #[test]
    fn what_a_killed_build_has_left_goes_and_what_lives_stays() {
        let parent = tempfile::tempdir().unwrap();
        let living = StateDir::create(parent.path()).unwrap();
        // Nothing of a killed process is dropped, but the kernel closes its files.
        let killed = StateDir::create(parent.path()).unwrap();
        let left = killed.path().to_owned();
        fs::create_dir_all(killed.directory("trees").unwrap().join("a/b")).unwrap();
        let lock = killed._lock.try_clone().unwrap();
        std::mem::forget(killed);
        lock.unlock().unwrap();
        let foreign = ["build-x", "other", "build-7"].map(|name| parent.path().join(name));
        foreign.iter().for_each(|path| fs::create_dir(path).unwrap());
        let next = StateDir::create(parent.path()).unwrap();
        assert_eq!(next.path(), left, "its number is free again");
        assert!(!left.join("trees").exists() && living.path().is_dir());
        for path in foreign {
            assert!(path.is_dir(), "{}: no build's, or not known to be a dead one's", path.display());
        }
    }

    #[test]
    fn a_place_that_cannot_be_made_is_named() {
        let error = StateDir::create(Path::new("/proc/nothing/here")).unwrap_err();
        assert!(error.to_string().contains("/proc/nothing/here"), "{error}");
    }
}
