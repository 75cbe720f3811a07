//! Copying one thing that is no directory, and what of its metadata is kept.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use zuwai_layer::{ImagePath, Xattrs};

use super::error::CopyError;
use super::source::open_directory_at;
use super::target::clear;
use super::transfer::{set_owner_and_mode, set_owner_at, times};
use super::tree::TreeCopy;
use crate::metadata::{self, FileKind, Metadata};
use crate::overlay::nodes::{self, Marks, Node};
use crate::resolve::link_text;

/// The one attribute that a build context does not carry.
const CAPABILITY: &[u8] = b"security.capability";

/// Something to copy, in the directory that holds it.
pub(super) struct Entry<'a> {
    pub from: BorrowedFd<'a>,
    pub name: &'a [u8],
    pub path: &'a ImagePath,
    pub metadata: &'a Metadata,
}

impl TreeCopy<'_, '_> {
    /// Copies anything but a directory to a name, in place of what may be there.
    pub(super) fn entry(
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
                set_owner_at(to, to_name, self.owner(metadata)).map_err(CopyError::write(to_path))?;
                rustix::fs::utimensat(to, to_name, &times(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(CopyError::write(to_path))?;
            }
            _ => {
                let kind = match metadata.kind {
                    FileKind::CharDevice => FileType::CharacterDevice,
                    FileKind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                let marks =
                    Marks { mode: self.mode(metadata), owner: self.owner(metadata), mtime: metadata.mtime };
                let node = Node { kind, device: metadata.rdev, marks };
                nodes::make(self.target.root, to, to_name, to_path, node)
                    .map_err(CopyError::write(to_path))?;
            }
        }
        self.target.record.other(to_path);
        Ok(())
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

    pub(super) fn owner(&self, metadata: &Metadata) -> (u32, u32) {
        self.options.owner.or(self.source.owner).unwrap_or((metadata.uid, metadata.gid))
    }

    pub(super) fn mode(&self, metadata: &Metadata) -> u32 {
        self.options.mode.map_or(metadata.mode, |change| change.apply(metadata.mode, metadata.is_directory()))
    }

    pub(super) fn xattrs(&self, from: BorrowedFd<'_>, path: &ImagePath) -> Result<Xattrs, CopyError> {
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
