//! Copying one source, a file or a directory with everything in it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use zuwai_layer::{ImagePath, Xattrs};

use super::error::CopyError;
use super::source::{Found, open_directory_at, sorted_names};
use super::target::{Target, clear};
use super::transfer::{Transfer, set_owner_and_mode, set_owner_at, times};
use super::{CopyOptions, SourceTree};
use crate::metadata::{self, FileKind, Metadata};
use crate::path_filter::Verdict;
use crate::resolve::link_text;

/// The one attribute that a build context does not carry.
const CAPABILITY: &[u8] = b"security.capability";

/// Copies one source. Hard links are kept among what is copied together.
pub(crate) struct TreeCopy<'a, 'b> {
    pub source: SourceTree<'a>,
    pub options: &'a CopyOptions<'a>,
    pub target: &'b mut Target<'a>,
    pub transfer: &'b mut Transfer,
    /// The first copy of each file that has several names, by device and inode.
    links: BTreeMap<(u64, u64), ImagePath>,
    /// The directories from the source down to where the copy stands.
    levels: Vec<Level>,
}

/// A directory that is being copied.
struct Level {
    from: OwnedFd,
    /// Where it is in the source tree.
    from_path: ImagePath,
    /// The same, counted from the source itself, as `--exclude` counts.
    relative: Vec<u8>,
    metadata: Metadata,
    /// The copy; made when the first thing is put in it if it is excluded itself.
    to: Option<OwnedFd>,
    to_path: ImagePath,
    name: Vec<u8>,
    /// The copy was made here, so nothing can stand in the way in it.
    made: bool,
    /// What of the source's metadata the copy gets at the end.
    finish: Finish,
}

/// What of its source's metadata a copied directory gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    /// Everything.
    All,
    /// Everything but its times, and only if it was made here: it is excluded, and there for what it holds.
    MadeOnly,
    /// Its time only: it is the destination itself.
    Time,
}

impl<'a, 'b> TreeCopy<'a, 'b> {
    pub fn new(
        source: SourceTree<'a>,
        options: &'a CopyOptions<'a>,
        target: &'b mut Target<'a>,
        transfer: &'b mut Transfer,
    ) -> Self {
        Self { source, options, target, transfer, links: BTreeMap::new(), levels: Vec::new() }
    }

