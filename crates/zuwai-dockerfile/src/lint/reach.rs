//! Which stages are looked at instruction by instruction.

use super::Inputs;
use super::from::{Base, FromLine};
use crate::ast::{Dockerfile, InstructionKind};
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// For each stage whether the target needs it; all, where no target is asked for and all are wanted.
pub(super) fn stages(
    dockerfile: &Dockerfile,
    inputs: &Inputs<'_>,
    lines: &[FromLine],
) -> Result<Vec<bool>, Diagnostic> {
    let count = dockerfile.stages.len();
    let mut needed = vec![false; count];
    let mut open = match inputs.target {
        None if inputs.all_stages => (0..count).collect(),
        None => vec![count.saturating_sub(1)],
        Some(target) => vec![
            dockerfile.stage(target).map(|stage| stage.index).ok_or_else(|| unknown(dockerfile, target))?,
        ],
    };
    while let Some(number) = open.pop() {
        if std::mem::replace(&mut needed[number], true) {
            continue;
        }
        if let Base::Stage(base) = lines[number].base {
            open.push(base);
        }
        open.extend(sources(dockerfile, number)?);
    }
    Ok(needed)
}

fn unknown(dockerfile: &Dockerfile, target: &str) -> Diagnostic {
    let mut message = format!("target stage {target:?} could not be found");
    if let Some(near) = dockerfile.stage_suggestion(target) {
        message += &format!(" (did you mean {near}?)");
    }
    Diagnostic::error(Span::default(), message)
}

/// The stages that a stage copies from or mounts.
fn sources(dockerfile: &Dockerfile, user: usize) -> Result<Vec<usize>, Diagnostic> {
    let mut found = Vec::new();
    for instruction in &dockerfile.stages[user].instructions {
        match &instruction.kind {
            InstructionKind::Copy(copy) => {
                if let Some(from) = &copy.from {
                    found.extend(dockerfile.copy_source(from, user)?.map(|stage| stage.index));
                }
            }
            InstructionKind::Run(run) => {
                for from in run.mounts.iter().filter_map(|mount| mount.from()) {
                    found.extend(dockerfile.mount_source(from, user)?.map(|stage| stage.index));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}
