//! Unpacking a layer onto a tree, as containerd does.
//!
//! Links among the parents of an entry are followed inside the root. Missing parents are made (0755, 0:0). A directory
//! over a directory takes on its metadata, anything else over anything replaces it. Whiteouts and opaque markers concern
//! what lower layers have, not what this one has put there. What the local file system or the caller's rights refuse
//! and an image can do without for a moment (device nodes, extended attributes, owners) is counted, not an error.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use zuwai_layer::{Entry, EntryKind, ImagePath, LayerItem, LayerReader, Xattrs};

use crate::error::RootfsError;
use crate::fingerprint::{self, Fingerprints, Observed};
use crate::metadata::Metadata;
use crate::remove::{Fate, remove_tree};
use crate::root::Root;
use crate::walk;

/// How many directories are kept open.
const PARENTS: usize = 16;

/// What was left out because it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// Extended attributes (no support in the file system, or no right).
    pub xattrs: u64,
    /// Device nodes (no right to make them).
    pub devices: u64,
    /// Owners (no right to give files away, or an id that is not mapped).
    pub owners: u64,
    /// Paths in whose place something is that is not the image's and cannot be moved.
    pub kept_out: u64,
}

impl Refused {
    /// How many things were left out.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.xattrs + self.devices + self.owners + self.kept_out
    }

    /// Adds those of another layer.
    pub fn add(&mut self, other: Self) {
        self.xattrs += other.xattrs;
        self.devices += other.devices;
        self.owners += other.owners;
        self.kept_out += other.kept_out;
    }
}

/// What unpacking a layer did.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// How many entries and whiteouts were applied.
    pub entries: u64,
    /// What was left out.
    pub refused: Refused,
    /// What it saw of contents, for [`crate::Index::remember`].
    pub fingerprints: Fingerprints,
    /// What it has where something is kept out.
    pub hidden: Hidden,
}

/// What an image has where something is kept out of its root: nothing of it can be seen in the root itself.
#[derive(Debug, Default)]
pub struct Hidden {
    /// Paths of the image that are kept out themselves: mount points that the image has. Their contents are not here.
    pub mount_points: BTreeMap<ImagePath, Entry>,
    /// Directories of the image with something below that is kept out. Others like them are not the image's.
    pub leading: BTreeSet<ImagePath>,
}

impl Hidden {
    /// Adds those of a layer above.
    pub fn extend(&mut self, other: Self) {
        self.mount_points.extend(other.mount_points);
        self.leading.extend(other.leading);
    }
}

/// Unpacks a layer onto a root, to the end of its stream.
///
/// # Errors
/// When the layer is broken, an entry cannot be placed inside the root, or the system fails to write one.
pub fn unpack<R: Read>(root: &Root, mut layer: LayerReader<R>) -> Result<Unpacked, RootfsError> {
    let mut unpacker = Unpacker {
        root,
        parents: Vec::new(),
        mine: HashSet::new(),
        directories: Vec::new(),
        done: Unpacked::default(),
    };
    while let Some(item) = layer.next()? {
        unpacker.done.entries += 1;
        match item {
            LayerItem::Entry(entry) => unpacker.entry(&entry, &mut layer)?,
            LayerItem::Whiteout(path) => unpacker.whiteout(&path)?,
            LayerItem::Opaque(path) => unpacker.opaque(&path)?,
        }
    }
    unpacker.finish()
}

struct Unpacker<'a> {
    root: &'a Root,
    /// The directories last used, the most recent at the end. Emptied when anything but a file is replaced or removed,
    /// so that what stands here leads to where it did.
    parents: Vec<Rc<Parent>>,
    /// Real paths that this layer has put in place.
    mine: HashSet<ImagePath>,
    /// Directories whose times are set at the end, when nothing is put into them any more.
    directories: Vec<(ImagePath, i64)>,
    done: Unpacked,
}

