//! What tests keep between runs, and the folder that a run has for itself.
//!
//! Kept: the oracle's root, base images. They are made once, by whichever test process comes first, in
//! `ZUWAI_TEST_CACHE`, else `XDG_CACHE_HOME/zuwai-test`, else `/var/tmp/zuwai-test-cache` (with the user's number for another
//! user than root). Removing the folder is always safe while no test runs.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The folder that is kept.
///
/// # Panics
/// If it cannot be made, or belongs to somebody else.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let me = std::fs::metadata("/proc/self").unwrap().uid();
        let xdg = || std::env::var_os("XDG_CACHE_HOME").map(|home| Path::new(&home).join("zuwai-test"));
        let suffix = if me == 0 { String::new() } else { format!("-{me}") };
        let dir = std::env::var_os("ZUWAI_TEST_CACHE")
            .map(PathBuf::from)
            .or_else(xdg)
            .unwrap_or_else(|| PathBuf::from(format!("/var/tmp/zuwai-test-cache{suffix}")));
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).unwrap();
        let owner = std::fs::metadata(&dir).unwrap().uid();
        assert!(owner == me, "{} belongs to user {owner}, not to {me}: set ZUWAI_TEST_CACHE", dir.display());
        dir
    })
}

/// `directory()/name`, made by `make` if it is not there yet. `make` is given a path that does not exist, in the same
/// folder; what it leaves there (a file or a folder) becomes the entry only when it is whole. Other test processes wait.
///
/// # Panics
/// If `make` does.
pub fn kept(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let path = directory().join(name);
    if path.exists() {
        return path;
    }
    let lock = File::create(directory().join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    if !path.exists() {
        let unfinished = directory().join(format!("{name}.unfinished"));
        remove(&unfinished);
        make(&unfinished);
        std::fs::rename(&unfinished, &path).unwrap();
    }
    path
}

/// The folder of this test process, on a file system that can hold images. Removed by a later run, when this process is gone.
pub fn run_directory() -> &'static Path {
    static RUN: OnceLock<(PathBuf, File)> = OnceLock::new();
    &RUN.get_or_init(|| {
        let runs = directory().join("runs");
        std::fs::create_dir_all(&runs).unwrap();
        own_directory(&runs, "run-")
    })
    .0
}

/// A folder of this test process with a short path, for programs that cannot do with a long one. Removed by a later run.
pub fn short_directory() -> &'static Path {
    static RUN: OnceLock<(PathBuf, File)> = OnceLock::new();
    &RUN.get_or_init(|| own_directory(Path::new("/tmp"), "zuwai-test-")).0
}

/// A new folder that is locked as long as this process lives; those of processes that are gone are removed.
fn own_directory(parent: &Path, prefix: &str) -> (PathBuf, File) {
    sweep(parent, prefix);
    let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(parent).unwrap().keep();
    let lock = File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    (dir, lock)
}

/// A folder for one test, removed when dropped.
#[must_use]
pub fn scratch(prefix: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("{prefix}-")).tempdir_in(run_directory()).unwrap()
}

/// Removes the folders of runs whose process is gone: nobody holds their lock.
fn sweep(parent: &Path, prefix: &str) {
    for entry in std::fs::read_dir(parent).unwrap().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        // A young one may be about to be locked.
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok());
        if age.is_none_or(|age| age.as_secs() < 30) {
            continue;
        }
        let lock = File::open(entry.path().join("lock"));
        if !lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
            remove(&entry.path());
        }
    }
}

fn remove(path: &Path) {
    // Podman leaves its storage mounted.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|mount| Path::new(mount).starts_with(path));
    for mount in below.collect::<Vec<_>>().into_iter().rev() {
        let _ = std::process::Command::new("umount").args(["-l", mount]).status();
    }
    let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}
