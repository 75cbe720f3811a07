//! Directories of the container's that stand where an image has something else, moved out of its way.
//!
//! What is mounted in a directory keeps the directory where it is; an image may have a link there. So it is with
//! `/var/run`, where Kubernetes mounts `/var/run/secrets/...` in every pod, and Debian has a link to `/run`. A mount point
//! cannot be moved, but a directory above one can, and takes along what is mounted in it. It goes to a directory that is
//! kept out, and comes back before anything else is built in its place. Each has a number there, and a file `N.path` that
//! says whence it came: a build that is killed leaves both.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::CWD;
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use crate::error::RootfsError;
use crate::root::Root;

/// No path is longer, in bytes.
const PATH_LIMIT: u64 = 1 << 20;

/// Where displaced directories wait, and which these are.
#[derive(Debug)]
pub(crate) struct Displaced {
    directory: PathBuf,
    moved: Mutex<Vec<(ImagePath, u32)>>,
    /// Whether there are any: this is asked for every path.
    any: AtomicBool,
}

impl Displaced {
    /// Those that wait in a directory: none if it is missing, as it is before the first one.
    pub fn load(directory: PathBuf) -> io::Result<Self> {
        let mut moved = Vec::new();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        for entry in entries.into_iter().flatten() {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".path")?.parse::<u32>().ok());
            let Some(number) = number else { continue };
            let mut path = Vec::new();
            File::open(directory.join(&name))?.take(PATH_LIMIT).read_to_end(&mut path)?;
            // Without the directory it had not been moved yet, or was back already.
            if directory.join(number.to_string()).exists()
                && let Ok(path) = ImagePath::new(&path)
            {
                moved.push((path, number));
            }
        }
        moved.sort();
        let any = AtomicBool::new(!moved.is_empty());
        Ok(Self { directory, moved: Mutex::new(moved), any })
    }

    /// Whether a path is one of these, or below one.
    pub fn covers(&self, path: &ImagePath) -> bool {
        self.any.load(Ordering::Acquire) && self.moved().iter().any(|(moved, _)| path.starts_with(moved))
    }

    /// Moves a directory of the root away; false if that cannot be done.
    pub fn move_away(&self, root: &Root, path: &ImagePath) -> Result<bool, RootfsError> {
        let failed = || RootfsError::host("move a directory to", &self.directory);
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed()(error)),
            _ => {}
        }
        let mut moved = self.moved();
        let is_free = |number: &u32| !self.place(*number).exists();
        let Some(number) = (0..u32::MAX).find(is_free) else { return Ok(false) };
        let record = self.record(number);
        fs::write(&record, path.as_bytes()).map_err(failed())?;
        let (parent, name) = root.resolve_parent(path)?;
        match rustix::fs::renameat(&parent, name.as_slice(), CWD, self.place(number)) {
            Ok(()) => {}
            // Another file system, a mount point itself, or a directory of a lower layer of an overlayfs.
            Err(Errno::XDEV | Errno::BUSY) => {
                fs::remove_file(&record).map_err(failed())?;
                return Ok(false);
            }
            Err(error) => return Err(RootfsError::io("move out of the way", path)(error)),
        }
        tracing::warn!(
            %path,
            "the image has no directory here: commands do not see what this container has mounted below it"
        );
        moved.push((path.clone(), number));
        self.any.store(true, Ordering::Release);
        Ok(true)
    }

    /// Moves all of them back. What the image had in their place is gone already.
    pub fn put_back(&self, root: &Root) -> Result<(), RootfsError> {
        let mut moved = self.moved();
        while let Some((path, number)) = moved.last() {
            let place = root.host_path().join(path.as_relative());
            let back = place
                .parent()
                .map_or(Ok(()), |parent| DirBuilder::new().recursive(true).mode(0o755).create(parent))
                .and_then(|()| fs::rename(self.place(*number), &place))
                .and_then(|()| fs::remove_file(self.record(*number)));
            back.map_err(RootfsError::io("move back", path))?;
            moved.pop();
        }
        self.any.store(false, Ordering::Release);
        Ok(())
    }

    /// Leaves them where they are for good.
    pub fn forget(&self) -> io::Result<()> {
        let mut moved = self.moved();
        moved.iter().try_for_each(|(_, number)| fs::remove_file(self.record(*number)))?;
        moved.clear();
        self.any.store(false, Ordering::Release);
        Ok(())
    }

    fn place(&self, number: u32) -> PathBuf {
        self.directory.join(number.to_string())
    }

    fn record(&self, number: u32) -> PathBuf {
        self.directory.join(format!("{number}.path"))
    }

    fn moved(&self) -> MutexGuard<'_, Vec<(ImagePath, u32)>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where they wait, below a parking directory.
pub(crate) fn directory(parking: &Path) -> PathBuf {
    parking.join("displaced")
}
