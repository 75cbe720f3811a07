//! Variables that nobody sets, and what may be meant.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use super::scope::Scope;
use super::{Linter, Rule};
use crate::ast::{Instruction, InstructionKind, KeyValue, Transfer, TransferSource, Word};
use crate::diagnostic::Diagnostic;
use crate::expand::{Expander, Lookup};
use crate::heredoc::Heredoc;
use crate::predefined::is_builder_arg;
use crate::source::{Source, Span};
use crate::suggest;

/// A suggestion is fewer edits away than this.
const EDITS: usize = 3;

/// Longer names get no suggestion; this bounds the work.
const LONGEST: usize = 128;

/// So many suggestions are looked for in one Dockerfile.
pub(super) const SUGGESTIONS: usize = 1000;

/// Looks at the words of an instruction that take variables: those of [`Instruction::resolve`] but for EXPOSE and `--exclude`,
/// which BuildKit does not look at, and the fields of RUN's mounts.
pub(super) struct Words<'a> {
    pub source: &'a Source,
    pub expander: &'a Expander,
    pub scope: &'a Scope,
    /// How many suggestions are still looked for.
    pub suggestions: &'a mut usize,
}

impl Words<'_> {
    pub fn check(&mut self, instruction: &Instruction, linter: &mut Linter<'_>) -> Result<(), Diagnostic> {
        for word in words(&instruction.kind) {
            self.word(word, instruction.span, linter)?;
        }
        for heredoc in heredocs(&instruction.kind).filter(|heredoc| heredoc.expand) {
            self.heredoc(heredoc, instruction.span, linter)?;
        }
        Ok(())
    }

    pub fn word(
        &mut self,
        word: &Word,
        instruction: Span,
        linter: &mut Linter<'_>,
    ) -> Result<(), Diagnostic> {
        let expansion = self.expander.expand(&word.text, self.scope).map_err(|error| {
            Diagnostic::error(word.span, format!("failed to process {:?}: {error}", word.text))
        })?;
        self.report(&expansion.unset, word.span, instruction, self.expander.escape(), linter);
        Ok(())
    }

    fn heredoc(
        &mut self,
        heredoc: &Heredoc,
        instruction: Span,
        linter: &mut Linter<'_>,
    ) -> Result<(), Diagnostic> {
        let scope = Recording { scope: self.scope, unset: RefCell::default() };
        Expander::heredoc(&heredoc.text(), &scope)
            .map_err(|error| Diagnostic::error(heredoc.content_span, error.to_string()))?;
        self.report(&scope.unset.into_inner(), heredoc.content_span, instruction, '\\', linter);
        Ok(())
    }

    fn report(
        &mut self,
        unset: &BTreeSet<String>,
        within: Span,
        instruction: Span,
        escape: char,
        linter: &mut Linter<'_>,
    ) {
        let undefined = unset.iter().filter(|name| !self.scope.declares(name) && !is_builder_arg(name));
        let mut found: Vec<(Span, &String)> =
            undefined.map(|name| (place_of(name, within, self.source, escape), name)).collect();
        found.sort();
        for (span, name) in found {
            let near = self.suggestion(name);
            // What the base image sets is not known; a name nearly the same as a known one is a slip all the same.
            if !self.scope.base_is_known() && near.is_none() {
                continue;
            }
            let mut detail = format!("Usage of undefined variable '${name}'");
            if let Some(near) = near {
                detail += &format!(" (did you mean ${near}?)");
            }
            linter.found(Rule::UndefinedVar, span, instruction, detail);
        }
    }

    fn suggestion(&mut self, name: &str) -> Option<String> {
        *self.suggestions = self.suggestions.checked_sub(1)?;
        if self.scope.base_is_known() {
            return undefined_suggestion(name, self.scope.names()).map(str::to_owned);
        }
        let names: Vec<&str> = self.scope.names().chain(self.scope.declared()).collect();
        suggest::nearest(name, &names).map(str::to_owned)
    }
}

/// A scope that remembers what it was asked for in vain.
struct Recording<'a> {
    scope: &'a Scope,
    unset: RefCell<BTreeSet<String>>,
}

impl Lookup for Recording<'_> {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let value = Lookup::get(self.scope, name);
        if value.is_none() {
            self.unset.borrow_mut().insert(name.to_owned());
        }
        value
    }
}

