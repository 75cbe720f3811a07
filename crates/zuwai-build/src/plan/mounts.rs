//! What a RUN mounts: `--mount` with its defaults filled in, as BuildKit fills them.

use zuwai_context::patterns::clean;
use zuwai_dockerfile::mount::{Mount, MountKind, Sharing};
use zuwai_dockerfile::{Diagnostic, Span};
use zuwai_layer::ImagePath;

use super::Tree;

/// Where the file of a secret is without a target, and the first part of its name.
const SECRETS: &str = "run/secrets";
/// Where SSH agents listen without a target: this and the number of the mount among its like.
const SSH_AGENT: &str = "run/buildkit/ssh_agent.";
/// The directory of here-documents that are executed as files.
const PIPES: &str = "dev/pipes";

/// One thing that a RUN sees besides its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// Where the flag stands; `None` in an ONBUILD trigger of a base.
    pub span: Option<Span>,
    /// Where it is.
    pub target: ImagePath,
    /// What it is.
    pub kind: RunMountKind,
}

impl RunMount {
    /// The tree that it shows or starts from.
    pub fn tree(&self) -> Option<&Tree> {
        match &self.kind {
            RunMountKind::Bind { from, .. } => Some(from),
            RunMountKind::Cache(cache) => cache.from.as_ref(),
            _ => None,
        }
    }
}

/// Kinds of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMountKind {
    /// A file or directory of a tree.
    Bind {
        /// The tree.
        from: Tree,
        /// The path in it.
        source: String,
        /// Writes are refused; else they are thrown away after the step.
        read_only: bool,
    },
    /// A directory that stays from build to build.
    Cache(CacheMount),
    /// An empty file system in memory.
    Tmpfs {
        /// Upper bound in bytes; zero for none.
        size: u64,
    },
    /// A secret as a file.
    Secret {
        /// Its name.
        id: String,
        /// A secret that is not there is an error.
        required: bool,
        /// The file's mode.
        mode: u32,
        /// User and group.
        owner: (u32, u32),
    },
    /// A secret as a variable; it has no target.
    SecretVariable {
        /// Its name.
        id: String,
        /// A secret that is not there is an error.
        required: bool,
        /// The variable.
        variable: String,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Its name.
        id: String,
        /// An agent that is not there is an error.
        required: bool,
        /// The socket's mode.
        mode: u32,
        /// User and group.
        owner: (u32, u32),
    },
    /// A here-document that is executed as a file.
    Script {
        /// What it holds.
        content: String,
    },
}

/// `--mount=type=cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Its name.
    pub id: String,
    /// What it starts with; nothing if `None`.
    pub from: Option<Tree>,
    /// The path in `from`.
    pub source: String,
    /// Writes are refused.
    pub read_only: bool,
    /// Who may use it at the same time.
    pub sharing: Sharing,
    /// Mode and owner that the directory starts with, if the flag says anything about them.
    pub start: Option<(u32, (u32, u32))>,
}

/// Fills in what a flag leaves open. `from` is the tree that the flag names, `ssh_agents` counts the agents before it.
/// A secret may be two mounts: a file and a variable.
///
/// # Errors
/// When the target is no path, or the root.
pub fn run_mounts(
    mount: Mount,
    from: Option<Tree>,
    workdir: &ImagePath,
    ssh_agents: usize,
) -> Result<Vec<RunMount>, Diagnostic> {
    let at = mount.span;
    let wrong = |message: String| Diagnostic::error(at, message);
    let join = |path: &str| workdir.join(path).map_err(|error| wrong(error.to_string()));
    let default = |path: String| ImagePath::clamped(path).map_err(|error| wrong(error.to_string()));
    let single = |target: ImagePath, kind| {
        if target.is_root() {
            return Err(wrong("invalid mount target \"/\"".to_owned())
                .with_help("mount it on a directory below the root"));
        }
        Ok(vec![RunMount { span: Some(at), target, kind }])
    };
    match mount.kind {
        MountKind::Bind { from: _, source, read_only } => single(
            join(&mount.target)?,
            RunMountKind::Bind { from: from.unwrap_or(Tree::Context), source, read_only },
        ),
        MountKind::Cache { id, from: _, source, read_only, sharing, mode, uid, gid } => {
            let id =
                id.unwrap_or_else(|| String::from_utf8_lossy(&clean(mount.target.as_bytes())).into_owned());
            let given = mode.is_some() || uid.is_some() || gid.is_some();
            let at_root = ImagePath::clamped(&source).is_ok_and(|path| path.is_root());
            let start =
                (given && at_root).then(|| (permissions(mode, 0o755), (uid.unwrap_or(0), gid.unwrap_or(0))));
            // With a start of its own a cache holds nothing of a tree.
            let from = from.filter(|_| start.is_none());
            let cache = CacheMount { id, from, source, read_only, sharing, start };
            single(join(&mount.target)?, RunMountKind::Cache(cache))
        }
        MountKind::Tmpfs { size } => single(join(&mount.target)?, RunMountKind::Tmpfs { size }),
        MountKind::Secret { id, env, required, mode, uid, gid } => {
            let mut mounts = Vec::new();
            if !mount.target.is_empty() || env.is_none() {
                let target = match mount.target.as_str() {
                    "" => default(format!("{SECRETS}/{}", id.rsplit('/').next().unwrap_or(&id)))?,
                    target => join(target)?,
                };
                let (mode, owner) = (permissions(mode, 0o400), (uid.unwrap_or(0), gid.unwrap_or(0)));
                mounts = single(target, RunMountKind::Secret { id: id.clone(), required, mode, owner })?;
            }
            mounts.extend(env.map(|variable| RunMount {
                span: Some(at),
                target: ImagePath::root(),
                kind: RunMountKind::SecretVariable { id, required, variable },
            }));
            Ok(mounts)
        }
        MountKind::Ssh { id, required, mode, uid, gid } => {
            let target = match mount.target.as_str() {
                "" => default(format!("{SSH_AGENT}{ssh_agents}"))?,
                target => join(target)?,
            };
            let kind = RunMountKind::Ssh {
                id: id.unwrap_or_else(|| "default".to_owned()),
                required,
                mode: permissions(mode, 0o600),
                owner: (uid.unwrap_or(0), gid.unwrap_or(0)),
            };
            single(target, kind)
        }
    }
}

/// `mode=` as BuildKit takes it: its permissions alone, no set-user-ID, set-group-ID and sticky bits.
fn permissions(mode: Option<u32>, default: u32) -> u32 {
    mode.unwrap_or(default) & 0o777
}

/// The mount of a here-document that is executed as a file.
pub fn script(name: &str, content: String) -> RunMount {
    // A name is one word of the line; one that would leave the directory is clamped into the root.
    let target = ImagePath::clamped(format!("{PIPES}/{name}")).unwrap_or_default();
    RunMount { span: None, target, kind: RunMountKind::Script { content } }
}
