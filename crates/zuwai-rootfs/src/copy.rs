//! Copying files into a root, as `COPY` and `ADD` do.
//!
//! The rules are BuildKit's, found by looking at what it makes of each case, and pinned in `tests/copy*.rs`:
//! - A source that is a link is followed, inside its tree; links below a source are copied as they are.
//! - A source that is a directory means what is in it. Wildcards may match nothing, but what stands
//!   before the first one has to be there, as has a plain name.
//! - The destination's links are followed, inside the root, also to what does not exist yet.
//! - Directories made on the way get the owner, and the mode if it is a number; so does a destination that is made for
//!   a directory. One that is there already keeps both. Its time becomes the source's in either case. In a directory
//!   with the set-group-ID bit new ones inherit that, and the group if there is no owner.
//! - Directories below the source take their source's metadata, even over directories that are there.
//! - A file never replaces a directory, nor a directory anything else.
//! - Hard links are kept below one source, not between two.
//! - `--exclude` counts paths from the directory that is copied, and does not concern a source that is a file, even one
//!   that a wildcard found. Directories stay when all that they held is left out. One that is left out is made where an
//!   exception (`!`) in it is copied, with its source's metadata; one that is there already takes the mode alone.
//! - `--parents` is in [`parents`].
//! - A here-document is a file of mode 0644 and owner 0:0.
//!
//! In reading order:
//! - [`input`]: what is copied; [`options`]: how.
//! - [`mode_change`]: the argument of `--chmod`.
//! - `source`: finding the sources.
//! - [`parents`]: which directories above a source are kept.
//! - `target`: making room for them.
//! - `tree`: copying one of them; `entry`: one file in it.
//! - `transfer`: moving one file's bytes and metadata.
//! - `record`: what was written.
//! - [`directory`]: making a directory.

pub mod directory;
mod entry;
pub mod error;
pub mod input;
pub mod mode_change;
pub mod options;
pub mod parents;
pub(crate) mod record;
pub(crate) mod source;
pub(crate) mod target;
pub(crate) mod transfer;
mod tree;

use std::os::fd::AsFd as _;

use rustix::fs::{Mode, OFlags};
use zuwai_layer::ImagePath;

pub use self::error::CopyError;
pub use self::input::{InlineFile, Source, SourceTree};
pub use self::mode_change::{ModeChange, ModeError};
pub use self::options::{CompilePattern, CopyOptions};
use self::parents::Pivoted;
use self::record::Record;
use self::source::Found;
use self::target::{Destination, Target, clear};
use self::transfer::Transfer;
use self::tree::{Top, TreeCopy};
use crate::archive;
use crate::change_set::ChangeSet;
use crate::error::RootfsError;
use crate::metadata::{FileKind, Metadata};
use crate::path_filter::PathFilter;
use crate::root::Root;

/// Copies sources from one tree into a root; see [`copy_all`].
///
/// # Errors
/// As [`copy_all`].
pub fn copy(
    target: &Root,
    source: SourceTree<'_>,
    sources: &[impl AsRef<[u8]>],
    destination: &[u8],
    options: &CopyOptions<'_>,
) -> Result<ChangeSet, RootfsError> {
    let sources: Vec<_> = sources.iter().map(|written| Source::Path(source, written.as_ref())).collect();
    copy_all(target, &sources, destination, options)
}

