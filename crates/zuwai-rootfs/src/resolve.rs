//! Finding what a path of the image leads to, without ever leaving the root.
//!
//! The kernel does it where it can (`openat2` with `RESOLVE_IN_ROOT`: absolute links and `..` end at the root, whatever
//! another process renames meanwhile). Where that call is missing or forbidden the path is walked component by
//! component, each opened without following links, and links are read and walked by hand.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use zuwai_layer::{ImagePath, Xattrs};

use crate::error::RootfsError;
use crate::metadata::{self, FileKind, Metadata};
use crate::root::Root;

/// How many links one path may lead through, as in the kernel.
const LINKS: usize = 40;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY);

impl Root {
    /// The directory that holds a path, and the path's name in it. Links on the way are followed inside the root, the
    /// last component is not looked at. The root itself is `.` in itself.
    ///
    /// # Errors
    /// When the directory is missing or cannot be opened.
    pub fn resolve_parent(&self, path: &ImagePath) -> Result<(OwnedFd, Vec<u8>), RootfsError> {
        let directory = path.parent().unwrap_or_default();
        let name = path.name().unwrap_or(b".").to_vec();
        Ok((self.open_directory(&directory)?, name))
    }

    /// The real path: all links followed inside the root, also the last. What does not exist is taken by its name, so
    /// that a path to be made can be resolved too; a link to nowhere gives its target.
    ///
    /// # Errors
    /// When something on the way is not a directory, or there are too many links.
    pub fn resolve(&self, path: &ImagePath) -> Result<ImagePath, RootfsError> {
        self.real_path(path, true)
    }

    /// As [`Root::resolve`], but the last component is not followed if it is a link.
    ///
    /// # Errors
    /// As there.
    pub fn resolve_parents(&self, path: &ImagePath) -> Result<ImagePath, RootfsError> {
        self.real_path(path, false)
    }

    fn real_path(&self, path: &ImagePath, follow: bool) -> Result<ImagePath, RootfsError> {
        let walk = Walk::to(self, path, follow).map_err(RootfsError::io("resolve", path))?;
        ImagePath::new(walk.names.join(&b'/'))
            .map_err(|source| RootfsError::Name { directory: path.clone(), source })
    }

    /// What is at a path; `None` if nothing is. The last component is not followed if it is a link.
    ///
    /// # Errors
    /// When the system refuses to look.
    pub fn metadata(&self, path: &ImagePath) -> Result<Option<Metadata>, RootfsError> {
        self.look(path, OFlags::PATH | OFlags::NOFOLLOW)
    }

    /// What a path leads to when all links are followed; `None` if nothing.
    ///
    /// # Errors
    /// When the system refuses to look.
    pub fn metadata_followed(&self, path: &ImagePath) -> Result<Option<Metadata>, RootfsError> {
        self.look(path, OFlags::PATH)
    }

