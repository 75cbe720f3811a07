//! Findings about a Dockerfile: errors and warnings with their place.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::redact::{masked, without_passwords};
use crate::source::{Position, Source, Span};

/// How many characters of a long line are shown.
const WINDOW: usize = 160;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// The build stops.
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// BuildKit's name of the check that found it, for warnings.
    pub rule: Option<&'static str>,
    /// What is wrong, in BuildKit's words where it has words; without the passwords of addresses.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(span: Span, message: impl Into<String>) -> Diagnostic {
        let message = without_passwords(&message.into());
        Diagnostic { severity: Severity::Error, rule: None, message, span, help: None }
    }

    /// A warning of a named check at a place.
    pub fn warning(rule: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            rule: Some(rule),
            message: without_passwords(&message.into()),
            span,
            help: None,
        }
    }

    /// The same finding with what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// The finding as text: place, message, the source line with a caret line, help. Ends without a line break.
    pub fn render(&self, source: &Source) -> String {
        let place = source.start(self.span);
        let mut text = match (self.severity, self.rule) {
            (Severity::Error, _) => {
                format!("{}:{}:{}: {}", source.name(), place.line, place.column, self.message)
            }
            (Severity::Warning, rule) => {
                let rule = rule.map_or(String::new(), |rule| format!(" {rule}:"));
                format!("{}:{}:{}: warning:{rule} {}", source.name(), place.line, place.column, self.message)
            }
        };
        let (before, shown, marked) = self.window(source, place);
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        let _ = write!(text, "\n{gutter} |\n{number} | {shown}\n{gutter} | {before}{}", "^".repeat(marked));
        if let Some(help) = &self.help {
            let _ = write!(text, "\n{gutter} = help: {help}");
        }
        text
    }

    /// The part of the first line that is shown, what stands under it before the carets, and how many carets.
    fn window(&self, source: &Source, place: Position) -> (String, String, usize) {
        let line = masked(source.line(place.line));
        let first = place.column - 1;
        let from = if first > WINDOW / 2 { first - WINDOW / 4 } else { 0 };
        // Control characters could move the terminal's cursor; a tab stays one character wide so that carets fit.
        let printable = |char: char| match char {
            '\t' => ' ',
            char if char.is_control() => char::REPLACEMENT_CHARACTER,
            char => char,
        };
        let mut shown: String = line.chars().skip(from).take(WINDOW).map(printable).collect();
        let length = line.chars().count();
        let on_line = source.line_range(place.line).end.min(self.span.end as usize);
        let last = source.position(u32::try_from(on_line).unwrap_or(u32::MAX));
        let end = if last.line == place.line { last.column - 1 } else { length };
        let end = end.min(length).min(from + WINDOW);
        let marked = end.saturating_sub(first).max(1);
        let mut before = " ".repeat(first - from);
        if from > 0 {
            shown.insert_str(0, "... ");
            before.insert_str(0, "    ");
        }
        if length > from + WINDOW {
            shown.push_str(" ...");
        }
        (before, shown, marked)
    }

    /// The finding as an error value that carries its source.
    pub fn in_source(self, source: &Arc<Source>) -> Diagnostics {
        Diagnostics { source: Arc::clone(source), list: vec![self] }
    }
}

/// Findings together with the source they are about. As an error it shows all of them, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// The text that the findings are about.
    pub source: Arc<Source>,
    /// The findings; at least one.
    pub list: Vec<Diagnostic>,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n\n")?;
            }
            formatter.write_str(&diagnostic.render(&self.source))?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
