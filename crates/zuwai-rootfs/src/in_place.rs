//! A container's own `/` as the root of a build: what it has there waits aside, and comes back.
//!
//! Everything that in place keeps lies in `/.zuwai`, on the file system of `/`, so that what goes there is renamed: the
//! container's own files in `own`, and the trees of stages beside it. A lock says that a build is at it; the kernel lets
//! go of it when the build ends, however it ends. What a build that was killed has left is put right by the next one:
//!
//! | there is     | so `/` holds                                          | and is put right by               |
//! |--------------|-------------------------------------------------------|-----------------------------------|
//! | `own.moving` | the container's own files, those that are not in it   | moving those in it back           |
//! | `own`        | an image's files                                      | removing these, then as above     |
//! | neither      | the container's own files                             | nothing                           |
//!
//! A directory of the container's that an image has something else in place of, with mounts in it, waits in `displaced`,
//! and is back before the next image comes. What the killed build kept out is in `kept`, and stays: its context, say. Only the times of directories that hold
//! something kept out can differ after that.

mod preflight;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zuwai_layer::ImagePath;

pub use self::preflight::{PreflightError, check};
use crate::displaced::{self, Displaced};
use crate::error::RootfsError;
use crate::mounts;
use crate::park;
use crate::restore;
use crate::root::{KeepOut, Root};
use crate::unpack::Hidden;

/// The directory below the root that everything is in.
pub const PARKING: &str = ".zuwai";

const OWN: &str = "own";
const MOVING: &str = "own.moving";
const KEPT: &str = "kept";
const LOCK: &str = "lock";

/// No list of what is kept out is longer than this many bytes.
const KEPT_LIMIT: u64 = 16 << 20;

/// Why a build cannot be, or go on, in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InPlaceError {
    /// Another build is at it.
    #[error(
        "another build runs in place in this container: {path} is locked; builds in place come one after the other, or \
         in containers of their own", path = path.display()
    )]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The container has its own files back already.
    #[error("the build in place has ended, and {path} is gone", path = path.display())]
    Ended {
        /// The parking directory.
        path: PathBuf,
    },
    /// The system refused something outside of the image.
    #[error("cannot {doing} {path}", path = path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The path on the host.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A file could not be moved or removed.
    #[error(transparent)]
    Tree(#[from] RootfsError),
}

impl InPlaceError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

/// A root that one build has to itself. When this is dropped the container's own files are back.
#[derive(Debug)]
pub struct InPlace {
    root: PathBuf,
    keep_out: KeepOut,
    parking: PathBuf,
    _lock: File,
    /// The image's files stay, and the container's own go.
    leave_image: bool,
}

