//! `zuwai push`, and kaniko's fork's `executor push`: an image that was built before goes to registries.

use crate::environment::Environment;
use crate::error::ProgramError;
use crate::executor::flags::{
    self, DESTINATION, PUSH_IGNORE_IMMUTABLE_TAG_ERRORS, REGISTRY, SKIP_PUSH_PERMISSION_CHECK,
};
use crate::executor::request as executor_request;
use crate::failure::Failure;
use crate::flag_value::Kind::Text;
use crate::logging;
use crate::moving::{self, DEBUG, IMAGE_FORMAT, PLATFORM, QUIET, ROOT_DIR};
use crate::pflag::{Flag, Parsed, flag, join};
use crate::usage::Command;
use crate::{building, image_place, source};

/// What `zuwai push --help` says.
pub const COMMAND: Command = Command {
    name: "zuwai push",
    arguments: "SOURCE [DESTINATION...]",
    about: "Pushes an image that was built before. SOURCE is an archive of docker, podman, kaniko or zuwai, or the directory of an\n\
            OCI layout; oci:DIRECTORY:TAG, oci-archive:FILE:TAG and docker-archive:FILE:NAME choose one of several images,\n\
            - is standard input. Without a DESTINATION the image goes where the archive's own name for it says.",
    subcommands: &[],
    flags: FLAGS,
};

const FLAGS: &[Flag] = &join::<{ OWN.len() + REGISTRY.len() }>(OWN, REGISTRY);

const OWN: &[Flag] = &[
    DEBUG,
    DESTINATION,
    flag("digest-file", Text, "file to write the image's digest to"),
    IMAGE_FORMAT,
    flag("image-name-tag-with-digest-file", Text, "file to write NAME:TAG@DIGEST of every destination to"),
    flag("image-name-with-digest-file", Text, "file to write NAME@DIGEST of every destination to"),
    PLATFORM,
    PUSH_IGNORE_IMMUTABLE_TAG_ERRORS,
    QUIET,
    ROOT_DIR,
    SKIP_PUSH_PERMISSION_CHECK,
];

/// What `executor push --help` says.
pub const EXECUTOR: Command = Command {
    name: "executor push",
    arguments: "<path/to/tarball>",
    about: "Pushes an image that was built before: an archive, or the directory of an OCI layout.",
    subcommands: &[],
    flags: flags::PUSH,
};

/// Runs `zuwai push`; the exit code.
///
/// # Errors
/// When anything goes wrong.
pub fn run(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, COMMAND.hint());
    let Some(parsed) = moving::parse(COMMAND, arguments, environment)? else { return Ok(0) };
    moving::start_logging(&parsed);
    let Some((place, destinations)) = parsed.positional.split_first() else {
        return Err(usage(ProgramError::Arguments {
            command: COMMAND.name,
            expected: "the image's archive or layout, and where to push it",
            given: Vec::new(),
        }));
    };
    let place = image_place::file_source(place).map_err(usage)?;
    let mut request = moving::request(&parsed, place, environment).map_err(usage)?;
    moving::set_files(&parsed, &mut request.outputs);
    for name in destinations.iter().chain(parsed.list("destination")) {
        let name = name.strip_prefix("docker://").unwrap_or(name);
        request.outputs.push.push(building::name_for("DESTINATION", name).map_err(usage)?);
    }
    moving::run_and_tell(&request)?;
    Ok(0)
}

/// Runs `executor push`; the exit code.
///
/// # Errors
/// When anything goes wrong.
pub fn run_as_executor(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, EXECUTOR.hint());
    let Some(parsed) = moving::parse(EXECUTOR, arguments, environment)? else { return Ok(0) };
    // kaniko's defaults; this command has no flags for them.
    let level = logging::parse_level("info").map_err(|error| usage(error.into()))?;
    let format = logging::parse_format("color").map_err(|error| usage(error.into()))?;
    logging::start(format, false, level);
    let request = executor_transfer(&parsed, environment).map_err(usage)?;
    moving::run(&request, "KANIKO_DIR").map_err(|failure| failure.during("error pushing image"))?;
    Ok(0)
}

fn executor_transfer(
    parsed: &Parsed,
    environment: &Environment,
) -> Result<zuwai_build::transfer::TransferRequest, ProgramError> {
    let [place] = parsed.positional.as_slice() else {
        return Err(ProgramError::Arguments {
            command: EXECUTOR.name,
            expected: "one argument, the path of the tarball",
            given: parsed.positional.clone(),
        });
    };
    let mut outputs = zuwai_build::request::Outputs::default();
    moving::set_files(parsed, &mut outputs);
    for name in parsed.list("destination") {
        outputs.push.push(building::name_for("--destination", name)?);
    }
    let docker_config = executor_request::docker_config(environment);
    Ok(zuwai_build::transfer::TransferRequest {
        source: image_place::file_source(place)?,
        platform: None,
        family: None,
        outputs,
        registry: crate::registries::options(parsed, environment, &docker_config)?,
        root_dir: source::absolute(environment.non_empty("KANIKO_DIR").unwrap_or("/kaniko")),
        threads: building::threads(),
    })
}
