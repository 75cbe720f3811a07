//! A change set as a layer.
//!
//! As containerd and BuildKit write layers: in order, the directories above every changed path with their present
//! metadata, one whiteout for a deleted path and nothing for what was below it, sockets left out. The first name of a
//! file that has several gets the content, the others become hard links to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use zuwai_layer::{Entry, EntryKind, ImagePath, LayerWriter, Xattrs};

use crate::change_set::{Change, ChangeSet};
use crate::error::RootfsError;
use crate::fingerprint::{self, Fingerprints, Observed};
use crate::metadata::{self, FileKind, Metadata};
use crate::resolve::link_text;
use crate::root::Root;
use crate::walk;

/// What was put in a layer.
#[derive(Debug, Default)]
pub struct Written {
    /// How many entries and whiteouts it has.
    pub entries: u64,
    /// How many sockets were left out.
    pub sockets: u64,
    /// What was seen of contents, for [`crate::Index::remember`].
    pub fingerprints: Fingerprints,
}

/// Writes the layer of a change set, as the tree is now. What is kept out is not written.
///
/// # Errors
/// When a changed path is no longer there, cannot be read or changes its length meanwhile, or the layer cannot be
/// written.
pub fn write_layer<W: Write>(
    root: &Root,
    changes: &ChangeSet,
    layer: &mut LayerWriter<W>,
) -> Result<Written, RootfsError> {
    let mut writing = Writing {
        root,
        layer,
        parent: None,
        directories: BTreeSet::new(),
        files: BTreeMap::new(),
        done: Written::default(),
    };
    let mut deleted: Option<&ImagePath> = None;
    for (path, change) in changes.iter() {
        if let Change::MountPoint { mode, uid, gid } = change {
            writing.mount_point(path, mode, (uid, gid))?;
            continue;
        }
        if path.is_root() || root.keep_out().covers(path) {
            continue;
        }
        if change == Change::Delete {
            if deleted.is_none_or(|above| !path.starts_with(above)) {
                deleted = Some(path);
                writing.delete(path)?;
            }
        } else {
            writing.upsert(path)?;
        }
    }
    Ok(writing.done)
}

struct Writing<'a, W> {
    root: &'a Root,
    layer: &'a mut LayerWriter<W>,
    /// The directory of the last path.
    parent: Option<(ImagePath, OwnedFd)>,
    /// Directories that are in the layer, of those above the last path.
    directories: BTreeSet<ImagePath>,
    /// Files with several names, and the first of them.
    files: BTreeMap<(u64, u64), ImagePath>,
    done: Written,
}

