//! A tar archive whose files are read in any order: where each lies is found in one pass, and read there.
//!
//! An archive that is compressed, or that cannot be read twice, is written out first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zuwai_layer::compression::{DETECT_LENGTH, Detected, decompress, detect};
use zuwai_layer::{EntryKind, ImagePath, LayerItem, LayerReader};

use super::archive_error::ArchiveError;
use crate::error::{IoContext as _, OciError};
use crate::store::Store;

/// Most entries of an archive: an image has three or four files a layer, and archives may hold many images.
const ENTRY_LIMIT: usize = 200_000;
/// Most links from one name to another.
const LINK_LIMIT: usize = 8;

/// An open archive. Cheap to clone; clones are the same one.
#[derive(Clone, Debug)]
pub struct ArchiveFile {
    path: PathBuf,
    file: Arc<File>,
    entries: Arc<BTreeMap<String, Found>>,
}

/// What a name is in the archive.
#[derive(Debug)]
enum Found {
    File { position: u64, size: u64 },
    Link(String),
    Other,
    Twice,
}

impl ArchiveFile {
    /// Opens an archive and finds what is in it. One that is compressed is written out in the store's directory for as
    /// long as it is open; nothing else is.
    ///
    /// # Errors
    /// When it cannot be read, or is no tar archive.
    pub fn open(path: &Path, store: &Store) -> Result<Self, OciError> {
        let file = File::open(path).at("open", path)?;
        let metadata = file.metadata().at("read", path)?;
        let mut beginning = [0; DETECT_LENGTH];
        let seekable = metadata.is_file();
        let plain = seekable && {
            let length = file.read_at(&mut beginning, 0).at("read", path)?;
            detect(&beginning[..length]) == Detected::Plain
        };
        let file = if plain { file } else { written_out(file, path, store)? };
        let mut archive = Self { path: path.to_owned(), file: Arc::new(file), entries: Arc::default() };
        archive.find_entries()?;
        Ok(archive)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a name is in it.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// A file in it, for reading, and its length.
    ///
    /// # Errors
    /// When there is none of this name, or more than one.
    pub fn file(&self, name: &str) -> Result<(Section, u64), OciError> {
        // Names in an archive's documents are clean, or hostile.
        let mut target = name.strip_prefix("./").unwrap_or(name);
        for _ in 0..=LINK_LIMIT {
            match self.entries.get(target) {
                Some(Found::File { position, size }) => {
                    let end = position.saturating_add(*size);
                    return Ok((Section { file: self.file.clone(), position: *position, end }, *size));
                }
                Some(Found::Link(next)) => target = next,
                Some(Found::Twice) => return Err(self.error(ArchiveError::Twice { name: target.to_owned() })),
                Some(Found::Other) => break,
                None => return Err(self.error(ArchiveError::Missing { name: target.to_owned() })),
            }
        }
        Err(self.error(ArchiveError::NoFile { name: name.to_owned() }))
    }

    /// A small file in it, whole.
    ///
    /// # Errors
    /// As [`ArchiveFile::file`], and when it is longer than `limit` bytes.
    pub fn document(&self, name: &str, limit: u64) -> Result<Vec<u8>, OciError> {
        let (mut section, size) = self.file(name)?;
        if size > limit {
            return Err(self.error(ArchiveError::TooLong { name: name.to_owned(), size, limit }));
        }
        let mut bytes = Vec::new();
        section.read_to_end(&mut bytes).at("read", &self.path)?;
        Ok(bytes)
    }

    /// What is wrong with this archive.
    pub(super) fn error(&self, source: ArchiveError) -> OciError {
        OciError::ReadArchive { path: self.path.clone(), source: Box::new(source) }
    }

    fn find_entries(&mut self) -> Result<(), OciError> {
        let broken = |source| OciError::ReadArchive {
            path: self.path.clone(),
            source: Box::new(ArchiveError::Tar(source)),
        };
        let whole = Section { file: self.file.clone(), position: 0, end: u64::MAX };
        let mut reader = LayerReader::archive(whole);
        let mut entries = BTreeMap::new();
        while let Some(item) = reader.next().map_err(broken)? {
            let LayerItem::Entry(entry) = item else { continue };
            let found = match entry.kind {
                EntryKind::Directory => continue,
                EntryKind::File { size } => match reader.content_position() {
                    Some(position) => Found::File { position, size },
                    None => Found::Other,
                },
                EntryKind::Symlink { target } => link(&entry.path, &target),
                EntryKind::Hardlink { target } => Found::Link(name(&target)),
                _ => Found::Other,
            };
            if entries.len() >= ENTRY_LIMIT {
                return Err(self.error(ArchiveError::TooManyEntries { limit: ENTRY_LIMIT }));
            }
            entries.entry(name(&entry.path)).and_modify(|present| *present = Found::Twice).or_insert(found);
        }
        self.entries = Arc::new(entries);
        Ok(())
    }
}

/// What a symbolic link names: old versions of docker write `../ID/layer.tar` for a layer that several images have.
fn link(path: &ImagePath, target: &[u8]) -> Found {
    let resolved = match target.strip_prefix(b"/") {
        Some(absolute) => ImagePath::clamped(absolute),
        None => {
            let parent = path.parent().unwrap_or_else(ImagePath::root);
            ImagePath::clamped([parent.as_bytes(), b"/", target].concat())
        }
    };
    resolved.map_or(Found::Other, |path| Found::Link(name(&path)))
}

/// A path as documents of archives write it, without a slash before it.
fn name(path: &ImagePath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

/// The archive's tar in a file that has no name any more.
fn written_out(file: File, path: &Path, store: &Store) -> Result<File, OciError> {
    let mut tar = decompress(file).at("read", path)?;
    let mut staged = store.stage()?;
    io::copy(&mut tar, &mut staged).at("unpack", path)?;
    File::open(staged.path()).at("open", staged.path())
}

/// A part of the archive's file, read from its start to its end.
#[derive(Debug)]
pub struct Section {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..length], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
