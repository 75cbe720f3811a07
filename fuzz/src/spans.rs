//! Every span in a tree, found in its `Debug` form, so that a field that is added later is checked too.

use std::fmt::Debug;

use zuwai_dockerfile::{Diagnostic, Source, Span};

/// Checks that every span of the tree is a range of whole characters of the source.
pub fn check(tree: &impl Debug, source: &Source) {
    for span in all(&format!("{tree:?}")) {
        check_one(span, source);
    }
}

/// Checks a finding's span, and that it can be shown.
pub fn check_diagnostic(diagnostic: &Diagnostic, source: &Source) {
    check_one(diagnostic.span, source);
    let shown = diagnostic.render(source);
    assert!(shown.contains(source.name()) && shown.contains('^'), "{shown}");
}

fn check_one(span: Span, source: &Source) {
    assert!(span.start <= span.end, "{span:?}");
    assert!(source.text().get(span.range()).is_some(), "{span:?} in {:?}", source.text());
}

fn all(debug: &str) -> Vec<Span> {
    let number = |text: &str| {
        let digits = text.trim_start_matches(|char: char| !char.is_ascii_digit());
        let end = digits.find(|char: char| !char.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().unwrap_or(usize::MAX)
    };
    let outside = without_literals(debug);
    let bodies = outside.split("Span {").skip(1).filter_map(|rest| rest.split_once('}'));
    bodies
        .map(|(body, _)| {
            let (start, end) = body.split_once(',').unwrap_or((body, ""));
            // `Span::new` would mend an end before the start.
            Span { start: number(start) as u32, end: number(end) as u32 }
        })
        .collect()
}

/// The text without what stands in quotes, which can look like anything.
fn without_literals(debug: &str) -> String {
    let mut outside = String::with_capacity(debug.len());
    let mut quote = None;
    let mut chars = debug.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(_), '\\') => _ = chars.next(),
            (Some(open), char) if char == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(char),
            (None, char) => outside.push(char),
        }
    }
    outside
}
