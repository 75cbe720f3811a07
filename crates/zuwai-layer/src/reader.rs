//! Reading a layer's tar as a stream.

use std::io::{self, BufRead, Read, Write};

use tar_core::parse::{self, ParseError, ParseEvent, Parser};

use crate::entry::{EntryKind, LayerItem};
use crate::error::LayerError;
use crate::item;
use crate::sparse::{Content, Piece};

/// The buffer's first size. It grows only for an entry with very long extension headers, up to their limit.
const BUFFER: usize = 256 << 10;

/// What sparse maps and headers may take beside the extension data that [`Limits::metadata`] bounds.
const HEADERS: usize = 1 << 20;

/// What holes are read as.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What a reader takes before it calls an archive hostile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest extension data of one entry in bytes: names, link targets and extended attributes together.
    pub metadata: u32,
    /// Most entries in one archive.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { metadata: 1 << 20, entries: 20_000_000 }
    }
}

/// Reads the items of an uncompressed layer one after the other.
///
/// After [`LayerReader::next`] gave a file, its content is read from the reader itself ([`Read`], [`BufRead`], or
/// [`LayerReader::copy_content`]); content that is not read is skipped. Holes of sparse files are read as zeros.
///
/// Names are cleaned, and one that leaves the root is an error; so is a hard link's target. The targets of symbolic
/// links are given as they are. Extension headers that hold for a whole archive (`g`) are passed over, as in
/// containerd.
pub struct LayerReader<R> {
    inner: R,
    parser: Parser,
    limits: Limits,
    /// Whether `.wh.` has a meaning.
    markers: bool,
    buffer: Vec<u8>,
    /// The part of the buffer that is filled and not consumed.
    start: usize,
    end: usize,
    /// Bytes of the archive before `start`.
    position: u64,
    content: Content,
    /// What the present entry is called in a message.
    place: String,
    entries: u64,
    finished: bool,
}

/// What one look at the buffer gave.
enum Step {
    More(usize),
    Item { consumed: usize, item: Option<LayerItem>, content: Content },
    Skip { consumed: usize },
    End { consumed: usize },
}

impl<R: Read> LayerReader<R> {
    /// Reads a layer, in which names that begin with `.wh.` are whiteouts.
    pub fn new(inner: R) -> Self {
        Self::with_limits(inner, Limits::default())
    }

    /// Reads an ordinary archive (of `ADD`), in which `.wh.` has no meaning: every item is an entry.
    pub fn archive(inner: R) -> Self {
        Self { markers: false, ..Self::new(inner) }
    }

    /// Reads a layer with other limits.
    pub fn with_limits(inner: R, limits: Limits) -> Self {
        let mut parser =
            Parser::new(parse::Limits { max_metadata_size: limits.metadata, ..parse::Limits::default() });
        parser.set_ignore_pax_errors(true); // `item` checks them
        Self {
            inner,
            parser,
            limits,
            markers: true,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            position: 0,
            content: Content::default(),
            place: String::new(),
            entries: 0,
            finished: false,
        }
    }

    /// The next item; `None` at the end, once the stream has been read to its very end (so that a digest or a
    /// decompressor below has seen everything). After an error the archive cannot be read on.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not lend the content of an entry")]
    pub fn next(&mut self) -> Result<Option<LayerItem>, LayerError> {
        if self.finished {
            return Ok(None);
        }
        let skip = self.content.skip();
        self.skip(skip)?;
        self.place.clear();
        loop {
            match self.step()? {
                Step::More(wanted) => {
                    if !self.fill(wanted)? {
                        self.end_without_mark()?;
                        self.finished = true;
                        return Ok(None);
                    }
                }
                Step::Skip { consumed } => self.advance(consumed),
                Step::End { consumed } => {
                    self.advance(consumed);
                    self.drain()?;
                    self.finished = true;
                    return Ok(None);
                }
                Step::Item { consumed, item, content } => {
                    self.advance(consumed);
                    self.content = content;
                    self.entries += 1;
                    if self.entries > self.limits.entries {
                        return Err(LayerError::TooManyEntries(self.limits.entries));
                    }
                    match item {
                        Some(item) => {
                            if let LayerItem::Entry(entry) = &item
                                && let EntryKind::File { .. } = entry.kind
                            {
                                self.place = entry.path.to_string();
                            } else {
                                let skip = self.content.skip();
                                self.skip(skip)?;
                            }
                            return Ok(Some(item));
                        }
                        None => {
                            let skip = self.content.skip();
                            self.skip(skip)?;
                        }
                    }
                }
            }
        }
    }

    /// Bytes of the present file's content that have not been read yet.
    pub fn content_left(&self) -> u64 {
        self.content.left()
    }

    /// Where in the archive the present file's content lies, counted in bytes from the archive's start and asked before
    /// any of it is read; none for what does not lie there in one piece, as a sparse file.
    pub fn content_position(&self) -> Option<u64> {
        self.content.is_plain().then_some(self.position)
    }

    /// Writes what is left of the present file's content to `sink`, without copying it in between; its length.
    /// A failure of the sink is the inner error, so that the caller can say where it was writing to.
    pub fn copy_content(&mut self, sink: &mut impl Write) -> Result<io::Result<u64>, LayerError> {
        let mut copied = 0;
        loop {
            let bytes = self.content()?;
            if bytes.is_empty() {
                return Ok(Ok(copied));
            }
            let length = bytes.len();
            if let Err(error) = sink.write_all(bytes) {
                return Ok(Err(error));
            }
            self.consume(length);
            copied += length as u64;
        }
    }

