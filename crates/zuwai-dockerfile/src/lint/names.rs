//! Names of stages: each once, and none that means something else.

use std::collections::BTreeSet;

use super::{Linter, Rule};
use crate::ast::Dockerfile;

/// Names that FROM and `--from` understand as something else than a stage.
const RESERVED: [&str; 2] = ["context", "scratch"];

pub(super) fn check(dockerfile: &Dockerfile, linter: &mut Linter<'_>) {
    let mut seen = BTreeSet::new();
    for from in dockerfile.stages.iter().map(|stage| &stage.from) {
        let Some(name) = &from.name else { continue };
        if RESERVED.contains(&name.text.as_str()) {
            let detail = format!("Stage name should not use the same name as reserved stage {:?}", name.text);
            linter.found(Rule::ReservedStageName, name.span, from.span, detail);
        }
        if !seen.insert(&name.text) {
            let detail = format!("Duplicate stage name {:?}, stage names should be unique", name.text);
            linter.found(Rule::DuplicateStageName, name.span, from.span, detail);
        }
    }
}
