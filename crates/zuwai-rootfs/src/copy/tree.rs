//! Copying one source, a file or a directory with everything in it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use zuwai_layer::ImagePath;

use super::entry::Entry;
use super::error::CopyError;
use super::source::{Found, sorted_names};
use super::target::Target;
use super::transfer::{Transfer, set_owner_and_mode, times};
use super::{CopyOptions, SourceTree};
use crate::metadata::{FileKind, Metadata};
use crate::path_filter::{PathFilter, Verdict};

/// Copies one source. Hard links are kept among what is copied together.
pub(crate) struct TreeCopy<'a, 'b> {
    pub source: SourceTree<'a>,
    pub options: &'a CopyOptions<'a>,
    /// What of the source is copied, counted from it; everything if `None`.
    pub include: Option<&'b dyn PathFilter>,
    pub target: &'b mut Target<'a>,
    pub transfer: &'b mut Transfer,
    /// The first copy of each file that has several names, by device and inode.
    pub links: BTreeMap<(u64, u64), ImagePath>,
    /// The directories from the source down to where the copy stands.
    levels: Vec<Level>,
}

/// A directory that is being copied.
struct Level {
    from: OwnedFd,
    /// Where it is in the source tree.
    from_path: ImagePath,
    /// The same, counted from the source itself, as `--exclude` and `--parents` count.
    relative: Vec<u8>,
    metadata: Metadata,
    /// The copy; made when the first thing is put in it if it is left out itself.
    to: Option<OwnedFd>,
    to_path: ImagePath,
    name: Vec<u8>,
    /// The copy was made here, so nothing can stand in the way in it.
    made: bool,
    /// What of the source's metadata the copy gets at the end.
    finish: Finish,
}

/// Where a directory is copied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Top {
    /// A destination that was there, or was made as one.
    Destination,
    /// A directory that is a copy of its source itself.
    New,
}

/// What of its source's metadata a copied directory gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    /// Everything.
    All,
    /// Everything but its times if it was made here, its mode if not: it is left out, and there for what it holds.
    AsParent,
    /// Its time only: it is the destination itself.
    Time,
}

impl<'a, 'b> TreeCopy<'a, 'b> {
    pub fn new(
        source: SourceTree<'a>,
        options: &'a CopyOptions<'a>,
        include: Option<&'b dyn PathFilter>,
        target: &'b mut Target<'a>,
        transfer: &'b mut Transfer,
    ) -> Self {
        Self { source, options, include, target, transfer, links: BTreeMap::new(), levels: Vec::new() }
    }

    /// Copies a file, link or device to its place, the parent of which exists.
    pub fn file(&mut self, found: &Found, place: &ImagePath) -> Result<(), CopyError> {
        if let Some(exclude) = self.options.exclude
            && exclude.verdict(&found.name, false) == Verdict::Prune
        {
            tracing::warn!("{} is copied: --exclude concerns what is in directories only", found.path);
        }
        let parent = place.parent().unwrap_or_default();
        let from = self.source.open_directory(&found.path.parent().unwrap_or_default())?;
        let to = self.target.open(&parent)?;
        self.target.record.directory(&parent);
        let (from_name, to_name) = (found.path.name().unwrap_or_default(), place.name().unwrap_or_default());
        let entry =
            Entry { from: from.as_fd(), name: from_name, path: &found.path, metadata: &found.metadata };
        self.entry(&entry, to.as_fd(), to_name, place, false)
    }

    /// Copies what is in a directory into another, which exists.
    pub fn directory(&mut self, found: &Found, place: &ImagePath, top: Top) -> Result<(), CopyError> {
        let finish = if top == Top::New { Finish::All } else { Finish::Time };
        let top = Level {
            from: self.source.open_directory(&found.path)?,
            from_path: found.path.clone(),
            relative: Vec::new(),
            metadata: found.metadata,
            to: Some(self.target.open(place)?),
            to_path: place.clone(),
            name: Vec::new(),
            made: false,
            finish,
        };
        self.target.record.directory(place);
        self.levels.push(top);
        self.fill()
    }

