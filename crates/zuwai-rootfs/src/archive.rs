//! What `ADD` does with a local archive.
//!
//! The rules are BuildKit's: the destination is a directory, made if it is missing; the archive's own entry for its root
//! changes nothing of it. An entry replaces whatever is at its path, only directories are merged. Links on the way to an
//! entry are followed inside the destination, as if it were the root. Parents that the archive does not name are of mode
//! 0755 and belong to 0:0, or to the group of a directory above that has its set-group-ID bit. Names that begin with `.wh.`
//! mean nothing here.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use zuwai_layer::compression::decompress;
use zuwai_layer::reader::LayerReader;
use zuwai_layer::{Entry, EntryKind, ImagePath, LayerError, LayerItem};

use crate::copy::CopyError;
use crate::copy::record::Record;
use crate::copy::target::Target;
use crate::copy::transfer::{Transfer, set_owner_and_mode, set_owner_at, times};
use crate::error::RootfsError;
use crate::metadata::{Metadata, Timestamp};
use crate::overlay::nodes::{self, Marks, Node};
use crate::root::Root;
use crate::walk;

/// Extracts an archive into the directory `place` of the target, which exists. `shown` is what errors call the archive.
pub(crate) fn extract(
    target: &mut Target<'_>,
    place: &ImagePath,
    archive: File,
    shown: &ImagePath,
    owner: Option<(u32, u32)>,
    transfer: &mut Transfer,
) -> Result<(), RootfsError> {
    let broken = |source| CopyError::Archive { path: shown.clone(), source };
    let content = decompress(archive).map_err(|error| broken(LayerError::Read(error)))?;
    let mut reader = LayerReader::archive(content);
    let root = destination_as_root(target.root, place)?;
    let record = std::mem::take(&mut target.record);
    let inside = Target {
        root: &root,
        record: Record::default(),
        owner: None,
        mode: 0o755,
        keeps_set_group_id: false,
    };
    let mut extraction = Extraction {
        target: inside,
        place,
        whole: record,
        owner,
        transfer,
        last: None,
        directories: Vec::new(),
    };
    let result = extraction.all(&mut reader, &broken);
    extraction.take_record()?;
    target.record = extraction.whole;
    target.root.take_waiting(root, place).map_err(CopyError::from)?;
    result
}

/// The destination seen as a root of its own: links end at it.
fn destination_as_root(root: &Root, place: &ImagePath) -> Result<Root, CopyError> {
    let directory = walk::open(root, place).map_err(CopyError::write(place))?;
    Ok(root.below(place, directory)?)
}

struct Extraction<'a> {
    /// The destination; its paths are counted from there.
    target: Target<'a>,
    place: &'a ImagePath,
    /// What was written, counted from the image's root.
    whole: Record,
    owner: Option<(u32, u32)>,
    transfer: &'a mut Transfer,
    /// The directory of the last entry: as the archive names it, and where it really is.
    last: Option<Parent>,
    /// Directories of the archive, which get their times when nothing is put in them any more.
    directories: Vec<(ImagePath, i64)>,
}

struct Parent {
    named: ImagePath,
    real: ImagePath,
    open: OwnedFd,
}

