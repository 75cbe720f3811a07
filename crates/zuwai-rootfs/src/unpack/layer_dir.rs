//! A layer into a directory of its own, as overlayfs has it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use zuwai_layer::{Entry, EntryKind, ImagePath, LayerError, LayerItem, LayerReader};

use super::Refused;
use super::adopt::{Implied, Purpose, subtree};
use super::make::{Maker, Outcome, Place, make_parent, open_directory, times};
use super::marks::{is_whiteout, make_opaque, make_whiteout};
use super::parents::{OpenParents, Parent};
use crate::error::RootfsError;
use crate::metadata::Metadata;
use crate::remove::{Fate, remove_tree};
use crate::root::Root;
use crate::walk;

/// What became of a layer that was to be unpacked alone.
#[derive(Debug)]
pub enum LayerUnpacked {
    /// It stands in its directory, for [`adopt_parents`](super::adopt_parents).
    Alone(LayerDir),
    /// What it holds depends on the layers below: links among the parents of an entry, a hard link to a file below, an
    /// opaque root. The directory holds a part of it, is to be emptied, and the layer to be unpacked with
    /// [`unpack`](super::unpack) onto a view of all layers (which also says what is wrong, if something is).
    NeedsBelow,
}

/// A layer that was unpacked into a directory of its own.
#[derive(Debug, Default)]
pub struct LayerDir {
    /// How many entries and whiteouts it has.
    pub entries: u64,
    /// What was left out.
    pub refused: Refused,
    /// What is to be compared with the layers below.
    pub implied: Implied,
}

/// Unpacks a layer into an empty directory, to the end of its stream, as overlayfs has layers (mounted with
/// `userxattr`): what it removes is a character device 0:0, what hides all below has `user.overlay.opaque`. Extended
/// attributes of an image by which it would do such things itself are not set; a device 0:0 of an image is counted as
/// refused.
///
/// # Errors
/// When the layer is broken, or the system fails to write an entry. [`RootfsError::OverlayMark`] where the file system
/// cannot hold a layer's directory.
pub fn unpack_layer_dir<R: Read>(
    root: &Root,
    mut layer: LayerReader<R>,
) -> Result<LayerUnpacked, RootfsError> {
    let mut unpacker = Unpacker {
        root,
        parents: OpenParents::default(),
        directories: BTreeMap::new(),
        opaque: BTreeSet::new(),
        maker: Maker::default(),
        done: LayerDir::default(),
    };
    unpacker.done.implied.insert(ImagePath::root(), Purpose::Parent);
    match unpacker.all(&mut layer).and_then(|()| unpacker.set_times()) {
        Ok(()) => {}
        Err(Stop::NeedsBelow) => return Ok(LayerUnpacked::NeedsBelow),
        Err(Stop::Failed(error)) => return Err(error),
    }
    unpacker.done.refused = unpacker.maker.refused;
    Ok(LayerUnpacked::Alone(unpacker.done))
}

/// Why it does not go on.
enum Stop {
    NeedsBelow,
    Failed(RootfsError),
}

impl From<RootfsError> for Stop {
    fn from(error: RootfsError) -> Self {
        Self::Failed(error)
    }
}

impl From<LayerError> for Stop {
    fn from(error: LayerError) -> Self {
        Self::Failed(error.into())
    }
}

struct Unpacker<'a> {
    root: &'a Root,
    parents: OpenParents,
    /// The directories that the layer has entries for. Their times are set at the end.
    directories: BTreeMap<ImagePath, i64>,
    /// The directories in which nothing of the layers below is seen.
    opaque: BTreeSet<ImagePath>,
    maker: Maker,
    done: LayerDir,
}

