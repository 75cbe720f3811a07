//! Logical lines: continuations joined, comments and blank lines in them left out, with a way back to the source.

use crate::ast::Word;
use crate::diagnostic::Diagnostic;
use crate::limits::{INSTRUCTION_BYTES, LINE_BYTES};
use crate::source::{Source, Span};

/// One instruction's line with its continuations.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogicalLine {
    /// The joined text.
    pub text: String,
    /// Where pieces of the text come from: offset in `text`, offset in the source. In ascending order.
    pieces: Vec<(usize, usize)>,
    /// Where the instruction starts and ends in the source.
    pub span: Span,
    /// The bodies of its here-documents, all together, once they are read.
    pub heredocs: Option<Span>,
    /// The blank lines inside it, which BuildKit warns about.
    pub blank: Vec<Span>,
}

impl LogicalLine {
    fn push(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.pieces.push((self.text.len(), at));
            self.text.push_str(text);
        }
    }

    /// Where a byte of the text stands in the source.
    fn source_offset(&self, offset: usize) -> usize {
        let index = self.pieces.partition_point(|(start, _)| *start <= offset);
        match index.checked_sub(1).and_then(|index| self.pieces.get(index)) {
            Some((start, at)) => at + (offset - start),
            None => self.span.start as usize,
        }
    }

    /// A range of the text as a span of the source.
    pub fn span(&self, start: usize, end: usize) -> Span {
        if start >= end {
            let at = if start == self.text.len() && start > 0 {
                self.source_offset(start - 1) + 1
            } else {
                self.source_offset(start)
            };
            return Span::new(at, at);
        }
        Span::new(self.source_offset(start), self.source_offset(end - 1) + 1)
    }

    /// A range of the text as a word.
    pub fn word(&self, start: usize, end: usize) -> Word {
        Word { text: self.text[start..end].to_owned(), span: self.span(start, end) }
    }
}

/// Reads a source line by line.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    source: &'a Source,
    escape: char,
    /// The next line, from 1.
    number: usize,
}

/// One line of the source with its line ending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PhysicalLine<'a> {
    /// The line with its ending.
    pub raw: &'a str,
    /// Its first byte in the source.
    pub start: usize,
}

impl<'a> Lines<'a> {
    pub fn new(source: &'a Source, escape: char) -> Lines<'a> {
        Lines { source, escape, number: 1 }
    }

    /// The next line as it stands.
    pub fn physical(&mut self) -> Result<Option<PhysicalLine<'a>>, Diagnostic> {
        if self.number > self.source.line_count() {
            return Ok(None);
        }
        let range = self.source.line_range(self.number);
        self.number += 1;
        if range.is_empty() {
            return Ok(None);
        }
        let mut start = range.start;
        let mut raw = self.source.text().get(range).unwrap_or("");
        if start == 0
            && let Some(rest) = raw.strip_prefix('\u{feff}')
        {
            start = raw.len() - rest.len();
            raw = rest;
        }
        if raw.len() > LINE_BYTES + 1 {
            return Err(Diagnostic::error(
                Span::new(start, start + 1),
                format!("dockerfile line greater than maximum allowed size of {LINE_BYTES}"),
            )
            .with_help("split the line, or put the data into a file of the context"));
        }
        Ok(Some(PhysicalLine { raw, start }))
    }

    /// The next instruction's line; nothing at the end.
    pub fn logical(&mut self) -> Result<Option<LogicalLine>, Diagnostic> {
        loop {
            let Some(line) = self.physical()? else { return Ok(None) };
            let text = line.raw.trim_end_matches(['\r', '\n']);
            let stripped = text.trim_start();
            let start = line.start + (text.len() - stripped.len());
            if stripped.is_empty() || stripped.starts_with('#') {
                continue;
            }
            let mut logical = LogicalLine::default();
            let mut end = start + stripped.len();
            let mut open = self.append(&mut logical, stripped, start);
            while open && let Some(line) = self.physical()? {
                let text = line.raw.trim_end_matches(['\r', '\n']);
                if text.trim_start().starts_with('#') {
                    continue;
                }
                if text.trim_start().is_empty() {
                    logical.blank.push(Span::new(line.start, line.start + text.len()));
                    continue;
                }
                end = line.start + text.len();
                open = self.append(&mut logical, text, line.start);
                if logical.text.len() > INSTRUCTION_BYTES {
                    let span = Span::new(start, start + stripped.len());
                    return Err(Diagnostic::error(
                        span,
                        format!("instruction greater than maximum allowed size of {INSTRUCTION_BYTES}"),
                    )
                    .with_help("split the instruction"));
                }
            }
            logical.span = Span::new(start, end);
            return Ok(Some(logical));
        }
    }

    /// Adds a line without its continuation character; whether there was one.
    fn append(&self, logical: &mut LogicalLine, text: &str, start: usize) -> bool {
        let trimmed = text.trim_end_matches([' ', '\t']);
        // An escape before the escape makes it literal.
        match trimmed.strip_suffix(self.escape) {
            Some(rest) if !rest.ends_with(self.escape) => {
                logical.push(rest, start);
                true
            }
            _ => {
                logical.push(text, start);
                false
            }
        }
    }
}
