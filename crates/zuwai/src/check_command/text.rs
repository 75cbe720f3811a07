//! What a check says to people: findings on standard output, in the order of their places, each with its line; the mistake
//! that would stop a build on standard error.

use std::fmt::Write as _;

use zuwai_dockerfile::lint::Finding;
use zuwai_dockerfile::{Diagnostic, Source};

use super::Findings;
use crate::terminal;

pub(super) fn print(findings: &Findings) {
    if let Some(checked) = &findings.checked {
        terminal::print(&render(&checked.source, &checked.report.findings));
    }
    if let Some(mistake) = &findings.error {
        let places = mistake.places.as_ref().map_or_else(String::new, |places| format!("{places}\n\n"));
        terminal::print_error(&format!("{places}error: {}\n", mistake.message));
    }
}

/// The first line and the lines that begin with `WARNING` are buildx's.
fn render(source: &Source, findings: &[Finding]) -> String {
    let mut text = match findings.len() {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    let mut findings: Vec<&Finding> = findings.iter().collect();
    findings.sort_by_key(|finding| finding.span.start);
    for finding in findings {
        // The name stands in the line above.
        let place = Diagnostic::error(finding.span, finding.detail.clone()).with_help(finding.rule.help());
        let (name, url) = (finding.rule.name(), finding.rule.url());
        let _ = write!(text, "\nWARNING: {name} - {url}\n{}\n", place.render(source));
    }
    text
}
