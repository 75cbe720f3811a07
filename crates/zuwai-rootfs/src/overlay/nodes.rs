//! Device nodes, which cannot be made through a view.
//!
//! An overlay that was mounted in a user namespace makes none, whoever asks: the kernel asks who mounted it. So they are
//! noted, and made in the layer's own directory when nothing is mounted any more.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dev, FileType, Mode, Timespec, Timestamps};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use super::changes::is_whiteout;
use super::room::LayerDir;
use crate::copy::transfer::{set_owner_at, times};
use crate::error::RootfsError;
use crate::metadata::{Metadata, Timestamp};
use crate::quietly::quietly;
use crate::root::Root;
use crate::walk;

/// A device node or named pipe to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) kind: FileType,
    pub(crate) device: Dev,
    pub(crate) marks: Marks,
}

/// What a node has besides being one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: Timestamp,
}

/// Something that waits until the view is closed. Paths are real.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) path: ImagePath,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A node.
    Node(Node),
    /// One more name of one that waits too, which may get other marks by it.
    LinkTo(ImagePath, Option<Marks>),
}

/// Makes a node that is called `name` in a directory of a root; `path` is its real path there. Nothing of that name may
/// be there.
pub(crate) fn make(
    root: &Root,
    directory: BorrowedFd<'_>,
    name: &[u8],
    path: &ImagePath,
    node: Node,
) -> Result<(), Errno> {
    match create(directory, name, &node) {
        Err(Errno::PERM) if later(root, directory, path, node)? => Ok(()),
        other => other.and_then(|()| mark(directory, name, &node.marks)),
    }
}

/// Whether a node that was refused can be made when the root is closed: it is noted then.
pub(crate) fn later(
    root: &Root,
    directory: BorrowedFd<'_>,
    path: &ImagePath,
    node: Node,
) -> Result<bool, Errno> {
    let Some((overlay, upper)) = root.overlay().and_then(|it| it.upper.as_ref().map(|upper| (it, upper)))
    else {
        return Ok(false);
    };
    // Where a plain directory does not take it either, nothing is promised.
    let trial = overlay.room.join(format!("n-{}", upper.directory));
    match rustix::fs::mknodat(CWD, &trial, node.kind, Mode::empty(), node.device) {
        Err(Errno::PERM | Errno::ACCESS) => return Ok(false),
        Err(error) if error != Errno::EXIST => return Err(error),
        _ => rustix::fs::unlinkat(CWD, &trial, AtFlags::empty())?,
    }
    note(root, directory, Waiting { path: path.clone(), what: What::Node(node) }).map(|()| true)
}

/// Makes another name of what waits at `target`; false if nothing does.
pub(crate) fn link(
    root: &Root,
    target: &ImagePath,
    directory: BorrowedFd<'_>,
    path: &ImagePath,
    marks: Option<Marks>,
) -> Result<bool, Errno> {
    if !root.waits(target) {
        return Ok(false);
    }
    note(root, directory, Waiting { path: path.clone(), what: What::LinkTo(target.clone(), marks) })
        .map(|()| true)
}

/// Remembers what is to be made. The directory has to be in the layer by then, and changes now.
fn note(root: &Root, directory: BorrowedFd<'_>, waiting: Waiting) -> Result<(), Errno> {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let now = Timestamps {
        last_access: time(rustix::fs::UTIME_OMIT),
        last_modification: time(rustix::fs::UTIME_NOW),
    };
    rustix::fs::futimens(directory, &now)?;
    root.wait_for(waiting);
    Ok(())
}

fn create(directory: BorrowedFd<'_>, name: &[u8], node: &Node) -> Result<(), Errno> {
    rustix::fs::mknodat(directory, name, node.kind, Mode::RUSR | Mode::WUSR, node.device)
}

/// Gives a node its marks. It was made here a moment ago and is no link, so that nothing can be followed.
fn mark(directory: BorrowedFd<'_>, name: &[u8], marks: &Marks) -> Result<(), Errno> {
    set_owner_at(directory, name, marks.owner)?;
    rustix::fs::chmodat(directory, name, Mode::from_raw_mode(marks.mode), AtFlags::empty())?;
    rustix::fs::utimensat(directory, name, &times(marks.mtime), AtFlags::SYMLINK_NOFOLLOW)
}

/// Closes a [writable view](super::Stack::writable) and makes the device nodes that were written to it, as far as nothing
/// else was written in their place later.
///
/// # Errors
/// When one cannot be made.
pub fn settle(root: Root, upper: &LayerDir) -> Result<(), RootfsError> {
    let waiting = root.close();
    upper.remove_work()?;
    if waiting.is_empty() {
        return Ok(());
    }
    let root = upper.root()?;
    waiting.iter().try_for_each(|waiting| settle_one(&root, waiting))
}

fn settle_one(upper: &Root, Waiting { path, what }: &Waiting) -> Result<(), RootfsError> {
    let Some((directory, name)) = parent_of(upper, path)? else { return Ok(()) };
    let failed = || RootfsError::io("create", path);
    match Metadata::at(directory.as_fd(), name) {
        Err(Errno::NOENT) => {}
        Ok(there) if is_whiteout(directory.as_fd(), name, &there).map_err(failed())? => {
            quietly(directory.as_fd(), || rustix::fs::unlinkat(&directory, name, AtFlags::empty()))
                .map_err(failed())?;
        }
        Ok(_) => return Ok(()),
        Err(error) => return Err(failed()(error)),
    }
    quietly(directory.as_fd(), || match what {
        What::Node(node) => create(directory.as_fd(), name, node)
            .and_then(|()| mark(directory.as_fd(), name, &node.marks))
            .map_err(failed()),
        What::LinkTo(target, marks) => {
            let Some((from, target)) = parent_of(upper, target)? else { return Ok(()) };
            match rustix::fs::linkat(&from, target, &directory, name, AtFlags::empty()) {
                Err(Errno::NOENT) => Ok(()),
                other => other
                    .and_then(|()| marks.map_or(Ok(()), |marks| mark(directory.as_fd(), name, &marks)))
                    .map_err(failed()),
            }
        }
    })
}

/// The directory of a path, if the path is still a real one there.
fn parent_of<'a>(upper: &Root, path: &'a ImagePath) -> Result<Option<(OwnedFd, &'a [u8])>, RootfsError> {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(None) };
    match upper.resolve(&parent) {
        Ok(real) if real == parent => {}
        Ok(_) => return Ok(None),
        Err(RootfsError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotADirectory => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    match walk::open(upper, &parent) {
        Ok(directory) => Ok(Some((directory, name))),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(RootfsError::io("open directory", &parent)(error)),
    }
}
