//! A layer onto a tree that has what lies below it.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use zuwai_layer::{Entry, EntryKind, ImagePath, LayerItem, LayerReader};

use super::make::{Maker, Outcome, make_parent, open_directory, times};
use super::parents::{OpenParents, Parent};
use super::{Hidden, Unpacked};
use crate::error::RootfsError;
use crate::fingerprint::Fingerprints;
use crate::metadata::Metadata;
use crate::overlay::nodes;
use crate::remove::{Fate, remove_tree};
use crate::root::Root;
use crate::walk;

/// Unpacks a layer onto a root, to the end of its stream.
///
/// # Errors
/// When the layer is broken, an entry cannot be placed inside the root, or the system fails to write one.
pub fn unpack<R: Read>(root: &Root, mut layer: LayerReader<R>) -> Result<Unpacked, RootfsError> {
    let mut unpacker = Unpacker {
        root,
        parents: OpenParents::default(),
        mine: HashSet::new(),
        directories: BTreeMap::new(),
        maker: Maker { fingerprints: Some(Fingerprints::default()), ..Maker::default() },
        hidden: Hidden::default(),
        entries: 0,
    };
    while let Some(item) = layer.next()? {
        unpacker.entries += 1;
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
    parents: OpenParents,
    /// Real paths that this layer has put in place.
    mine: HashSet<ImagePath>,
    /// Directories whose times are set at the end, when nothing is put into them any more.
    directories: BTreeMap<ImagePath, i64>,
    maker: Maker,
    hidden: Hidden,
    entries: u64,
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
                self.hidden.mount_points.insert(real.clone(), Entry { path: real, ..entry.clone() });
            }
            return Ok(());
        }
        let made = match &entry.kind {
            EntryKind::Directory => self.directory(&parent, name, &real, entry)?,
            EntryKind::Hardlink { target } => self.hardlink(&parent, name, &real, target)?,
            _ => {
                let place = parent.place(self.root, name, &real);
                match self.maker.make(place, entry, layer)? {
                    Outcome::Exists if !self.make_room(&real)? => false,
                    Outcome::Exists => self.maker.make(place, entry, layer)?.without_rival(&real)?,
                    made => made == Outcome::Done,
                }
            }
        };
        if made {
            if entry.kind == EntryKind::Directory && self.root.keep_out().reaches_below(&real) {
                self.hidden.leading.insert(real.clone());
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
        self.maker.metadata(self.root, entry)?;
        self.directories.insert(ImagePath::root(), entry.mtime);
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
        self.maker.metadata(&handle, entry)?;
        self.directories.insert(real.clone(), entry.mtime);
        if entry.path == *real {
            self.parents.keep(Parent::new(entry.path.clone(), real.clone(), handle));
        }
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
            self.maker.refused.kept_out += 1;
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
            // A device may have to wait until a view is closed.
            Err(Errno::NOENT) if self.root.waits(&real_target) => {
                return Ok(self.make_room(real)?
                    && nodes::link(self.root, &real_target, parent.handle.as_fd(), real, None)
                        .map_err(RootfsError::io("create hard link", real))?);
            }
            Ok(_) | Err(Errno::NOENT) => return Err(missing()),
            Err(error) => return Err(RootfsError::io("look at", &real_target)(error)),
        }
        let create = || rustix::fs::linkat(&from.handle, target_name, &parent.handle, name, AtFlags::empty());
        if self.in_place_of(real, "create hard link", create)?.is_none() {
            return Ok(false);
        }
        self.maker.linked(real, &real_target);
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
        let kept_out = self.root.keep_out();
        let kept = kept_out.reaches_below(real)
            && !kept_out.displaced().map_or(Ok(false), |displaced| displaced.move_away(self.root, real))?;
        if kept {
            self.maker.refused.kept_out += 1;
            tracing::warn!(path = %real, "not unpacked: something that is not the image's is below this path");
        }
        Ok(!kept)
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
        let real = match self.root.resolve(path) {
            Err(error) if no_directory(&error) => return Ok(()),
            other => other?,
        };
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
        if let Some(parent) = self.parents.get(&named) {
            return Ok(Some(parent));
        }
        let real = match self.root.resolve(&named) {
            Err(error) if !make && no_directory(&error) => return Ok(None),
            other => other?,
        };
        if self.root.keep_out().covers(&real) {
            return Ok(None);
        }
        let handle = match walk::open(self.root, &real) {
            Ok(handle) => handle,
            Err(Errno::NOENT) if make => self.make_parents(&real)?,
            Err(Errno::NOENT | Errno::NOTDIR) if !make => return Ok(None),
            Err(error) => return Err(RootfsError::io("open directory", &real)(error)),
        };
        Ok(Some(self.parents.keep(Parent::new(named, real, handle))))
    }

    fn make_parents(&mut self, real: &ImagePath) -> Result<OwnedFd, RootfsError> {
        let mut handle = walk::open(self.root, &ImagePath::root())
            .map_err(RootfsError::io("open directory", &ImagePath::root()))?;
        for path in real.ancestors().chain([real.clone()]) {
            let name = path.name().unwrap_or(b".");
            handle = match open_directory(&handle, name) {
                Err(Errno::NOENT) => {
                    let made = make_parent(&handle, name, &path)?;
                    self.mine.insert(path);
                    made
                }
                other => other.map_err(RootfsError::io("open directory", &path))?,
            };
        }
        Ok(handle)
    }

    /// Sets the directories' times, the deepest first, and of two entries of one directory the last.
    fn finish(mut self) -> Result<Unpacked, RootfsError> {
        self.parents.clear();
        self.maker.finish()?;
        for (path, mtime) in self.directories.into_iter().rev() {
            match walk::open(self.root, &path) {
                Ok(directory) => rustix::fs::futimens(&directory, &times(mtime))
                    .map_err(RootfsError::io("set the times of", &path))?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {} // replaced later in the layer
                Err(error) => return Err(RootfsError::io("open directory", &path)(error)),
            }
        }
        let refused = self.maker.refused;
        if refused.total() > 0 {
            tracing::warn!(
                xattrs = refused.xattrs,
                devices = refused.devices,
                owners = refused.owners,
                kept_out = refused.kept_out,
                "some of the layer could not be unpacked here"
            );
        }
        Ok(Unpacked {
            entries: self.entries,
            refused,
            fingerprints: self.maker.fingerprints.unwrap_or_default(),
            hidden: self.hidden,
        })
    }
}

/// Whether a path cannot be there, since something above it is no directory.
fn no_directory(error: &RootfsError) -> bool {
    matches!(error, RootfsError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotADirectory)
}
