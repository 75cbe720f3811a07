//! The directories of `RUN --mount=type=cache`: kept below the root directory, from build to build.
//!
//! Each cache is `cache-mounts/KEY/N`. The key is made of all that tells one cache from another, as with BuildKit: its
//! id, what it starts with, and the mode and owner it starts with. `N` is 0, but for `sharing=private`, where every
//! user at the same time has a number of its own. A lock file beside each directory says who uses it; the kernel lets
//! go of it when a build ends, however it ends.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zuwai_dockerfile::mount::Sharing;
use zuwai_layer::Digest;
use zuwai_rootfs::copy::{CopyOptions, SourceTree, copy};
use zuwai_rootfs::signals::Interrupt;
use zuwai_rootfs::{KeepOut, Root};

use crate::error::StepError;
use crate::plan::mounts::CacheMount;

/// How often it is looked whether a cache that another build holds is free.
const WAIT: Duration = Duration::from_millis(100);

/// Where caches are.
#[derive(Debug)]
pub struct CacheMounts {
    directory: PathBuf,
    /// `BUILDKIT_CACHE_MOUNT_NS`: ids of one namespace are not those of another.
    namespace: String,
    /// Nobody else may use a cache at the same time: in place it is moved for as long as a step runs.
    exclusive: bool,
}

/// A cache that a step uses; others wait for it, share it or take another one, until this is dropped.
#[derive(Debug)]
pub struct HeldCache {
    directory: PathBuf,
    _lock: File,
}

impl HeldCache {
    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// It cannot be read.
    pub fn unusable(&self, source: io::Error) -> StepError {
        StepError::Cache { path: self.directory.clone(), source }
    }
}

impl CacheMounts {
    /// Caches below a root directory.
    pub fn new(root_dir: &Path, namespace: &str, exclusive: bool) -> Self {
        Self { directory: root_dir.join("cache-mounts"), namespace: namespace.to_owned(), exclusive }
    }

    /// Gives a cache, made now if it is new. `origin` is the tree it starts with: what tells it from others, and where
    /// it is.
    ///
    /// # Errors
    /// When a directory cannot be made or filled, or the build is told to stop while it waits.
    pub fn hold(
        &self,
        cache: &CacheMount,
        origin: Option<(&str, &Path)>,
        interrupt: &Interrupt,
    ) -> Result<HeldCache, StepError> {
        let place = self.directory.join(self.key(cache, origin.map(|(key, _)| key)));
        let failed = |source| StepError::Cache { path: place.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&place).map_err(failed)?;
        let (number, lock) = self.lock(&place, cache, interrupt)?;
        let directory = place.join(number.to_string());
        if !directory.is_dir() {
            fill(&place, &directory, cache, origin.map(|(_, path)| path))?;
        }
        let directory = fs::canonicalize(&directory).map_err(failed)?;
        Ok(HeldCache { directory, _lock: lock })
    }

    /// Every field with its length before it, so that no two caches share a key.
    fn key(&self, cache: &CacheMount, origin: Option<&str>) -> String {
        let start = cache.start.map(|(mode, (uid, gid))| format!("{mode:o} {uid} {gid}"));
        let fields = [Some(self.namespace.as_str()), Some(&cache.id), start.as_deref(), origin];
        let mut framed = Vec::new();
        for field in fields {
            let text = field.unwrap_or_default();
            framed.extend_from_slice(&[u8::from(field.is_some())]);
            framed.extend_from_slice(&(text.len() as u64).to_le_bytes());
            framed.extend_from_slice(text.as_bytes());
        }
        Digest::of(&framed).hex()
    }

    fn lock(
        &self,
        place: &Path,
        cache: &CacheMount,
        interrupt: &Interrupt,
    ) -> Result<(u32, File), StepError> {
        let shared = cache.sharing == Sharing::Shared && !self.exclusive;
        let mut number = 0;
        let mut waits = false;
        loop {
            interrupt.check()?;
            let path = place.join(format!("{number}.lock"));
            let failed = |source| StepError::Cache { path: path.clone(), source };
            let file =
                OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
            let locked = if shared { file.try_lock_shared() } else { file.try_lock() };
            match locked {
                Ok(()) => return Ok((number, file)),
                Err(TryLockError::WouldBlock) if cache.sharing == Sharing::Private => number += 1,
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut waits, true) {
                        tracing::info!(
                            "Waiting for the cache mount {:?}, which another build uses",
                            cache.id
                        );
                    }
                    std::thread::sleep(WAIT);
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}

/// Makes a cache beside its place and moves it there, so that a half-made one is never used.
fn fill(place: &Path, directory: &Path, cache: &CacheMount, origin: Option<&Path>) -> Result<(), StepError> {
    let new = directory.with_extension("new");
    let failed = |source| StepError::Cache { path: place.to_owned(), source };
    if new.exists() {
        fs::remove_dir_all(&new).map_err(failed)?;
    }
    fs::create_dir(&new).map_err(failed)?;
    let (mode, (uid, gid)) = cache.start.unwrap_or((0o755, (0, 0)));
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).map_err(failed)?;
    match std::os::unix::fs::chown(&new, Some(uid), Some(gid)) {
        // An ordinary user is root in a namespace of its own.
        Err(_) if (uid, gid) == (0, 0) => {}
        owned => owned.map_err(failed)?,
    }
    if let Some(origin) = origin {
        let open = |path: &Path| Root::open(path, KeepOut::default()).map_err(failed);
        copy(&open(&new)?, SourceTree::stage(&open(origin)?), &["."], b"/", &CopyOptions::default())?;
    }
    fs::rename(&new, directory).map_err(failed)
}
