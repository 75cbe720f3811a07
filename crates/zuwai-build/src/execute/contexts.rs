//! The directories that steps read: the build context, and those that `--build-context` names.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use zuwai_context::Context;
use zuwai_layer::ImagePath;
use zuwai_rootfs::copy::SourceTree;
use zuwai_rootfs::{KeepOut, Root};

use super::Network;
use super::cache_mounts::CacheMounts;
use super::remote::{self, Fetched};
use super::trees::Trees;
use crate::error::BuildError;
use crate::named_context::NamedContext;
use crate::plan::{Base, Plan, RemoteCopy, StagePlan, Tree};
use crate::request::BuildRequest;
use crate::state_dir::StateDir;

/// The directories that the steps of a plan read.
#[derive(Debug)]
pub struct Contexts {
    main: Option<Context>,
    named: BTreeMap<String, Named>,
}

/// The files of a named context.
#[derive(Debug)]
enum Named {
    /// A directory of the user's.
    Local(Context),
    /// What was fetched for this build.
    Fetched(Fetched),
}

impl Contexts {
    /// Opens or fetches those that the plan reads. A directory counts without what its own ignore file excludes; what is
    /// fetched counts whole, as in BuildKit.
    ///
    /// # Errors
    /// When a directory or an ignore file cannot be read, or a context cannot be fetched.
    pub fn open(
        request: &BuildRequest,
        plan: &Plan,
        state: &StateDir,
        trees: &Trees,
        network: Network<'_>,
    ) -> Result<Self, BuildError> {
        let read: Vec<&Tree> = plan.stages.iter().flat_map(StagePlan::trees).collect();
        let dockerfile = crate::dockerfile_path(&request.dockerfile);
        let main = match &request.context {
            Some(directory) if read.contains(&&Tree::Context) => Some(open(directory, dockerfile, state)?),
            _ => None,
        };
        let read = read.into_iter().filter_map(|tree| match tree {
            Tree::Directory(name) => Some(name),
            _ => None,
        });
        let bases = plan.stages.iter().filter_map(|stage| match &stage.base {
            Base::Directory(name) => Some(name),
            _ => None,
        });
        let mut named = BTreeMap::new();
        for name in read.chain(bases).collect::<BTreeSet<_>>() {
            let files = match request.build_contexts.find(name) {
                Some((_, NamedContext::Directory(directory))) => Named::Local(open(directory, None, state)?),
                Some((_, NamedContext::Remote(source))) => {
                    let root = trees.new_root()?;
                    let fetched = remote::fetch(&RemoteCopy::whole(source.clone()), root, network, request);
                    Named::Fetched(fetched.map_err(|source| BuildError::Files {
                        context: name.clone(),
                        source: Box::new(source),
                    })?)
                }
                // These have no files of their own.
                Some((_, NamedContext::Image(_) | NamedContext::Scratch)) | None => continue,
            };
            named.insert(name.clone(), files);
        }
        Ok(Self { main, named })
    }

    /// What is copied from a tree that is a context.
    pub fn source(&self, tree: &Tree) -> Option<SourceTree<'_>> {
        match tree {
            Tree::Context => self.main.as_ref().map(Context::source),
            Tree::Directory(name) => Some(match self.named.get(name)? {
                Named::Local(context) => context.source(),
                Named::Fetched(fetched) => fetched.tree(),
            }),
            Tree::Stage(_) | Tree::Image(_) | Tree::Scratch => None,
        }
    }

    /// The directory that a context's files are in.
    pub fn root(&self, tree: &Tree) -> Option<&Root> {
        self.source(tree).map(|source| source.root)
    }
}

fn open(directory: &Path, dockerfile: Option<&Path>, state: &StateDir) -> Result<Context, BuildError> {
    Ok(Context::open(directory, dockerfile, builders_own(directory, state))?)
}

/// Where builds keep their state is no part of a context that it lies in; the context itself may be that place.
fn builders_own(directory: &Path, state: &StateDir) -> KeepOut {
    let root_dir = state.path().parent().unwrap_or(state.path());
    let own = [root_dir, state.path(), &root_dir.join(CacheMounts::DIRECTORY)].map(Path::to_owned);
    let real = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let inside = own.iter().filter_map(|path| path.strip_prefix(&real).ok());
    let inside = inside.filter_map(|path| ImagePath::new(path.as_os_str().as_bytes()).ok());
    KeepOut::new(inside.filter(|path| !path.is_root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_in_a_context_is_not_the_contexts() {
        let context = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        for (root_dir, own) in [
            (context.path().join("a/state"), &["a/state"][..]),
            (context.path().to_owned(), &["build-0", "cache-mounts"]),
            (other.path().to_owned(), &[]),
        ] {
            let state = StateDir::create(&root_dir).unwrap();
            let keep_out = builders_own(context.path(), &state);
            for path in ["a/state", "build-0", "cache-mounts"] {
                let kept_out = keep_out.covers(&ImagePath::new(path).unwrap());
                assert_eq!(kept_out, own.contains(&path), "{path} with {}", root_dir.display());
            }
            assert!(!keep_out.covers(&ImagePath::new("src").unwrap()));
        }
    }
}
