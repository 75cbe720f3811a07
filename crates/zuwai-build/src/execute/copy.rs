//! COPY and ADD: what they do to a tree.

use zuwai_context::{Patterns, patterns};
use zuwai_rootfs::Root;
use zuwai_rootfs::change_set::{Change, ChangeSet};
use zuwai_rootfs::copy::{self, CopyOptions, InlineFile, ModeChange, Source, SourceTree};

use super::contexts::Contexts;
use super::remote::Fetched;
use super::step::resolve_owner;
use super::trees::Trees;
use crate::error::StepError;
use crate::plan::{CopyAction, CopySource, Tree};

/// Copies files onto a stage's tree, and unpacks archives for ADD. `fetched` are the sources that were elsewhere, in
/// order.
///
/// # Errors
/// When a source is not there or something cannot be read or written.
pub fn copy_files(
    trees: &mut Trees,
    position: usize,
    action: &CopyAction,
    contexts: &Contexts,
    fetched: &[Fetched],
) -> Result<ChangeSet, StepError> {
    let Some(tree) = trees.stage(position) else { return Err(StepError::NoTree) };
    let changes = copy_onto(&tree.root, &tree.root, trees, action, contexts, fetched)?;
    let Some(tree) = trees.stage_mut(position) else { return Err(StepError::NoTree) };
    tree.refresh(&changes)?;
    for (path, change) in changes.iter() {
        if let Change::MountPoint { mode, uid, gid } = change {
            tree.set_mount_point(path, mode, (uid, gid));
        }
    }
    Ok(changes)
}

/// Copies files onto a target. `accounts` is the root whose users and groups `--chown` names.
///
/// # Errors
/// As [`copy_files`].
pub fn copy_onto(
    target: &Root,
    accounts: &Root,
    trees: &Trees,
    action: &CopyAction,
    contexts: &Contexts,
    fetched: &[Fetched],
) -> Result<ChangeSet, StepError> {
    // Without --chown the source tree says who owns files; archives keep their own owners then.
    let owner = action.chown.as_ref().map(|chown| resolve_owner(accounts, chown)).transpose()?;
    let mode = action.chmod.as_deref().map(ModeChange::parse).transpose();
    let mode = mode.map_err(|error| StepError::Invalid(error.to_string()))?;
    let exclude = (!action.exclude.is_empty()).then(|| Patterns::new(&action.exclude)).transpose();
    let exclude = exclude.map_err(|(number, error)| {
        StepError::Invalid(format!("--exclude={}: {error}", action.exclude[number]))
    })?;
    let options = CopyOptions {
        owner,
        mode: mode.as_ref(),
        exclude: exclude.as_ref().map(|patterns| patterns as _),
        parents: action.parents.then_some(&patterns::only),
        extract: action.unpack_archives,
    };
    let mut fetched = fetched.iter();
    let sources = action
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Path(path) => {
                Ok(Source::Path(source_tree(trees, &action.from, contexts)?, path.as_bytes()))
            }
            CopySource::Inline { name, content } => {
                Ok(Source::Inline(InlineFile { name: name.as_bytes(), content: content.as_bytes() }))
            }
            CopySource::Remote(_) => fetched.next().map(Fetched::source).ok_or(StepError::NoTree),
        })
        .collect::<Result<Vec<_>, StepError>>()?;
    Ok(copy::copy_all(target, &sources, action.destination.as_bytes(), &options)?)
}

fn source_tree<'a>(
    trees: &'a Trees,
    from: &Tree,
    contexts: &'a Contexts,
) -> Result<SourceTree<'a>, StepError> {
    match from {
        Tree::Context | Tree::Directory(_) => contexts.source(from).ok_or(StepError::NoContext),
        Tree::Stage(stage) => Ok(SourceTree::stage(&trees.stage(*stage).ok_or(StepError::NoTree)?.root)),
        Tree::Image(image) => Ok(SourceTree::stage(trees.image(image).ok_or(StepError::NoTree)?)),
        Tree::Scratch => trees.empty().map(SourceTree::stage).ok_or(StepError::NoTree),
    }
}
