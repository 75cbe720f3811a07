//! Upper and lower case of stage names and keywords.

use super::{Linter, Rule};
use crate::ast::{Dockerfile, Instruction, StageFrom};
use crate::source::{Source, Span};

/// Names after AS, and AS itself beside FROM.
pub(super) fn names(dockerfile: &Dockerfile, linter: &mut Linter<'_>) {
    for from in dockerfile.stages.iter().map(|stage| &stage.from) {
        let mut words = from.original.split_whitespace().rev();
        let (Some(_), Some(written), Some(keyword)) = (&from.name, words.next(), words.next()) else {
            continue;
        };
        let Some(name) = &from.name else { continue };
        if written != written.to_lowercase() {
            let detail = format!("Stage name '{written}' should be lowercase");
            linter.found(Rule::StageNameCasing, name.span, from.span, detail);
        }
        let from_keyword = keyword_of(&from.original);
        let matches = match Case::of(from_keyword) {
            Case::Lower => Case::of(keyword) == Case::Lower,
            Case::Upper => Case::of(keyword) == Case::Upper,
            // Another check's matter.
            Case::Mixed => true,
        };
        if !matches {
            let detail = format!("'{keyword}' and '{from_keyword}' keywords' casing do not match");
            let span = as_span(&dockerfile.source, from, name.span, keyword);
            linter.found(Rule::FromAsCasing, span, from.span, detail);
        }
    }
}

/// Keywords in another case than most of them. The arguments before the first FROM are not looked at.
pub(super) fn keywords(dockerfile: &Dockerfile, linter: &mut Linter<'_>) {
    let cases = || keywords_of(dockerfile).map(|(keyword, _, _)| Case::of(keyword));
    let lower = cases().filter(|case| *case == Case::Lower).count();
    let upper = cases().filter(|case| *case == Case::Upper).count();
    let (wanted, word) = if lower > upper { (Case::Lower, "lowercase") } else { (Case::Upper, "uppercase") };
    for (keyword, span, instruction) in keywords_of(dockerfile) {
        if Case::of(keyword) != wanted {
            let detail =
                format!("Command '{keyword}' should match the case of the command majority ({word})");
            linter.found(Rule::ConsistentInstructionCasing, span, instruction, detail);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Upper,
    Mixed,
}

impl Case {
    fn of(keyword: &str) -> Case {
        if keyword.chars().all(char::is_lowercase) {
            Case::Lower
        } else if keyword.chars().all(char::is_uppercase) {
            Case::Upper
        } else {
            Case::Mixed
        }
    }
}

/// Every keyword as written, its place, and its instruction's.
fn keywords_of(dockerfile: &Dockerfile) -> impl Iterator<Item = (&str, Span, Span)> {
    let of_from = |from: &StageFrom| {
        let start = from.span.start as usize;
        Span::new(start, start + keyword_of(&from.original).len())
    };
    dockerfile.stages.iter().flat_map(move |stage| {
        let from = (keyword_of(&stage.from.original), of_from(&stage.from), stage.from.span);
        std::iter::once(from).chain(
            stage.instructions.iter().map(|instruction| {
                (keyword_as_written(instruction), instruction.keyword_span, instruction.span)
            }),
        )
    })
}

/// An instruction's keyword as it is written, which is how BuildKit names it.
pub(super) fn keyword_as_written(instruction: &Instruction) -> &str {
    keyword_of(&instruction.original)
}

fn keyword_of(original: &str) -> &str {
    original.split_whitespace().next().unwrap_or_default()
}

/// Where AS stands: the last such word between image and name.
fn as_span(source: &Source, from: &StageFrom, name: Span, keyword: &str) -> Span {
    let between = Span::new(from.image.span.end as usize, name.start as usize);
    match source.slice(between).rfind(keyword) {
        Some(at) => {
            let start = between.start as usize + at;
            Span::new(start, start + keyword.len())
        }
        None => name,
    }
}
