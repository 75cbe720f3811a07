//! Writing a layer's tar as a stream.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use crate::entry::{Entry, EntryKind};
use crate::error::LayerError;
use crate::header::{self, Header};
use crate::item::{OPAQUE, WHITEOUT};
use crate::path::ImagePath;

/// Bytes of content copied at once.
const BUFFER: usize = 128 << 10;

/// Writes the tar of a layer, item by item in the order of [`ImagePath`].
///
/// The same items give the same bytes. Names are written without a leading `/` or `./` (the root as `./`),
/// directories with a `/` at the end, owners by number, times in whole seconds.
///
/// Debug builds assert the law of a layer: paths in order, each once, and hard links after their targets.
///
/// After an error the archive is broken off somewhere and cannot be finished.
pub struct LayerWriter<W> {
    sink: W,
    law: Option<Law>,
    /// The header being made; kept for its allocation.
    header: Vec<u8>,
    buffer: Vec<u8>,
    broken: bool,
}

impl<W: Write> LayerWriter<W> {
    /// Begins a layer.
    pub fn new(sink: W) -> Self {
        Self { law: Some(Law::default()), ..Self::archive(sink) }
    }

    /// Begins an ordinary archive: entries in any order, under any name.
    pub fn archive(sink: W) -> Self {
        Self { sink, law: None, header: Vec::new(), buffer: Vec::new(), broken: false }
    }

    /// Adds an entry. `content` is read for a file only, and must be exactly as long as the entry says; if it is
    /// not, because the file changed while it was read, that is [`LayerError::ContentLength`].
    pub fn entry(&mut self, entry: &Entry, content: impl Read) -> Result<(), LayerError> {
        if let Some(law) = &mut self.law {
            if entry.path.name().is_some_and(|name| name.starts_with(WHITEOUT)) {
                return Err(LayerError::ReservedName(entry.path.clone()));
            }
            law.entry(entry);
        }
        self.header.clear();
        let name = match entry.kind {
            EntryKind::Directory if entry.path.is_root() => b"./".to_vec(),
            EntryKind::Directory => [entry.path.as_bytes(), b"/"].concat(),
            _ => entry.path.as_bytes().to_vec(),
        };
        let (flag, size, link, device) = match &entry.kind {
            EntryKind::File { size } => (b'0', *size, &[][..], (0, 0)),
            EntryKind::Directory => (b'5', 0, &[][..], (0, 0)),
            EntryKind::Symlink { target } => (b'2', 0, target.as_slice(), (0, 0)),
            EntryKind::Hardlink { target } => (b'1', 0, target.as_bytes(), (0, 0)),
            EntryKind::CharDevice { major, minor } => (b'3', 0, &[][..], (*major, *minor)),
            EntryKind::BlockDevice { major, minor } => (b'4', 0, &[][..], (*major, *minor)),
            EntryKind::Fifo => (b'6', 0, &[][..], (0, 0)),
        };
        let header = Header {
            name: &name,
            flag,
            mode: entry.mode & 0o7777,
            uid: entry.uid,
            gid: entry.gid,
            size,
            mtime: entry.mtime,
            link,
            device,
            xattrs: Some(&entry.xattrs),
        };
        header::append(&mut self.header, &header).map_err(|header::Unrepresentable { field, value }| {
            LayerError::Field { path: entry.path.to_string(), field, value }
        })?;
        self.write_header()?;
        if let EntryKind::File { size } = entry.kind {
            let result = self.content(&entry.path, size, content);
            self.broken |= result.is_err();
            result?;
        }
        Ok(())
    }

    /// Removes a path of a lower layer.
    pub fn whiteout(&mut self, path: &ImagePath) -> Result<(), LayerError> {
        if let Some(law) = &mut self.law {
            law.whiteout(path);
        }
        let (Some(directory), Some(name)) = (path.parent(), path.name()) else {
            return Err(LayerError::Marker(path.to_string()));
        };
        self.marker(&directory, &[WHITEOUT, name].concat())
    }