/// A directory of the tree.
struct Parent {
    /// As the layer names it.
    named: ImagePath,
    /// Where that leads.
    real: ImagePath,
    handle: OwnedFd,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &Entry, layer: &mut LayerReader<R>) -> Result<(), RootfsError> {
        let Some(name) = entry.path.name() else {
            return self.root_entry(entry);
        };
        let Some(parent) = self.parent(&entry.path, true)? else { return Ok(()) };
        let real = walk::child(&parent.real, name)?;
        if self.root.keep_out().covers(&real) {
            if self.root.keep_out().contains(&real) {
                self.done.hidden.mount_points.insert(real.clone(), Entry { path: real, ..entry.clone() });
            }
            return Ok(());
        }
        let made = match &entry.kind {
            EntryKind::Directory => self.directory(&parent, name, &real, entry),
            EntryKind::File { .. } => self.file(&parent, name, &real, entry, layer),
            EntryKind::Symlink { target } => self.symlink(&parent, name, &real, entry, target),
            EntryKind::Hardlink { target } => self.hardlink(&parent, name, &real, target),
            EntryKind::CharDevice { major, minor } => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(&parent, name, &real, entry, FileType::CharacterDevice, device)
            }
            EntryKind::BlockDevice { major, minor } => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(&parent, name, &real, entry, FileType::BlockDevice, device)
            }
            EntryKind::Fifo => self.node(&parent, name, &real, entry, FileType::Fifo, 0),
        };
        if made? {
            if entry.kind == EntryKind::Directory && self.root.keep_out().reaches_below(&real) {
                self.done.hidden.leading.insert(real.clone());
            }
            self.mine.insert(real);
        }
        Ok(())
    }

    /// The root's own metadata. In place the root is the container's, and stays as it is.
    fn root_entry(&mut self, entry: &Entry) -> Result<(), RootfsError> {
        if entry.kind != EntryKind::Directory {
            return Err(RootfsError::ReplacesRoot);
        }
        if self.root.keep_out().reaches_below(&entry.path) {
            return Ok(());
        }
        self.metadata(&self.root.as_fd(), entry)?;
        self.directories.push((ImagePath::root(), entry.mtime));
        Ok(())
    }

    fn directory(
        &mut self,
        parent: &Parent,
        name: &[u8],
        real: &ImagePath,
        entry: &Entry,
    ) -> Result<bool, RootfsError> {
        match rustix::fs::mkdirat(&parent.handle, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let there = Metadata::at(parent.handle.as_fd(), name);
                if !there.map_err(RootfsError::io("look at", real))?.is_directory() {
                    if !self.make_room(real)? {
                        return Ok(false);
                    }
                    rustix::fs::mkdirat(&parent.handle, name, Mode::RWXU)
                        .map_err(RootfsError::io("create directory", real))?;
                }
            }
            Err(error) => return Err(RootfsError::io("create directory", real)(error)),
        }
        let handle = open_directory(&parent.handle, name).map_err(RootfsError::io("open directory", real))?;
        self.metadata(&handle, entry)?;
        self.directories.push((real.clone(), entry.mtime));
        if entry.path == *real {
            self.keep_open(Parent { named: entry.path.clone(), real: real.clone(), handle });
        }
        Ok(true)
    }

    fn file<R: Read>(
        &mut self,
        parent: &Parent,
        name: &[u8],
        real: &ImagePath,
        entry: &Entry,
        layer: &mut LayerReader<R>,
    ) -> Result<bool, RootfsError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(&parent.handle, name, flags, Mode::RUSR | Mode::WUSR);
        let Some(file) = self.in_place_of(real, "create", create)? else { return Ok(false) };
        let mut file = Observed::new(std::fs::File::from(file));
        layer.copy_content(&mut file)?.map_err(RootfsError::io("write", real))?;
        let Observed { inner: file, digest } = file;
        self.metadata(&file, entry)?;
        rustix::fs::futimens(&file, &times(entry.mtime))
            .map_err(RootfsError::io("set the times of", real))?;
        let xattrs: Xattrs =
            belonging(&entry.xattrs).map(|(name, value)| (name.clone(), value.clone())).collect();
        self.done.fingerprints.insert(real, digest.finish(&xattrs));
        Ok(true)
    }

    fn symlink(
        &mut self,
        parent: &Parent,
        name: &[u8],
        real: &ImagePath,
        entry: &Entry,
        target: &[u8],
    ) -> Result<bool, RootfsError> {
        let create = || rustix::fs::symlinkat(target, &parent.handle, name);
        if self.in_place_of(real, "create link", create)?.is_none() {
            return Ok(false);
        }
        self.owner(parent, name, entry)?;
        rustix::fs::utimensat(&parent.handle, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(RootfsError::io("set the times of", real))?;
        self.done.fingerprints.insert(real, fingerprint::of_bytes(target));
        Ok(true)
    }

    /// A further name of a file. Its metadata is the file's, whatever the entry says.
    fn hardlink(
        &mut self,
        parent: &Parent,
        name: &[u8],
        real: &ImagePath,
        target: &ImagePath,
    ) -> Result<bool, RootfsError> {
        let missing = || RootfsError::NoLinkTarget { path: real.clone(), target: target.clone() };
        let Some(target_name) = target.name() else { return Err(missing()) };
        let Some(from) = self.parent(target, false)? else { return Err(missing()) };
        let real_target = walk::child(&from.real, target_name)?;
        if self.root.keep_out().covers(&real_target) {
            self.done.refused.kept_out += 1;
            return Ok(false);
        }
        if real_target == *real {
            return Ok(true);
        }
        match Metadata::at(from.handle.as_fd(), target_name) {
            Ok(found) if !found.is_directory() => {
                let there = Metadata::at(parent.handle.as_fd(), name);
                if there.is_ok_and(|there| (there.dev, there.ino) == (found.dev, found.ino)) {
                    return Ok(true);
                }
            }
            Ok(_) | Err(Errno::NOENT) => return Err(missing()),
            Err(error) => return Err(RootfsError::io("look at", &real_target)(error)),
        }
        let create = || rustix::fs::linkat(&from.handle, target_name, &parent.handle, name, AtFlags::empty());
        if self.in_place_of(real, "create hard link", create)?.is_none() {
            return Ok(false);
        }
        match self.done.fingerprints.get(&real_target) {
            Some(known) => self.done.fingerprints.insert(real, known),
            None => self.done.fingerprints.remove(real),
        }
        Ok(true)
    }

    fn node(
        &mut self,
        parent: &Parent,
        name: &[u8],
        real: &ImagePath,
        entry: &Entry,
        kind: FileType,
        device: u64,
    ) -> Result<bool, RootfsError> {
        let mode = Mode::from_raw_mode(entry.mode);
        let create =
            || rustix::fs::mknodat(&parent.handle, name, kind, mode & Mode::from_raw_mode(0o777), device);
        match self.in_place_of(real, "create", create) {
            Ok(Some(())) => {}
            Ok(None) => return Ok(false),
            Err(RootfsError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                self.done.refused.devices += 1;
                tracing::debug!(path = %real, "device node left out: not permitted");
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        self.owner(parent, name, entry)?;
        // It was made just now, and is no link that could be followed.
        rustix::fs::chmodat(&parent.handle, name, mode, AtFlags::empty())
            .map_err(RootfsError::io("set the mode of", real))?;
        rustix::fs::utimensat(&parent.handle, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(RootfsError::io("set the times of", real))?;
        self.done.refused.xattrs += belonging(&entry.xattrs).count() as u64;
        Ok(true)
    }

    /// Creates something, after what is in its place was removed. `None` if that has to stay.
    fn in_place_of<T>(
        &mut self,
        real: &ImagePath,
        doing: &'static str,
        create: impl Fn() -> Result<T, Errno>,
    ) -> Result<Option<T>, RootfsError> {
        match create() {
            Err(Errno::EXIST) => {
                if !self.make_room(real)? {
                    return Ok(None);
                }
                create().map(Some).map_err(RootfsError::io(doing, real))
            }
            other => other.map(Some).map_err(RootfsError::io(doing, real)),
        }
    }

    /// Removes what is at a path; false if something there is not the image's.
    fn make_room(&mut self, real: &ImagePath) -> Result<bool, RootfsError> {
        self.parents.clear();
        remove_tree(self.root, real, &|_| Fate::Remove)?;
        let kept = self.root.keep_out().reaches_below(real);
        if kept {
            self.done.refused.kept_out += 1;
            tracing::warn!(path = %real, "not unpacked: something that is not the image's is below this path");
        }
        Ok(!kept)
    }

    /// Owner, mode and extended attributes of an open file or directory. The owner first: giving a file away takes its
    /// set-user-ID bit and its capabilities.
    fn metadata(&mut self, file: &impl std::os::fd::AsFd, entry: &Entry) -> Result<(), RootfsError> {
        let path = &entry.path;
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        match rustix::fs::fchown(file, Some(uid), Some(gid)) {
            Err(Errno::PERM | Errno::INVAL) => self.done.refused.owners += 1,
            other => other.map_err(RootfsError::io("set the owner of", path))?,
        }
        for (name, value) in belonging(&entry.xattrs) {
            match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOSPC) => {
                    self.done.refused.xattrs += 1;
                    let name = String::from_utf8_lossy(name);
                    tracing::debug!(%path, %name, "extended attribute left out: refused");
                }
                other => other.map_err(RootfsError::io("set extended attributes of", path))?,
            }
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))
            .map_err(RootfsError::io("set the mode of", path))
    }

    fn owner(&mut self, parent: &Parent, name: &[u8], entry: &Entry) -> Result<(), RootfsError> {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        match rustix::fs::chownat(&parent.handle, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::PERM | Errno::INVAL) => self.done.refused.owners += 1,
            other => other.map_err(RootfsError::io("set the owner of", &entry.path))?,
        }
        Ok(())
    }

    /// Removes a path of the layers below.
    fn whiteout(&mut self, path: &ImagePath) -> Result<(), RootfsError> {
        let Some(name) = path.name() else { return Err(RootfsError::ReplacesRoot) };
        let Some(parent) = self.parent(path, false)? else { return Ok(()) };
        let real = walk::child(&parent.real, name)?;
        self.remove_lower(&real)
    }

    /// Empties a directory of what the layers below have.
    fn opaque(&mut self, path: &ImagePath) -> Result<(), RootfsError> {
        let real = self.root.resolve(path)?;
        let Ok(directory) = walk::open(self.root, &real) else { return Ok(()) };
        let mut names = walk::Names::default();
        names.read(directory.as_fd()).map_err(RootfsError::io("read directory", &real))?;
        for name in names.iter() {
            self.remove_lower(&walk::child(&real, name)?)?;
        }
        Ok(())
    }

    fn remove_lower(&mut self, real: &ImagePath) -> Result<(), RootfsError> {
        self.parents.clear();
        let mine = &self.mine;
        remove_tree(self.root, real, &|path| if mine.contains(path) { Fate::Stay } else { Fate::Remove })
    }

    /// The directory that holds a path. If it is missing it is made, or `None`. `None` too if it is kept out.
    fn parent(&mut self, path: &ImagePath, make: bool) -> Result<Option<Rc<Parent>>, RootfsError> {
        let named = path.parent().unwrap_or_default();
        if let Some(known) = self.parents.iter().rposition(|parent| parent.named == named) {
            let parent = self.parents.remove(known);
            self.parents.push(Rc::clone(&parent));
            return Ok(Some(parent));
        }
        let real = self.root.resolve(&named)?;
        if self.root.keep_out().covers(&real) {
            return Ok(None);
        }
        let handle = match walk::open(self.root, &real) {
            Ok(handle) => handle,
            Err(Errno::NOENT) if make => self.make_parents(&real)?,
            Err(Errno::NOENT | Errno::NOTDIR) if !make => return Ok(None),
            Err(error) => return Err(RootfsError::io("open directory", &real)(error)),
        };
        Ok(Some(self.keep_open(Parent { named, real, handle })))
    }

    fn keep_open(&mut self, parent: Parent) -> Rc<Parent> {
        let parent = Rc::new(parent);
        self.parents.retain(|known| known.named != parent.named);
        if self.parents.len() == PARENTS {
            self.parents.remove(0);
        }
        self.parents.push(Rc::clone(&parent));
        parent
    }

    fn make_parents(&mut self, real: &ImagePath) -> Result<OwnedFd, RootfsError> {
        let mut handle = walk::open(self.root, &ImagePath::root())
            .map_err(RootfsError::io("open directory", &ImagePath::root()))?;
        for path in real.ancestors().chain([real.clone()]) {
            let name = path.name().unwrap_or(b".");
            let made = match rustix::fs::mkdirat(&handle, name, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(RootfsError::io("create directory", &path)(error)),
            };
            handle = open_directory(&handle, name).map_err(RootfsError::io("open directory", &path))?;
            if made {
                let root = (Some(Uid::ROOT), Some(Gid::ROOT));
                // Only what a set-group-ID directory hands down can make this needed, so a refusal does no harm.
                let _ = rustix::fs::fchown(&handle, root.0, root.1);
                rustix::fs::fchmod(&handle, Mode::from_raw_mode(0o755))
                    .map_err(RootfsError::io("set the mode of", &path))?;
                self.mine.insert(path);
            }
        }
        Ok(handle)
    }

    /// Sets the directories' times, the deepest first, and of two entries of one directory the last.
    fn finish(mut self) -> Result<Unpacked, RootfsError> {
        self.parents.clear();
        let directories: std::collections::BTreeMap<ImagePath, i64> = self.directories.into_iter().collect();
        for (path, mtime) in directories.into_iter().rev() {
            match walk::open(self.root, &path) {
                Ok(directory) => rustix::fs::futimens(&directory, &times(mtime))
                    .map_err(RootfsError::io("set the times of", &path))?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {} // replaced later in the layer
                Err(error) => return Err(RootfsError::io("open directory", &path)(error)),
            }
        }
        let refused = self.done.refused;
        if refused.total() > 0 {
            tracing::warn!(
                xattrs = refused.xattrs,
                devices = refused.devices,
                owners = refused.owners,
                kept_out = refused.kept_out,
                "some of the layer could not be unpacked here"
            );
        }
        Ok(self.done)
    }
}

/// The extended attributes that are set: an image may carry others, such as labels, that belong to where it was made.
fn belonging(xattrs: &Xattrs) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
    xattrs.iter().filter(|(name, _)| crate::metadata::belongs_to_image(name))
}

fn open_directory(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
