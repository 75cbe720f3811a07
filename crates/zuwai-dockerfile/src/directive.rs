//! Parser directives: `# syntax=`, `# escape=`, `# check=` at the very top.

use crate::ast::{Check, Directives, Word};
use crate::diagnostic::Diagnostic;
use crate::source::{Source, Span};

/// Reads the directives of a Dockerfile. They end at the first line that is none, an unknown one included: that is a
/// comment, and after a comment there are no directives. A first line for the kernel (`#!`) may stand before them, though
/// BuildKit then reads no `# escape=`.
pub(crate) fn directives(source: &Source) -> Result<Directives, Diagnostic> {
    let mut directives = Directives { syntax: None, escape: '\\', check: Check::default() };
    let mut seen: Vec<String> = Vec::new();
    let first = first_line(source);
    for number in first..=source.line_count() {
        let Some((key, value)) = directive(source, number) else { break };
        if seen.contains(&key) {
            let line = source.line_range(number);
            let span = Span::new(line.start, line.start + source.line(number).len());
            return Err(Diagnostic::error(span, format!("only one {key} parser directive can be used"))
                .with_help("remove one of the two lines"));
        }
        match key.as_str() {
            "syntax" => directives.syntax = Some(value),
            "escape" if first > 1 => break,
            "escape" => directives.escape = escape(&value)?,
            _ => directives.check = check(&value)?,
        }
        seen.push(key);
    }
    Ok(directives)
}

/// The number of the last line that a directive may stand in or stands in, zero without any.
pub(crate) fn lines(source: &Source) -> usize {
    let first = first_line(source);
    (first..=source.line_count())
        .take_while(|number| directive(source, *number).is_some())
        .last()
        .unwrap_or(first - 1)
}

/// The first line where a directive may stand.
fn first_line(source: &Source) -> usize {
    if source.line(1).trim_start_matches('\u{feff}').starts_with("#!") { 2 } else { 1 }
}

/// The directive in a line, its key in lower case, if there is one that is known.
fn directive(source: &Source, number: usize) -> Option<(String, Word)> {
    let line = source.line(number);
    let line = if number == 1 { line.trim_start_matches('\u{feff}') } else { line };
    let (key, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let key = key.trim().to_ascii_lowercase();
    let value = value.trim();
    if value.is_empty() || !["syntax", "escape", "check"].contains(&key.as_str()) {
        return None;
    }
    let whole = source.line(number);
    let line_start = source.line_range(number).start;
    // The value is the trimmed end of the line, so it is found from the back.
    let start = line_start + whole.trim_end().len() - value.len();
    Some((key, Word { text: value.to_owned(), span: Span::new(start, start + value.len()) }))
}

fn escape(value: &Word) -> Result<char, Diagnostic> {
    match value.text.as_str() {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => Err(Diagnostic::error(
            value.span,
            format!("invalid escape token '{other}' does not match ` or \\"),
        )
        .with_help("write `# escape=\\` or `# escape=`` (a backtick)")),
    }
}

fn check(value: &Word) -> Result<Check, Diagnostic> {
    check_options(&value.text).map_err(|error| {
        Diagnostic::error(value.span, format!("failed to parse check options: {error}"))
            .with_help("write `# check=skip=Rule,Rule;error=true`; skip=all skips every check")
    })
}

/// Reads `skip=...;error=...;experimental=...` as BuildKit does: names are not trimmed, and nothing may follow the last
/// semicolon.
///
/// # Errors
/// What is wrong, in BuildKit's words.
pub(crate) fn check_options(text: &str) -> Result<Check, String> {
    let mut check = Check::default();
    if text.trim().is_empty() {
        return Ok(check);
    }
    for option in text.trim().split(';') {
        let Some((key, value)) = option.split_once('=') else {
            return Err(format!("invalid check option {option:?}"));
        };
        let (key, value) = (key.trim(), value.trim());
        let names = || value.split(',').map(str::to_owned).collect();
        match key {
            "skip" if value == "all" => check.skip_all = true,
            "skip" => check.skip = names(),
            "experimental" if value == "all" => check.experimental_all = true,
            "experimental" => check.experimental = names(),
            "error" => {
                check.error = parse_bool(value).ok_or_else(|| {
                    format!(
                        "failed to parse check option {option:?}: strconv.ParseBool: parsing {value:?}: invalid syntax"
                    )
                })?;
            }
            other => return Err(format!("invalid check option {other:?}")),
        }
    }
    Ok(check)
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