impl InPlace {
    /// Takes a root for a build, after what a killed one has left there was put right. Nothing is moved yet.
    /// `keep_out` is what in the root is not the image's; the parking directory is added.
    ///
    /// # Errors
    /// When another build has it, or nothing can be written there.
    pub fn begin(root: &Path, mut keep_out: KeepOut) -> Result<Self, InPlaceError> {
        let parking = root.join(PARKING);
        keep_out.insert(parking_path());
        let lock = loop {
            match DirBuilder::new().mode(0o700).create(&parking) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(InPlaceError::io("make", &parking)(error)),
            }
            if let Some(lock) = lock(&parking)? {
                break lock;
            }
        };
        put_right(root, &parking, &keep_out)?;
        write_kept(&parking, &keep_out)?;
        let keep_out = with_displaced(keep_out, &parking)?;
        Ok(Self { root: root.to_owned(), keep_out, parking, _lock: lock, leave_image: false })
    }

    /// Where trees wait: on the root's file system, and kept out.
    #[must_use]
    pub fn parking(&self) -> &Path {
        &self.parking
    }

    /// The root, as an image sees it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn root(&self) -> Result<Root, InPlaceError> {
        Root::open(&self.root, self.keep_out.clone()).map_err(InPlaceError::io("open", &self.root))
    }

    /// Moves what the container has in the root aside. If that cannot be done, all of it is back where it was.
    ///
    /// # Errors
    /// When something cannot be moved.
    pub fn set_aside(&self) -> Result<(), InPlaceError> {
        let (root, moving) = (self.root()?, self.parking.join(MOVING));
        if let Err(error) = park::park(&root, &moving, None) {
            move_back(&root, &moving)?;
            return Err(error.into());
        }
        rename(&moving, &self.parking.join(OWN))
    }

    /// Moves the stage in the root to a directory of this name, and gives its tree there.
    ///
    /// # Errors
    /// When something cannot be moved.
    pub fn park(&self, name: &str, hidden: &Hidden) -> Result<Root, InPlaceError> {
        let root = self.root()?;
        let parked = park::park(&root, &self.parking.join(name), Some(hidden))?;
        put_back_displaced(&root)?;
        Ok(parked)
    }

    /// Removes the stage in the root.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear(&self) -> Result<(), InPlaceError> {
        clear(&self.root()?)
    }

    /// Leaves the image's files in the root when the build ends well, in place of the container's own, which are gone.
    pub fn leave_image(&mut self) {
        self.leave_image = true;
    }

    /// Ends it: the container has its own files back, or the image's for good.
    ///
    /// # Errors
    /// When something cannot be moved back. It stays in the parking directory then.
    pub fn finish(mut self) -> Result<(), InPlaceError> {
        self.end(true)
    }

    fn end(&mut self, well: bool) -> Result<(), InPlaceError> {
        if well && self.leave_image {
            // Without its name it is nothing that comes back.
            let own = self.parking.join(OWN);
            if own.exists() {
                rename(&own, &self.parking.join("gone"))?;
            }
            if let Some(displaced) = self.keep_out.displaced() {
                displaced.forget().map_err(InPlaceError::io("leave what was displaced in", &self.parking))?;
            }
        } else {
            give_back(&self.root()?, &self.parking)?;
        }
        // Once: dropping it finds nothing to do.
        remove_parking(&self.parking)
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        if !self.parking.exists() {
            return;
        }
        if let Err(error) = self.end(false) {
            tracing::warn!(
                "cannot give the container its files back, they are in {}: {error}",
                self.parking.display()
            );
        }
    }
}

