//! `zuwai copy`: an image goes from one place to another as it is.

use crate::environment::Environment;
use crate::error::ProgramError;
use crate::executor::flags::{PUSH_IGNORE_IMMUTABLE_TAG_ERRORS, REGISTRY, SKIP_PUSH_PERMISSION_CHECK};
use crate::failure::Failure;
use crate::flag_value::Kind::Text;
use crate::image_place;
use crate::moving::{self, DEBUG, IMAGE_FORMAT, PLATFORM, QUIET, ROOT_DIR};
use crate::pflag::{Flag, flag, join};
use crate::usage::Command;

/// What `zuwai copy --help` says.
pub const COMMAND: Command = Command {
    name: "zuwai copy",
    arguments: "SOURCE DESTINATION...",
    about: "Copies an image, or an index with all its images, byte by byte: the digest stays the same. SOURCE and DESTINATION are\n\
            names in registries, oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]; SOURCE may be the\n\
            path of any of these too.",
    subcommands: &[],
    flags: FLAGS,
};

const FLAGS: &[Flag] = &join::<{ OWN.len() + REGISTRY.len() }>(OWN, REGISTRY);

const OWN: &[Flag] = &[
    DEBUG,
    flag("digest-file", Text, "file to write the image's digest to"),
    IMAGE_FORMAT,
    PLATFORM,
    PUSH_IGNORE_IMMUTABLE_TAG_ERRORS,
    QUIET,
    ROOT_DIR,
    SKIP_PUSH_PERMISSION_CHECK,
];

/// Runs `zuwai copy`; the exit code.
///
/// # Errors
/// When anything goes wrong.
pub fn run(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, COMMAND.hint());
    let Some(parsed) = moving::parse(COMMAND, arguments, environment)? else { return Ok(0) };
    moving::start_logging(&parsed);
    let [from, destinations @ ..] = parsed.positional.as_slice() else {
        return Err(usage(arguments_missing()));
    };
    if destinations.is_empty() {
        return Err(usage(arguments_missing()));
    }
    let from = image_place::source(from).map_err(usage)?;
    let mut request = moving::request(&parsed, from, environment).map_err(usage)?;
    moving::set_files(&parsed, &mut request.outputs);
    for destination in destinations {
        image_place::add_destination(destination, &request.source, &mut request.outputs).map_err(usage)?;
    }
    moving::run_and_tell(&request)?;
    Ok(0)
}

fn arguments_missing() -> ProgramError {
    let (command, expected) = (COMMAND.name, "where the image is, and where it is to go");
    ProgramError::Arguments { command, expected, given: Vec::new() }
}
