//! `zuwai inspect`: what an image is, without fetching its layers.

use zuwai_build::transfer::inspection::{Inspection, inspect};
use zuwai_oci::platform::Platform;

use crate::environment::Environment;
use crate::error::ProgramError;
use crate::executor::flags::REGISTRY;
use crate::failure::Failure;
use crate::flag_value::Kind::Bool;
use crate::moving::{self, DEBUG, PLATFORM, ROOT_DIR};
use crate::pflag::{Flag, flag, join};
use crate::usage::Command;
use crate::{image_place, terminal};

/// What `zuwai inspect --help` says.
pub const COMMAND: Command = Command {
    name: "zuwai inspect",
    arguments: "IMAGE",
    about: "Shows what an image is, as JSON: its digest, platform, layers and configuration, or the images of an index. IMAGE is a\n\
            name in a registry, oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], or the path of any\n\
            of these. Of a docker archive it shows the manifest that a push would make.",
    subcommands: &[],
    flags: FLAGS,
};

const FLAGS: &[Flag] = &join::<{ OWN.len() + REGISTRY.len() }>(OWN, REGISTRY);

const OWN: &[Flag] = &[
    flag(
        "config",
        Bool,
        "print the image's configuration instead, byte by byte; of an index, that for this machine",
    ),
    DEBUG,
    PLATFORM,
    flag("raw", Bool, "print the manifest or index instead, byte by byte"),
    ROOT_DIR,
];

/// Runs `zuwai inspect`; the exit code.
///
/// # Errors
/// When anything goes wrong.
pub fn run(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, COMMAND.hint());
    let Some(parsed) = moving::parse(COMMAND, arguments, environment)? else { return Ok(0) };
    moving::start_logging(&parsed);
    let [image] = parsed.positional.as_slice() else {
        let (command, expected) = (COMMAND.name, "one argument, the image");
        let given = parsed.positional.clone();
        return Err(usage(ProgramError::Arguments { command, expected, given }));
    };
    let (raw, config) = (parsed.bool("raw"), parsed.bool("config"));
    if raw && config {
        return Err(usage(ProgramError::Contradiction { one: "--raw", other: "--config" }));
    }
    let from = image_place::source(image).map_err(usage)?;
    let mut request = moving::request(&parsed, from, environment).map_err(usage)?;
    moving::reads_alone(&mut request.registry);
    if config && request.platform.is_none() {
        request.platform = Some(Platform::host());
    }
    let root_flag = moving::root_flag();
    let found =
        moving::interruptible(&request.root_dir, root_flag, |interrupt| inspect(&request, interrupt))?;
    match (raw, config) {
        (true, _) => terminal::print_bytes(&found.manifest.bytes),
        (_, true) => terminal::print_bytes(&config_of(&found)?),
        _ => {
            let summary = found.summary().map_err(zuwai_oci::OciError::from).map_err(ProgramError::from)?;
            terminal::print(&format!("{summary:#}\n"));
        }
    }
    Ok(0)
}

fn config_of(found: &Inspection) -> Result<Vec<u8>, ProgramError> {
    found.config.clone().ok_or_else(|| ProgramError::NoConfig(found.name.clone()))
}