/// Puts right what a killed build has left in a root, if one has; says whether. To be called before anything in the root
/// is looked at: what a build is asked to read may be among what comes back. `mounts` is kept out.
///
/// # Errors
/// When something cannot be moved back.
pub fn recover(root: &Path, mut mounts: KeepOut) -> Result<bool, InPlaceError> {
    let parking = root.join(PARKING);
    match fs::symlink_metadata(&parking) {
        // Nobody else's directory is worth trusting with what goes to `/`.
        Ok(found) if found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() => {}
        _ => return Ok(false),
    }
    let _lock = match lock(&parking) {
        Ok(Some(lock)) => lock,
        // A build that is at it, or just has been.
        Ok(None) | Err(InPlaceError::Busy { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    mounts.insert(parking_path());
    let found = put_right(root, &parking, &mounts)?;
    remove_parking(&parking)?;
    Ok(found)
}

fn parking_path() -> ImagePath {
    ImagePath::new(PARKING).unwrap_or_default()
}

/// Locks a parking directory; `None` if it went meanwhile.
fn lock(parking: &Path) -> Result<Option<File>, InPlaceError> {
    let path = parking.join(LOCK);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = match options.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(InPlaceError::io("open", &path)(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(InPlaceError::Busy { path }),
        Err(TryLockError::Error(error)) => return Err(InPlaceError::io("lock", &path)(error)),
    }
    // Whoever had it may have removed it.
    let own = file.metadata().map_err(InPlaceError::io("look at", &path))?;
    let there = fs::symlink_metadata(&path);
    Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())).then_some(file))
}

/// What a killed build has left in a parking directory that is locked: nothing but the lock is in it then.
fn put_right(root: &Path, parking: &Path, keep_out: &KeepOut) -> Result<bool, InPlaceError> {
    let left = [OWN, MOVING].iter().any(|name| parking.join(name).exists());
    if left {
        tracing::info!(
            "Giving the container back its own files, which a build that was killed has left aside"
        );
        let kept = read_kept(parking)?;
        let keep_out = KeepOut::new(keep_out.iter().cloned().chain(kept));
        let keep_out = with_displaced(keep_out, parking)?;
        give_back(&Root::open(root, keep_out).map_err(InPlaceError::io("open", root))?, parking)?;
    }
    empty(parking)?;
    Ok(left)
}

fn give_back(root: &Root, parking: &Path) -> Result<(), InPlaceError> {
    let (own, moving) = (parking.join(OWN), parking.join(MOVING));
    if own.exists() {
        clear(root)?;
        rename(&own, &moving)?;
    }
    move_back(root, &moving)
}

fn move_back(root: &Root, moving: &Path) -> Result<(), InPlaceError> {
    if moving.exists() {
        let parked = Root::open(moving, KeepOut::default()).map_err(InPlaceError::io("open", moving))?;
        restore::restore(&parked, root)?;
        fs::remove_dir(moving).map_err(InPlaceError::io("remove", moving))?;
    }
    Ok(())
}

/// Removes an image from a root, and has the container's directories back that gave way to it.
fn clear(root: &Root) -> Result<(), InPlaceError> {
    park::clear(root)?;
    put_back_displaced(root)
}

fn put_back_displaced(root: &Root) -> Result<(), InPlaceError> {
    Ok(root.keep_out().displaced().map_or(Ok(()), |displaced| displaced.put_back(root))?)
}

fn with_displaced(keep_out: KeepOut, parking: &Path) -> Result<KeepOut, InPlaceError> {
    let directory = displaced::directory(parking);
    let displaced = Displaced::load(directory.clone()).map_err(InPlaceError::io("read", &directory))?;
    Ok(keep_out.with_displaced(Arc::new(displaced)))
}

fn rename(from: &Path, to: &Path) -> Result<(), InPlaceError> {
    fs::rename(from, to).map_err(InPlaceError::io("move", from))
}

/// Removes what is in a parking directory, but for its lock, and for what is mounted there because a directory that gave
/// way to an image could not be moved back: nothing of that is ours.
fn empty(parking: &Path) -> Result<(), InPlaceError> {
    let real = parking.canonicalize().map_err(InPlaceError::io("find", parking))?;
    let mounted = mounts::list().map_err(InPlaceError::io("list what is mounted in", parking))?;
    let mounted = mounted.iter().filter_map(|mount| mount.point.strip_prefix(&real).ok());
    let kept =
        mounted.chain([Path::new(LOCK)]).filter_map(|path| ImagePath::new(path.as_os_str().as_bytes()).ok());
    let directory = Root::open(parking, KeepOut::new(kept)).map_err(InPlaceError::io("open", parking))?;
    Ok(park::clear(&directory)?)
}

fn remove_parking(parking: &Path) -> Result<(), InPlaceError> {
    empty(parking)?;
    let lock = parking.join(LOCK);
    fs::remove_file(&lock).map_err(InPlaceError::io("remove", &lock))?;
    match fs::remove_dir(parking) {
        // Another build waits there already.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => other.map_err(InPlaceError::io("remove", parking)),
    }
}

/// Notes what is kept out, each path with a zero byte after it. It is whole before anything is moved.
fn write_kept(parking: &Path, keep_out: &KeepOut) -> Result<(), InPlaceError> {
    let path = parking.join(KEPT);
    let text: Vec<u8> = keep_out.iter().flat_map(|path| path.as_bytes().iter().copied().chain([0])).collect();
    fs::write(&path, text).map_err(InPlaceError::io("write", &path))
}

fn read_kept(parking: &Path) -> Result<Vec<ImagePath>, InPlaceError> {
    let path = parking.join(KEPT);
    let mut text = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(KEPT_LIMIT).read_to_end(&mut text))
        .map_err(InPlaceError::io("read", &path))?;
    let paths = text.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    Ok(paths.filter_map(|path| ImagePath::clamped(path).ok()).collect())
}
