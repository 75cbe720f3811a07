//! What a RUN's mounts show: the files, directories, secrets and agents behind `--mount`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use zuwai_layer::ImagePath;
use zuwai_rootfs::copy::{CopyOptions, copy};
use zuwai_rootfs::metadata::Timestamp;
use zuwai_rootfs::place::Place;
use zuwai_rootfs::step_mount::{StepMount, StepMountKind};
use zuwai_rootfs::{KeepOut, Metadata, Root};

use super::Executor;
use super::cache_mounts::{HeldCache, Origin};
use crate::error::StepError;
use crate::plan::mounts::CacheMount;
use crate::plan::{RunMount, RunMountKind, Tree};
use crate::secret::SecretContent;
use crate::ssh;

/// Mode of a here-document that is executed as a file.
const SCRIPT_MODE: u32 = 0o755;

/// What the mounts of one step show. Caches are held and agents served until this is dropped.
#[derive(Default)]
pub struct Prepared {
    /// The mounts.
    pub mounts: Vec<StepMount>,
    /// Secrets that are variables.
    pub env: Vec<(OsString, OsString)>,
    caches: Vec<HeldCache>,
    agents: Vec<ssh::Serving>,
}

/// What mounts can show.
pub struct Sources<'e, 'a> {
    /// Who has it.
    pub executor: &'e Executor<'a>,
}

impl Sources<'_, '_> {
    /// Finds or makes what every mount shows, in order.
    ///
    /// # Errors
    /// When something is not there, at the place of the mount that asks for it.
    pub fn prepare(&self, mounts: &[RunMount]) -> Result<Prepared, StepError> {
        let mut prepared = Prepared::default();
        self.hold_caches(mounts, &mut prepared.caches)?;
        for mount in mounts {
            self.mount(mount, &mut prepared)
                .map_err(|source| StepError::Mount { span: mount.span, source: Box::new(source) })?;
        }
        Ok(prepared)
    }

    fn mount(&self, mount: &RunMount, prepared: &mut Prepared) -> Result<(), StepError> {
        let kind = match &mount.kind {
            RunMountKind::Bind { from, source, read_only } => {
                StepMountKind::Bind { source: self.place(from, source)?, read_only: *read_only }
            }
            RunMountKind::Cache(cache) => {
                let key = self.cache_key(cache)?;
                let Some(held) = prepared.caches.iter().find(|held| held.key() == key) else {
                    unreachable!("all caches of a step are held first")
                };
                let root = Root::open(held.directory(), KeepOut::default());
                let place = inside(&root.map_err(|source| held.unusable(source))?, &cache.source)?;
                let directory = place.host_path().unwrap_or(held.directory()).to_owned();
                StepMountKind::Cache { directory, read_only: cache.read_only }
            }
            RunMountKind::Tmpfs { size } => StepMountKind::Tmpfs { size: *size },
            RunMountKind::Secret { id, required, mode, owner: (uid, gid) } => {
                let Some(secret) = self.secret(id, *required)? else { return Ok(()) };
                let content = secret.reveal().to_vec();
                StepMountKind::File { content, mode: *mode, uid: *uid, gid: *gid }
            }
            RunMountKind::SecretVariable { id, required, variable } => {
                if let Some(secret) = self.secret(id, *required)? {
                    let value = OsString::from_vec(secret.reveal().to_vec());
                    prepared.env.push((variable.into(), value));
                }
                return Ok(());
            }
            RunMountKind::Ssh { id, required, mode, owner: (uid, gid) } => {
                match self.executor.request.ssh.get(id) {
                    Some(agent) => {
                        let path = self.executor.new_root()?.host_path().join("agent");
                        prepared.agents.push(ssh::serve(agent, &path, *mode, *uid, *gid)?);
                        StepMountKind::Socket { path }
                    }
                    None if *required => return Err(StepError::NoSshAgent { id: id.clone() }),
                    None => return Ok(()),
                }
            }
            RunMountKind::Script { content } => StepMountKind::File {
                content: content.clone().into_bytes(),
                mode: SCRIPT_MODE,
                uid: 0,
                gid: 0,
            },
        };
        prepared.mounts.push(StepMount { target: PathBuf::from(mount.target.to_string()), kind });
        Ok(())
    }

    fn secret(&self, id: &str, required: bool) -> Result<Option<&SecretContent>, StepError> {
        match self.executor.request.secrets.get(id) {
            None if required => Err(StepError::NoSecret { id: id.to_owned() }),
            found => Ok(found),
        }
    }

    /// Where a path of a tree is outside.
    fn place(&self, tree: &Tree, source: &str) -> Result<Place, StepError> {
        match self.executor.tree(tree)? {
            Some(root) => inside(&root, source),
            None => self.context_part(tree, source).map(Place::Host),
        }
    }

