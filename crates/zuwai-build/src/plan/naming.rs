//! What the names of FROM, `COPY --from` and `from=` of a mount mean.

use zuwai_dockerfile::ast::CopyInstruction;
use zuwai_dockerfile::{Diagnostic, Dockerfile, Expander, Instruction, InstructionKind, Word};
use zuwai_oci::platform::Platform;
use zuwai_oci::reference::Reference;

use super::ImageKey;
use super::globals::Globals;
use super::planner::Inputs;
use super::stage::expansion_error;
use crate::error::BuildError;

/// The base and the tree that have nothing in them.
const SCRATCH: &str = "scratch";

/// A FROM line with its variables replaced.
pub(super) struct From {
    pub(super) name: String,
    pub(super) base: FromBase,
    pub(super) platform: Platform,
}

pub(super) enum FromBase {
    Scratch,
    Stage(usize),
    Image(Box<ImageKey>),
}

pub(super) fn resolve_from(
    dockerfile: &Dockerfile,
    number: usize,
    globals: &Globals,
    inputs: &Inputs,
) -> Result<From, BuildError> {
    let from = &dockerfile.stages[number].from;
    let expander = Expander::new(dockerfile.directives.escape);
    let wrong = |diagnostic: Diagnostic| BuildError::from(diagnostic.in_source(&dockerfile.source));
    let expand = |word: &Word| {
        expander.word(&word.text, globals).map_err(|error| wrong(expansion_error(word.span, &error)))
    };
    let platform = match &from.platform {
        None => inputs.platform.clone(),
        Some(word) => {
            let text = expand(word)?;
            Platform::parse(&text).map_err(|error| {
                wrong(
                    Diagnostic::error(word.span, format!("failed to parse platform {text:?}: {error}"))
                        .with_help("a platform is OS/ARCHITECTURE[/VARIANT], for instance linux/arm64"),
                )
            })?
        }
    };
    let name = expand(&from.image)?;
    if name.is_empty() {
        return Err(wrong(
            Diagnostic::error(
                from.image.span,
                format!("base name ({}) should not be blank", from.image.text),
            )
            .with_help("give the argument a default before the first FROM, or a value with --build-arg"),
        ));
    }
    let base = if let Some(stage) = dockerfile.stage_named(&name, number) {
        FromBase::Stage(stage.index)
    } else if name == SCRATCH {
        FromBase::Scratch
    } else {
        let reference = Reference::parse(&name).map_err(|error| {
            wrong(Diagnostic::error(from.image.span, format!("failed to parse stage name {name:?}: {error}")))
        })?;
        FromBase::Image(Box::new(ImageKey { reference, platform: platform.clone() }))
    };
    Ok(From { name, base, platform })
}

/// What `COPY --from` and `from=` of a mount name.
pub(super) enum Named {
    Stage(usize),
    Image(Box<ImageKey>),
    Scratch,
}

/// What `COPY --from` means in a stage: an earlier stage by name or number, else an image.
pub(super) fn copy_source(
    dockerfile: &Dockerfile,
    from: &Word,
    user: usize,
    inputs: &Inputs,
) -> Result<Named, Diagnostic> {
    match dockerfile.copy_source(from, user)? {
        Some(stage) => Ok(Named::Stage(stage.index)),
        None => image(from, inputs),
    }
}

/// What `from=` of a mount means in a stage: an earlier stage by name, else an image.
pub(super) fn mount_source(
    dockerfile: &Dockerfile,
    from: &Word,
    user: usize,
    inputs: &Inputs,
) -> Result<Named, Diagnostic> {
    match dockerfile.mount_source(from, user)? {
        Some(stage) => Ok(Named::Stage(stage.index)),
        None => image(from, inputs),
    }
}

fn image(from: &Word, inputs: &Inputs) -> Result<Named, Diagnostic> {
    if from.text == SCRATCH {
        return Ok(Named::Scratch);
    }
    let reference = Reference::parse(&from.text).map_err(|error| {
        Diagnostic::error(from.span, format!("{:?} is neither a stage nor an image: {error}", from.text))
    })?;
    Ok(Named::Image(Box::new(ImageKey { reference, platform: inputs.platform.clone() })))
}

/// Every tree that an instruction names, with the word that names it: `COPY --from`, and `from=` of RUN's mounts.
pub(super) fn sources(
    dockerfile: &Dockerfile,
    instruction: &Instruction,
    user: usize,
    inputs: &Inputs,
) -> Result<Vec<(Word, Named)>, Diagnostic> {
    match &instruction.kind {
        InstructionKind::Copy(CopyInstruction { from: Some(from), .. }) => {
            Ok(vec![(from.clone(), copy_source(dockerfile, from, user, inputs)?)])
        }
        InstructionKind::Run(run) => {
            let named = run.mounts.iter().filter_map(|mount| mount.from());
            named.map(|from| Ok((from.clone(), mount_source(dockerfile, from, user, inputs)?))).collect()
        }
        _ => Ok(Vec::new()),
    }
}
