//! One finding of a check.

use std::ops::RangeInclusive;

use super::rule::Rule;
use crate::diagnostic::Diagnostic;
use crate::source::{Source, Span};

/// What a check found at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub rule: Rule,
    /// What is wrong here, in BuildKit's words.
    pub detail: String,
    /// The word that is wrong.
    pub span: Span,
    /// The whole instruction, which is where BuildKit says it is.
    pub instruction: Span,
}

impl Finding {
    /// The lines that BuildKit gives as the place, from 1: all of the instruction, here-documents included.
    pub fn lines(&self, source: &Source) -> RangeInclusive<usize> {
        let last = self.instruction.end.saturating_sub(1).max(self.instruction.start);
        source.start(self.instruction).line..=source.position(last).line
    }

    /// The finding as a warning that can be shown.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::warning(self.rule.name(), self.span, self.detail.clone()).with_help(self.rule.help())
    }
}
