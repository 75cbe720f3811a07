//! From text to tree.

use std::sync::Arc;

use crate::ast::{Dockerfile, Instruction, InstructionKind, MetaArg, Stage};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::directive::directives;
use crate::heredoc::{openings, read_bodies};
use crate::instruction::{Parsed, can_contain_heredoc, parse_line};
use crate::limits::{ERRORS, FILE_BYTES, STAGES};
use crate::line::{Lines, LogicalLine};
use crate::source::{Source, Span};
use crate::stage;

/// Parses a whole Dockerfile; `name` is how it is called in diagnostics.
///
/// # Errors
/// All that is wrong with it, in order of place, up to a limit.
pub fn parse(name: &str, text: &[u8]) -> Result<Dockerfile, Diagnostics> {
    let Text { source, mut errors, in_comments } = read_source(name, text)?;
    let source = Arc::new(source);
    let failed = |mut list: Vec<Diagnostic>| {
        list.sort_by_key(|diagnostic| diagnostic.span.start);
        Diagnostics { source: Arc::clone(&source), list }
    };
    if !errors.is_empty() {
        return Err(failed(errors));
    }
    let directives = directives(&source).map_err(|error| failed(vec![on_line(error, &source)]))?;
    let mut builder = Builder::default();
    let mut warnings = Vec::new();
    let mut lines = Lines::new(&source, directives.escape);
    let mut any = false;
    while errors.len() < ERRORS {
        let (line, parsed) = match read_instruction(&mut lines, directives.escape) {
            Ok(None) => break,
            Ok(Some(read)) => read,
            // Where the lines themselves are in doubt, what follows cannot be told apart.
            Err(error) => {
                errors.push(on_line(error, &source));
                any = true;
                break;
            }
        };
        any = true;
        if let Some(error) = in_heredoc(&line, &in_comments) {
            errors.push(on_line(error, &source));
        }
        warnings.extend(empty_continuation(&line));
        match parsed.and_then(|parsed| builder.add(parsed)) {
            Ok(()) => {}
            Err(error) => errors.push(on_line(error, &source)),
        }
    }
    if text.is_empty() {
        errors.push(
            Diagnostic::error(Span::default(), "the Dockerfile cannot be empty")
                .with_help("a Dockerfile needs at least FROM and an image"),
        );
    } else if !any {
        errors.push(
            Diagnostic::error(Span::default(), "file with no instructions")
                .with_help("a Dockerfile needs at least FROM and an image"),
        );
    } else if builder.stages.is_empty() && errors.is_empty() {
        errors.push(
            Diagnostic::error(Span::default(), "dockerfile contains no stages to build")
                .with_help("add FROM and an image"),
        );
    }
    if !errors.is_empty() {
        return Err(failed(errors));
    }
    let Builder { meta_args, stages } = builder;
    errors =
        stage::wrong_sources(&stages).into_iter().take(ERRORS).map(|error| on_line(error, &source)).collect();
    if !errors.is_empty() {
        return Err(failed(errors));
    }
    Ok(Dockerfile { source, directives, meta_args, stages, warnings })
}

/// Parses one ONBUILD trigger of a base image's configuration. The escape character is the backslash there.
/// Spans are about the trigger's own text, which the diagnostics call `name`.
///
/// # Errors
/// What is wrong with it: no instruction, more than one, one that ONBUILD may not hold.
pub fn parse_onbuild(name: &str, trigger: &str) -> Result<Instruction, Diagnostics> {
    // A trigger comes as text, so nothing in it can fail to be UTF-8.
    let Text { source, errors, .. } = read_source(name, trigger.as_bytes())?;
    let source = Arc::new(source);
    if !errors.is_empty() {
        return Err(Diagnostics { source, list: errors });
    }
    let fail = |error: Diagnostic| on_line(error, &source).in_source(&source);
    let whole = Span::new(0, source.text().len());
    let several = || Diagnostic::error(whole, "onbuild trigger should be a single expression");
    let mut lines = Lines::new(&source, '\\');
    let read = read_instruction(&mut lines, '\\').map_err(fail)?;
    let Some((_, parsed)) = read else { return Err(fail(several())) };
    let instruction = match parsed.map_err(fail)? {
        Parsed::Instruction(instruction) => *instruction,
        Parsed::From(from) => {
            return Err(fail(Diagnostic::error(from.span, "FROM isn't allowed as an ONBUILD trigger")));
        }
    };
    let message = match &instruction.kind {
        InstructionKind::Onbuild(_) => "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        InstructionKind::Maintainer(_) => "MAINTAINER isn't allowed as an ONBUILD trigger",
        _ if lines.logical().map_err(fail)?.is_some() => return Err(fail(several())),
        _ => return Ok(instruction),
    };
    Err(fail(Diagnostic::error(instruction.keyword_span, message)))
}

