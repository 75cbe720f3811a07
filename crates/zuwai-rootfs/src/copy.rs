//! Copying files into a root, as `COPY` and `ADD` do.
//!
//! The rules are BuildKit's, found by looking at what it makes of each case, and pinned in `tests/copy.rs`:
//! - A source that is a link is followed, inside its tree; links below a source are copied as they are.
//! - A source that is a directory means what is in it. Wildcards may match nothing, but what stands
//!   before the first one has to be there, as has a plain name.
//! - The destination's links are followed, inside the root, also to what does not exist yet.
//! - Directories made on the way get the owner, and the mode if it is a number; so does a destination that is made for
//!   a directory. One that is there already keeps both. Its time becomes the source's in either case.
//! - Directories below the source take their source's metadata, even over directories that are there.
//! - A file never replaces a directory, nor a directory anything else.
//! - Hard links are kept below one source, not between two.
//!
//! In reading order:
//! - [`mode_change`]: the argument of `--chmod`.
//! - `source`: finding the sources.
//! - `target`: making room for them.
//! - `tree`: copying one of them.
//! - `transfer`: moving one file's bytes and metadata.
//! - `record`: what was written.

pub mod directory;
pub mod error;
pub mod mode_change;
pub(crate) mod record;
pub(crate) mod source;
pub(crate) mod target;
pub(crate) mod transfer;
mod tree;

use std::fmt;
use std::os::fd::AsFd as _;

use rustix::fs::{Mode, OFlags};

pub use self::error::CopyError;
pub use self::mode_change::{ModeChange, ModeError};
use self::record::Record;
use self::source::Found;
use self::target::{Destination, Target, clear};
use self::transfer::Transfer;
use self::tree::TreeCopy;
use crate::archive;
use crate::change_set::ChangeSet;
use crate::error::RootfsError;
use crate::metadata::FileKind;
use crate::path_filter::PathFilter;
use crate::root::Root;

/// Where `COPY` reads: a finished stage or an image, or a build context.
#[derive(Clone, Copy)]
pub struct SourceTree<'a> {
    /// The tree. What its keep-out covers is not read.
    pub root: &'a Root,
    /// Which of its paths exist for the copy; all if `None`.
    pub filter: Option<&'a dyn PathFilter>,
    /// Whether file capabilities are copied. They are from stages and images; from a build context BuildKit does not
    /// carry them.
    pub file_capabilities: bool,
    /// Who owns what is copied without `--chown`; `None` keeps each source's own.
    pub owner: Option<(u32, u32)>,
}

impl<'a> SourceTree<'a> {
    /// A finished stage or an image: everything is there, and keeps its owner.
    #[must_use]
    pub fn stage(root: &'a Root) -> Self {
        Self { root, filter: None, file_capabilities: true, owner: None }
    }

    /// A build context, seen through its ignore file; what is copied from it belongs to 0:0.
    #[must_use]
    pub fn context(root: &'a Root, filter: &'a dyn PathFilter) -> Self {
        Self { root, filter: Some(filter), file_capabilities: false, owner: Some((0, 0)) }
    }
}

impl fmt::Debug for SourceTree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceTree")
            .field("root", self.root)
            .field("filtered", &self.filter.is_some())
            .finish()
    }
}

/// How `COPY` copies.
#[derive(Clone, Copy, Default)]
pub struct CopyOptions<'a> {
    /// `--chown`: user and group of everything written, also of created parents and of what is in an extracted archive.
    /// `None` gives each file what the source tree says, keeps owners as they are in archives, and gives created parents
    /// 0:0.
    pub owner: Option<(u32, u32)>,
    /// What `--chmod` does to the mode of everything written. `None` keeps each source's own.
    pub mode: Option<&'a ModeChange>,
    /// What `--exclude` leaves out. Paths are counted from the directory that is copied; it does not concern sources
    /// that are files.
    pub exclude: Option<&'a dyn PathFilter>,
    /// Whether sources that are tar archives, compressed or not, are extracted (`ADD`). `mode` and `exclude` do not
    /// concern what is in them.
    pub extract: bool,
}

impl fmt::Debug for CopyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOptions")
            .field("owner", &self.owner)
            .field("mode", &self.mode)
            .field("excludes", &self.exclude.is_some())
            .field("extract", &self.extract)
            .finish()
    }
}

