//! Here-documents: `<<EOF`, `<<-EOF`, `<<"EOF"`.

use crate::diagnostic::Diagnostic;
use crate::expand::{Mode, lex};
use crate::line::{Lines, LogicalLine};
use crate::source::Span;

/// One here-document of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word after `<<`, without quotes; it ends the document, and is the file's name for COPY and ADD.
    pub name: String,
    /// The lines up to the terminator, as written: tabs of `<<-` are still there, see [`Heredoc::text`].
    pub content: String,
    /// Whether variables in it are expanded (COPY and ADD only): false when any part of the word was quoted.
    pub expand: bool,
    /// `<<-`: leading tabs of every line are removed.
    pub chomp: bool,
    /// The digits before `<<`, zero without any.
    pub file_descriptor: u64,
    /// The word in the instruction's line.
    pub span: Span,
    /// The lines of the content, without the terminator.
    pub content_span: Span,
}

impl Heredoc {
    /// The content with leading tabs removed where `<<-` asks for it.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// Whether a whole word is a here-document's opening; without content and places.
pub(crate) fn opening(word: &str) -> Option<Heredoc> {
    let digits = word.find(|char: char| !char.is_ascii_digit())?;
    let rest = word[digits..].strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    // Read with and without quotes: where the two differ something was quoted, and nothing is expanded.
    let unquoted = lex(rest, Mode::HEREDOC_NAME).ok()?.words;
    let raw = lex(rest, Mode::HEREDOC_LINE).ok()?.words;
    let ([name], [raw]) = (unquoted.as_slice(), raw.as_slice()) else { return None };
    Some(Heredoc {
        name: name.clone(),
        content: String::new(),
        expand: name == raw,
        chomp,
        file_descriptor: word[..digits].parse().unwrap_or(0),
        span: Span::default(),
        content_span: Span::default(),
    })
}

/// The openings in an instruction's line. A line whose quotes do not match has none, as in BuildKit.
pub(crate) fn openings(line: &LogicalLine) -> Vec<Heredoc> {
    if !line.text.contains("<<") {
        return Vec::new();
    }
    let Ok(expansion) = lex(&line.text, Mode::HEREDOC_LINE) else { return Vec::new() };
    let mut from = 0;
    expansion
        .words
        .iter()
        .filter_map(|word| {
            let mut heredoc = opening(word)?;
            // The words are raw, so each stands in the line as it is; a word twice is found twice, in order.
            let start = line.text[from..].find(word.as_str()).map_or(from, |offset| from + offset);
            let end = (start + word.len()).min(line.text.len());
            heredoc.span = line.span(start, end);
            from = end;
            Some(heredoc)
        })
        .collect()
}

/// Reads the bodies of here-documents, one after the other, from the lines after the instruction's.
pub(crate) fn read_bodies(
    heredocs: &mut [Heredoc],
    lines: &mut Lines<'_>,
) -> Result<Option<usize>, Diagnostic> {
    let mut end = None;
    for heredoc in heredocs {
        let mut span: Option<Span> = None;
        loop {
            let Some(line) = lines.physical()? else {
                return Err(Diagnostic::error(heredoc.span, "unterminated heredoc").with_help(format!(
                    "end the here-document with a line that holds nothing but {}",
                    heredoc.name
                )));
            };
            let bare = line.raw.trim_end_matches(['\r', '\n']);
            let bare_start = if heredoc.chomp { bare.trim_start_matches('\t') } else { bare };
            let here = Span::new(line.start, line.start + line.raw.len());
            if bare_start == heredoc.name {
                heredoc.content_span = span.unwrap_or(Span::new(line.start, line.start));
                end = Some(line.start + bare.len());
                break;
            }
            heredoc.content.push_str(line.raw);
            span = Some(span.map_or(here, |span| span.to(here)));
        }
    }
    Ok(end)
}
