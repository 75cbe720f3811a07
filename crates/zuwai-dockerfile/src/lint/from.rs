//! FROM lines of all stages, with the arguments from before the first one.

use std::collections::{BTreeMap, BTreeSet};

use super::variables::{SUGGESTIONS, place_of, undefined_suggestion};
use super::{Inputs, Linter, Rule};
use crate::ast::{Dockerfile, StageFrom, Word};
use crate::diagnostic::Diagnostic;
use crate::expand::{Expander, Expansion};
use crate::predefined::PLATFORM_ARGS;
use crate::redact::name_without_password;

/// The base that has nothing in it.
const SCRATCH: &str = "scratch";

/// What a FROM line is about.
pub(super) struct FromLine {
    /// The name with its variables replaced.
    pub name: String,
    pub base: Base,
}

pub(super) enum Base {
    Scratch,
    Stage(usize),
    Image,
}

type Arguments = BTreeMap<String, String>;

/// Checks FROM lines; gives what each is about.
pub(super) fn check(
    dockerfile: &Dockerfile,
    inputs: &Inputs<'_>,
    linter: &mut Linter<'_>,
) -> Result<Vec<FromLine>, Diagnostic> {
    let expander = Expander::new(dockerfile.directives.escape);
    let predefined = predefined(dockerfile, inputs);
    if let Ok(defaults) = arguments(dockerfile, &expander, &predefined, &BTreeMap::new()) {
        defaults_give_images(dockerfile, &expander, &defaults, inputs, linter);
    }
    let values = arguments(dockerfile, &expander, &predefined, &inputs.build_args)?;
    let declared = dockerfile.meta_args.iter().flat_map(|arg| &arg.arg.args).map(|arg| arg.key.text.as_str());
    let names: Vec<&str> = PLATFORM_ARGS.into_iter().chain(declared).collect();
    let known = names.iter().copied().collect();
    let mut lines = Lines { dockerfile, inputs, expander, values, names, known, suggestions: SUGGESTIONS };
    dockerfile.stages.iter().map(|stage| lines.check(&stage.from, stage.index, linter)).collect()
}

/// The values that stages inherit by declaring a name.
pub(super) fn inherited(dockerfile: &Dockerfile, inputs: &Inputs<'_>) -> Result<Arguments, Diagnostic> {
    let expander = Expander::new(dockerfile.directives.escape);
    arguments(dockerfile, &expander, &predefined(dockerfile, inputs), &inputs.build_args)
}

fn predefined(dockerfile: &Dockerfile, inputs: &Inputs<'_>) -> Arguments {
    let last = dockerfile.stages.last().and_then(|stage| stage.from.name.as_ref());
    let stage = inputs.target.or(last.map(|name| name.text.as_str())).unwrap_or("default");
    let value = |name: &str| match name {
        "TARGETSTAGE" => stage.to_owned(),
        name if name.ends_with("PLATFORM") => "linux/amd64".to_owned(),
        name if name.ends_with("OS") => "linux".to_owned(),
        name if name.ends_with("ARCH") => "amd64".to_owned(),
        _ => String::new(),
    };
    let known = |name: &str| inputs.build_args.get(name).or_else(|| inputs.platform_args.get(name)).cloned();
    PLATFORM_ARGS
        .into_iter()
        .map(|name| (name.to_owned(), known(name).unwrap_or_else(|| value(name))))
        .collect()
}

/// The platform arguments and those before the first FROM that have a value.
fn arguments(
    dockerfile: &Dockerfile,
    expander: &Expander,
    predefined: &Arguments,
    given: &Arguments,
) -> Result<Arguments, Diagnostic> {
    let mut values = predefined.clone();
    for arg in dockerfile.meta_args.iter().flat_map(|arg| &arg.arg.args) {
        let value = match (given.get(&arg.key.text), &arg.default) {
            (Some(given), _) => given.clone(),
            (None, Some(default)) => expand(expander, default, &values)?.text,
            (None, None) => continue,
        };
        values.insert(arg.key.text.clone(), value);
    }
    Ok(values)
}

fn expand(expander: &Expander, word: &Word, values: &Arguments) -> Result<Expansion, Diagnostic> {
    expander.expand(&word.text, values).map_err(|error| Diagnostic::error(word.span, error.to_string()))
}