    /// Copies a file, link or device to its place, the parent of which exists.
    pub fn file(&mut self, found: &Found, place: &ImagePath) -> Result<(), CopyError> {
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
    pub fn directory(&mut self, found: &Found, place: &ImagePath) -> Result<(), CopyError> {
        let top = Level {
            from: self.source.open_directory(&found.path)?,
            from_path: found.path.clone(),
            relative: Vec::new(),
            metadata: found.metadata,
            to: Some(self.target.open(place)?),
            to_path: place.clone(),
            name: Vec::new(),
            made: false,
            finish: Finish::Time,
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
        let wanted =
            self.options.exclude.map_or(Verdict::Include, |exclude| exclude.verdict(&relative, is_directory));
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
            let finish = if wanted == Verdict::Include { Finish::All } else { Finish::MadeOnly };
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
        if level.finish == Finish::All || (level.finish == Finish::MadeOnly && level.made) {
            set_owner_and_mode(to, self.owner(&level.metadata), self.mode(&level.metadata))
                .map_err(write())?;
            let xattrs = self.xattrs(level.from.as_fd(), &level.from_path)?;
            self.transfer.xattrs(to.as_fd(), &xattrs, &level.to_path).map_err(write())?;
        }
        if level.finish != Finish::MadeOnly && !level.to_path.is_root() {
            rustix::fs::futimens(to, &times(level.metadata.mtime)).map_err(write())?;
        }
        Ok(())
    }

    /// Copies anything but a directory to a name, in place of what may be there.
    fn entry(
        &mut self,
        entry: &Entry<'_>,
        to: BorrowedFd<'_>,
        to_name: &[u8],
        to_path: &ImagePath,
        empty: bool,
    ) -> Result<(), CopyError> {
        let metadata = entry.metadata;
        if metadata.kind == FileKind::Socket {
            return Ok(());
        }
        if !empty {
            clear(to, to_name, to_path)?;
        }
        match metadata.kind {
            FileKind::File => self.regular(entry, to, to_name, to_path)?,
            FileKind::Symlink => {
                let text = link_text(entry.from, entry.name).map_err(CopyError::read(entry.path))?;
                rustix::fs::symlinkat(text.as_slice(), to, to_name).map_err(CopyError::write(to_path))?;
                self.place_metadata(metadata, to, to_name, to_path)?;
            }
            _ => {
                let kind = match metadata.kind {
                    FileKind::CharDevice => FileType::CharacterDevice,
                    FileKind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                rustix::fs::mknodat(to, to_name, kind, Mode::RUSR | Mode::WUSR, metadata.rdev)
                    .map_err(CopyError::write(to_path))?;
                let mode = Mode::from_raw_mode(self.mode(metadata));
                self.place_metadata(metadata, to, to_name, to_path)?;
                // It was made here a moment ago and is no link, so that nothing can be followed.
                rustix::fs::chmodat(to, to_name, mode, AtFlags::empty())
                    .map_err(CopyError::write(to_path))?;
            }
        }
        self.target.record.other(to_path);
        Ok(())
    }

    /// Owner and time of something that is not opened.
    fn place_metadata(
        &self,
        metadata: &Metadata,
        to: BorrowedFd<'_>,
        to_name: &[u8],
        to_path: &ImagePath,
    ) -> Result<(), CopyError> {
        set_owner_at(to, to_name, self.owner(metadata)).map_err(CopyError::write(to_path))?;
        rustix::fs::utimensat(to, to_name, &times(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(CopyError::write(to_path))
    }

    fn regular(
        &mut self,
        entry: &Entry<'_>,
        to: BorrowedFd<'_>,
        to_name: &[u8],
        to_path: &ImagePath,
    ) -> Result<(), CopyError> {
        let key = (entry.metadata.dev, entry.metadata.ino);
        if entry.metadata.nlink > 1
            && let Some(first) = self.links.get(&key)
            && self.link(first, to, to_name)
        {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let from = rustix::fs::openat(entry.from, entry.name, flags, Mode::empty())
            .map_err(CopyError::read(entry.path))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(to, to_name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(CopyError::write(to_path))?;
        self.transfer
            .content(from.as_fd(), file.as_fd(), entry.metadata.size)
            .map_err(CopyError::transfer(entry.path, to_path))?;
        set_owner_and_mode(&file, self.owner(entry.metadata), self.mode(entry.metadata))
            .map_err(CopyError::write(to_path))?;
        let xattrs = self.xattrs(from.as_fd(), entry.path)?;
        self.transfer.xattrs(file.as_fd(), &xattrs, to_path).map_err(CopyError::write(to_path))?;
        rustix::fs::futimens(&file, &times(entry.metadata.mtime)).map_err(CopyError::write(to_path))?;
        if entry.metadata.nlink > 1 {
            self.links.insert(key, to_path.clone());
        }
        Ok(())
    }

    /// Makes another name of a file copied before; false where that cannot be (another file system, too many names).
    fn link(&self, first: &ImagePath, to: BorrowedFd<'_>, to_name: &[u8]) -> bool {
        let Ok(directory) = open_directory_at(self.target.root.as_fd(), &first.parent().unwrap_or_default())
        else {
            return false;
        };
        let name = first.name().unwrap_or_default();
        rustix::fs::linkat(directory.as_fd(), name, to, to_name, AtFlags::empty()).is_ok()
    }

    fn owner(&self, metadata: &Metadata) -> (u32, u32) {
        self.options.owner.or(self.source.owner).unwrap_or((metadata.uid, metadata.gid))
    }

    fn mode(&self, metadata: &Metadata) -> u32 {
        self.options.mode.map_or(metadata.mode, |change| change.apply(metadata.mode, metadata.is_directory()))
    }

    fn xattrs(&self, from: BorrowedFd<'_>, path: &ImagePath) -> Result<Xattrs, CopyError> {
        let mut xattrs = match metadata::xattrs(from) {
            Ok(xattrs) => xattrs,
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Xattrs::new(),
            Err(error) => return Err(CopyError::read(path)(error)),
        };
        if !self.source.file_capabilities {
            xattrs.remove(CAPABILITY);
        }
        Ok(xattrs)
    }
}

/// Something to copy, in the directory that holds it.
struct Entry<'a> {
    from: BorrowedFd<'a>,
    name: &'a [u8],
    path: &'a ImagePath,
    metadata: &'a Metadata,
}