    /// Hides what lower layers have in a directory. Stands right after the directory's own entry.
    pub fn opaque(&mut self, directory: &ImagePath) -> Result<(), LayerError> {
        if let Some(law) = &mut self.law {
            law.opaque(directory);
        }
        self.marker(directory, OPAQUE)
    }

    /// Ends the archive and gives the stream back.
    pub fn finish(mut self) -> Result<W, LayerError> {
        self.check()?;
        self.sink.write_all(&[0; 1024]).map_err(LayerError::Write)?;
        Ok(self.sink)
    }

    fn marker(&mut self, directory: &ImagePath, name: &[u8]) -> Result<(), LayerError> {
        let slash: &[u8] = if directory.is_root() { b"" } else { b"/" };
        let name = [directory.as_bytes(), slash, name].concat();
        let header = Header {
            name: &name,
            flag: b'0',
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: &[],
            device: (0, 0),
            xattrs: None,
        };
        self.header.clear();
        header::append(&mut self.header, &header)
            .map_err(|_| LayerError::Marker(String::from_utf8_lossy(&name).into_owned()))?;
        self.write_header()
    }

    fn write_header(&mut self) -> Result<(), LayerError> {
        self.check()?;
        let written = self.sink.write_all(&self.header);
        self.broken |= written.is_err();
        written.map_err(LayerError::Write)
    }

    fn check(&self) -> Result<(), LayerError> {
        let broken = || LayerError::Write(io::Error::other("an earlier entry failed"));
        if self.broken { Err(broken()) } else { Ok(()) }
    }

    fn content(&mut self, path: &ImagePath, size: u64, mut content: impl Read) -> Result<(), LayerError> {
        let wrong = |found| LayerError::ContentLength { path: path.clone(), declared: size, found };
        if self.buffer.is_empty() {
            self.buffer.resize(BUFFER, 0);
        }
        let mut left = size;
        loop {
            // One byte more than is expected, so that the end is seen without a further call.
            let want = usize::try_from(left).map_or(BUFFER, |left| left.saturating_add(1).min(BUFFER));
            let read = match content.read(&mut self.buffer[..want]) {
                Ok(0) if left == 0 => break,
                Ok(0) => return Err(wrong(format!("only {} were there", size - left))),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(LayerError::Content { path: path.clone(), source }),
            };
            left = left.checked_sub(read as u64).ok_or_else(|| wrong("more were there".into()))?;
            self.sink.write_all(&self.buffer[..read]).map_err(LayerError::Write)?;
        }
        let padding = (size.wrapping_neg() % 512) as usize;
        self.sink.write_all(&[0; 512][..padding]).map_err(LayerError::Write)
    }
}

/// The law of a layer (see ARCHITECTURE.md), asserted in debug builds.
#[derive(Default)]
struct Law {
    /// The last path, and whether it was an opaque marker there.
    last: Option<(ImagePath, bool)>,
    /// What a hard link may point to.
    files: BTreeSet<ImagePath>,
}

impl Law {
    fn entry(&mut self, entry: &Entry) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.follow(&entry.path, false);
        match &entry.kind {
            EntryKind::Directory => {}
            EntryKind::Hardlink { target } => {
                debug_assert!(
                    self.files.contains(target),
                    "hard link {} before its target {target}",
                    entry.path
                );
            }
            _ => drop(self.files.insert(entry.path.clone())),
        }
        debug_assert!(
            !entry.path.is_root() || entry.kind == EntryKind::Directory,
            "the root is not a directory"
        );
    }

    fn whiteout(&mut self, path: &ImagePath) {
        if cfg!(debug_assertions) {
            self.follow(path, false);
        }
    }

    fn opaque(&mut self, directory: &ImagePath) {
        if cfg!(debug_assertions) {
            self.follow(directory, true);
        }
    }

    /// One entry or whiteout a path, in order.
    fn follow(&mut self, path: &ImagePath, opaque: bool) {
        let next = (path.clone(), opaque);
        if let Some(last) = &self.last {
            debug_assert!(*last < next, "{path} after {} in a layer", last.0);
        }
        self.last = Some(next);
    }
}
