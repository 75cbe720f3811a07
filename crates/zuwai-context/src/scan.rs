//! What a build would get of a context: every path that is not excluded, found by several threads at once.
//!
//! Directories in which nothing can be included are not entered. One that is excluded itself but holds something that is
//! included is there for the build, as with BuildKit; sockets never are.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use zuwai_layer::ImagePath;
use zuwai_rootfs::walk::{Directory, walk_chosen};
use zuwai_rootfs::{FileKind, Metadata, RootfsError};

use crate::context::Context;
use crate::ignore::Line;
use crate::patterns::Matched;

/// A path that a build would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, counted from the context's directory.
    pub path: ImagePath,
    /// What the system knows of it.
    pub metadata: Metadata,
    /// Where it leads, if it is a symbolic link.
    pub link: Option<Vec<u8>>,
}

/// A path that a build would not get; nothing below it is listed.
#[derive(Debug, Clone)]
pub struct Excluded {
    /// Where it is, counted from the context's directory.
    pub path: ImagePath,
    /// Whether it is a directory, and so is excluded with all that is in it.
    pub is_directory: bool,
    /// The line of the ignore file that excludes it.
    pub line: Option<Line>,
    parent: Option<Arc<Parent>>,
}

/// How much a build would get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Directories, without the context's own.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Devices and named pipes.
    pub others: u64,
}

impl Totals {
    /// Counts entries.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut totals = Self::default();
        for entry in entries {
            match entry.metadata.kind {
                FileKind::File => {
                    totals.files += 1;
                    totals.bytes += entry.metadata.size;
                }
                FileKind::Directory => totals.directories += 1,
                FileKind::Symlink => totals.links += 1,
                _ => totals.others += 1,
            }
        }
        totals
    }

    fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.directories += other.directories;
        self.links += other.links;
        self.others += other.others;
    }
}

/// Counts what a build would get, without keeping it.
///
/// # Errors
/// When a directory or a link cannot be read.
pub fn totals(context: &Context, threads: usize) -> Result<Totals, RootfsError> {
    let all = Mutex::new(Totals::default());
    scan(context, threads, false, |found, _| {
        let totals = Totals::of(&found);
        all.lock().unwrap_or_else(PoisonError::into_inner).add(&totals);
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// All that a build would get, sorted by path.
///
/// # Errors
/// As [`totals`].
pub fn entries(context: &Context, threads: usize) -> Result<Vec<Entry>, RootfsError> {
    let all = Mutex::new(Vec::new());
    scan(context, threads, false, |found, _| {
        all.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    })?;
    let mut entries = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

/// All that the ignore file keeps from a build, sorted by path.
///
/// # Errors
/// As [`totals`].
pub fn excluded(context: &Context, threads: usize) -> Result<Vec<Excluded>, RootfsError> {
    let all = Mutex::new(Vec::new());
    scan(context, threads, true, |_, found| {
        all.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    })?;
    let mut excluded: Vec<Excluded> = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    // What holds something that is included is there after all.
    excluded.retain(|found| !found.parent.as_ref().is_some_and(|parent| parent.told.load(Ordering::Acquire)));
    excluded.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(excluded)
}

/// The part of sorted entries that is a path and all below it.
pub fn subtree<'a>(entries: &'a [Entry], path: &ImagePath) -> &'a [Entry] {
    let start = entries.partition_point(|entry| entry.path < *path);
    let below = &entries[start..];
    &below[..below.partition_point(|entry| entry.path.starts_with(path))]
}

/// An excluded directory that was entered: an entry as soon as something in it is one.
#[derive(Debug)]
struct Parent {
    entry: Entry,
    above: Option<Arc<Parent>>,
    told: AtomicBool,
}

/// What is known of a directory when it is read.
struct Level {
    matched: Matched,
    parent: Option<Arc<Parent>>,
}

fn scan<F>(context: &Context, threads: usize, with_excluded: bool, each: F) -> Result<(), RootfsError>
where
    F: Fn(Vec<Entry>, Vec<Excluded>) + Sync,
{
    let top = Level { matched: Matched::default(), parent: None };
    walk_chosen(context.root(), threads, top, |directory, level, below| {
        let mut reading =
            Reading { context, with_excluded, included: Vec::new(), excluded: Vec::new(), below };
        reading.directory(directory, &level)?;
        each(reading.included, reading.excluded);
        Ok(())
    })
}

/// One directory that is read.
struct Reading<'a> {
    context: &'a Context,
    with_excluded: bool,
    included: Vec<Entry>,
    excluded: Vec<Excluded>,
    below: &'a mut Vec<(ImagePath, Level)>,
}

impl Reading<'_> {
    fn directory(&mut self, directory: Directory<'_>, level: &Level) -> Result<(), RootfsError> {
        let ignore = self.context.ignore();
        let mut text = directory.path.as_bytes().to_vec();
        if !text.is_empty() {
            text.push(b'/');
        }
        let start = text.len();
        let mut matched = Matched::default();
        for (name, metadata) in directory.listing.iter().filter(|(_, found)| found.kind != FileKind::Socket) {
            text.truncate(start);
            text.extend_from_slice(name);
            let answer = ignore.patterns.answer(&text, &level.matched, &mut matched);
            if !answer.excluded {
                self.tell_parents(level);
                let entry = entry(&directory, name, metadata)?;
                if metadata.is_directory() {
                    self.enter(&entry, &matched, None);
                }
                self.included.push(entry);
                continue;
            }
            let entered = metadata.is_directory() && ignore.patterns.may_include_below(&text, answer);
            if !entered && !self.with_excluded {
                continue;
            }
            let path = directory.child(name)?;
            let parent = entered.then(|| {
                let entry = Entry { path: path.clone(), metadata: *metadata, link: None };
                Arc::new(Parent { entry, above: level.parent.clone(), told: AtomicBool::new(false) })
            });
            if let Some(parent) = &parent {
                self.enter(&parent.entry, &matched, Some(parent));
            }
            if self.with_excluded {
                let line = ignore.line(answer).cloned();
                self.excluded.push(Excluded { path, is_directory: metadata.is_directory(), line, parent });
            }
        }
        Ok(())
    }

    fn enter(&mut self, entry: &Entry, matched: &Matched, parent: Option<&Arc<Parent>>) {
        let level = Level { matched: matched.clone(), parent: parent.cloned() };
        self.below.push((entry.path.clone(), level));
    }

    /// Something in the directory is included, so the directories above are there too, each once.
    fn tell_parents(&mut self, level: &Level) {
        let mut next = level.parent.as_ref();
        while let Some(parent) = next {
            if parent.told.swap(true, Ordering::AcqRel) {
                return;
            }
            self.included.push(parent.entry.clone());
            next = parent.above.as_ref();
        }
    }
}

fn entry(directory: &Directory<'_>, name: &[u8], metadata: &Metadata) -> Result<Entry, RootfsError> {
    let path = directory.child(name)?;
    let link = match metadata.kind {
        FileKind::Symlink => Some(read_link(directory.handle, name, &path)?),
        _ => None,
    };
    Ok(Entry { path, metadata: *metadata, link })
}

fn read_link(directory: BorrowedFd<'_>, name: &[u8], path: &ImagePath) -> Result<Vec<u8>, RootfsError> {
    let target = rustix::fs::readlinkat(directory, name, Vec::new());
    target.map(std::ffi::CString::into_bytes).map_err(RootfsError::io("read link", path))
}
