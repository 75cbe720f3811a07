//! Finding stages, as FROM, COPY --from, RUN --mount from and `--target` name them.

use std::collections::BTreeMap;

use crate::ast::{Dockerfile, InstructionKind, Stage, Word};
use crate::diagnostic::Diagnostic;
use crate::source::Span;

impl Dockerfile {
    /// The stage of that name, without case; of several the last one. `before` bounds the search to stages with a
    /// smaller number, as a FROM line sees them.
    pub fn stage_named(&self, name: &str, before: usize) -> Option<&Stage> {
        named(self.stages.get(..before).unwrap_or(&self.stages), name)
    }

    /// The stage that `COPY --from` means in the stage with the number `user`, if it means a stage: by name, else by
    /// number.
    ///
    /// # Errors
    /// For a number no stage has, and for a stage that is not before the one that uses it.
    pub fn copy_source(&self, from: &Word, user: usize) -> Result<Option<&Stage>, Diagnostic> {
        let found = self.stage(&from.text);
        match found {
            Some(stage) if stage.index > user => Err(Diagnostic::error(
                from.span,
                format!(
                    "cannot copy from stage {:?}, it needs to be defined before current stage {:?}",
                    from.text,
                    display_name(&self.stages[user])
                ),
            )
            .with_help("move the stage up")),
            Some(stage) if stage.index == user => Err(circular(stage, from.span)),
            None if is_number(&from.text) => Err(invalid_index(from, self.stages.len())),
            found => Ok(found),
        }
    }

    /// The stage that `from=` of a RUN mount means in the stage with the number `user`, if it means a stage. Mounts know
    /// names only, no numbers.
    ///
    /// # Errors
    /// For a stage that is not before the one that uses it.
    pub fn mount_source(&self, from: &Word, user: usize) -> Result<Option<&Stage>, Diagnostic> {
        match self.stage_named(&from.text, self.stages.len()) {
            Some(stage) if stage.index > user => Err(Diagnostic::error(
                from.span,
                format!(
                    "cannot mount from stage {:?}, stage needs to be defined before current command",
                    from.text
                ),
            )
            .with_help("move the stage up")),
            Some(stage) if stage.index == user => Err(circular(stage, from.span)),
            found => Ok(found),
        }
    }

    /// The stage that COPY --from or `--target` mean: by name, else by number.
    pub fn stage(&self, name_or_number: &str) -> Option<&Stage> {
        self.stage_named(name_or_number, self.stages.len()).or_else(|| {
            let number: usize = name_or_number.parse().ok()?; // takes "+0" and "00" as BuildKit does
            self.stages.get(number)
        })
    }

    /// The names of all stages that have one, in order: what to suggest where a name is unknown.
    pub fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| stage.from.name.as_ref()).map(|word| word.text.as_str())
    }

    /// The stage whose name is nearest to one that is not there.
    pub fn stage_suggestion(&self, name: &str) -> Option<&str> {
        let names: Vec<&str> = self.stage_names().collect();
        crate::suggest::nearest(name, &names)
    }
}

fn named<'a>(stages: &'a [Stage], name: &str) -> Option<&'a Stage> {
    let name = name.to_lowercase();
    stages.iter().rev().find(|stage| stage.from.name.as_ref().is_some_and(|word| word.text == name))
}

fn is_number(text: &str) -> bool {
    text.parse::<i64>().is_ok()
}

/// A stage's name, or what BuildKit calls one without a name.
fn display_name(stage: &Stage) -> String {
    match &stage.from.name {
        Some(name) => name.text.clone(),
        None => format!("stage-{}", stage.index),
    }
}

fn circular(stage: &Stage, span: Span) -> Diagnostic {
    let message = format!("circular dependency detected on stage: {}", display_name(stage));
    Diagnostic::error(span, message).with_help("a stage can use only stages before it")
}

fn invalid_index(from: &Word, count: usize) -> Diagnostic {
    let help = match count {
        1 => "there is one stage, number 0".to_owned(),
        count => format!("there are {count} stages, numbers 0 to {}", count - 1),
    };
    Diagnostic::error(from.span, format!("invalid stage index {}", from.text)).with_help(help)
}

/// What is wrong with `--from` in any stage, whether it is built or not: numbers that no stage has, and stages that use
/// themselves. (A stage that comes later is an error only when the stage that uses it is built.)
pub(crate) fn wrong_sources(stages: &[Stage]) -> Vec<Diagnostic> {
    // Later stages overwrite earlier ones of the same name, as they hide them.
    let names: BTreeMap<&str, usize> = stages
        .iter()
        .filter_map(|stage| stage.from.name.as_ref().map(|name| (name.text.as_str(), stage.index)))
        .collect();
    let by_name = |from: &Word| names.get(from.text.to_lowercase().as_str()).copied();
    let mut wrong = Vec::new();
    for stage in stages {
        for instruction in &stage.instructions {
            match &instruction.kind {
                InstructionKind::Copy(copy) => {
                    let Some(from) = &copy.from else { continue };
                    let number = from.text.parse::<i64>().ok();
                    match by_name(from).or_else(|| number.and_then(|number| usize::try_from(number).ok())) {
                        Some(index) if index == stage.index => wrong.push(circular(stage, from.span)),
                        Some(index) if index < stages.len() => {}
                        _ => wrong.extend(number.map(|_| invalid_index(from, stages.len()))),
                    }
                }
                InstructionKind::Run(run) => {
                    let from = run.mounts.iter().filter_map(|mount| mount.from());
                    let circular = from
                        .filter(|from| by_name(from) == Some(stage.index))
                        .map(|from| circular(stage, from.span));
                    wrong.extend(circular);
                }
                _ => {}
            }
        }
    }
    wrong
}
