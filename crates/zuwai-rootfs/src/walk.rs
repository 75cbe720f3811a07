//! Reading a whole tree, on several threads.
//!
//! Directories are read one by one from a shared stack; each gives the sorted list of what it holds. Links are not
//! followed, kept-out paths are neither listed nor entered. Directories are opened by their path from the root, not
//! from their parent's handle, so that no depth of tree runs out of handles.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use crate::error::RootfsError;
use crate::metadata::Metadata;
use crate::root::Root;

/// How a directory is opened that must be one, and no link to one.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Bytes of directory entries read at once.
const BUFFER: usize = 32 << 10;

/// What one directory holds, sorted by name. Names stand in one buffer, so that a large tree's lists stay small.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    names: Vec<u8>,
    items: Vec<(u32, u16, Metadata)>,
}

impl Listing {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The entry at a place, if there is one.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<(&[u8], &Metadata)> {
        let (start, length, metadata) = self.items.get(place)?;
        let start = *start as usize;
        Some((self.names.get(start..start + usize::from(*length))?, metadata))
    }

    /// The entries, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Metadata)> {
        (0..self.items.len()).filter_map(|place| self.get(place))
    }

    /// Adds an entry, which must come after all others.
    pub(crate) fn push(&mut self, name: &[u8], metadata: Metadata) {
        // A directory of four gigabytes of names does not exist; neither does a longer name than 255 bytes.
        #[allow(clippy::cast_possible_truncation)]
        self.items.push((self.names.len() as u32, name.len() as u16, metadata));
        self.names.extend_from_slice(name);
    }

    /// The entries, by name, to change what is recorded of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&[u8], &mut Metadata)> {
        let names = &self.names;
        self.items.iter_mut().map(|(start, length, metadata)| (slice(names, (*start, *length)), metadata))
    }

    pub(crate) fn clear(&mut self) {
        self.names.clear();
        self.items.clear();
    }

    /// A copy without spare room.
    pub(crate) fn compact(&self) -> Self {
        Self { names: self.names.as_slice().to_vec(), items: self.items.as_slice().to_vec() }
    }
}

/// One directory of a walk.
#[derive(Debug, Clone, Copy)]
pub struct Directory<'a> {
    /// Where it is.
    pub path: &'a ImagePath,
    /// An open handle.
    pub handle: BorrowedFd<'a>,
    /// What it holds.
    pub listing: &'a Listing,
}

impl Directory<'_> {
    /// The path of something in it.
    ///
    /// # Errors
    /// When it is too long for the system.
    pub fn child(&self, name: &[u8]) -> Result<ImagePath, RootfsError> {
        child(self.path, name)
    }
}

/// The path of something in a directory.
pub(crate) fn child(directory: &ImagePath, name: &[u8]) -> Result<ImagePath, RootfsError> {
    ImagePath::new([directory.as_bytes(), name].join(&b'/'))
        .map_err(|source| RootfsError::Name { directory: directory.clone(), source })
}

/// Reads every directory of a tree and hands each to `visit`, on `threads` threads, in no certain order.
///
/// # Errors
/// The first error of a directory that cannot be read, or of `visit`; the walk then ends. What vanishes while it is read
/// is passed over.
pub fn walk<V>(root: &Root, threads: usize, visit: V) -> Result<(), RootfsError>
where
    V: Fn(Directory<'_>) -> Result<(), RootfsError> + Sync,
{
    walk_chosen(root, threads, (), |directory, (), below| {
        visit(directory)?;
        let directories = directory.listing.iter().filter(|(_, metadata)| metadata.is_directory());
        for (name, _) in directories {
            below.push((directory.child(name)?, ()));
        }
        Ok(())
    })
}

/// Reads a tree as [`walk`] does, but enters only the directories that `visit` adds to the list it is handed, each with
/// what `visit` wants to know when it comes to it; `top` is that of the root.
///
/// # Errors
/// As [`walk`].
pub fn walk_chosen<S, V>(root: &Root, threads: usize, top: S, visit: V) -> Result<(), RootfsError>
where
    S: Send,
    V: Fn(Directory<'_>, S, &mut Vec<(ImagePath, S)>) -> Result<(), RootfsError> + Sync,
{
    let queue = Queue {
        state: Mutex::new(State { waiting: vec![(ImagePath::root(), top)], busy: 0, failed: None }),
        changed: Condvar::new(),
    };
    if threads <= 1 {
        work(root, &queue, &visit);
    } else {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| work(root, &queue, &visit));
            }
        });
    }
    let state = queue.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.failed.map_or(Ok(()), Err)
}

struct Queue<S> {
    state: Mutex<State<S>>,
    changed: Condvar,
}

struct State<S> {
    waiting: Vec<(ImagePath, S)>,
    busy: usize,
    failed: Option<RootfsError>,
}

impl<S> Queue<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next directory; `None` when the walk is over.
    fn next(&self) -> Option<(ImagePath, S)> {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            if let Some(next) = state.waiting.pop() {
                state.busy += 1;
                return Some(next);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, below: &mut Vec<(ImagePath, S)>, result: Result<(), RootfsError>) {
        let mut state = self.lock();
        state.busy -= 1;
        state.waiting.append(below);
        if let Err(error) = result {
            state.failed.get_or_insert(error);
        }
        drop(state);
        self.changed.notify_all();
    }
}

