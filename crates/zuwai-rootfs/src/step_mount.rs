//! What a RUN sees besides its root, for as long as it runs: `RUN --mount`, and the script of a here-document.
//!
//! With namespaces these are mounts, in place files that are put there before the step and taken away after it. Either
//! way nothing of them is in the root when [`run`](crate::run::run) returns, and what they covered is as it was.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::place::Place;

/// One thing that a step sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepMount {
    /// Where in the root: absolute in it. Links are followed inside the root; what is missing is made, and goes again
    /// after the step.
    pub target: PathBuf,
    /// What it is.
    pub kind: StepMountKind,
}

/// Mounts as BuildKit mounts them: in the order of their targets' names, so that what lies in another comes after it,
/// whatever the order of the flags; of several at one target the last.
#[must_use]
pub(crate) fn in_order(mounts: &[StepMount]) -> Vec<StepMount> {
    let mut by_target = BTreeMap::new();
    for mount in mounts {
        by_target.insert(mount.target.as_os_str(), mount);
    }
    by_target.into_values().cloned().collect()
}

/// Kinds of [`StepMount`]s.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepMountKind {
    /// A file or directory of another tree.
    Bind {
        /// Where it is outside.
        source: Place,
        /// Writes are refused; else they succeed and are thrown away after the step.
        read_only: bool,
    },
    /// A directory whose changes stay.
    Cache {
        /// Where it is outside: absolute, without links.
        directory: PathBuf,
        /// Writes are refused.
        read_only: bool,
    },
    /// An empty file system in memory, mode 1777.
    Tmpfs {
        /// Its upper bound in bytes; zero for none.
        size: u64,
    },
    /// A read-only file that is never on disk where that can be helped: a secret, the script of a here-document.
    File {
        /// What it holds.
        content: Vec<u8>,
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A Unix socket on which the builder listens; its mode and owner are as the builder made them.
    Socket {
        /// Where it is outside: absolute, without links.
        path: PathBuf,
    },
}

/// Without contents, which may be secret.
impl fmt::Debug for StepMountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { source, read_only } => {
                f.debug_struct("Bind").field("source", source).field("read_only", read_only).finish()
            }
            Self::Cache { directory, read_only } => {
                f.debug_struct("Cache").field("directory", directory).field("read_only", read_only).finish()
            }
            Self::Tmpfs { size } => f.debug_struct("Tmpfs").field("size", size).finish(),
            Self::File { content, mode, uid, gid } => {
                let length = content.len();
                write!(f, "File({length} bytes, mode {mode:o}, owner {uid}:{gid})")
            }
            Self::Socket { path } => f.debug_struct("Socket").field("path", path).finish(),
        }
    }
}

/// The network of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StepNetwork {
    /// The builder's own.
    #[default]
    Host,
    /// None but a loopback device of its own.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_another_comes_after_it_and_the_last_one_counts() {
        let mount = |(target, size): &(&str, u64)| StepMount {
            target: target.into(),
            kind: StepMountKind::Tmpfs { size: *size },
        };
        let given = [("/a/b/c", 1), ("/a", 2), ("/x", 3), ("/a/b", 4), ("/a-b", 5), ("/x", 6)];
        let expected = [("/a", 2), ("/a-b", 5), ("/a/b", 4), ("/a/b/c", 1), ("/x", 6)];
        let all = |mounts: &[(&str, u64)]| mounts.iter().map(mount).collect::<Vec<_>>();
        assert_eq!(in_order(&all(&given)), all(&expected));
    }
}
