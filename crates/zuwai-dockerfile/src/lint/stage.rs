//! A stage's instructions, one after the other, as the build goes through them.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::commands::Commands;
use super::from::{self, Base, FromLine};
use super::scope::Scope;
use super::variables::{SUGGESTIONS, Words};
use super::{BaseImage, Inputs, Linter, Rule, expose, reach, secrets, transfer};
use crate::ast::{ArgInstruction, Dockerfile, Instruction, InstructionKind, KeyValue, Stage, Word};
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;

/// Goes through the stages that are looked at.
pub(super) fn check(
    dockerfile: &Dockerfile,
    inputs: &Inputs<'_>,
    lines: &[FromLine],
    linter: &mut Linter<'_>,
) -> Result<(), Diagnostic> {
    let needed = reach::stages(dockerfile, inputs, lines)?;
    let mut walk = Walk {
        dockerfile,
        inputs,
        expander: Expander::new(dockerfile.directives.escape),
        inherited: from::inherited(dockerfile, inputs)?,
        suggestions: SUGGESTIONS,
    };
    for (stage, line) in dockerfile.stages.iter().zip(lines).filter(|(stage, _)| needed[stage.index]) {
        walk.base_platform(stage, line, linter);
    }
    let mut ends: BTreeMap<usize, End> = BTreeMap::new();
    for stage in dockerfile.stages.iter().filter(|stage| needed[stage.index]) {
        let base = inputs.bases.get(&stage.index);
        let mut state = match (&lines[stage.index].base, base) {
            (Base::Scratch, _) => State::on_image(Some(&BaseImage::default())),
            (Base::Image, base) => State::on_image(base),
            // A stage comes after the one it is built on, so that one is done.
            (Base::Stage(below), _) => ends.get(below).map_or_else(|| State::on_image(None), State::on_stage),
        };
        let mut commands = Commands::default();
        for instruction in &stage.instructions {
            walk.instruction(instruction, &mut state, linter)?;
            commands.check(instruction, state.has_shell, linter);
        }
        ends.insert(stage.index, state.end());
    }
    Ok(())
}

/// What a stage's instructions change for those after them, in stages built on this one too.
struct State {
    scope: Scope,
    has_workdir: bool,
    has_shell: bool,
}

/// The same at the end of a stage.
struct End {
    scope: Rc<Scope>,
    has_workdir: bool,
    has_shell: bool,
}

impl State {
    fn on_image(base: Option<&BaseImage>) -> Self {
        let has_shell = base.is_some_and(|base| base.has_shell);
        Self { scope: Scope::on_image(base), has_workdir: false, has_shell }
    }

    fn on_stage(End { scope, has_workdir, has_shell }: &End) -> Self {
        Self { scope: Scope::on_stage(scope), has_workdir: *has_workdir, has_shell: *has_shell }
    }

    fn end(self) -> End {
        let Self { scope, has_workdir, has_shell } = self;
        End { scope: Rc::new(scope), has_workdir, has_shell }
    }
}

struct Walk<'a> {
    dockerfile: &'a Dockerfile,
    inputs: &'a Inputs<'a>,
    expander: Expander,
    /// Values for arguments that are declared without one.
    inherited: BTreeMap<String, String>,
    suggestions: usize,
}

impl Walk<'_> {
    fn base_platform(&self, stage: &Stage, line: &FromLine, linter: &mut Linter<'_>) {
        let base = self.inputs.bases.get(&stage.index);
        let Some(mismatch) = base.and_then(|base| base.platform_mismatch.as_ref()) else { return };
        let detail = format!(
            "Base image {} was pulled with platform {:?}, expected {:?} for current build",
            line.name, mismatch.found, mismatch.expected
        );
        let from = &stage.from;
        linter.found(Rule::InvalidBaseImagePlatform, from.image.span, from.span, detail);
    }

    fn instruction(
        &mut self,
        instruction: &Instruction,
        state: &mut State,
        linter: &mut Linter<'_>,
    ) -> Result<(), Diagnostic> {
        self.words(&state.scope).check(instruction, linter)?;
        if let InstructionKind::Arg(arg) = &instruction.kind {
            return self.arg(arg, instruction, &mut state.scope, linter);
        }
        let resolved = instruction.resolve(&self.expander, &state.scope)?;
        let span = instruction.span;
        match &resolved.kind {
            InstructionKind::Env(pairs) => {
                legacy(pairs, instruction, linter);
                for pair in pairs {
                    secrets::check("ENV", &pair.key.text, pair.key.span, span, linter);
                    state.scope.set(&pair.key.text, pair.value.text.clone());
                }
            }
            InstructionKind::Label(pairs) => legacy(pairs, instruction, linter),
            InstructionKind::Workdir(path) => {
                if !state.has_workdir && !path.text.starts_with('/') {
                    relative_workdir(path, instruction, linter);
                }
                state.has_workdir = true;
            }
            InstructionKind::Shell(_) => state.has_shell = true,
            InstructionKind::Expose(ports) => expose::check(ports, span, linter),
            InstructionKind::Add(add) => transfer::check("Add", &add.transfer, span, self.inputs, linter),
            InstructionKind::Copy(copy) if copy.from.is_none() => {
                transfer::check("Copy", &copy.transfer, span, self.inputs, linter);
            }
            _ => {}
        }
        Ok(())
    }

    fn words<'s>(&'s mut self, scope: &'s Scope) -> Words<'s> {
        Words {
            source: &self.dockerfile.source,
            expander: &self.expander,
            scope,
            suggestions: &mut self.suggestions,
        }
    }

    /// A default is only looked at where no value comes from outside; each argument sees those before it.
    fn arg(
        &mut self,
        arg: &ArgInstruction,
        instruction: &Instruction,
        scope: &mut Scope,
        linter: &mut Linter<'_>,
    ) -> Result<(), Diagnostic> {
        for one in &arg.args {
            let name = &one.key.text;
            secrets::check("ARG", name, one.key.span, instruction.span, linter);
            let value = match (self.inputs.build_args.get(name), &one.default) {
                (Some(given), _) => Some(given.clone()),
                (None, None) => self.inherited.get(name).cloned(),
                (None, Some(default)) => {
                    self.words(scope).word(default, instruction.span, linter)?;
                    let value = self.expander.word(&default.text, scope);
                    Some(value.map_err(|error| Diagnostic::error(default.span, error.to_string()))?)
                }
            };
            scope.declare(name, value);
        }
        Ok(())
    }
}

fn legacy(pairs: &[KeyValue], instruction: &Instruction, linter: &mut Linter<'_>) {
    let keyword = super::casing::keyword_as_written(instruction);
    for pair in pairs.iter().filter(|pair| pair.legacy) {
        let detail = format!(
            "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
        );
        let span = pair.key.span.to(pair.value.span);
        linter.found(Rule::LegacyKeyValueFormat, span, instruction.span, detail);
    }
}

fn relative_workdir(path: &Word, instruction: &Instruction, linter: &mut Linter<'_>) {
    let detail =
        format!("Relative workdir {:?} can have unexpected results if the base image changes", path.text);
    linter.found(Rule::WorkdirRelativePath, path.span, instruction.span, detail);
}