fn work<S, V>(root: &Root, queue: &Queue<S>, visit: &V)
where
    V: Fn(Directory<'_>, S, &mut Vec<(ImagePath, S)>) -> Result<(), RootfsError> + Sync,
{
    let mut names = Names::default();
    let mut listing = Listing::default();
    let mut below = Vec::new();
    while let Some((path, known)) = queue.next() {
        let result = list(root, &path, &mut names, &mut listing).and_then(|handle| match handle {
            Some(handle) => {
                let directory = Directory { path: &path, handle: handle.as_fd(), listing: &listing };
                visit(directory, known, &mut below)
            }
            None => Ok(()),
        });
        queue.done(&mut below, result);
    }
}

/// Lists a directory; `None` if it is gone.
fn list(
    root: &Root,
    path: &ImagePath,
    names: &mut Names,
    listing: &mut Listing,
) -> Result<Option<OwnedFd>, RootfsError> {
    let handle = match open(root, path) {
        Ok(handle) => handle,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !path.is_root() => return Ok(None),
        Err(error) => return Err(RootfsError::io("open directory", path)(error)),
    };
    let kept = root.keep_out().reaches_below(path);
    names.read(handle.as_fd()).map_err(RootfsError::io("read directory", path))?;
    listing.clear();
    for name in names.iter() {
        if kept && root.keep_out().covers(&child(path, name)?) {
            continue;
        }
        match Metadata::at(handle.as_fd(), name) {
            Ok(metadata) => listing.push(name, metadata),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(RootfsError::io("look at", &child(path, name)?)(error)),
        }
    }
    Ok(Some(handle))
}

/// Opens a directory by its real path, for reading; a link in its last place is refused. However deep it is, no more
/// than two handles are held at once.
pub(crate) fn open(root: &Root, path: &ImagePath) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, path.as_relative(), DIRECTORY, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => open_by_hand(root, path),
        other => other,
    }
}

/// What `openat2` does, for where it is missing or forbidden. A real path has no links, so none is followed.
fn open_by_hand(root: &Root, path: &ImagePath) -> Result<OwnedFd, Errno> {
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = rustix::fs::openat(root, ".", through, Mode::empty())?;
    for name in path.components() {
        directory = rustix::fs::openat(&directory, name, through, Mode::empty())?;
    }
    rustix::fs::openat(&directory, ".", DIRECTORY, Mode::empty())
}

/// Opens a directory for reading, when no link is on the way to it, nor in its place (`LOOP` or `NOTDIR` otherwise).
pub(crate) fn open_beneath(root: &Root, path: &ImagePath) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(root, path.as_relative(), DIRECTORY, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {
            let mut directory = rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())?;
            for name in path.components() {
                directory = rustix::fs::openat(&directory, name, DIRECTORY, Mode::empty())?;
            }
            Ok(directory)
        }
        other => other,
    }
}

/// The names in a directory, sorted, and the room to read them again and again.
pub(crate) struct Names {
    buffer: Vec<MaybeUninit<u8>>,
    bytes: Vec<u8>,
    places: Vec<(u32, u16)>,
}

impl Default for Names {
    fn default() -> Self {
        Self { buffer: vec![MaybeUninit::uninit(); BUFFER], bytes: Vec::new(), places: Vec::new() }
    }
}

impl Names {
    pub(crate) fn read(&mut self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        self.bytes.clear();
        self.places.clear();
        let mut entries = RawDir::new(directory, &mut self.buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::INTR) => continue,
                Err(Errno::NOENT) => break, // the directory was removed
                Err(error) => return Err(error),
            };
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                #[allow(clippy::cast_possible_truncation)] // as in `Listing::push`
                self.places.push((self.bytes.len() as u32, name.len() as u16));
                self.bytes.extend_from_slice(name);
            }
        }
        let bytes = &self.bytes;
        self.places.sort_unstable_by_key(|place| slice(bytes, *place));
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| slice(&self.bytes, *place))
    }
}

fn slice(bytes: &[u8], (start, length): (u32, u16)) -> &[u8] {
    &bytes[start as usize..start as usize + usize::from(length)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::KeepOut;

    #[test]
    fn directories_are_opened_at_any_depth_and_links_are_not() {
        let directory = tempfile::TempDir::new().unwrap();
        let deep = ["d"; 1900].join("/");
        let script = format!("mkdir -p {deep} real/sub; echo > file; ln -s real link; ln -s sub real/inner");
        let status = std::process::Command::new("sh").args(["-ec", &script]).current_dir(&directory).status();
        assert!(status.unwrap().success());
        let root = Root::open(directory.path(), KeepOut::default()).unwrap();
        type Open = fn(&Root, &ImagePath) -> Result<OwnedFd, Errno>;
        for open in [open as Open, open_by_hand] {
            for path in ["", "real", "real/sub", &deep] {
                assert!(open(&root, &ImagePath::new(path).unwrap()).is_ok(), "{path}");
            }
            for path in ["link", "real/inner", "file", "file/x", "none"] {
                assert!(open(&root, &ImagePath::new(path).unwrap()).is_err(), "{path}");
            }
        }
    }
}
