//! COPY and ADD of what the ignore file leaves out of the context.

use super::{Inputs, Linter, Rule};
use crate::ast::{Transfer, TransferSource};
use crate::source::Span;

/// What ADD fetches from elsewhere begins so.
const ELSEWHERE: [&str; 5] = ["http://", "https://", "git://", "ssh://", "git@"];

/// `transfer` is one from the context, with its variables replaced. (BuildKit also reports the context itself where `*` is in the
/// ignore file, and does not find `./file`.)
pub(super) fn check(
    command: &str,
    transfer: &Transfer,
    instruction: Span,
    inputs: &Inputs<'_>,
    linter: &mut Linter<'_>,
) {
    let Some(is_ignored) = inputs.is_ignored else { return };
    for source in &transfer.sources {
        let TransferSource::Path(path) = source else { continue };
        if ELSEWHERE.iter().any(|start| path.text.starts_with(start)) {
            continue;
        }
        let clean = clean(&path.text);
        if !clean.is_empty() && is_ignored(&clean) {
            let detail =
                format!("Attempting to {command} file {:?} that is excluded by .dockerignore", path.text);
            linter.found(Rule::CopyIgnoredFile, path.span, instruction, detail);
        }
    }
}

/// A path as it is below the context; empty for the context itself.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_are_counted_from_the_context() {
        for (path, expected) in [("/a", "a"), ("./a//b/", "a/b"), (".", ""), ("a/../../b", "b"), ("g*", "g*")]
        {
            assert_eq!(super::clean(path), expected, "{path}");
        }
    }
}