    /// The stream below. What the reader has buffered of it is lost.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Looks at what the buffer holds.
    fn step(&mut self) -> Result<Step, LayerError> {
        let position = self.position;
        let header = |source| LayerError::Header { position, source };
        let input = &self.buffer[self.start..self.end];
        Ok(match self.parser.parse(input).map_err(header)? {
            ParseEvent::NeedData { min_bytes } => Step::More(min_bytes),
            ParseEvent::GlobalExtensions { consumed, .. } => Step::Skip { consumed },
            ParseEvent::End { consumed } => Step::End { consumed },
            ParseEvent::Entry { consumed, entry } => {
                let item = item::item(&entry, None, self.markers)?;
                let content =
                    if item::has_content(&entry) { Content::plain(entry.size) } else { Content::default() };
                Step::Item { consumed, item, content }
            }
            ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
                let item = item::item(&entry, Some(real_size), self.markers)?;
                let map = sparse_map.iter().map(|part| (part.offset, part.length));
                let content = Content::sparse(map, real_size, entry.size).ok_or_else(|| {
                    header(ParseError::InvalidPaxSparseMap("parts that do not fit the file".into()))
                })?;
                Step::Item { consumed, item, content }
            }
        })
    }

    /// Reads until the buffer holds more than now, and at least `wanted` bytes; `false` if the stream ends before.
    fn fill(&mut self, wanted: usize) -> Result<bool, LayerError> {
        let limit = self.limits.metadata as usize + HEADERS;
        let held = self.end - self.start;
        let wanted = wanted.max(held + 1);
        if wanted > limit {
            let (size, limit) = (wanted as u64, self.limits.metadata);
            let source = ParseError::MetadataTooLarge { size, limit };
            return Err(LayerError::Header { position: self.position, source });
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
        }
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted.next_power_of_two().min(limit), 0);
        }
        while self.end < wanted {
            match self.read_inner()? {
                0 => return Ok(false),
                read => self.end += read,
            }
        }
        Ok(true)
    }

    /// Reads once into the buffer's free end.
    fn read_inner(&mut self) -> Result<usize, LayerError> {
        loop {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(LayerError::Read),
            }
        }
    }

    /// The stream ended where a header was expected. As in Go's reader that is an end too, whether the two zero
    /// blocks that mark it are missing or only the second one.
    fn end_without_mark(&self) -> Result<(), LayerError> {
        let left = &self.buffer[self.start..self.end];
        let mark = left.len() == 512 && left.iter().all(|byte| *byte == 0);
        if left.is_empty() || mark { Ok(()) } else { Err(self.truncated("a header")) }
    }

    fn truncated(&self, place: &str) -> LayerError {
        let place = if self.place.is_empty() { place } else { &self.place };
        let position = self.position + (self.end - self.start) as u64;
        LayerError::Truncated { place: place.to_owned(), position }
    }

    fn advance(&mut self, amount: usize) {
        self.start += amount;
        self.position += amount as u64;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    fn skip(&mut self, mut amount: u64) -> Result<(), LayerError> {
        while amount > 0 {
            if self.start == self.end && !self.fill(1)? {
                return Err(self.truncated("an entry"));
            }
            let held = self.end - self.start;
            let step = usize::try_from(amount).map_or(held, |amount| amount.min(held));
            self.advance(step);
            amount -= step as u64;
        }
        Ok(())
    }

    /// Reads to the end of the stream: layers may have any padding after the end mark, which their digests cover.
    fn drain(&mut self) -> Result<(), LayerError> {
        loop {
            self.advance(self.end - self.start);
            match self.read_inner()? {
                0 => return Ok(()),
                read => self.end += read,
            }
        }
    }

    /// Content that is at hand; empty at its end.
    fn content(&mut self) -> Result<&[u8], LayerError> {
        let within =
            |length: u64, have: usize| usize::try_from(length).map_or(have, |length| length.min(have));
        match self.content.piece() {
            None => Ok(&[]),
            Some(Piece::Hole(length)) => Ok(&ZEROS[..within(length, ZEROS.len())]),
            Some(Piece::Data(length)) => {
                if self.start == self.end && !self.fill(1)? {
                    return Err(self.truncated("an entry"));
                }
                let held = within(length, self.end - self.start);
                Ok(&self.buffer[self.start..self.start + held])
            }
        }
    }
}

/// Reads the content of the present file. A truncated archive is an [`io::Error`] that holds the [`LayerError`].
impl<R: Read> Read for LayerReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let content = self.fill_buf()?;
        let length = content.len().min(buffer.len());
        buffer[..length].copy_from_slice(&content[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<R: Read> BufRead for LayerReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.content().map_err(|error| match error {
            LayerError::Read(error) => error,
            error @ LayerError::Truncated { .. } => io::Error::new(io::ErrorKind::UnexpectedEof, error),
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }

    fn consume(&mut self, amount: usize) {
        let data = matches!(self.content.piece(), Some(Piece::Data(_)));
        self.content.consume(amount as u64);
        if data {
            self.advance(amount);
        }
    }
}
