//! Everything one build keeps on disk, in a directory of its own that goes when the build ends.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use zuwai_rootfs::signals::Interrupt;

use crate::error::BuildError;
use crate::execute::in_place::OWN;

/// How often the directory of a build that goes on is emptied before it is left.
const ATTEMPTS: usize = 100;

/// The state of one build: `ROOT_DIR/build-N`, readable by its owner alone.
///
/// Two builds never share one, so that builds side by side and builds one after the other do not see each other's
/// trees. The directory is removed when the value is dropped, whatever way the build ended.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// The directory of trees in it.
    pub const TREES: &str = "trees";

    /// Makes a new directory below `root_dir`, which is made too if it is missing.
    ///
    /// # Errors
    /// When a directory cannot be made, for instance on a read-only or full file system.
    pub fn create(root_dir: &Path) -> Result<Self, BuildError> {
        let failed = |path: &Path, source| BuildError::State { path: path.to_owned(), source };
        fs::create_dir_all(root_dir).map_err(|source| failed(root_dir, source))?;
        let root_dir = fs::canonicalize(root_dir).map_err(|source| failed(root_dir, source))?;
        for number in 0.. {
            let path = root_dir.join(format!("build-{number}"));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
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
        match fs::DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
            Err(source) => Err(BuildError::State { path, source }),
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

fn remove(path: &Path) -> io::Result<()> {
    // Files of the container itself that could not be given back are nobody's to remove.
    let own = path.join(StateDir::TREES).join(OWN);
    if fs::read_dir(own).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(());
    }
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
    fn the_containers_own_files_are_never_removed() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::create(parent.path()).unwrap();
        let own = state.directory(StateDir::TREES).unwrap().join(OWN);
        fs::create_dir_all(own.join("etc")).unwrap();
        drop(state);
        assert!(own.join("etc").is_dir());
    }

    #[test]
    fn a_place_that_cannot_be_made_is_named() {
        let error = StateDir::create(Path::new("/proc/nothing/here")).unwrap_err();
        assert!(error.to_string().contains("/proc/nothing/here"), "{error}");
    }
}