fn words(kind: &InstructionKind) -> Vec<&Word> {
    match kind {
        InstructionKind::Add(add) => {
            let mut words = transfer(&add.transfer);
            words.extend(&add.checksum);
            words
        }
        InstructionKind::Copy(copy) => transfer(&copy.transfer),
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
            pairs.iter().flat_map(|KeyValue { key, value, .. }| [key, value]).collect()
        }
        InstructionKind::Run(run) => run
            .mounts
            .iter()
            .flat_map(|mount| &mount.fields)
            .filter_map(|field| field.value.as_ref())
            .collect(),
        InstructionKind::Volume(words) => words.iter().collect(),
        InstructionKind::Stopsignal(word) | InstructionKind::User(word) | InstructionKind::Workdir(word) => {
            vec![word]
        }
        // ARG is looked at name by name. BuildKit does not look at EXPOSE; the others take no variables.
        _ => Vec::new(),
    }
}

fn transfer(transfer: &Transfer) -> Vec<&Word> {
    let sources = transfer.sources.iter().filter_map(|source| match source {
        TransferSource::Path(word) => Some(word),
        TransferSource::Heredoc(_) => None,
    });
    transfer.chown.iter().chain(&transfer.chmod).chain(sources).chain([&transfer.destination]).collect()
}

fn heredocs(kind: &InstructionKind) -> impl Iterator<Item = &Heredoc> {
    let transfer = match kind {
        InstructionKind::Add(add) => Some(&add.transfer),
        InstructionKind::Copy(copy) => Some(&copy.transfer),
        _ => None,
    };
    transfer.into_iter().flat_map(|transfer| &transfer.sources).filter_map(|source| match source {
        TransferSource::Heredoc(heredoc) => Some(heredoc),
        TransferSource::Path(_) => None,
    })
}

/// The known name that BuildKit suggests: fewer than three insertions, removals and changes away, of several the first of
/// the nearest.
pub(super) fn undefined_suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let near = known.filter(|known| known.len().abs_diff(name.len()) < 4 * EDITS);
    near.map(|known| (distance(name, known), known))
        .filter(|(edits, _)| *edits < EDITS)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
}

/// Levenshtein's distance.
fn distance(first: &str, second: &str) -> usize {
    let second: Vec<char> = second.chars().collect();
    let mut above: Vec<usize> = (0..=second.len()).collect();
    for (line, left) in first.chars().enumerate() {
        let mut row = vec![line + 1];
        for (column, right) in second.iter().enumerate() {
            let changed = above[column] + usize::from(left != *right);
            row.push(changed.min(above[column + 1] + 1).min(row[column] + 1));
        }
        above = row;
    }
    above[second.len()]
}

/// Where `$name` or `${name` stands within a place of the source; the whole place where it cannot be found.
pub(super) fn place_of(name: &str, within: Span, source: &Source, escape: char) -> Span {
    let text = source.slice(within);
    let is_part_of_a_name = |char: char| char.is_alphanumeric() || char == '_';
    for (at, _) in text.match_indices('$') {
        let after = &text[at + 1..];
        let braces = after.starts_with('{');
        let start = if braces { &after[1..] } else { after };
        let Some(rest) = start.strip_prefix(name) else { continue };
        let whole = !name.ends_with(is_part_of_a_name) || !rest.starts_with(is_part_of_a_name);
        if !whole || text[..at].ends_with(escape) {
            continue;
        }
        let closing = usize::from(braces && rest.starts_with('}'));
        let begin = within.start as usize + at;
        return Span::new(begin, begin + 1 + usize::from(braces) + name.len() + closing);
    }
    within
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_buildkits() {
        let known = ["PATH", "foo1", "foo2", "b"];
        for (name, expected) in [
            ("PAHT", Some("PATH")),
            ("foo3", Some("foo1")),
            ("u", Some("b")),
            ("Foo2", Some("foo2")),
            ("path", None),
            ("quite_another", None),
        ] {
            assert_eq!(undefined_suggestion(name, known.into_iter()), expected, "{name}");
        }
    }

    #[test]
    fn places_are_those_of_the_variable() {
        let text = "a $ab ${a:-$b} \\$c $c $$ $1";
        let source = Source::new("d", text);
        let whole = Span::new(0, text.len());
        for (name, expected) in
            [("a", "${a"), ("b", "$b"), ("ab", "$ab"), ("c", "$c"), ("$", "$$"), ("1", "$1"), ("z", text)]
        {
            let span = place_of(name, whole, &source, '\\');
            assert_eq!(source.slice(span), expected, "{name}");
        }
        assert_eq!(place_of("c", whole, &source, '\\').start, 19);
    }
}
