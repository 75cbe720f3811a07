//! Where the directories of layers are.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use zuwai_layer::ImagePath;

use super::OverlayMount;
use crate::copy::transfer::{Transfer, set_owner_and_mode, times};
use crate::error::RootfsError;
use crate::metadata::{self, Metadata};
use crate::remove::{Fate, remove_tree};
use crate::root::{KeepOut, Root};
use crate::run_error::RunError;
use crate::sandbox::views::Viewer;

/// Two layers that are always empty: an overlay without an upper directory needs two lower ones.
pub(super) const EMPTY_LAYERS: [&str; 2] = ["e-0", "e-1"];

/// Where overlays are mounted for the moment in which they are opened.
pub(crate) const MOUNT_POINT: &str = "m-0";

/// A directory that holds the directories of layers, all of one file system, and the helper process that shows them.
/// Nothing else may be in it.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    next: AtomicU64,
    viewer: Mutex<Option<Viewer>>,
}

impl Room {
    /// Makes the directory, or takes the one that is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, RootfsError> {
        let path = path.as_ref();
        make_directory(path, 0o700).map_err(RootfsError::host("make", path))?;
        let path = path.canonicalize().map_err(RootfsError::host("find", path))?;
        for name in [EMPTY_LAYERS[0], EMPTY_LAYERS[1], MOUNT_POINT] {
            let path = path.join(name);
            make_directory(&path, 0o755).map_err(RootfsError::host("make", &path))?;
        }
        Ok(Self { path, next: AtomicU64::new(0), viewer: Mutex::default() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes an empty layer of mode 0755.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn layer(&self) -> Result<LayerDir, RootfsError> {
        loop {
            let name = in_base_36(self.next.fetch_add(1, Ordering::Relaxed));
            let path = self.path.join(&name);
            match DirBuilder::new().mode(0o755).create(&path) {
                Ok(()) => {
                    // Whatever this process masks.
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                        .map_err(RootfsError::host("set the mode of", &path))?;
                    return Ok(LayerDir { path, name });
                }
                // Of an earlier room in the same place.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(RootfsError::host("make", &path)(error)),
            }
        }
    }

    /// Has an overlay mounted, and gives its root directory: the mount ends when that is closed.
    pub(super) fn view(&self, overlay: &OverlayMount) -> Result<OwnedFd, RunError> {
        let mut viewer = self.viewer.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match &mut *viewer {
            Some(viewer) => viewer.view(overlay),
            None => viewer.insert(Viewer::start()?).view(overlay),
        };
        if matches!(opened, Err(RunError::Helper { .. } | RunError::HelperGone { .. })) {
            // The next one may fare better.
            *viewer = None;
        }
        opened
    }
}

/// The directory of one layer.
#[derive(Debug)]
pub struct LayerDir {
    path: PathBuf,
    name: String,
}

impl LayerDir {
    /// Its name in its room.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is on the host.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the directory that the kernel works in while this layer is written.
    pub(super) fn work(&self) -> String {
        format!("w-{}", self.name)
    }

    /// The layer alone, as a root: to unpack into. Not while it is part of a mounted overlay.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn root(&self) -> Result<Root, RootfsError> {
        open(&self.path)
    }

    /// Gives its root directory the mode, owner, attributes and time of another's.
    pub(super) fn look_like(&self, other: &Self) -> Result<(), RootfsError> {
        let (from, to) = (other.root()?, self.root()?);
        let failed = |doing| RootfsError::host(doing, &other.path);
        let metadata = Metadata::of(&from).map_err(failed("look at"))?;
        let xattrs = metadata::xattrs(&from).map_err(failed("read extended attributes of"))?;
        set_owner_and_mode(&to, (metadata.uid, metadata.gid), metadata.mode)
            .and_then(|()| Transfer::new().xattrs(to.as_fd(), &xattrs, &self.path.display()))
            .and_then(|()| rustix::fs::futimens(&to, &times(metadata.mtime)))
            .map_err(RootfsError::host("set the metadata of", &self.path))
    }

    /// Removes it with all it holds.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self) -> Result<(), RootfsError> {
        self.remove_work()?;
        remove_directory(&self.path)
    }

    /// Removes what the kernel has left of its work.
    pub(super) fn remove_work(&self) -> Result<(), RootfsError> {
        remove_directory(&self.path.with_file_name(self.work()))
    }
}

fn open(path: &Path) -> Result<Root, RootfsError> {
    Root::open(path, KeepOut::default()).map_err(RootfsError::host("open", path))
}

fn remove_directory(path: &Path) -> Result<(), RootfsError> {
    match open(path) {
        Err(RootfsError::Host { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        root => remove_tree(&root?, &ImagePath::root(), &|_| Fate::Remove)?,
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RootfsError::host("remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, mode.into()) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Short names: what the options of a mount may hold is little.
fn in_base_36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.extend(char::from_digit((number % 36) as u32, 36));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_names() {
        let cases = [(0, "0"), (9, "9"), (10, "a"), (35, "z"), (36, "10"), (1295, "zz"), (1296, "100")];
        for (number, name) in cases {
            assert_eq!(in_base_36(number), name);
        }
    }

    #[test]
    fn layers_of_an_earlier_room_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("room");
        let first = Room::create(&path).unwrap().layer().unwrap();
        fs::write(first.path().join("file"), "kept").unwrap();
        let second = Room::create(&path).unwrap().layer().unwrap();
        assert_eq!((first.name(), second.name()), ("0", "1"));
        first.remove().unwrap();
        assert!(!first.path().exists() && second.path().exists());
        first.remove().unwrap();
    }
}
