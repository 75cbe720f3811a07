//! What the names of FROM, `COPY --from` and `from=` of a mount mean.

use zuwai_dockerfile::ast::CopyInstruction;
use zuwai_dockerfile::{Diagnostic, Dockerfile, Expander, Instruction, InstructionKind, Word};
use zuwai_oci::platform::Platform;
use zuwai_oci::reference::{Reference, without_user};

use super::globals::Globals;
use super::planner::Inputs;
use super::stage::expansion_error;
use super::{ImageKey, ImageSource};
use crate::error::BuildError;
use crate::named_context::NamedContext;

/// The base and the tree that have nothing in them.
const SCRATCH: &str = "scratch";

/// A FROM line with its variables replaced.
pub(super) struct From {
    pub(super) name: String,
    pub(super) base: FromBase,
    pub(super) platform: Platform,
    /// A named context stands in the stage's place: its instructions are not run, nor are its base's triggers.
    pub(super) is_replaced: bool,
}

pub(super) enum FromBase {
    Scratch,
    Stage(usize),
    Image(Box<ImageKey>),
    Directory(String),
}

/// What a FROM line means: an earlier stage by name, else a named context, else an image; and for a stage that has a
/// named context's own name, that context.
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
        // A replaced stage must have the name of an image all the same.
        let reference = Reference::parse(&name).map_err(|error| {
            let name = without_user(&name);
            wrong(Diagnostic::error(from.image.span, format!("failed to parse stage name {name:?}: {error}")))
        })?;
        match inputs.contexts.find(&name) {
            Some(context) => of_context(context, &platform),
            None => {
                let source = ImageSource::Registry(reference);
                FromBase::Image(Box::new(ImageKey { source, platform: platform.clone() }))
            }
        }
    };
    Ok(match replacement(dockerfile, number, inputs) {
        Some(context) => {
            let base = of_context(context, &platform);
            From { name: context.0.to_owned(), base, platform, is_replaced: true }
        }
        None => From { name, base, platform, is_replaced: false },
    })
}

/// The named context that has a stage's own name.
fn replacement<'a>(
    dockerfile: &Dockerfile,
    number: usize,
    inputs: &'a Inputs,
) -> Option<(&'a str, &'a NamedContext)> {
    let name = dockerfile.stages.get(number)?.from.name.as_ref()?;
    inputs.contexts.find(&name.text.to_lowercase())
}

fn of_context((name, context): (&str, &NamedContext), platform: &Platform) -> FromBase {
    match context {
        NamedContext::Directory(_) | NamedContext::Remote(_) => FromBase::Directory(name.to_owned()),
        NamedContext::Image(source) => {
            let (source, platform) = (ImageSource::clone(source), platform.clone());
            FromBase::Image(Box::new(ImageKey { source, platform }))
        }
        NamedContext::Scratch => FromBase::Scratch,
    }
}

/// What `COPY --from` and `from=` of a mount name.
pub(super) enum Named {
    Stage(usize),
    Image(Box<ImageKey>),
    /// The files of the named context with this name.
    Directory(String),
    Scratch,
}

/// What `COPY --from` means in a stage: an earlier stage by name or number, else a named context, else an image.
pub(super) fn copy_source(
    dockerfile: &Dockerfile,
    from: &Word,
    user: usize,
    inputs: &Inputs,
) -> Result<Named, Diagnostic> {
    match dockerfile.copy_source(from, user)? {
        Some(stage) => Ok(stage_or_files(dockerfile, stage.index, inputs)),
        None => context_or_image(from, inputs),
    }
}

/// What `from=` of a mount means in a stage: an earlier stage by name, else a named context, else an image.
pub(super) fn mount_source(
    dockerfile: &Dockerfile,
    from: &Word,
    user: usize,
    inputs: &Inputs,
) -> Result<Named, Diagnostic> {
    match dockerfile.mount_source(from, user)? {
        Some(stage) => Ok(stage_or_files(dockerfile, stage.index, inputs)),
        None => context_or_image(from, inputs),
    }
}

/// A stage, or the files that a named context has put in its place: those can be read where they are.
fn stage_or_files(dockerfile: &Dockerfile, number: usize, inputs: &Inputs) -> Named {
    match replacement(dockerfile, number, inputs) {
        Some((name, NamedContext::Directory(_) | NamedContext::Remote(_))) => {
            Named::Directory(name.to_owned())
        }
        _ => Named::Stage(number),
    }
}

fn context_or_image(from: &Word, inputs: &Inputs) -> Result<Named, Diagnostic> {
    if from.text == SCRATCH {
        return Ok(Named::Scratch);
    }
    if let Some(context) = inputs.contexts.find(&from.text) {
        return Ok(match of_context(context, &inputs.platform) {
            FromBase::Directory(name) => Named::Directory(name),
            FromBase::Image(image) => Named::Image(image),
            FromBase::Stage(number) => Named::Stage(number),
            FromBase::Scratch => Named::Scratch,
        });
    }
    let reference = Reference::parse(&from.text).map_err(|error| {
        let name = without_user(&from.text);
        Diagnostic::error(from.span, format!("{name:?} is neither a stage nor an image: {error}"))
    })?;
    let source = ImageSource::Registry(reference);
    Ok(Named::Image(Box::new(ImageKey { source, platform: inputs.platform.clone() })))
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