    /// Copies what is in the last level, and takes the level off.
    fn fill(&mut self) -> Result<(), CopyError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let names = sorted_names(&level.from).map_err(CopyError::read(&level.from_path))?;
        for name in names {
            self.child(&name)?;
        }
        match self.levels.pop() {
            Some(level) => self.finish(&level),
            None => Ok(()),
        }
    }

    /// Copies one name of the last level.
    fn child(&mut self, name: &[u8]) -> Result<(), CopyError> {
        let depth = self.levels.len() - 1;
        let level = &self.levels[depth];
        let from_path = level.from_path.join(name)?;
        let metadata = match Metadata::at(level.from.as_fd(), name) {
            Ok(metadata) => metadata,
            Err(error) => return Err(CopyError::read(&from_path)(error)),
        };
        let is_directory = metadata.is_directory();
        let mut relative = level.relative.clone();
        if !relative.is_empty() {
            relative.push(b'/');
        }
        relative.extend_from_slice(name);
        let there = self.source.verdict(&from_path, is_directory);
        let wanted = self.wanted(&relative, is_directory);
        if there == Verdict::Prune || wanted == Verdict::Prune {
            return Ok(());
        }
        let included = there == Verdict::Include && wanted == Verdict::Include;
        let to_path = level.to_path.join(name)?;
        if self.target.root.keep_out().covers(&to_path) {
            // Every image has an empty /proc and the like.
            if !is_directory || !self.is_empty(&from_path)? {
                tracing::warn!("not copied: {to_path} belongs to the builder's own container");
            } else if included {
                self.make(depth)?;
                let (mode, owner) = (self.mode(&metadata), self.owner(&metadata));
                self.target.record.mount_point(&to_path, mode, owner);
            }
            return Ok(());
        }
        if is_directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let from = rustix::fs::openat(&level.from, name, flags, Mode::empty())
                .map_err(CopyError::read(&from_path))?;
            let finish = if wanted == Verdict::Include { Finish::All } else { Finish::AsParent };
            let name = name.to_vec();
            self.levels.push(Level {
                from,
                from_path,
                relative,
                metadata,
                to: None,
                to_path,
                name,
                made: false,
                finish,
            });
            if included {
                self.make(depth + 1)?;
            }
            return self.fill();
        }
        if !included || metadata.kind == FileKind::Socket {
            return Ok(());
        }
        self.make(depth)?;
        // The level is taken off while the entry is written, for the borrow's sake only.
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let result = match &level.to {
            Some(to) => {
                let entry = Entry { from: level.from.as_fd(), name, path: &from_path, metadata: &metadata };
                self.entry(&entry, to.as_fd(), name, &to_path, level.made)
            }
            None => Ok(()),
        };
        self.levels.push(level);
        result
    }

    /// What `--exclude` and `--parents` say of a path, counted from the source.
    fn wanted(&self, relative: &[u8], is_directory: bool) -> Verdict {
        let verdict = |filter: Option<&dyn PathFilter>| {
            filter.map_or(Verdict::Include, |filter| filter.verdict(relative, is_directory))
        };
        match (verdict(self.options.exclude), verdict(self.include)) {
            (Verdict::Prune, _) | (_, Verdict::Prune) => Verdict::Prune,
            (Verdict::Include, Verdict::Include) => Verdict::Include,
            _ => Verdict::ExcludeButMayHoldIncluded,
        }
    }

    fn is_empty(&self, directory: &ImagePath) -> Result<bool, CopyError> {
        let open = self.source.open_directory(directory)?;
        Ok(sorted_names(&open).map_err(CopyError::read(directory))?.is_empty())
    }

    /// Makes the copy of a level's directory, and of those above it.
    fn make(&mut self, depth: usize) -> Result<(), CopyError> {
        if self.levels[depth].to.is_some() {
            return Ok(());
        }
        self.make(depth - 1)?;
        let (above, below) = self.levels.split_at_mut(depth);
        if let (Some(Level { to: Some(parent), .. }), Some(level)) = (above.last(), below.first_mut()) {
            let (to, made) = self.target.enter(parent.as_fd(), &level.name, &level.to_path)?;
            level.to = Some(to);
            level.made = made;
        }
        Ok(())
    }

    /// Gives a copied directory its metadata, now that nothing is put in it any more.
    fn finish(&mut self, level: &Level) -> Result<(), CopyError> {
        let Some(to) = &level.to else { return Ok(()) };
        let write = || CopyError::write(&level.to_path);
        match level.finish {
            Finish::Time => {}
            Finish::AsParent if !level.made => {
                rustix::fs::fchmod(to, Mode::from_raw_mode(level.metadata.mode)).map_err(write())?;
            }
            Finish::All | Finish::AsParent => {
                set_owner_and_mode(to, self.owner(&level.metadata), self.mode(&level.metadata))
                    .map_err(write())?;
                let xattrs = self.xattrs(level.from.as_fd(), &level.from_path)?;
                self.transfer.xattrs(to.as_fd(), &xattrs, &level.to_path).map_err(write())?;
            }
        }
        if level.finish != Finish::AsParent && !level.to_path.is_root() {
            rustix::fs::futimens(to, &times(level.metadata.mtime)).map_err(write())?;
        }
        Ok(())
    }
}
