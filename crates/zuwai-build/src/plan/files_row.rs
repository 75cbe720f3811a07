//! The row of history for files that no instruction accounts for: those of a named context that FROM names.

use zuwai_oci::config::History;

use super::planner::Inputs;
use super::{Action, Base, StagePlan, Step};

/// The comment of a row that BuildKit's exporter adds.
const COMMENT: &str = "buildkit.exporter.image.v0";

/// The row that the target's history lacks, if its lowest layer is a context's files. BuildKit's exporter counts rows
/// and layers, and gives the rows that are missing to the topmost layers: so this one is last, and says what made the
/// last layer. `count` is the number of stages in the Dockerfile. With a single snapshot the files are part of the layer
/// of the stage's steps, if these make one.
pub(super) fn missing_row(stages: &[StagePlan], count: usize, inputs: &Inputs) -> Option<History> {
    let target = stages.last()?;
    let (stage, context) = context_below(stages, target)?;
    if inputs.single_snapshot && stage.steps.iter().any(|step| step.action.makes_layer()) {
        return None;
    }
    Some(History {
        created: Some(inputs.created.clone()),
        created_by: last_layer(stages, target, count)
            .unwrap_or_else(|| format!("local source for {context}")),
        comment: COMMENT.to_owned(),
        ..History::default()
    })
}

/// The context whose files are the lowest layer, and the stage that begins with it.
fn context_below<'a>(stages: &'a [StagePlan], stage: &'a StagePlan) -> Option<(&'a StagePlan, &'a str)> {
    match &stage.base {
        Base::Directory(name) => Some((stage, name)),
        Base::Stage(below) => context_below(stages, stages.get(*below)?),
        Base::Scratch | Base::Image(_) => None,
    }
}

/// What made the last layer that a step made, in the words of BuildKit's progress.
fn last_layer(stages: &[StagePlan], stage: &StagePlan, count: usize) -> Option<String> {
    match (stage.steps.iter().rposition(|step| step.action.makes_layer()), &stage.base) {
        (Some(position), _) => Some(words(stage, position, count)),
        (None, Base::Stage(below)) => last_layer(stages, stages.get(*below)?, count),
        (None, _) => None,
    }
}

fn words(stage: &StagePlan, position: usize, count: usize) -> String {
    let step = &stage.steps[position];
    if let Action::Run(run) = &step.action {
        return format!("mount / from exec {}", run.argv.join(" "));
    }
    let made = |steps: &[Step]| steps.iter().filter(|step| step.action.makes_layer()).count();
    // FROM counts among a stage's steps, but is not shown for a context's files.
    let total = made(&stage.steps) + usize::from(!matches!(stage.base, Base::Stage(_)));
    let index = made(&stage.steps[..=position]);
    let width = total.to_string().len();
    let name = match &stage.name {
        Some(name) => format!("{} ", name.to_lowercase()),
        None if count > 1 => format!("stage-{} ", stage.number),
        None => String::new(),
    };
    let (keyword, rest) = step.text.split_once(char::is_whitespace).unwrap_or((&step.text, ""));
    format!("[{name}{index:>width$}/{total}] {} {rest}", keyword.to_uppercase())
}