    /// A part of a build context as BuildKit shows it: without what is ignored, and all of it root's.
    fn context_part(&self, tree: &Tree, source: &str) -> Result<PathBuf, StepError> {
        let executor = self.executor;
        let source_tree = executor.contexts.source(tree).ok_or(StepError::NoContext)?;
        let part = ImagePath::clamped(source).map_err(|error| StepError::Invalid(error.to_string()))?;
        executor.trees.context_part(tree, &part, || {
            let root = executor.new_root()?;
            let pattern = [b"/", &*literal(part.as_bytes())].concat();
            copy(&root, source_tree, &[pattern], b"/", &CopyOptions::default())?;
            let whole = root.host_path().to_owned();
            // A directory's files are in the new root, which is to look like it; a file is one of them.
            let found = source_tree.root.metadata_followed(&part)?;
            Ok(match (part.name(), found.filter(Metadata::is_directory)) {
                (_, Some(directory)) => {
                    take_after(&whole, &directory)
                        .map_err(|source| StepError::Context { path: whole.clone(), source })?;
                    whole
                }
                (Some(name), None) => whole.join(OsStr::from_bytes(name)),
                (None, None) => whole,
            })
        })
    }

    /// Holds every cache of a step, each once, in an order that all builds keep to: two that want the same ones never wait
    /// for each other.
    fn hold_caches(&self, mounts: &[RunMount], held: &mut Vec<HeldCache>) -> Result<(), StepError> {
        let mut wanted = BTreeMap::new();
        for mount in mounts {
            if let RunMountKind::Cache(cache) = &mount.kind {
                wanted.entry(self.cache_key(cache)?).or_insert((mount.span, cache));
            }
        }
        for (span, cache) in wanted.into_values() {
            let cache = self.hold(cache);
            held.push(cache.map_err(|source| StepError::Mount { span, source: Box::new(source) })?);
        }
        Ok(())
    }

    fn hold(&self, cache: &CacheMount) -> Result<HeldCache, StepError> {
        let origin = cache.from.as_ref().map(|tree| self.origin(tree)).transpose()?;
        self.executor.caches.hold(cache, origin.as_ref(), &self.executor.interrupt)
    }

    /// The tree that a cache starts with.
    fn origin(&self, tree: &Tree) -> Result<Origin, StepError> {
        let identity = self.identity(tree)?;
        if let Some(root) = self.executor.tree(tree)? {
            return Ok(Origin { identity, root });
        }
        let path = self.context_part(tree, "/")?;
        let root = Root::open(&path, KeepOut::default());
        let root = Arc::new(root.map_err(|source| StepError::Context { path, source })?);
        Ok(Origin { identity, root })
    }

    fn cache_key(&self, cache: &CacheMount) -> Result<String, StepError> {
        let origin = cache.from.as_ref().map(|tree| self.identity(tree)).transpose()?;
        Ok(self.executor.caches.key(cache, origin.as_deref()))
    }

    /// What tells a tree from all others: the digests of its layers.
    fn identity(&self, tree: &Tree) -> Result<String, StepError> {
        Ok(match tree {
            Tree::Stage(position) => {
                let layers = self.executor.layers(*position);
                layers.iter().map(|layer| layer.diff_id.to_string()).collect::<Vec<_>>().join(",")
            }
            Tree::Image(image) => {
                let resolved = self
                    .executor
                    .network
                    .images
                    .get(image)
                    .map_err(|error| StepError::Build(Box::new(error)))?;
                resolved.digest().to_string()
            }
            Tree::Context => "context".to_owned(),
            Tree::Directory(name) => format!("context {name}"),
            Tree::Scratch => "scratch".to_owned(),
        })
    }
}

/// Gives a directory the mode and the time of another one.
fn take_after(directory: &Path, other: &Metadata) -> std::io::Result<()> {
    let opened = File::open(directory)?;
    opened.set_permissions(Permissions::from_mode(other.mode))?;
    opened.set_modified(system_time(other.mtime))
}

fn system_time(time: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let second =
        if time.seconds < 0 { SystemTime::UNIX_EPOCH - whole } else { SystemTime::UNIX_EPOCH + whole };
    second + Duration::from_nanos(time.nanoseconds.into())
}

/// Where a path of a root is outside, links followed.
fn inside(root: &Root, source: &str) -> Result<Place, StepError> {
    let path = ImagePath::clamped(source).map_err(|error| StepError::Invalid(error.to_string()))?;
    let real = root.resolve(&path)?;
    if root.metadata(&real)?.is_none() {
        return Err(StepError::NoSource { path: path.to_string() });
    }
    Ok(Place::of(root, &real))
}

/// A path as a pattern that matches nothing else.
fn literal(path: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(path.len());
    for byte in path {
        if b"*?[]\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern
}
