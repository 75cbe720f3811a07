//! A view of a file or directory that takes changes and forgets them.
//!
//! What a kernel, its security modules and a file system allow together is tried, not guessed: an overlay whose changes
//! go to disk; one whose changes are in memory; a copy.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::stages::{During as _, Failure};
use crate::copy::transfer::{set_owner_and_mode, times};
use crate::copy::{CopyOptions, SourceTree, copy};
use crate::metadata::Metadata;
use crate::root::{KeepOut, Root};

/// Where the parts of a view are put together: on the tmpfs of `/dev`, which is the step's own. Names without a colon
/// or comma, which would end an option of an overlay.
const WORKSHOP: &str = "/dev/.zuwai-throwaway";
const LOWER: &str = "/dev/.zuwai-throwaway/lower";
const ROOM: &str = "/dev/.zuwai-throwaway/room";
const MERGED: &str = "/dev/.zuwai-throwaway/merged";

const IN_MEMORY: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Mounts such a view of `source` on `target`, a real path. `scratch` is where changes may go; it does not exist yet.
/// Source and scratch are paths from the working directory.
pub(super) fn mount(source: &Path, target: &Path, scratch: Option<&Path>) -> Result<(), Failure> {
    for directory in [WORKSHOP, LOWER, ROOM, MERGED] {
        DirBuilder::new().mode(0o700).create(directory).during(format_args!("make {directory}"))?;
    }
    let result = View::of(source, target).and_then(|view| view.mount_somehow(scratch));
    // The view has all this for itself by now.
    for directory in [MERGED, ROOM, LOWER, WORKSHOP] {
        if directory != WORKSHOP {
            let _ = rustix::mount::unmount(directory, UnmountFlags::DETACH);
        }
        let _ = fs::remove_dir(directory);
    }
    result
}

struct View<'a> {
    target: &'a Path,
    /// The name of a source that is a file; what is at [`LOWER`] is the directory it is in then, else the source.
    file: Option<PathBuf>,
}

impl<'a> View<'a> {
    fn of(source: &Path, target: &'a Path) -> Result<Self, Failure> {
        let is_directory = fs::symlink_metadata(source).during("look at the source")?.is_dir();
        let file = if is_directory { None } else { source.file_name().map(PathBuf::from) };
        let lower = if is_directory { source } else { source.parent().unwrap_or(source) };
        rustix::mount::mount_bind_recursive(lower, LOWER).during("bind the source")?;
        Ok(Self { target, file })
    }

    fn mount_somehow(&self, scratch: Option<&Path>) -> Result<(), Failure> {
        let mut refusal = None;
        if let Some(scratch) = scratch {
            refusal = Some(match self.overlay(scratch_room(scratch)) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            });
        }
        let in_memory = self.overlay(memory_room());
        let Err(error) = in_memory else { return Ok(()) };
        let refusal =
            refusal.map_or_else(String::new, |first| format!("{first}; in memory: ")) + &error.to_string();
        let room = scratch.map_or_else(memory_room, scratch_room);
        self.copy(room).during(format_args!("copy the source (an overlay of it is refused: {refusal})"))
    }

    /// Puts an overlay together in a room, and shows it.
    fn overlay(&self, room: io::Result<()>) -> io::Result<()> {
        let shown = room.and_then(|()| self.overlay_in_room());
        let _ = rustix::mount::unmount(MERGED, UnmountFlags::DETACH);
        if shown.is_err() {
            let _ = rustix::mount::unmount(ROOM, UnmountFlags::DETACH);
        }
        shown
    }

    fn overlay_in_room(&self) -> io::Result<()> {
        let (upper, work) = (Path::new(ROOM).join("upper"), Path::new(ROOM).join("work"));
        for directory in [&upper, &work] {
            DirBuilder::new().mode(0o700).create(directory)?;
        }
        same_metadata(&upper)?;
        // Without them an overlay is made all the same, and fails later, when a directory takes the place of another.
        rustix::fs::setxattr(&upper, "user.zuwai", b"1", XattrFlags::empty())?;
        rustix::fs::removexattr(&upper, "user.zuwai")?;
        let options =
            format!("lowerdir={LOWER},upperdir={},workdir={},userxattr", upper.display(), work.display());
        let options = std::ffi::CString::new(options)?;
        rustix::mount::mount("overlay", MERGED, "overlay", MountFlags::empty(), options.as_c_str())?;
        if rustix::fs::statvfs(MERGED)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.show(Path::new(MERGED))
    }

    fn copy(&self, room: io::Result<()>) -> Result<(), Failure> {
        room.during("make room")?;
        let place = Path::new(ROOM).join("copy");
        DirBuilder::new().mode(0o700).create(&place).during("make a directory")?;
        let open = |path| Root::open(path, KeepOut::default()).during("open a directory");
        let (from, to) = (open(Path::new(LOWER))?, open(&place)?);
        let source =
            self.file.as_ref().map_or_else(|| b"/".to_vec(), |name| literal(name.as_os_str().as_bytes()));
        copy(&to, SourceTree::stage(&from), &[source], b"/", &CopyOptions::default()).during("copy")?;
        same_metadata(&place).during("set the owner")?;
        self.show(&place).during("bind the copy")
    }

    /// Mounts what is at a place on the target.
    fn show(&self, place: &Path) -> io::Result<()> {
        let place = self.file.as_ref().map_or_else(|| place.to_owned(), |file| place.join(file));
        Ok(rustix::mount::mount_bind(place, self.target)?)
    }
}

/// Lets changes go to a directory that is made at `scratch`.
fn scratch_room(scratch: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(scratch) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    Ok(rustix::mount::mount_bind(scratch, ROOM)?)
}

/// Lets changes stay in memory.
fn memory_room() -> io::Result<()> {
    Ok(rustix::mount::mount("tmpfs", ROOM, "tmpfs", IN_MEMORY, c"mode=700")?)
}

/// Gives a directory the mode, owner and time of the source.
fn same_metadata(directory: &Path) -> io::Result<()> {
    let source = Metadata::of(File::open(LOWER)?)?;
    let open = File::open(directory)?;
    match set_owner_and_mode(&open, (source.uid, source.gid), source.mode) {
        // An owner that is not mapped here: nobody here is meant by it.
        Err(Errno::INVAL) => set_owner_and_mode(&open, (0, 0), source.mode)?,
        other => other?,
    }
    Ok(rustix::fs::futimens(&open, &times(source.mtime))?)
}

/// A name as a pattern that matches it alone.
fn literal(name: &[u8]) -> Vec<u8> {
    name.iter().flat_map(|byte| [b'\\', *byte]).collect()
}
