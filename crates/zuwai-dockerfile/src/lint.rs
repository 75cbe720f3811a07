//! Warnings that the language alone decides, under the names and in the words of BuildKit's checks.

use std::collections::BTreeSet;

use crate::ast::{CommandLine, Instruction, InstructionKind, Stage};
use crate::diagnostic::{Diagnostic, Severity};
use crate::instruction::Parsed;
use crate::line::LogicalLine;
use crate::source::Source;

/// What is worth a warning in one instruction.
pub(crate) fn instruction(line: &LogicalLine, parsed: &Parsed, warnings: &mut Vec<Diagnostic>) {
    if let Some(blank) = line.blank.first() {
        warnings.push(
            Diagnostic::warning("NoEmptyContinuation", *blank, "Empty continuation line")
                .with_help("remove the blank line"),
        );
    }
    let Parsed::Instruction(instruction) = parsed else { return };
    match &instruction.kind {
        InstructionKind::Maintainer(_) => warnings.push(
            Diagnostic::warning(
                "MaintainerDeprecated",
                instruction.keyword_span,
                "Maintainer instruction is deprecated in favor of using label",
            )
            .with_help("write LABEL org.opencontainers.image.authors=\"...\""),
        ),
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
            if let Some(pair) = pairs.iter().find(|pair| pair.legacy) {
                let keyword = instruction.kind.keyword();
                let message = format!(
                    "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
                );
                warnings.push(Diagnostic::warning(
                    "LegacyKeyValueFormat",
                    pair.key.span.to(pair.value.span),
                    message,
                ));
            }
        }
        _ => {}
    }
}

/// What is worth a warning in the stages as a whole.
pub(crate) fn stages(source: &Source, stages: &[Stage], warnings: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    for stage in stages {
        if let Some(name) = &stage.from.name {
            if ["context", "scratch"].contains(&name.text.as_str()) {
                warnings.push(Diagnostic::warning(
                    "ReservedStageName",
                    name.span,
                    format!("Stage name should not use the same name as reserved stage {:?}", name.text),
                ));
            }
            if !seen.insert(name.text.as_str()) {
                warnings.push(
                    Diagnostic::warning(
                        "DuplicateStageName",
                        name.span,
                        format!("Duplicate stage name {:?}, stage names should be unique", name.text),
                    )
                    .with_help("the later stage hides the earlier one"),
                );
            }
            if source.slice(name.span) != name.text {
                let written = source.slice(name.span);
                let message = format!("Stage name '{written}' should be lowercase");
                warnings.push(Diagnostic::warning("StageNameCasing", name.span, message));
            }
        }
        repeated(&stage.instructions, warnings);
    }
}

/// Several CMD, ENTRYPOINT or HEALTHCHECK in a stage: only the last one counts.
fn repeated(instructions: &[Instruction], warnings: &mut Vec<Diagnostic>) {
    let mut last: [Option<&Instruction>; 3] = [None; 3];
    for instruction in instructions {
        let slot = match &instruction.kind {
            InstructionKind::Cmd(_) => 0,
            InstructionKind::Entrypoint(_) => 1,
            InstructionKind::Healthcheck(_) => 2,
            _ => continue,
        };
        if let Some(earlier) = last[slot].replace(instruction) {
            let keyword = earlier.kind.keyword();
            warnings.push(Diagnostic::warning(
                "MultipleInstructionsDisallowed",
                earlier.keyword_span,
                format!(
                    "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
                ),
            ));
        }
    }
    for (instruction, keyword) in last[..2].iter().flatten().map(|found| (found, found.kind.keyword())) {
        let (InstructionKind::Cmd(command) | InstructionKind::Entrypoint(command)) = &instruction.kind else {
            continue;
        };
        // With a SHELL of its own the shell form is meant.
        let shell = instructions.iter().any(|other| matches!(other.kind, InstructionKind::Shell(_)));
        if matches!(command, CommandLine::Shell(_)) && !shell {
            warnings.push(Diagnostic::warning(
                "JSONArgsRecommended",
                instruction.keyword_span,
                format!(
                    "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
                ),
            ));
        }
    }
}

/// Warnings as the errors that `# check=error=true` makes of them.
pub(crate) fn as_errors(warnings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    warnings
        .into_iter()
        .map(|warning| {
            let rule = warning.rule.unwrap_or("check");
            let message = format!("lint violation found for rules: {rule}: {}", warning.message);
            let help = "the Dockerfile asks for it with `# check=error=true`; add skip= to leave a rule out";
            Diagnostic { severity: Severity::Error, message, ..warning }.with_help(help)
        })
        .collect()
}
