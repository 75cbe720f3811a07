//! `zuwai check`: a Dockerfile looked at by BuildKit's build checks, without a build and without the network. `zuwai build --check`
//! and `--call=check` do the same.

mod call;
mod json;
mod text;

use std::path::Path;

use zuwai_build::BuildError;
use zuwai_build::checks::{self, CheckRequest, Checked};
use zuwai_build::hint::RootDir;
use zuwai_dockerfile::{Diagnostic, Diagnostics, Span};
use zuwai_oci::platform::Platform;

pub use call::Call;
use call::Format;

use crate::environment::Environment;
use crate::error::ProgramError;
use crate::failure::Failure;
use crate::flag_value::Kind::{CommaList, List, Text, Word};
use crate::pflag::{self, Flag, Parsed, flag};
use crate::source;
use crate::usage::Command;
use crate::{pairs, terminal};

/// What `zuwai check --help` says.
pub const COMMAND: Command = Command {
    name: "zuwai check",
    arguments: "[CONTEXT]",
    about: "Checks a Dockerfile by BuildKit's build checks, without building it. CONTEXT is the directory that the Dockerfile is for\n\
            (default .), or - for a Dockerfile on standard input. Nothing is fetched. The exit code is 1 if there is anything to say.",
    subcommands: &[],
    flags: CHECK,
};

/// The flags of `zuwai check`; those of `zuwai build` mean the same there.
const CHECK: &[Flag] = &[
    flag("file", Text, "the Dockerfile (default CONTEXT/Dockerfile); - for standard input").short('f'),
    flag("target", Text, "the stage to check with what it needs (default all stages)"),
    flag("build-arg", List, "value of an ARG as NAME=value; NAME alone takes it from the environment"),
    flag("platform", CommaList, "the platform to check for, as linux/arm64"),
    flag("format", Word("string", &["text", "json"]), "form of the findings; json is docker's")
        .default("text"),
];

/// Runs `zuwai check`; the exit code.
///
/// # Errors
/// When there is no Dockerfile to check.
pub fn run(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, COMMAND.hint());
    let parsed = pflag::parse(COMMAND.flags, arguments).map_err(|error| usage(error.into()))?;
    if parsed.help {
        terminal::print(&COMMAND.help());
        return Ok(0);
    }
    let context = match parsed.positional.as_slice() {
        [] => ".",
        [context] => context,
        given => {
            let (command, expected) = (COMMAND.name, "one argument at most, the context");
            return Err(usage(ProgramError::Arguments { command, expected, given: given.to_vec() }));
        }
    };
    let format = if parsed.text("format") == "json" { Format::Json } else { Format::Text };
    let request = request(&parsed, context, environment).map_err(usage)?;
    check(&request, Call { format, ignore_status: false })
}

/// Checks in place of a build, with the build's flags.
///
/// # Errors
/// As [`run`].
pub fn instead_of_build(
    call: Call,
    flags: &Parsed,
    context: &str,
    environment: &Environment,
) -> Result<u8, Failure> {
    check(&request(flags, context, environment)?, call)
}

/// What the flags mean; `-f` and the context are read as a build reads them.
fn request(flags: &Parsed, context: &str, environment: &Environment) -> Result<CheckRequest, ProgramError> {
    let platform = match flags.list("platform") {
        [] => None,
        // Of several the first is checked, as docker does.
        [platform, ..] => Some(
            Platform::parse(platform)
                .map_err(|source| ProgramError::Platform { flag: "--platform", source })?,
        ),
    };
    let (context, dockerfile) = source::context_and_dockerfile(context, flags.text("file"))?;
    Ok(CheckRequest {
        dockerfile,
        context,
        target: flags.non_empty("target").map(str::to_owned),
        build_args: pairs::build_arguments(flags.list("build-arg"), environment)?,
        platform,
        host_platform: Platform::host(),
    })
}

fn check(request: &CheckRequest, call: Call) -> Result<u8, Failure> {
    let findings = match checks::check(request) {
        Ok(checked) => Findings::of(checked),
        Err(BuildError::Dockerfile(mistakes)) => Findings { checked: None, error: Mistake::of(mistakes) },
        // A check writes nothing: no hint is about its files.
        Err(error) => return Err(Failure::of_build(error, RootDir { path: Path::new(""), flag: "" })),
    };
    match call.format {
        Format::Text => text::print(&findings),
        Format::Json => json::print(&findings),
    }
    Ok(u8::from(findings.is_anything() && !call.ignore_status))
}

/// What a check has to say.
struct Findings {
    /// Nothing where the Dockerfile could not be parsed.
    checked: Option<Checked>,
    error: Option<Mistake>,
}

/// Why a build of the Dockerfile would fail.
struct Mistake {
    /// The message in BuildKit's words.
    message: String,
    /// The places, where there are any.
    places: Option<Diagnostics>,
}

impl Findings {
    fn of(checked: Checked) -> Self {
        let error = match &checked.report.error {
            Some(error) => Mistake::of(error.clone().in_source(&checked.source)),
            None => checked.report.violation().map(|message| Mistake { message, places: None }),
        };
        Self { checked: Some(checked), error }
    }

    fn is_anything(&self) -> bool {
        self.error.is_some()
            || self.checked.as_ref().is_some_and(|checked| !checked.report.findings.is_empty())
    }
}

impl Mistake {
    fn of(mistakes: Diagnostics) -> Option<Self> {
        let first: &Diagnostic = mistakes.list.first()?;
        let message = first.message.clone();
        let has_place = first.span != Span::default();
        Some(Self { message, places: has_place.then_some(mistakes) })
    }
}