impl Extraction<'_> {
    fn all<R: Read>(
        &mut self,
        reader: &mut LayerReader<R>,
        broken: &impl Fn(LayerError) -> CopyError,
    ) -> Result<(), RootfsError> {
        while let Some(item) = reader.next().map_err(broken)? {
            // In an archive every item is an entry, and its root is the destination, which stays as it is.
            let LayerItem::Entry(entry) = item else { continue };
            if !entry.path.is_root() {
                self.entry(&entry, reader, broken)?;
            }
        }
        for (path, seconds) in &self.directories {
            // The directory may have been replaced by a later entry.
            if let Ok(open) = self.target.open(path) {
                let mtime = Timestamp { seconds: *seconds, nanoseconds: 0 };
                rustix::fs::futimens(&open, &times(mtime)).map_err(CopyError::write(path))?;
            }
        }
        Ok(())
    }

    fn entry<R: Read>(
        &mut self,
        entry: &Entry,
        reader: &mut LayerReader<R>,
        broken: &impl Fn(LayerError) -> CopyError,
    ) -> Result<(), RootfsError> {
        let Some(parent) = self.parent(&entry.path.parent().unwrap_or_default())? else {
            self.left_out(&entry.path);
            return Ok(());
        };
        let name = entry.path.name().unwrap_or_default();
        let path = parent.real.join(name).map_err(CopyError::from)?;
        let result = self.put(entry, &parent, name, &path, reader, broken);
        // What was replaced may have been a link or a directory on the way to the next entry.
        if self.last.is_none() && matches!(result, Ok(Replaced::Nothing)) {
            self.last = Some(parent);
        }
        result.map(drop)
    }

    /// The directory that an entry goes into, made if it is missing. `None` where it is kept out.
    fn parent(&mut self, named: &ImagePath) -> Result<Option<Parent>, RootfsError> {
        if let Some(last) = self.last.take_if(|last| last.named == *named) {
            return Ok(Some(last));
        }
        self.last = None;
        let real = self.target.root.resolve(named)?;
        if self.target.root.keep_out().covers(&real) {
            return Ok(None);
        }
        self.target.make_directories(&real, 0o755)?;
        let open = self.target.open(&real)?;
        // What is put into it changes its time.
        self.target.record.directory(&real);
        if real.is_root() {
            self.whole.directory(self.place);
        }
        Ok(Some(Parent { named: named.clone(), real, open }))
    }

    fn left_out(&self, path: &ImagePath) {
        tracing::warn!("not extracted: {path} below {} belongs to the builder's own container", self.place);
    }

    fn put<R: Read>(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &[u8],
        path: &ImagePath,
        reader: &mut LayerReader<R>,
        broken: &impl Fn(LayerError) -> CopyError,
    ) -> Result<Replaced, RootfsError> {
        if self.target.root.keep_out().covers(path) {
            self.left_out(path);
            return Ok(Replaced::Nothing);
        }
        let directory = parent.open.as_fd();
        let write = || CopyError::write(path);
        let there = match Metadata::at(directory, name) {
            Ok(there) => Some(there),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(write()(error).into()),
        };
        let merge = there.is_some_and(|there| there.is_directory()) && entry.kind == EntryKind::Directory;
        if there.is_some() && !merge {
            self.remove(directory, name, path)?;
        }
        let owner = self.owner.unwrap_or((entry.uid, entry.gid));
        match &entry.kind {
            EntryKind::Directory => {
                let (open, _) = self.target.enter(directory, name, path)?;
                set_owner_and_mode(&open, owner, entry.mode).map_err(write())?;
                self.transfer.xattrs(open.as_fd(), &entry.xattrs, path).map_err(write())?;
                self.directories.push((path.clone(), entry.mtime));
                return Ok(if there.is_none() || merge { Replaced::Nothing } else { Replaced::Something });
            }
            EntryKind::File { .. } => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made =
                    rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR).map_err(write())?;
                let mut made = File::from(made);
                reader.copy_content(&mut made).map_err(broken)?.map_err(CopyError::write(path))?;
                set_owner_and_mode(&made, owner, entry.mode).map_err(write())?;
                self.transfer.xattrs(made.as_fd(), &entry.xattrs, path).map_err(write())?;
            }
            EntryKind::Symlink { target } => {
                rustix::fs::symlinkat(target.as_slice(), directory, name).map_err(write())?;
                set_owner_at(directory, name, owner).map_err(write())?;
            }
            EntryKind::Hardlink { target } => self.hard_link(entry, target, directory, name, path, owner)?,
            EntryKind::CharDevice { major, minor } => {
                self.node(entry, (FileType::CharacterDevice, *major, *minor), owner, directory, path)?;
            }
            EntryKind::BlockDevice { major, minor } => {
                self.node(entry, (FileType::BlockDevice, *major, *minor), owner, directory, path)?;
            }
            EntryKind::Fifo => self.node(entry, (FileType::Fifo, 0, 0), owner, directory, path)?,
        }
        // A node has its own already, or will get it where it has to wait.
        if matches!(
            entry.kind,
            EntryKind::File { .. } | EntryKind::Symlink { .. } | EntryKind::Hardlink { .. }
        ) {
            let mtime = Timestamp { seconds: entry.mtime, nanoseconds: 0 };
            match rustix::fs::utimensat(directory, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) if self.target.root.waits(path) => {}
                other => other.map_err(write())?,
            }
        }
        self.target.record.other(path);
        // A new link can lead elsewhere only where something else was before.
        Ok(if there.is_none() { Replaced::Nothing } else { Replaced::Something })
    }

    /// Makes a device or a named pipe.
    fn node(
        &self,
        entry: &Entry,
        (kind, major, minor): (FileType, u32, u32),
        owner: (u32, u32),
        directory: BorrowedFd<'_>,
        path: &ImagePath,
    ) -> Result<(), CopyError> {
        let device = rustix::fs::makedev(major, minor);
        let node = Node { kind, device, marks: marks(entry, owner) };
        let name = path.name().unwrap_or_default();
        nodes::make(self.target.root, directory, name, path, node).map_err(CopyError::write(path))
    }

    /// Another name of a file of the archive or the destination; the entry's owner and mode become the file's.
    fn hard_link(
        &mut self,
        entry: &Entry,
        target: &ImagePath,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &ImagePath,
        owner: (u32, u32),
    ) -> Result<(), RootfsError> {
        let missing = || CopyError::HardlinkTarget { path: path.clone(), target: target.clone() };
        let real = self.target.root.resolve_parents(target)?;
        if self.target.root.keep_out().covers(&real) {
            return Err(missing().into());
        }
        match rustix::fs::linkat(
            self.target.root.as_fd(),
            real.as_relative(),
            directory,
            name,
            AtFlags::empty(),
        ) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => {
                let waits = nodes::link(self.target.root, &real, directory, path, Some(marks(entry, owner)));
                return if waits.map_err(CopyError::write(path))? { Ok(()) } else { Err(missing().into()) };
            }
            Err(error) => return Err(CopyError::write(path)(error).into()),
        }
        set_owner_at(directory, name, owner).map_err(CopyError::write(path))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(file) => {
                set_owner_and_mode(&file, owner, entry.mode).map_err(CopyError::write(path))?;
                self.transfer.xattrs(file.as_fd(), &entry.xattrs, path).map_err(CopyError::write(path))?;
            }
            // Another name of a link or a device.
            Err(Errno::LOOP | Errno::NXIO | Errno::PERM) => {}
            Err(error) => return Err(CopyError::write(path)(error).into()),
        }
        self.target.record.other(&real);
        Ok(())
    }

    /// Removes whatever is at a path, with everything below it.
    fn remove(&mut self, directory: BorrowedFd<'_>, name: &[u8], path: &ImagePath) -> Result<(), CopyError> {
        if self.target.root.keep_out().reaches_below(path) {
            return Err(CopyError::KeptOut { path: path.clone() });
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(CopyError::write(path)(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below =
            rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(CopyError::write(path))?;
        for child in crate::copy::source::sorted_names(&below).map_err(CopyError::write(path))? {
            let child_path = path.join(&child)?;
            self.remove(below.as_fd(), &child, &child_path)?;
            self.target.record.gone(&child_path);
        }
        rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR).map_err(CopyError::write(path))
    }

    /// Adds what was written, counted from the destination, to what was written before.
    fn take_record(&mut self) -> Result<(), CopyError> {
        std::mem::take(&mut self.target.record).move_below(self.place, &mut self.whole)?;
        Ok(())
    }
}

/// What a node gets from its entry, or from that of a further name of it.
fn marks(entry: &Entry, owner: (u32, u32)) -> Marks {
    Marks { mode: entry.mode, owner, mtime: Timestamp { seconds: entry.mtime, nanoseconds: 0 } }
}

/// What an entry stood in the place of.
enum Replaced {
    Nothing,
    Something,
}