/// A file whose content stands in the Dockerfile (`COPY <<EOF`).
#[derive(Debug, Clone, Copy)]
pub struct InlineFile<'a> {
    /// Its name, which it gets where the destination is a directory.
    pub name: &'a [u8],
    /// What it holds.
    pub content: &'a [u8],
}

/// Copies sources into a root.
///
/// `sources` are as the user wrote them, with variables expanded: they may be wildcards, are counted from the root of
/// the source tree, and cannot leave it. `destination` is absolute: joined to the working directory, with the slash or
/// `/.` at its end kept, and a slash put there if the user wrote `.` or nothing.
///
/// Returns what was written: files, links, created parents, and directories whose time changed.
///
/// # Errors
/// When a source is not there, cannot be read, or cannot be written, each with its path.
pub fn copy(
    target: &Root,
    source: SourceTree<'_>,
    sources: &[impl AsRef<[u8]>],
    destination: &[u8],
    options: &CopyOptions<'_>,
) -> Result<ChangeSet, RootfsError> {
    let destination = Destination::new(destination)?;
    let mut all = Vec::new();
    for written in sources {
        all.extend(source.find(written.as_ref())?);
    }
    let mut target = new_target(target, options);
    let mut transfer = Transfer::new();
    for found in all {
        if options.extract && found.metadata.kind == FileKind::File {
            let file = open(source, &found)?;
            if zuwai_layer::compression::is_tar(file.try_clone().map_err(CopyError::read(&found.path))?)
                .unwrap_or(false)
            {
                let place = target.prepare_directory(&destination)?;
                archive::extract(
                    &mut target,
                    &place,
                    rewound(file, &found)?,
                    &found.path,
                    options.owner,
                    &mut transfer,
                )?;
                continue;
            }
        }
        let is_directory = found.metadata.is_directory();
        let place = target.prepare(&destination, &found.name, is_directory)?;
        let mut copy = TreeCopy::new(source, options, &mut target, &mut transfer);
        if is_directory { copy.directory(&found, &place)? } else { copy.file(&found, &place)? }
    }
    Ok(target.record.finish())
}

/// Writes inline files into a root, as [`copy`] would copy them from a context: mode 0644 and owner 0:0 unless the
/// options say otherwise.
///
/// # Errors
/// When a file cannot be written.
pub fn copy_inline(
    target: &Root,
    files: &[InlineFile<'_>],
    destination: &[u8],
    options: &CopyOptions<'_>,
) -> Result<ChangeSet, RootfsError> {
    let destination = Destination::new(destination)?;
    let mut target = new_target(target, options);
    let mode = options.mode.map_or(0o644, |change| change.apply(0o644, false));
    for file in files {
        let place = target.prepare(&destination, file.name, false)?;
        let parent = place.parent().unwrap_or_default();
        let directory = target.open(&parent)?;
        let name = place.name().unwrap_or_default();
        clear(directory.as_fd(), name, &place)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = rustix::fs::openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(CopyError::write(&place))?;
        transfer::write_all(written.as_fd(), file.content).map_err(CopyError::write(&place))?;
        transfer::set_owner_and_mode(&written, target.owner, mode).map_err(CopyError::write(&place))?;
        target.record.directory(&parent);
        target.record.other(&place);
    }
    Ok(target.record.finish())
}

fn new_target<'a>(root: &'a Root, options: &CopyOptions<'_>) -> Target<'a> {
    Target {
        root,
        record: Record::default(),
        owner: options.owner.unwrap_or((0, 0)),
        mode: options.mode.map_or(0o755, ModeChange::for_created_parents),
    }
}

/// Opens a source that is a file.
fn open(source: SourceTree<'_>, found: &Found) -> Result<std::fs::File, CopyError> {
    let directory = source.open_directory(&found.path.parent().unwrap_or_default())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(&directory, found.path.name().unwrap_or_default(), flags, Mode::empty())
        .map(std::fs::File::from)
        .map_err(CopyError::read(&found.path))
}

/// The file again from its beginning.
fn rewound(mut file: std::fs::File, found: &Found) -> Result<std::fs::File, CopyError> {
    std::io::Seek::rewind(&mut file).map_err(CopyError::read(&found.path))?;
    Ok(file)
}
