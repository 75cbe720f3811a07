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
use std::sync::Arc;
use std::time::Duration;

use zuwai_dockerfile::mount::Sharing;
use zuwai_layer::Digest;
use zuwai_rootfs::copy::{CopyOptions, SourceTree, copy};
use zuwai_rootfs::signals::Interrupt;
use zuwai_rootfs::{KeepOut, Root};

use crate::error::StepError;
use crate::plan::mounts::CacheMount;

/// How often it is looked whether a cache that somebody else holds is free.
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

/// What a cache starts with, where that is not nothing.
#[derive(Debug)]
pub struct Origin {
    /// What tells the tree from all others.
    pub identity: String,
    /// The tree.
    pub root: Arc<Root>,
}

/// A cache that a step uses; others wait for it, share it or take another one, until this is dropped.
#[derive(Debug)]
pub struct HeldCache {
    key: String,
    directory: PathBuf,
    _lock: File,
}

impl HeldCache {
    /// What tells it from all others.
    pub fn key(&self) -> &str {
        &self.key
    }

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
    /// The directory of all caches in a root directory.
    pub const DIRECTORY: &str = "cache-mounts";

    /// Caches below a root directory.
    pub fn new(root_dir: &Path, namespace: &str, exclusive: bool) -> Self {
        Self { directory: root_dir.join(Self::DIRECTORY), namespace: namespace.to_owned(), exclusive }
    }

    /// Gives a cache, made now if it is new. `origin` is the tree it starts with. A step that holds it already must not
    /// ask again: it would wait for itself.
    ///
    /// # Errors
    /// When a directory cannot be made or filled, or the build is told to stop while it waits.
    pub fn hold(
        &self,
        cache: &CacheMount,
        origin: Option<&Origin>,
        interrupt: &Interrupt,
    ) -> Result<HeldCache, StepError> {
        let key = self.key(cache, origin.map(|origin| origin.identity.as_str()));
        let place = self.directory.join(&key);
        let failed = |source| StepError::Cache { path: place.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&place).map_err(failed)?;
        let (number, lock) = self.lock(&place, cache, interrupt)?;
        let directory = place.join(number.to_string());
        if !directory.is_dir() {
            // Others may share the cache and find it missing at the same time: one of them makes it.
            let making = open_lock(&place.join("making.lock"))?;
            making.lock().map_err(failed)?;
            if !directory.is_dir() {
                fill(&place, &directory, cache, origin)?;
            }
        }
        let directory = fs::canonicalize(&directory).map_err(failed)?;
        Ok(HeldCache { key, directory, _lock: lock })
    }

    /// What tells a cache from all others: every field with its length before it, so that no two caches share a key.
    pub fn key(&self, cache: &CacheMount, origin: Option<&str>) -> String {
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
            let file = open_lock(&path)?;
            let locked = if shared { file.try_lock_shared() } else { file.try_lock() };
            match locked {
                Ok(()) => return Ok((number, file)),
                Err(TryLockError::WouldBlock) if cache.sharing == Sharing::Private => number += 1,
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut waits, true) {
                        tracing::info!(
                            "Waiting for the cache mount {:?}, which another step or build uses",
                            cache.id
                        );
                    }
                    std::thread::sleep(WAIT);
                }
                Err(TryLockError::Error(source)) => return Err(StepError::Cache { path, source }),
            }
        }
    }
}

fn open_lock(path: &Path) -> Result<File, StepError> {
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    opened.map_err(|source| StepError::Cache { path: path.to_owned(), source })
}

/// Makes a cache beside its place and moves it there, so that a half-made one is never used.
fn fill(
    place: &Path,
    directory: &Path,
    cache: &CacheMount,
    origin: Option<&Origin>,
) -> Result<(), StepError> {
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
        let root = Root::open(&new, KeepOut::default()).map_err(failed)?;
        copy(&root, SourceTree::stage(&origin.root), &["."], b"/", &CopyOptions::default())?;
    }
    fs::rename(&new, directory).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(id: &str, sharing: Sharing) -> CacheMount {
        CacheMount {
            id: id.to_owned(),
            from: None,
            source: String::new(),
            read_only: false,
            sharing,
            start: None,
        }
    }

    fn hold(caches: &CacheMounts, cache: &CacheMount) -> HeldCache {
        caches.hold(cache, None, &Interrupt::new()).unwrap()
    }

    #[test]
    fn every_part_of_a_key_tells_caches_apart() {
        let caches = CacheMounts::new(Path::new("/"), "", false);
        let plain = cache("a", Sharing::Shared);
        let started = CacheMount { start: Some((0o755, (0, 0))), ..plain.clone() };
        let keys = [
            caches.key(&plain, None),
            caches.key(&plain, Some("")),
            caches.key(&plain, Some("tree")),
            caches.key(&started, None),
            caches.key(&cache("", Sharing::Shared), Some("a")),
            CacheMounts::new(Path::new("/"), "n", false).key(&plain, None),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(caches.key(&cache("a", Sharing::Locked), None), keys[0]);
    }

    #[test]
    fn caches_are_shared_as_they_ask() {
        let root_dir = tempfile::tempdir().unwrap();
        let caches = CacheMounts::new(root_dir.path(), "", false);
        let (shared, private) = (cache("a", Sharing::Shared), cache("a", Sharing::Private));
        let one = hold(&caches, &shared);
        assert_eq!(hold(&caches, &shared).directory(), one.directory());
        let two = hold(&caches, &private);
        assert_ne!(two.directory(), one.directory());
        assert_eq!(one.key(), caches.key(&shared, None));
        drop(two);
        // Whoever waits for a lock ends when the build does.
        let locked = cache("b", Sharing::Locked);
        let held = hold(&caches, &locked);
        let interrupt = Interrupt::new();
        interrupt.raise(15);
        assert!(matches!(caches.hold(&locked, None, &interrupt), Err(StepError::Run(_))));
        drop(held);
        hold(&caches, &locked);
    }
}
