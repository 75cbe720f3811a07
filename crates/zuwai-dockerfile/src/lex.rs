//! From a logical line to keyword, flags and words. All offsets are into the line's text.

use std::ops::Range;

/// A flag before the arguments, quotes and escapes removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawFlag {
    /// `--name=value` or `--name`.
    pub text: String,
    /// Where it stands.
    pub range: Range<usize>,
}

/// A line split into its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The keyword.
    pub keyword: Range<usize>,
    /// The flags.
    pub flags: Vec<RawFlag>,
    /// The rest, without spaces at its ends.
    pub rest: Range<usize>,
}

/// The characters BuildKit splits words at where quotes play no part.
fn is_separator(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\r' | '\u{b}' | '\u{c}')
}

/// Splits `text[range]` into keyword, flags and the rest.
pub(crate) fn command(text: &str, range: Range<usize>) -> Command {
    let whole = trim(text, range);
    let end = text[whole.clone()].find(is_separator).map_or(whole.end, |length| whole.start + length);
    let keyword = whole.start..end;
    let rest = trim(text, end..whole.end);
    let (flags, rest_start) = flags(text, rest.clone());
    Command { keyword, flags, rest: trim(text, rest_start..rest.end) }
}

/// A range without the spaces at its ends.
pub(crate) fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    let inside = &text[range.clone()];
    let start = range.start + (inside.len() - inside.trim_start().len());
    let end = range.end - (inside.len() - inside.trim_end().len());
    start..end.max(start)
}

/// Words that start with `--`, up to the first that does not or a bare `--`, and where the rest begins.
fn flags(text: &str, range: Range<usize>) -> (Vec<RawFlag>, usize) {
    let mut flags = Vec::new();
    let mut place = range.start;
    loop {
        let rest = &text[place..range.end];
        let rest = rest.trim_start();
        place = range.end - rest.len();
        if !rest.starts_with("--") {
            return (flags, place);
        }
        let mut flag = String::new();
        let mut quote = None;
        let mut end = range.end;
        let mut chars = rest.char_indices();
        while let Some((offset, char)) = chars.next() {
            match (char, quote) {
                (char, None) if char.is_whitespace() => {
                    end = place + offset;
                    break;
                }
                ('\'' | '"', None) => quote = Some(char),
                (char, Some(open)) if char == open => quote = None,
                // BuildKit takes the backslash here, whatever the escape directive says.
                ('\\', _) => flag.extend(chars.next().map(|(_, escaped)| escaped)),
                (char, _) => flag.push(char),
            }
        }
        if flag == "--" {
            return (flags, end);
        }
        flags.push(RawFlag { text: flag, range: place..end });
        place = end;
    }
}

/// Words split at spaces, quotes and escapes playing no part (EXPOSE, FROM, the shell form of COPY).
pub(crate) fn split(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (offset, char) in text[range.clone()].char_indices() {
        match (is_separator(char), start) {
            (true, Some(from)) => {
                words.push(from..range.start + offset);
                start = None;
            }
            (false, None) => start = Some(range.start + offset),
            _ => {}
        }
    }
    words.extend(start.map(|from| from..range.end));
    words
}

/// The first word and all that follows it.
pub(crate) fn split_once(text: &str, range: Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let inside = &text[range.clone()];
    let end = range.start + inside.find(is_separator)?;
    let rest = &text[end..range.end];
    let start = range.end - rest.trim_start_matches(is_separator).len();
    Some((range.start..end, start..range.end))
}

/// Words split at spaces that are neither quoted nor escaped; quotes and escapes stay (ENV, LABEL, ARG).
pub(crate) fn words(text: &str, range: Range<usize>, escape: char) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = text[range.clone()].char_indices();
    while let Some((offset, char)) = chars.next() {
        let at = range.start + offset;
        if quote.is_none() && char.is_whitespace() {
            words.extend(start.take().map(|from| from..at));
            continue;
        }
        start.get_or_insert(at);
        if char == escape && quote != Some('\'') {
            // An escape at the very end stands for nothing and is dropped.
            if chars.next().is_none() {
                words.extend(start.filter(|from| *from < at).map(|from| from..at));
                return words;
            }
        } else if quote == Some(char) {
            quote = None;
        } else if quote.is_none() && matches!(char, '\'' | '"') {
            quote = Some(char);
        }
    }
    words.extend(start.map(|from| from..range.end));
    words
}