/// Also without any build argument FROM names an image.
fn defaults_give_images(
    dockerfile: &Dockerfile,
    expander: &Expander,
    defaults: &Arguments,
    inputs: &Inputs<'_>,
    linter: &mut Linter<'_>,
) {
    for from in dockerfile.stages.iter().map(|stage| &stage.from) {
        // A mistake in a word is found again, and said, where the values count.
        let Ok(name) = expand(expander, &from.image, defaults) else { return };
        if name.text.is_empty() || !(inputs.is_image_name)(&name.text) {
            let written = name_without_password(&from.image.text);
            let detail =
                format!("Default value for ARG {written} results in empty or invalid base image name");
            linter.found(Rule::InvalidDefaultArgInFrom, from.image.span, from.span, detail);
        }
    }
}

struct Lines<'a> {
    dockerfile: &'a Dockerfile,
    inputs: &'a Inputs<'a>,
    expander: Expander,
    values: Arguments,
    /// Every argument that is declared, with a value or without, in order.
    names: Vec<&'a str>,
    known: BTreeSet<&'a str>,
    /// How many suggestions are still looked for.
    suggestions: usize,
}

impl Lines<'_> {
    fn check(
        &mut self,
        from: &StageFrom,
        number: usize,
        linter: &mut Linter<'_>,
    ) -> Result<FromLine, Diagnostic> {
        let image = expand(&self.expander, &from.image, &self.values)?;
        self.undefined(&image.unset, &from.image, from, linter);
        if image.text.is_empty() {
            let message = format!("base name ({}) should not be blank", from.image.text);
            let help = "give the argument a default before the first FROM, or a value with --build-arg";
            return Err(Diagnostic::error(from.image.span, message).with_help(help));
        }
        if let Some(word) = &from.platform {
            let platform = expand(&self.expander, word, &self.values)?;
            self.undefined(&platform.unset, word, from, linter);
            self.redundant_platform(&platform, word, from, linter);
            self.constant_platform(&platform, word, from, linter);
        }
        let base = match self.dockerfile.stage_named(&image.text, number) {
            Some(stage) => Base::Stage(stage.index),
            None if image.text == SCRATCH => Base::Scratch,
            None if (self.inputs.is_image_name)(&image.text) => Base::Image,
            None => {
                let message =
                    format!("failed to parse stage name {:?}: invalid reference format", image.text);
                return Err(Diagnostic::error(from.image.span, message));
            }
        };
        Ok(FromLine { name: image.text, base })
    }

    fn undefined(
        &mut self,
        unset: &BTreeSet<String>,
        word: &Word,
        from: &StageFrom,
        linter: &mut Linter<'_>,
    ) {
        for name in unset.iter().filter(|name| !self.known.contains(name.as_str())) {
            let mut detail = format!("FROM argument '{name}' is not declared");
            self.suggestions = self.suggestions.saturating_sub(1);
            let names = self.names.iter().copied().filter(|_| self.suggestions > 0);
            if let Some(near) = undefined_suggestion(name, names) {
                detail += &format!(" (did you mean {near}?)");
            }
            let span = place_of(name, word.span, &self.dockerfile.source, self.expander.escape());
            linter.found(Rule::UndefinedArgInFrom, span, from.span, detail);
        }
    }

    /// `$TARGETPLATFORM` and nothing else, which is what a stage is built for anyway.
    fn redundant_platform(
        &self,
        platform: &Expansion,
        word: &Word,
        from: &StageFrom,
        linter: &mut Linter<'_>,
    ) {
        let name = "TARGETPLATFORM";
        let alone = platform.used.len() == 1 && platform.unset.is_empty() && platform.used.contains(name);
        if alone && self.values.get(name) == Some(&platform.text) {
            let detail = format!(
                "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                word.text
            );
            linter.found(Rule::RedundantTargetPlatform, word.span, from.span, detail);
        }
    }

    /// A platform without variables; it is meant where the stage's name says which platform it is for.
    fn constant_platform(
        &self,
        platform: &Expansion,
        word: &Word,
        from: &StageFrom,
        linter: &mut Linter<'_>,
    ) {
        if !platform.used.is_empty() || !platform.unset.is_empty() {
            return;
        }
        let Some((os, architecture)) = (self.inputs.platform_parts)(&platform.text) else { return };
        let name = from.name.as_ref().map_or("", |name| name.text.as_str());
        if !name.contains(&os) && !name.contains(&architecture) {
            let detail = format!("FROM --platform flag should not use constant value {:?}", platform.text);
            linter.found(Rule::FromPlatformFlagConstDisallowed, word.span, from.span, detail);
        }
    }
}
