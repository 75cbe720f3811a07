//! Finding the sources of a `COPY` in their tree.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use super::SourceTree;
use super::error::CopyError;
use crate::metadata::{FileKind, Metadata};
use crate::path_filter::Verdict;
use crate::path_match;
use crate::resolve::link_text;

/// How many links one source may lead through.
const LINKS: usize = 255;

/// One thing to copy.
#[derive(Debug)]
pub(crate) struct Found {
    /// The name it gets where the destination is a directory: its own, or that of the link that led to it.
    pub name: Vec<u8>,
    /// Where it really is in the source tree.
    pub path: ImagePath,
    /// What it is.
    pub metadata: Metadata,
}

impl SourceTree<'_> {
    /// Everything that one source of a `COPY` means, in order. A wildcard may mean nothing.
    pub(crate) fn find(&self, source: &[u8]) -> Result<Vec<Found>, CopyError> {
        let pattern = ImagePath::clamped(source)?;
        let bad = |_| CopyError::Pattern { pattern: String::from_utf8_lossy(source).into_owned() };
        path_match::check(pattern.as_bytes()).map_err(bad)?;
        let components: Vec<&[u8]> = pattern.components().collect();
        let plain =
            components.iter().position(|name| path_match::has_wildcard(name)).unwrap_or(components.len());
        let mut beginning = ImagePath::root();
        for name in &components[..plain] {
            beginning = beginning.join(path_match::unescape(name))?;
        }
        if plain == components.len() {
            return Ok(vec![self.follow(&beginning)?]);
        }
        // A component such as `[a/b]` is cut in two, and is malformed then.
        components[plain..].iter().try_for_each(|name| path_match::check(name)).map_err(bad)?;
        let directory = self.follow(&beginning)?;
        if !directory.metadata.is_directory() {
            return Err(CopyError::NotFound { path: beginning });
        }
        let mut matches = Vec::new();
        self.expand(&directory.path, &beginning, &components[plain..], &mut matches)?;
        matches.iter().map(|path| self.follow(path)).collect()
    }

    /// Adds all paths below a directory that match the components. Links are matched, but not followed.
    fn expand(
        &self,
        directory: &ImagePath,
        shown: &ImagePath,
        components: &[&[u8]],
        matches: &mut Vec<ImagePath>,
    ) -> Result<(), CopyError> {
        let Some((component, below)) = components.split_first() else { return Ok(()) };
        let open = self.open_directory(directory)?;
        for name in sorted_names(&open).map_err(CopyError::read(directory))? {
            if path_match::matches(component, &name) != Ok(true) {
                continue;
            }
            let path = directory.join(&name)?;
            let Ok(metadata) = Metadata::at(open.as_fd(), name.as_slice()) else { continue };
            if !self.is_there(&path, metadata.is_directory())? {
                continue;
            }
            let shown = shown.join(&name)?;
            if below.is_empty() {
                matches.push(shown);
            } else if metadata.is_directory() {
                self.expand(&path, &shown, below, matches)?;
            }
        }
        Ok(())
    }

    /// What a path leads to when its links are followed inside the tree.
    fn follow(&self, path: &ImagePath) -> Result<Found, CopyError> {
        let not_found = || CopyError::NotFound { path: path.clone() };
        let root = self.root.as_fd();
        let mut left: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        left.reverse();
        let mut real = ImagePath::root();
        let mut links = 0;
        while let Some(name) = left.pop() {
            if matches!(name.as_slice(), b"" | b"." | b"..") {
                real = real.join(&name)?;
                continue;
            }
            let next = real.join(&name)?;
            if self.root.keep_out().covers(&next) {
                return Err(not_found());
            }
            // Everything before this component is no link any more, so the system has nothing to follow.
            match link_text(root, next.as_bytes()) {
                Ok(target) => {
                    links += 1;
                    if links > LINKS {
                        return Err(CopyError::Links { path: path.clone() });
                    }
                    if !self.is_there(&next, false)? {
                        return Err(CopyError::Excluded { path: next });
                    }
                    if target.starts_with(b"/") {
                        real = ImagePath::root();
                    }
                    left.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                Err(Errno::INVAL) => real = next,
                Err(Errno::NOENT | Errno::NOTDIR) => return Err(not_found()),
                Err(error) => return Err(CopyError::read(path)(error)),
            }
        }
        let metadata = Metadata::at(root, real.as_relative()).map_err(CopyError::read(path))?;
        if !self.is_there(&real, metadata.is_directory())? {
            return Err(CopyError::Excluded { path: path.clone() });
        }
        Ok(Found { name: path.name().unwrap_or_default().to_vec(), path: real, metadata })
    }

    /// What the filter says of a path; what is kept out is never there.
    pub(crate) fn verdict(&self, path: &ImagePath, is_directory: bool) -> Verdict {
        if self.root.keep_out().covers(path) {
            return Verdict::Prune;
        }
        match self.filter {
            Some(filter) if !path.is_root() => filter.verdict(path.as_bytes(), is_directory),
            _ => Verdict::Include,
        }
    }

    /// Whether a path exists for the copy: it is included, or is a directory that holds something included.
    pub(crate) fn is_there(&self, path: &ImagePath, is_directory: bool) -> Result<bool, CopyError> {
        match self.verdict(path, is_directory) {
            Verdict::Include => Ok(true),
            Verdict::ExcludeButMayHoldIncluded if is_directory => self.holds_included(path),
            Verdict::ExcludeButMayHoldIncluded | Verdict::Prune => Ok(false),
        }
    }

    fn holds_included(&self, directory: &ImagePath) -> Result<bool, CopyError> {
        let open = self.open_directory(directory)?;
        for name in sorted_names(&open).map_err(CopyError::read(directory))? {
            let Ok(metadata) = Metadata::at(open.as_fd(), name.as_slice()) else { continue };
            if metadata.kind != FileKind::Socket
                && self.is_there(&directory.join(&name)?, metadata.is_directory())?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Opens a directory of the tree by its real path.
    pub(crate) fn open_directory(&self, path: &ImagePath) -> Result<OwnedFd, CopyError> {
        open_directory_at(self.root.as_fd(), path).map_err(CopyError::read(path))
    }
}

/// Opens a directory by a path without links, component by component, so that a link put there meanwhile is an error.
pub(crate) fn open_directory_at(root: BorrowedFd<'_>, path: &ImagePath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = rustix::fs::openat(root, ".", flags, Mode::empty())?;
    for name in path.components() {
        directory = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
    }
    Ok(directory)
}

/// The names in a directory, in the order of their bytes.
pub(crate) fn sorted_names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}