/// Writes inline files into a root; see [`copy_all`].
///
/// # Errors
/// When a file cannot be written.
pub fn copy_inline(
    target: &Root,
    files: &[InlineFile<'_>],
    destination: &[u8],
    options: &CopyOptions<'_>,
) -> Result<ChangeSet, RootfsError> {
    let sources: Vec<_> = files.iter().copied().map(Source::Inline).collect();
    copy_all(target, &sources, destination, options)
}

/// Copies sources of any kind into a root, one after the other.
///
/// `destination` is absolute: joined to the working directory, with the slash or `/.` at its end kept, and a slash put
/// there if the user wrote `.` or nothing. For `--link` the root is an empty one, of which the layer is made.
///
/// Returns what was written: files, links, created parents, and directories whose time changed.
///
/// # Errors
/// When a source is not there, cannot be read, or cannot be written, each with its path.
pub fn copy_all(
    target: &Root,
    sources: &[Source<'_>],
    destination: &[u8],
    options: &CopyOptions<'_>,
) -> Result<ChangeSet, RootfsError> {
    let mut copying = Copying {
        destination: Destination::new(destination)?,
        options,
        target: Target {
            root: target,
            record: Record::default(),
            owner: options.owner,
            mode: options.mode.map_or(0o755, ModeChange::for_created_parents),
            keeps_set_group_id: true,
        },
        transfer: Transfer::new(),
    };
    // That a source is missing is known before anything is written.
    let found = sources.iter().map(|source| Work::find(source, options)).collect::<Result<Vec<_>, _>>()?;
    for work in found {
        copying.work(work)?;
    }
    Ok(copying.target.record.finish())
}

/// One source, found.
enum Work<'a> {
    /// What a path or wildcard means; with `--parents`, what of it is copied.
    Found(SourceTree<'a>, Vec<Found>, Option<Box<dyn PathFilter>>),
    /// What was fetched, and whether it is extracted if it is an archive.
    Fetched(SourceTree<'a>, Found, bool),
    /// A file's name and content.
    Inline(ImagePath, &'a [u8]),
}

impl<'a> Work<'a> {
    fn find(source: &Source<'a>, options: &CopyOptions<'_>) -> Result<Self, CopyError> {
        Ok(match *source {
            Source::Path(tree, written) => match options.parents {
                None => Self::Found(tree, tree.find(written)?, None),
                Some(compile) => {
                    let pivoted = Pivoted::new(written)?;
                    let found = tree.find(pivoted.base)?;
                    pivoted.require(tree, &found)?;
                    Self::Found(tree, found, Some(pivoted.filter(compile)?))
                }
            },
            Source::Fetched { tree, path, extract } => {
                let metadata = Metadata::at(tree.root.as_fd(), path.as_relative());
                let metadata = metadata.map_err(CopyError::read(path))?;
                let name = path.name().unwrap_or_default().to_vec();
                Self::Fetched(tree, Found { name, path: path.clone(), metadata }, extract)
            }
            Source::Inline(file) => Self::Inline(file.file_name()?, file.content),
        })
    }
}

/// A copy of several sources to one destination.
struct Copying<'a> {
    destination: Destination,
    options: &'a CopyOptions<'a>,
    target: Target<'a>,
    transfer: Transfer,
}

impl<'a> Copying<'a> {
    fn work(&mut self, work: Work<'a>) -> Result<(), RootfsError> {
        match work {
            Work::Found(tree, all, include) => {
                for found in &all {
                    if !(self.options.extract && self.extracted(tree, found)?) {
                        self.copied(tree, found, include.as_deref(), Top::Destination)?;
                    }
                }
                Ok(())
            }
            Work::Fetched(tree, found, extract) => {
                if extract && self.extracted(tree, &found)? {
                    return Ok(());
                }
                let top = if self.target.is_new(&self.destination)? { Top::New } else { Top::Destination };
                self.copied(tree, &found, None, top)
            }
            Work::Inline(name, content) => self.inline(&name, content),
        }
    }

    /// Extracts one thing if it is an archive.
    fn extracted(&mut self, tree: SourceTree<'a>, found: &Found) -> Result<bool, RootfsError> {
        if found.metadata.kind == FileKind::File
            && let Some(archive) = open_archive(tree, found)?
        {
            let place = self.target.prepare_directory(&self.destination)?;
            let (target, transfer, owner) = (&mut self.target, &mut self.transfer, self.options.owner);
            archive::extract(target, &place, archive, &found.path, owner, transfer)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Copies one thing.
    fn copied(
        &mut self,
        tree: SourceTree<'a>,
        found: &Found,
        include: Option<&dyn PathFilter>,
        top: Top,
    ) -> Result<(), RootfsError> {
        let is_directory = found.metadata.is_directory();
        let place = self.target.prepare(&self.destination, &found.name, is_directory)?;
        let mut copy = TreeCopy::new(tree, self.options, include, &mut self.target, &mut self.transfer);
        if is_directory {
            copy.directory(found, &place, top)?;
        } else {
            copy.file(found, &place)?;
        }
        Ok(())
    }

    /// Writes a file whose content stands in the Dockerfile.
    fn inline(&mut self, name: &ImagePath, content: &[u8]) -> Result<(), RootfsError> {
        let place = self.target.prepare(&self.destination, name.as_bytes(), false)?;
        let mode = self.options.mode.map_or(InlineFile::MODE, |change| change.apply(InlineFile::MODE, false));
        let parent = place.parent().unwrap_or_default();
        let directory = self.target.open(&parent)?;
        let name = place.name().unwrap_or_default();
        clear(directory.as_fd(), name, &place)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = rustix::fs::openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(CopyError::write(&place))?;
        transfer::write_all(written.as_fd(), content).map_err(CopyError::write(&place))?;
        let owner = self.options.owner.unwrap_or((0, 0));
        transfer::set_owner_and_mode(&written, owner, mode).map_err(CopyError::write(&place))?;
        self.target.record.directory(&parent);
        self.target.record.other(&place);
        Ok(())
    }
}

/// Opens a source that is a file, if it is a tar archive, compressed or not.
fn open_archive(tree: SourceTree<'_>, found: &Found) -> Result<Option<std::fs::File>, CopyError> {
    let directory = tree.open_directory(&found.path.parent().unwrap_or_default())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, found.path.name().unwrap_or_default(), flags, Mode::empty());
    let mut file = std::fs::File::from(file.map_err(CopyError::read(&found.path))?);
    let sniffed = file.try_clone().map_err(CopyError::read(&found.path))?;
    if !zuwai_layer::compression::is_tar(sniffed).unwrap_or(false) {
        return Ok(None);
    }
    std::io::Seek::rewind(&mut file).map_err(CopyError::read(&found.path))?;
    Ok(Some(file))
}
