//! `zuwai doctor` and `executor doctor`: what the place they run in allows, what of a Dockerfile fails there, and what to add to
//! a pod or a container for that. Nothing is built.

mod advice;
mod findings;
mod report;

use std::path::{Path, PathBuf};

use zuwai_rootfs::container;
use zuwai_rootfs::isolation::Isolation;
use zuwai_rootfs::survey::{Process, Survey};
use zuwai_rootfs::userns::{self, Entry};

use crate::building;
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::executor;
use crate::failure::Failure;
use crate::flag_value::Kind::{Text, Word};
use crate::pflag::{self, Flag, Parsed, flag};
use crate::source;
use crate::terminal;
use crate::usage::Command;

const ABOUT: &str = "Looks at the place it runs in: how commands of a build can run here, what of a Dockerfile fails and why, and what to add to\n\
    a pod or a container for that. It tries what can be tried, removes what it made, and builds nothing. The exit code is 1 if\n\
    no RUN can run here.";

/// What `zuwai doctor --help` says.
pub const COMMAND: Command = Command {
    name: "zuwai doctor",
    arguments: "",
    about: ABOUT,
    subcommands: &[],
    flags: &[
        flag("root-dir", Text, "directory where builds keep their files (default $XDG_DATA_HOME/zuwai)"),
        ISOLATION,
        FORMAT,
    ],
};

/// What `executor doctor --help` says.
pub const EXECUTOR: Command = Command {
    name: "executor doctor",
    flags: &[
        flag("kaniko-dir", Text, "directory where builds keep their files")
            .default("/kaniko")
            .environment("KANIKO_DIR"),
        ISOLATION,
        FORMAT,
    ],
    ..COMMAND
};

const ISOLATION: Flag =
    flag("isolation", Word("string", &["auto", "namespaces", "in-place"]), "where RUN shall run")
        .default("auto");

const FORMAT: Flag =
    flag("format", Word("string", &["text", "json"]), "form of the findings: for people or for programs")
        .default("text");

/// Runs `zuwai doctor`; the exit code.
///
/// # Errors
/// When the command line is wrong.
pub fn run(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    examine(&COMMAND, arguments, environment, |parsed| {
        crate::build_command::request::root_directory(parsed, environment)
    })
}

/// Runs `executor doctor`; the exit code.
///
/// # Errors
/// As [`run`].
pub fn run_as_executor(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    examine(&EXECUTOR, arguments, environment, |parsed| {
        Ok(source::absolute(parsed.non_empty("kaniko-dir").unwrap_or("/kaniko")))
    })
}

fn examine(
    command: &Command,
    arguments: Vec<String>,
    environment: &Environment,
    state: impl Fn(&Parsed) -> Result<PathBuf, ProgramError>,
) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, command.hint());
    let mut parsed = pflag::parse(command.flags, arguments).map_err(|error| usage(error.into()))?;
    if parsed.help {
        terminal::print(&command.help());
        return Ok(0);
    }
    if !parsed.positional.is_empty() {
        let (command, expected) = (command.name, "no arguments");
        return Err(usage(ProgramError::Arguments { command, expected, given: parsed.positional }));
    }
    let variable = |name: &str| environment.get(name).map(str::to_owned);
    parsed.fill_from_environment(variable).map_err(|error| usage(error.into()))?;
    let state = state(&parsed).map_err(usage)?;
    Ok(look(&state, executor::request::isolation(&parsed), parsed.text("format") == "json", environment))
}

fn look(state: &Path, wanted: Isolation, json: bool, environment: &Environment) -> u8 {
    let process = Process::read();
    // As a build does.
    let entry = if wanted == Isolation::InPlace { Entry::NotNeeded } else { userns::enter() };
    if let Entry::Watched(code) = entry {
        return building::exit_code(code);
    }
    let container = container::detect(|name| environment.get(name).map(str::to_owned));
    let survey = Survey::take(process, entry, wanted, state, container.as_deref());
    let text = if json { report::json(&survey) } else { report::text(&survey) };
    terminal::print(&text);
    u8::from(!survey.can_run())
}