impl Unpacker<'_> {
    fn all<R: Read>(&mut self, layer: &mut LayerReader<R>) -> Result<(), Stop> {
        while let Some(item) = layer.next()? {
            self.done.entries += 1;
            match item {
                LayerItem::Entry(entry) => self.entry(&entry, layer)?,
                LayerItem::Whiteout(path) => self.whiteout(&path)?,
                LayerItem::Opaque(path) => self.make_opaque(&path)?,
            }
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, entry: &Entry, layer: &mut LayerReader<R>) -> Result<(), Stop> {
        let path = &entry.path;
        let Some(name) = path.name() else {
            if entry.kind != EntryKind::Directory {
                return Err(RootfsError::ReplacesRoot.into());
            }
            self.maker.metadata(self.root, entry)?;
            self.note_directory(entry);
            return Ok(());
        };
        let Some(parent) = self.parent(path, Purpose::Parent)? else { return Err(Stop::NeedsBelow) };
        let place = parent.place(self.root, name, path);
        match &entry.kind {
            EntryKind::Directory => self.directory(place, entry),
            EntryKind::Hardlink { target } => self.hardlink(place, target),
            EntryKind::CharDevice { major: 0, minor: 0 } => {
                self.maker.refused.devices += 1;
                self.make_room(path)?;
                self.leave_out(place)
            }
            _ => {
                let mut made = self.maker.make(place, entry, layer)?;
                if made == Outcome::Exists {
                    self.make_room(path)?;
                    made = self.maker.make(place, entry, layer)?;
                }
                if made.without_rival(path)? { Ok(()) } else { self.leave_out(place) }
            }
        }
    }

    /// A directory. Over anything else of this layer, a whiteout too, it is a new one, which shows nothing from below.
    fn directory(&mut self, place: Place<'_>, entry: &Entry) -> Result<(), Stop> {
        let Place { directory, name, path, .. } = place;
        let create = || rustix::fs::mkdirat(directory, name, Mode::RWXU);
        let mut replaces = false;
        match create() {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let there = Metadata::at(directory, name).map_err(RootfsError::io("look at", path))?;
                if !there.is_directory() {
                    replaces = true;
                    self.make_room(path)?;
                    create().map_err(RootfsError::io("create directory", path))?;
                }
            }
            Err(error) => return Err(RootfsError::io("create directory", path)(error).into()),
        }
        let handle = open_directory(directory, name).map_err(RootfsError::io("open directory", path))?;
        if replaces {
            self.set_opaque(&handle, path)?;
        }
        self.maker.metadata(&handle, entry)?;
        self.note_directory(entry);
        self.parents.keep(Parent::new(path.clone(), path.clone(), handle));
        Ok(())
    }

    fn note_directory(&mut self, entry: &Entry) {
        self.done.implied.has_entry(&entry.path);
        self.directories.insert(entry.path.clone(), entry.mtime);
    }

    /// A further name of a file of this layer. Its metadata is the file's, whatever the entry says.
    fn hardlink(&mut self, place: Place<'_>, target: &ImagePath) -> Result<(), Stop> {
        let Place { directory, name, path, .. } = place;
        let Some(target_name) = target.name() else { return Err(Stop::NeedsBelow) };
        if target == path {
            return Ok(());
        }
        let named = target.parent().unwrap_or_default();
        let from = match walk::open_beneath(self.root, &named) {
            Ok(from) => from,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(Stop::NeedsBelow),
            Err(error) => return Err(RootfsError::io("open directory", &named)(error).into()),
        };
        let found = match Metadata::at(from.as_fd(), target_name) {
            Ok(found) if !found.is_directory() && !is_whiteout(&found) => found,
            Ok(_) | Err(Errno::NOENT) => return Err(Stop::NeedsBelow),
            Err(error) => return Err(RootfsError::io("look at", target)(error).into()),
        };
        let create = || rustix::fs::linkat(&from, target_name, directory, name, AtFlags::empty());
        match create() {
            Err(Errno::EXIST) => {
                let there = Metadata::at(directory, name).map_err(RootfsError::io("look at", path))?;
                if (there.dev, there.ino) == (found.dev, found.ino) {
                    return Ok(());
                }
                self.make_room(path)?;
                create().map_err(RootfsError::io("create hard link", path))?;
            }
            other => other.map_err(RootfsError::io("create hard link", path))?,
        }
        Ok(())
    }

    /// What cannot be made is not there, nor is what the layers below have in its place.
    fn leave_out(&mut self, place: Place<'_>) -> Result<(), Stop> {
        if !self.hides(&place.path.parent().unwrap_or_default()) {
            make_whiteout(place.directory, place.name, place.path)?;
            self.done.implied.whiteouts.insert(place.path.clone());
        }
        Ok(())
    }

    /// Removes a path of the layers below.
    fn whiteout(&mut self, path: &ImagePath) -> Result<(), Stop> {
        let Some(name) = path.name() else { return Err(RootfsError::ReplacesRoot.into()) };
        let Some(parent) = self.parent(path, Purpose::Mark)? else { return Ok(()) };
        if self.hides(&parent.named) {
            return Ok(()); // nothing from below is seen there
        }
        let place = parent.place(self.root, name, path);
        match Metadata::at(place.directory, name) {
            Err(Errno::NOENT) => self.leave_out(place),
            Err(error) => Err(RootfsError::io("look at", path)(error).into()),
            Ok(there) if !there.is_directory() => Ok(()), // of this layer, or a whiteout already
            Ok(_) if self.done.implied.is_for_marks(path) => Err(Stop::NeedsBelow),
            Ok(_) => {
                let handle =
                    open_directory(&parent.handle, name).map_err(RootfsError::io("open directory", path))?;
                self.clear_marks(path)?;
                self.set_opaque(&handle, path)?;
                Ok(())
            }
        }
    }

    /// Empties a directory of what the layers below have.
    fn make_opaque(&mut self, path: &ImagePath) -> Result<(), Stop> {
        if path.is_root() {
            return Err(Stop::NeedsBelow); // overlayfs does not look at the root for this
        }
        if let Some(handle) = self.make_parents(path, Purpose::Mark)?
            && !self.hides(path)
        {
            self.clear_marks(path)?;
            self.set_opaque(&handle, path)?;
        }
        Ok(())
    }

    fn set_opaque(&mut self, handle: &OwnedFd, path: &ImagePath) -> Result<(), RootfsError> {
        make_opaque(handle, path)?;
        self.opaque.insert(path.clone());
        Ok(())
    }

    /// Whether nothing of the layers below is seen in a directory.
    fn hides(&self, directory: &ImagePath) -> bool {
        !self.opaque.is_empty()
            && (self.opaque.contains(directory)
                || directory.ancestors().any(|above| self.opaque.contains(&above)))
    }

    /// Removes the whiteouts below a directory that becomes opaque: overlayfs would list them.
    fn clear_marks(&mut self, directory: &ImagePath) -> Result<(), Stop> {
        if self.done.implied.has_marks_below(directory) {
            return Err(Stop::NeedsBelow);
        }
        for path in self.done.implied.take_whiteouts(directory) {
            let parent = path.parent().unwrap_or_default();
            let handle =
                walk::open_beneath(self.root, &parent).map_err(RootfsError::io("open directory", &parent))?;
            rustix::fs::unlinkat(&handle, path.name().unwrap_or_default(), AtFlags::empty())
                .map_err(RootfsError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Removes what this layer has at a path. What was assumed of the layers below must not be forgotten with it.
    fn make_room(&mut self, path: &ImagePath) -> Result<(), Stop> {
        if self.done.implied.assumes(path) {
            return Err(Stop::NeedsBelow);
        }
        self.parents.clear();
        self.done.implied.take_whiteouts(path);
        for gone in subtree(self.opaque.range(path..), path) {
            self.opaque.remove(&gone);
        }
        for gone in subtree(self.directories.range(path..).map(|(path, _)| path), path) {
            self.directories.remove(&gone);
        }
        Ok(remove_tree(self.root, path, &|_| Fate::Remove)?)
    }

    /// The directory that holds a path, made if it is missing. `None` if there cannot be anything that a mark concerns.
    fn parent(&mut self, path: &ImagePath, purpose: Purpose) -> Result<Option<Rc<Parent>>, Stop> {
        let named = path.parent().unwrap_or_default();
        if purpose == Purpose::Parent {
            self.done.implied.promote(&named);
        }
        if let Some(parent) = self.parents.get(&named) {
            return Ok(Some(parent));
        }
        let handle = match walk::open_beneath(self.root, &named) {
            Ok(handle) => handle,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => match self.make_parents(&named, purpose)? {
                Some(handle) => handle,
                None => return Ok(None),
            },
            Err(error) => return Err(RootfsError::io("open directory", &named)(error).into()),
        };
        Ok(Some(self.parents.keep(Parent::new(named.clone(), named, handle))))
    }

    /// Opens a directory and makes what is missing of it.
    fn make_parents(&mut self, directory: &ImagePath, purpose: Purpose) -> Result<Option<OwnedFd>, Stop> {
        let root = ImagePath::root();
        let mut handle =
            walk::open_beneath(self.root, &root).map_err(RootfsError::io("open directory", &root))?;
        let itself = (!directory.is_root()).then(|| directory.clone());
        for path in directory.ancestors().chain(itself) {
            let name = path.name().unwrap_or(b".");
            handle = match open_directory(&handle, name) {
                Ok(handle) => handle,
                Err(Errno::NOENT) => {
                    let hidden = self.hides(&path);
                    if hidden && purpose == Purpose::Mark {
                        return Ok(None);
                    }
                    let made = make_parent(&handle, name, &path)?;
                    if !hidden {
                        self.done.implied.insert(path, purpose);
                    }
                    made
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let there =
                        Metadata::at(handle.as_fd(), name).map_err(RootfsError::io("look at", &path))?;
                    if !is_whiteout(&there) {
                        return Err(Stop::NeedsBelow);
                    }
                    if purpose == Purpose::Mark {
                        return Ok(None);
                    }
                    self.make_room(&path)?;
                    let made = make_parent(&handle, name, &path)?;
                    self.set_opaque(&made, &path)?;
                    made
                }
                Err(error) => return Err(RootfsError::io("open directory", &path)(error).into()),
            };
        }
        Ok(Some(handle))
    }

    /// Sets the directories' times, the deepest first, and of two entries of one directory the last.
    fn set_times(&mut self) -> Result<(), Stop> {
        self.parents.clear();
        self.maker.finish()?;
        for (path, mtime) in self.directories.iter().rev() {
            let directory =
                walk::open_beneath(self.root, path).map_err(RootfsError::io("open directory", path))?;
            rustix::fs::futimens(&directory, &times(*mtime))
                .map_err(RootfsError::io("set the times of", path))?;
        }
        Ok(())
    }
}