    fn look(&self, path: &ImagePath, flags: OFlags) -> Result<Option<Metadata>, RootfsError> {
        match self.open_inside(path, flags).and_then(Metadata::of) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(RootfsError::io("look at", path)(error)),
        }
    }

    /// Opens a directory for reading; links are followed.
    ///
    /// # Errors
    /// When it is missing, is something else, or cannot be opened.
    pub fn open_directory(&self, path: &ImagePath) -> Result<OwnedFd, RootfsError> {
        self.open_inside(path, DIRECTORY).map_err(RootfsError::io("open directory", path))
    }

    /// Opens a regular file for reading; links are followed. `None` if nothing is there.
    ///
    /// # Errors
    /// When it is not a regular file, or cannot be opened.
    pub fn open_file(&self, path: &ImagePath) -> Result<Option<(File, Metadata)>, RootfsError> {
        let file = match self.open_inside(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(RootfsError::io("open", path)(error)),
        };
        let metadata = Metadata::of(&file).map_err(RootfsError::io("look at", path))?;
        if metadata.kind != FileKind::File {
            let found = metadata.kind.shown();
            return Err(RootfsError::Kind { path: path.clone(), found, wanted: "a file" });
        }
        Ok(Some((File::from(file), metadata)))
    }

    /// The content of a small regular file; links are followed, but not to what is kept out: `None` then, and if nothing
    /// is there.
    ///
    /// # Errors
    /// When it is not a regular file, is larger than the limit in bytes, or cannot be read.
    pub fn read_small(&self, path: &ImagePath, limit: usize) -> Result<Option<Vec<u8>>, RootfsError> {
        if !self.keep_out().covers(path) && self.resolve(path).is_ok_and(|real| self.keep_out().covers(&real))
        {
            return Ok(None);
        }
        let Some((file, _)) = self.open_file(path)? else { return Ok(None) };
        let mut content = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut content).map_err(RootfsError::io("read", path))?;
        if content.len() > limit {
            return Err(RootfsError::TooLarge { path: path.clone(), limit });
        }
        Ok(Some(content))
    }

    /// The text of a symbolic link.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn read_link(&self, path: &ImagePath) -> Result<Vec<u8>, RootfsError> {
        let (directory, name) = self.resolve_parent(path)?;
        link_text(directory.as_fd(), &name).map_err(RootfsError::io("read link", path))
    }

    /// The extended attributes of a file or directory that belong to an image; others have none. Links are not followed.
    ///
    /// # Errors
    /// When it cannot be opened, or its attributes cannot be read.
    pub fn xattrs(&self, path: &ImagePath) -> Result<Xattrs, RootfsError> {
        let Some(metadata) = self.metadata(path)? else { return Err(RootfsError::Missing(path.clone())) };
        if !matches!(metadata.kind, FileKind::File | FileKind::Directory) {
            return Ok(Xattrs::new());
        }
        self.open_inside(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)
            .and_then(metadata::xattrs)
            .map_err(RootfsError::io("read extended attributes of", path))
    }

    /// Opens what a path leads to, inside the root. With `NOFOLLOW` the last component may not be a link (but may be
    /// opened as one with `PATH`).
    pub(crate) fn open_inside(&self, path: &ImagePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(self, path.as_relative(), flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => open_by_hand(self, path, flags),
            other => other,
        }
    }
}

