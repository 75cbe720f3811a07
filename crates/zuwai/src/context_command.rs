//! `zuwai context ls`: what a build would get of a context, without a build.

mod listing;

use zuwai_build::request::DockerfileSource;
use zuwai_context::digest::digest;
use zuwai_context::{Context, scan};
use zuwai_rootfs::KeepOut;

use crate::building::threads;
use crate::error::ProgramError;
use crate::failure::Failure;
use crate::flag_value::Kind::{Bool, Text, Word};
use crate::pflag::{self, Flag, Parsed, flag};
use crate::source::{self, LookFirst};
use crate::terminal;
use crate::usage::Command;

/// What `zuwai context --help` says.
pub const COMMAND: Command = Command {
    name: "zuwai context",
    arguments: "",
    about: "Looks at build contexts.",
    subcommands: &[("ls", "List what a build would get of a context")],
    flags: &[],
};

/// What `zuwai context ls --help` says.
pub const LS: Command = Command {
    name: "zuwai context ls",
    arguments: "[CONTEXT]",
    about: "Lists what a build would get of a context: all that its ignore file does not exclude, with mode and size, and\n\
            how much it is together. CONTEXT is a directory, the working directory unless given.",
    subcommands: &[],
    flags: FLAGS,
};

const FLAGS: &[Flag] = &[
    flag("file", Text, "the Dockerfile, whose own ignore file counts first (default CONTEXT/Dockerfile)")
        .short('f'),
    flag("digest", Bool, "read all files, and print the digest of what COPY would write"),
    flag("excluded", Bool, "list what is excluded instead, and the line that excludes it"),
    flag("format", Word("string", &["text", "json", "summary"]), "text, json, or nothing but the summary")
        .default("text"),
];

/// The owner that COPY gives what comes from a context.
const OWNER: (u32, u32) = (0, 0);

/// Runs `zuwai context`; the exit code.
///
/// # Errors
/// When anything goes wrong.
pub fn run(mut arguments: Vec<String>) -> Result<u8, Failure> {
    let first = if arguments.is_empty() { "help".to_owned() } else { arguments.remove(0) };
    match first.as_str() {
        "ls" => ls(arguments),
        "help" | "-h" | "--help" => {
            terminal::print(&COMMAND.help());
            Ok(0)
        }
        _ => {
            let error = ProgramError::UnknownCommand { command: first, face: COMMAND.name };
            Err(Failure::usage(error, COMMAND.hint()))
        }
    }
}

fn ls(arguments: Vec<String>) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, LS.hint());
    let parsed = pflag::parse(LS.flags, arguments).map_err(|error| usage(error.into()))?;
    if parsed.help {
        terminal::print(&LS.help());
        return Ok(0);
    }
    let context = match parsed.positional.as_slice() {
        [] => ".",
        [context] => context,
        given => {
            let (command, expected) = (LS.name, "at most one argument, the context");
            return Err(usage(ProgramError::Arguments { command, expected, given: given.to_vec() }));
        }
    };
    let context = open(context, &parsed).map_err(usage)?;
    list(&context, &parsed).map_err(|error| Failure::from(ProgramError::from(error)))?;
    Ok(0)
}

fn open(context: &str, parsed: &Parsed) -> Result<Context, ProgramError> {
    let directory = source::context_directory(context, "")?;
    let dockerfile = match parsed.non_empty("file") {
        None => directory.join("Dockerfile"),
        Some(file) => match source::dockerfile(file, Some(&directory), LookFirst::WorkingDirectory)? {
            DockerfileSource::Path(path) => path,
            DockerfileSource::Text { name, .. } => directory.join(name),
        },
    };
    Ok(Context::open(&directory, Some(&dockerfile), KeepOut::default())?)
}

fn list(context: &Context, parsed: &Parsed) -> Result<(), zuwai_rootfs::RootfsError> {
    let (format, threads) = (parsed.text("format"), threads());
    if parsed.bool("excluded") {
        let excluded = scan::excluded(context, threads)?;
        let file = context.ignore().file.as_deref();
        terminal::print(&listing::excluded(&excluded, file, format));
        return Ok(());
    }
    if format == "summary" && !parsed.bool("digest") {
        terminal::print(&listing::summary(&scan::totals(context, threads)?, None));
        return Ok(());
    }
    let entries = scan::entries(context, threads)?;
    let digest = parsed.bool("digest").then(|| digest(context, &entries, OWNER, threads)).transpose()?;
    terminal::print(&listing::entries(&entries, digest, format));
    Ok(())
}
