//! What a check says to programs: the document of `docker build --call=check,format=json`, with more about each warning.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zuwai_build::checks::Checked;
use zuwai_dockerfile::lint::Finding;
use zuwai_dockerfile::{Source, Span};

use super::{Findings, Mistake};
use crate::terminal;

pub(super) fn print(findings: &Findings) {
    terminal::print(&format!("{:#}\n", document(findings)));
}

fn document(findings: &Findings) -> Value {
    let of_error = || Some(&*findings.error.as_ref()?.places.as_ref()?.source);
    let text = findings.checked.as_ref().map(|checked| &*checked.source).or_else(of_error);
    let sources: Vec<Value> = text.into_iter().map(source).collect();
    let warnings = findings.checked.as_ref().map_or_else(Vec::new, warnings);
    let mut document = json!({ "warnings": warnings, "sources": sources });
    if let Some(mistake) = &findings.error {
        document["buildError"] = build_error(mistake);
    }
    document
}

fn source(source: &Source) -> Value {
    json!({
        "filename": source.name(),
        "data": STANDARD.encode(source.text()),
        "language": "Dockerfile",
    })
}

fn warnings(checked: &Checked) -> Vec<Value> {
    checked.report.findings.iter().map(|finding| warning(finding, &checked.source)).collect()
}

/// `location` is BuildKit's, a range for each line of the instruction; `span` is the very word, lines and columns counted
/// from one, its end behind it.
fn warning(finding: &Finding, source: &Source) -> Value {
    json!({
        "ruleName": finding.rule.name(),
        "description": finding.rule.description(),
        "url": finding.rule.url(),
        "detail": finding.detail,
        "location": { "ranges": ranges(finding.lines(source)) },
        "span": { "start": position(source, finding.span.start), "end": position(source, finding.span.end) },
        "help": finding.rule.help(),
    })
}

fn ranges(lines: impl Iterator<Item = usize>) -> Vec<Value> {
    lines.map(|line| json!({ "start": { "line": line }, "end": { "line": line } })).collect()
}

fn position(source: &Source, offset: u32) -> Value {
    let position = source.position(offset);
    json!({ "line": position.line, "column": position.column })
}

fn build_error(mistake: &Mistake) -> Value {
    let mut location = json!({});
    if let Some(places) = &mistake.places
        && let Some(first) = places.list.first()
    {
        let Span { start, end } = first.span;
        let line = |offset| places.source.position(offset).line;
        location["ranges"] = ranges(line(start)..=line(end.saturating_sub(1).max(start))).into();
    }
    json!({ "message": mistake.message, "location": location })
}