impl<W: Write> Writing<'_, W> {
    fn delete(&mut self, path: &ImagePath) -> Result<(), RootfsError> {
        self.parents(path)?;
        self.layer.whiteout(path)?;
        self.done.entries += 1;
        Ok(())
    }

    fn mount_point(
        &mut self,
        path: &ImagePath,
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<(), RootfsError> {
        self.parents(path)?;
        let root = Metadata::of(self.root).map_err(RootfsError::io("look at", &ImagePath::root()))?;
        let entry = Entry {
            path: path.clone(),
            kind: EntryKind::Directory,
            mode,
            uid,
            gid,
            mtime: root.mtime.seconds,
            xattrs: Xattrs::default(),
        };
        self.done.entries += 1;
        Ok(self.layer.entry(&entry, std::io::empty())?)
    }

    fn upsert(&mut self, path: &ImagePath) -> Result<(), RootfsError> {
        let name = path.name().unwrap_or(b".");
        self.open_parent(path)?;
        let Some((_, parent)) = &self.parent else { return Ok(()) };
        let metadata = match Metadata::at(parent.as_fd(), name) {
            Ok(metadata) => metadata,
            Err(Errno::NOENT) => return Err(RootfsError::Missing(path.clone())),
            Err(error) => return Err(RootfsError::io("look at", path)(error)),
        };
        if metadata.kind == FileKind::Socket {
            self.done.sockets += 1;
            tracing::debug!(%path, "socket left out of the layer");
            return Ok(());
        }
        self.parents(path)?;
        self.write(path, name, &metadata)
    }

    /// Writes the directories above a path that the layer does not have yet.
    fn parents(&mut self, path: &ImagePath) -> Result<(), RootfsError> {
        if path.parent().is_some_and(|parent| self.directories.contains(&parent)) {
            return self.open_parent(path);
        }
        for directory in path.ancestors() {
            if self.directories.contains(&directory) {
                continue;
            }
            self.open_parent(&directory)?;
            let Some((_, parent)) = &self.parent else { return Ok(()) };
            let name = directory.name().unwrap_or(b".");
            let metadata =
                Metadata::at(parent.as_fd(), name).map_err(RootfsError::io("look at", &directory))?;
            self.write(&directory, name, &metadata)?;
        }
        self.open_parent(path)
    }

    fn open_parent(&mut self, path: &ImagePath) -> Result<(), RootfsError> {
        let directory = path.parent().unwrap_or_default();
        if self.parent.as_ref().is_none_or(|(open, _)| *open != directory) {
            let handle =
                walk::open(self.root, &directory).map_err(RootfsError::io("open directory", &directory))?;
            self.parent = Some((directory, handle));
        }
        Ok(())
    }

    /// Writes what is at a name of the open parent.
    fn write(&mut self, path: &ImagePath, name: &[u8], metadata: &Metadata) -> Result<(), RootfsError> {
        self.done.entries += 1;
        let file = (metadata.dev, metadata.ino);
        if metadata.nlink > 1 && !metadata.is_directory() {
            if let Some(first) = self.files.get(&file) {
                let first = first.clone();
                match self.done.fingerprints.get(&first) {
                    Some(known) => self.done.fingerprints.insert(path, known),
                    None => self.done.fingerprints.remove(path),
                }
                let kind = EntryKind::Hardlink { target: first };
                return Ok(self
                    .layer
                    .entry(&entry(path, kind, metadata, Xattrs::new()), std::io::empty())?);
            }
            self.files.insert(file, path.clone());
        }
        let (major, minor) = metadata.device();
        let kind = match metadata.kind {
            FileKind::File => return self.write_file(path, name),
            FileKind::Directory => return self.write_directory(path, name, metadata),
            FileKind::Symlink => {
                let parent = self.parent.as_ref().map(|(_, parent)| parent.as_fd());
                let text = link_text(parent.unwrap_or(self.root.as_fd()), name);
                let target = text.map_err(RootfsError::io("read link", path))?;
                self.done.fingerprints.insert(path, fingerprint::of_bytes(&target));
                EntryKind::Symlink { target }
            }
            FileKind::CharDevice => EntryKind::CharDevice { major, minor },
            FileKind::BlockDevice => EntryKind::BlockDevice { major, minor },
            FileKind::Fifo => EntryKind::Fifo,
            FileKind::Socket => return Ok(()),
        };
        Ok(self.layer.entry(&entry(path, kind, metadata, Xattrs::new()), std::io::empty())?)
    }

    fn write_directory(
        &mut self,
        path: &ImagePath,
        name: &[u8],
        metadata: &Metadata,
    ) -> Result<(), RootfsError> {
        let handle = self.open(path, name, OFlags::DIRECTORY)?;
        let xattrs = read_xattrs(&handle, path)?;
        self.layer.entry(&entry(path, EntryKind::Directory, metadata, xattrs), std::io::empty())?;
        self.directories.retain(|directory| path.starts_with(directory));
        self.directories.insert(path.clone());
        Ok(())
    }

    /// Writes a file as it is once opened: its length may be another than a moment before.
    fn write_file(&mut self, path: &ImagePath, name: &[u8]) -> Result<(), RootfsError> {
        let handle = self.open(path, name, OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let metadata = Metadata::of(&handle).map_err(RootfsError::io("look at", path))?;
        if metadata.kind != FileKind::File {
            let found = metadata.kind.shown();
            return Err(RootfsError::Kind { path: path.clone(), found, wanted: "a file any more" });
        }
        let xattrs = read_xattrs(&handle, path)?;
        let entry = entry(path, EntryKind::File { size: metadata.size }, &metadata, xattrs);
        let mut content = Observed::new(File::from(handle));
        self.layer.entry(&entry, &mut content)?;
        self.done.fingerprints.insert(path, content.digest.finish(&entry.xattrs));
        Ok(())
    }

    fn open(&self, path: &ImagePath, name: &[u8], flags: OFlags) -> Result<OwnedFd, RootfsError> {
        let parent = self.parent.as_ref().map_or(self.root.as_fd(), |(_, parent)| parent.as_fd());
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(RootfsError::io("open", path))
    }
}

fn entry(path: &ImagePath, kind: EntryKind, metadata: &Metadata, xattrs: Xattrs) -> Entry {
    Entry {
        path: path.clone(),
        kind,
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        mtime: metadata.mtime.seconds,
        xattrs,
    }
}

fn read_xattrs(file: &OwnedFd, path: &ImagePath) -> Result<Xattrs, RootfsError> {
    metadata::xattrs(file).map_err(RootfsError::io("read extended attributes of", path))
}
