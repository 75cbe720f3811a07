//! CMD, ENTRYPOINT and HEALTHCHECK: one of each in a stage, and not as text for a shell that nobody named.

use super::casing::keyword_as_written;
use super::{Linter, Rule};
use crate::ast::{CommandLine, Instruction, InstructionKind};

/// The last CMD, ENTRYPOINT and HEALTHCHECK of a stage so far.
#[derive(Default)]
pub(super) struct Commands<'a> {
    command: Option<&'a Instruction>,
    entrypoint: Option<&'a Instruction>,
    healthcheck: Option<&'a Instruction>,
}

impl<'a> Commands<'a> {
    /// Looks at an instruction of a stage in which a SHELL is in force, or not.
    pub fn check(&mut self, instruction: &'a Instruction, has_shell: bool, linter: &mut Linter<'_>) {
        let (slot, line) = match &instruction.kind {
            InstructionKind::Cmd(line) => (&mut self.command, Some(line)),
            InstructionKind::Entrypoint(line) => (&mut self.entrypoint, Some(line)),
            InstructionKind::Healthcheck(_) => (&mut self.healthcheck, None),
            _ => return,
        };
        let keyword = keyword_as_written(instruction);
        if let Some(earlier) = slot.replace(instruction) {
            let detail = format!(
                "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
            );
            let rule = Rule::MultipleInstructionsDisallowed;
            linter.found(rule, earlier.keyword_span, earlier.span, detail);
        }
        if matches!(line, Some(CommandLine::Shell(_))) && !has_shell {
            let detail = format!(
                "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
            );
            linter.found(Rule::JsonArgsRecommended, instruction.keyword_span, instruction.span, detail);
        }
    }
}