/// What `openat2` does, for where it is missing.
fn open_by_hand(root: &Root, path: &ImagePath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut walk = Walk::to(root, path, !flags.contains(OFlags::NOFOLLOW))?;
    let flags = flags | OFlags::NOFOLLOW;
    if walk.names.len() < walk.directories.len() {
        // It ended at a directory, which is already open.
        let directory = walk.directories.last().ok_or(Errno::NOENT)?;
        return rustix::fs::openat(directory, ".", flags, Mode::empty());
    }
    let name = walk.names.pop().ok_or(Errno::NOENT)?;
    if walk.names.len() + 1 != walk.directories.len() {
        return Err(Errno::NOENT);
    }
    let directory = walk.directories.last().ok_or(Errno::NOENT)?;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// The text of a link, or of the link that the directory handle itself is, with an empty name.
pub(crate) fn link_text(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(directory, name, Vec::new()).map(std::ffi::CString::into_bytes)
}

/// A walk from the root, component by component.
struct Walk {
    /// The root and the directories on the way, as far as they exist.
    directories: Vec<OwnedFd>,
    /// The real names that lead to where the walk is. One less than `directories` when it stands in a directory.
    names: Vec<Vec<u8>>,
}

impl Walk {
    fn to(root: &Root, path: &ImagePath, follow: bool) -> Result<Self, Errno> {
        let start =
            rustix::fs::openat(root, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut walk = Self { directories: vec![start], names: Vec::new() };
        let mut left: VecDeque<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    walk.names.pop();
                    walk.directories.truncate(walk.names.len() + 1);
                    continue;
                }
                _ => {}
            }
            if let Some(target) = walk.step(name, follow || !left.is_empty(), !left.is_empty())? {
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP);
                }
                if target.starts_with(b"/") {
                    walk.names.clear();
                    walk.directories.truncate(1);
                }
                for component in target.split(|byte| *byte == b'/').rev() {
                    left.push_front(component.to_vec());
                }
            }
        }
        Ok(walk)
    }

    /// Goes to a name; gives the text of a link that is to be followed instead.
    fn step(&mut self, name: Vec<u8>, follow: bool, more: bool) -> Result<Option<Vec<u8>>, Errno> {
        // Below what does not exist there is nothing to look at.
        if self.names.len() + 1 == self.directories.len()
            && let Some(directory) = self.directories.last()
        {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(directory, name.as_slice(), flags, Mode::empty()) {
                Ok(found) => match Metadata::of(&found)?.kind {
                    FileKind::Directory => self.directories.push(found),
                    FileKind::Symlink if follow => return link_text(found.as_fd(), b"").map(Some),
                    _ if more => return Err(Errno::NOTDIR),
                    _ => {}
                },
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        self.names.push(name);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::KeepOut;

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    fn tree() -> (tempfile::TempDir, Root) {
        let directory = tempfile::TempDir::new().unwrap();
        let script = "mkdir -p root/usr/lib root/d/e outside; echo in > root/usr/lib/f; echo out > outside/f; cd root; \
            ln -s usr/lib lib; ln -s /usr abs; ln -s ../../../.. up; ln -s ../../../../usr/lib/f d/e/f; ln -s loop loop; \
            ln -s /missing/here dangling; ln -s \"$PWD/../outside\" out; ln -s ../../outside out2; ln -s . self; \
            ln -s lib/f file; ln -s d/../d/e/../../abs/lib long; mkfifo fifo";
        let status = std::process::Command::new("sh").args(["-ec", script]).current_dir(&directory).status();
        assert!(status.unwrap().success());
        let root = Root::open(directory.path().join("root"), KeepOut::default()).unwrap();
        (directory, root)
    }

    #[test]
    fn the_walk_by_hand_finds_what_the_kernel_finds() {
        let (_directory, root) = tree();
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        if rustix::fs::openat2(&root, ".", OFlags::PATH, Mode::empty(), resolve).is_err() {
            eprintln!("SKIPPED the_walk_by_hand_finds_what_the_kernel_finds: openat2 is not permitted here");
            return;
        }
        let ends = [
            "", "lib", "abs/lib", "up/lib/f", "up", "d/e/f", "loop", "dangling", "out/f", "out2/f", "file/x",
        ];
        let more = [
            "self/self/self/lib/f",
            "long/f",
            "file",
            "none/x",
            "usr/lib/f",
            "abs",
            "lib/f",
            "out",
            "dangling/x",
        ];
        for name in ends.into_iter().chain(more) {
            for flags in [OFlags::PATH, OFlags::PATH | OFlags::NOFOLLOW, OFlags::RDONLY, DIRECTORY] {
                let at = path(name);
                let id = |file: Result<OwnedFd, Errno>| {
                    file.map(|file| Metadata::of(file).map(|metadata| (metadata.dev, metadata.ino)).unwrap())
                };
                // The kernel gives up on `..` when anything at all is renamed meanwhile.
                let ask = || rustix::fs::openat2(&root, at.as_relative(), flags, Mode::empty(), resolve);
                let mut answers = std::iter::repeat_with(ask);
                let kernel = id(answers.find(|answer| !matches!(answer, Err(Errno::AGAIN))).unwrap());
                assert_eq!(id(open_by_hand(&root, &at, flags)), kernel, "{name} {flags:?}");
            }
        }
    }

    #[test]
    fn real_paths_stay_inside_and_what_is_missing_is_taken_by_name() {
        let (_directory, root) = tree();
        for (given, real, but_last) in [
            ("", "/", "/"),
            ("lib/f", "/usr/lib/f", "/usr/lib/f"),
            ("abs", "/usr", "/abs"),
            ("up/abs/lib", "/usr/lib", "/usr/lib"),
            ("d/e/f", "/usr/lib/f", "/d/e/f"),
            ("lib/new/x", "/usr/lib/new/x", "/usr/lib/new/x"),
            ("dangling", "/missing/here", "/dangling"),
            ("dangling/x", "/missing/here/x", "/missing/here/x"),
            ("out2/f", "/outside/f", "/outside/f"),
            ("long", "/usr/lib", "/long"),
        ] {
            assert_eq!(root.resolve(&path(given)).unwrap().to_string(), real, "{given}");
            assert_eq!(root.resolve_parents(&path(given)).unwrap().to_string(), but_last, "{given}");
        }
        assert!(root.resolve(&path("loop/x")).is_err());
        assert!(root.resolve(&path("file/x")).is_err());
    }

    #[test]
    fn links_to_what_is_kept_out_lead_to_no_content() {
        let (directory, _) = tree();
        let keep_out = KeepOut::new([path("usr/lib")]);
        let root = Root::open(directory.path().join("root"), keep_out).unwrap();
        for link in ["d/e/f", "lib/f", "long/f"] {
            assert_eq!(root.read_small(&path(link), 3).unwrap(), None, "{link}");
        }
        assert!(root.read_small(&path("usr/lib/f"), 3).unwrap().is_some(), "named as it is");
    }

    #[test]
    fn files_are_read_inside_the_root_up_to_a_limit() {
        let (_directory, root) = tree();
        assert_eq!(root.read_small(&path("d/e/f"), 3).unwrap().unwrap(), b"in\n");
        assert_eq!(root.read_small(&path("out/f"), 9).unwrap(), None);
        assert!(matches!(root.read_small(&path("lib/f"), 2), Err(RootfsError::TooLarge { limit: 2, .. })));
        for not_a_file in ["fifo", "lib"] {
            assert!(
                matches!(root.read_small(&path(not_a_file), 9), Err(RootfsError::Kind { .. })),
                "{not_a_file}"
            );
        }
        assert_eq!(root.read_link(&path("abs")).unwrap(), b"/usr");
        assert_eq!(root.metadata(&path("abs")).unwrap().unwrap().kind, FileKind::Symlink);
        assert_eq!(root.metadata_followed(&path("abs")).unwrap().unwrap().kind, FileKind::Directory);
        assert_eq!(root.metadata(&path("none/x")).unwrap(), None);
        let (directory, name) = root.resolve_parent(&path("abs/lib/f")).unwrap();
        assert!(Metadata::at(directory.as_fd(), name.as_slice()).is_ok());
    }

    /// A directory is swapped for a link out of the root while paths through it are opened.
    #[test]
    fn no_race_leads_out_of_the_root() {
        let (directory, root) = tree();
        let top = directory.path().join("root");
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::fs::create_dir(top.join("swap")).unwrap();
        std::fs::write(top.join("swap/f"), "in").unwrap();
        std::os::unix::fs::symlink("../outside", top.join("escape")).unwrap();
        std::fs::write(top.join("swap-file"), "in").unwrap();
        std::os::unix::fs::symlink("../outside/f", top.join("escape-file")).unwrap();
        let exchange = |one: &str, other: &str| {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(&root, one, &root, other, flags)
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = exchange("swap", "escape");
                    let _ = exchange("swap-file", "escape-file");
                }
            });
            let mut escaped = false;
            for round in 0..8000 {
                let place = path(if round % 2 == 0 { "swap/f" } else { "swap-file" });
                for open in [open_by_hand, Root::open_inside] {
                    if let Ok(file) = open(&root, &place, OFlags::RDONLY) {
                        let mut text = String::new();
                        File::from(file).read_to_string(&mut text).unwrap();
                        escaped |= text != "in";
                    }
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(!escaped);
        });
    }
}