/// The error as users know it.
fn on_line(mut error: Diagnostic, source: &Source) -> Diagnostic {
    error.message =
        format!("dockerfile parse error on line {}: {}", source.start(error.span).line, error.message);
    error
}

/// Blank lines inside an instruction, from the first of them to the instruction's end.
fn empty_continuation(line: &LogicalLine) -> Option<Diagnostic> {
    let (first, last) = (line.blank.first()?, line.blank.last()?);
    let span = first.to(*last).to(Span { start: first.start, ..line.span });
    Some(Diagnostic::warning("NoEmptyContinuation", span, "Empty continuation line"))
}

/// What is not UTF-8 in a here-document's line that looks like a comment.
fn in_heredoc(line: &LogicalLine, in_comments: &[Diagnostic]) -> Option<Diagnostic> {
    let body = line.heredocs?;
    let first = in_comments.partition_point(|found| found.span.start < body.start);
    in_comments.get(first).filter(|found| found.span.end <= body.end).cloned()
}

/// A Dockerfile's text, and what of it is no UTF-8.
struct Text {
    source: Source,
    errors: Vec<Diagnostic>,
    /// The first finding in a line that looks like a comment, for each such line: errors if it turns out to be inside a
    /// here-document.
    in_comments: Vec<Diagnostic>,
}

/// The text as UTF-8. Comments may hold anything: what is not UTF-8 there becomes question marks, byte by byte, so that
/// places stay; elsewhere it is an error.
fn read_source(name: &str, text: &[u8]) -> Result<Text, Diagnostics> {
    if text.len() > FILE_BYTES {
        let message = format!("dockerfile greater than maximum allowed size of {FILE_BYTES}");
        let source = Arc::new(Source::new(name, ""));
        return Err(Diagnostic::error(Span::default(), message).in_source(&source));
    }
    let mut bytes = text.to_vec();
    let mut errors = Vec::new();
    let mut in_comments = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        let comment = line.trim_ascii_start().starts_with(b"#");
        let mut place = 0;
        while let Err(error) = std::str::from_utf8(&line[place..]) {
            let bad = place + error.valid_up_to();
            let length = error.error_len().unwrap_or(line.len() - bad);
            bytes[start + bad..start + bad + length].fill(b'?');
            let found = if comment { &mut in_comments } else { &mut errors };
            if (comment && place == 0) || (!comment && found.len() < ERRORS) {
                found.push(
                    Diagnostic::error(Span::new(start + bad, start + bad + length), "invalid UTF-8")
                        .with_help("save the file as UTF-8"),
                );
            }
            place = bad + length;
        }
        start = end;
    }
    // All that was not UTF-8 is replaced, so nothing is lost here.
    let source = Source::new(name, String::from_utf8_lossy(&bytes));
    let errors = errors.into_iter().map(|error| on_line(error, &source)).collect();
    Ok(Text { source, errors, in_comments })
}

type Read = (LogicalLine, Result<Parsed, Diagnostic>);

/// The next instruction with its here-documents. An outer error is about the lines, an inner one about the instruction.
fn read_instruction(lines: &mut Lines<'_>, escape: char) -> Result<Option<Read>, Diagnostic> {
    let Some(mut line) = lines.logical()? else { return Ok(None) };
    let mut heredocs = if can_contain_heredoc(&line) { openings(&line) } else { Vec::new() };
    let mut span = line.span;
    if let Some(end) = read_bodies(&mut heredocs, lines)? {
        let body = Span::new(span.end as usize, end);
        span = span.to(body);
        line.heredocs = Some(body);
    }
    let parsed = parse_line(&line, &heredocs, span, escape);
    Ok(Some((line, parsed)))
}

#[derive(Default)]
struct Builder {
    meta_args: Vec<MetaArg>,
    stages: Vec<Stage>,
}

impl Builder {
    fn add(&mut self, parsed: Parsed) -> Result<(), Diagnostic> {
        match parsed {
            Parsed::From(from) => {
                let index = self.stages.len();
                if index == STAGES {
                    return Err(Diagnostic::error(from.span, format!("more than {STAGES} stages")));
                }
                self.stages.push(Stage { index, from, instructions: Vec::new() });
            }
            Parsed::Instruction(instruction) => {
                let Instruction { span, keyword_span, original, kind } = *instruction;
                match (self.stages.last_mut(), kind) {
                    (Some(stage), kind) => {
                        stage.instructions.push(Instruction { span, keyword_span, original, kind });
                    }
                    (None, InstructionKind::Arg(arg)) => self.meta_args.push(MetaArg { span, arg }),
                    (None, _) => {
                        return Err(Diagnostic::error(keyword_span, "no build stage in current context")
                            .with_help("only ARG may stand before the first FROM"));
                    }
                }
            }
        }
        Ok(())
    }
}
