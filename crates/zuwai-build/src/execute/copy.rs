//! COPY and ADD: what they do to a tree.

use zuwai_context::{Patterns, patterns};
use zuwai_rootfs::Root;
use zuwai_rootfs::change_set::ChangeSet;
use zuwai_rootfs::copy::{self, CopyOptions, InlineFile, ModeChange, Source, SourceTree};

use super::contexts::Contexts;
use super::remote::Fetched;
use super::step::resolve_owner;
use crate::error::StepError;
use crate::plan::{CopyAction, CopySource, Tree};

/// The files that a copy can name.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// The tree of the stage or image that it copies from, if it is one.
    pub from: Option<&'a Root>,
    /// The build context, and those that have names.
    pub contexts: &'a Contexts,
    /// The sources that were elsewhere, in order.
    pub fetched: &'a [Fetched],
}

/// Copies files onto a target, and unpacks archives for ADD. `accounts` is the root whose users and groups `--chown`
/// names.
///
/// # Errors
/// When a source is not there or something cannot be read or written.
pub fn copy(
    target: &Root,
    accounts: &Root,
    action: &CopyAction,
    files: &Files<'_>,
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
    let mut fetched = files.fetched.iter();
    let sources = action
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Path(path) => Ok(Source::Path(files.tree(&action.from)?, path.as_bytes())),
            CopySource::Inline { name, content } => {
                Ok(Source::Inline(InlineFile { name: name.as_bytes(), content: content.as_bytes() }))
            }
            CopySource::Remote(_) => fetched.next().map(Fetched::source).ok_or(StepError::NoTree),
        })
        .collect::<Result<Vec<_>, StepError>>()?;
    Ok(copy::copy_all(target, &sources, action.destination.as_bytes(), &options)?)
}

impl<'a> Files<'a> {
    fn tree(&self, from: &Tree) -> Result<SourceTree<'a>, StepError> {
        match from {
            Tree::Context | Tree::Directory(_) => self.contexts.source(from).ok_or(StepError::NoContext),
            Tree::Stage(_) | Tree::Image(_) | Tree::Scratch => {
                self.from.map(SourceTree::stage).ok_or(StepError::NoTree)
            }
        }
    }
}
