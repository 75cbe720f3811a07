//! `zuwai pull`: an image of a registry goes to a layout or an archive.

use tracing::info;
use zuwai_build::request::Outputs;
use zuwai_build::transfer::source::Source;
use zuwai_oci::platform::Platform;

use crate::build_command::output::{self, Output};
use crate::build_command::{request::layout_name, tell_where};
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::executor::flags::REGISTRY;
use crate::failure::Failure;
use crate::flag_value::Kind::{Bool, List};
use crate::moving::{self, DEBUG, IMAGE_FORMAT, PLATFORM, QUIET, ROOT_DIR};
use crate::pflag::{Flag, Parsed, flag, join};
use crate::usage::Command;
use crate::{building, image_place, source};

/// What `zuwai pull --help` says.
pub const COMMAND: Command = Command {
    name: "zuwai pull",
    arguments: "IMAGE [DIRECTORY]",
    about: "Fetches an image into an OCI layout: DIRECTORY, or below --root-dir, in images/; or into archives with -o.\n\
            Of an index it takes the image for this machine, unless --platform or --all-platforms says otherwise.",
    subcommands: &[],
    flags: FLAGS,
};

const FLAGS: &[Flag] = &join::<{ OWN.len() + REGISTRY.len() }>(OWN, REGISTRY);

const OWN: &[Flag] = &[
    flag("all-platforms", Bool, "fetch an index whole, with the images of all platforms"),
    DEBUG,
    IMAGE_FORMAT,
    flag("output", List, "type=oci|docker,dest=FILE[,tar=false][,name=NAME]; repeat for several").short('o'),
    PLATFORM,
    QUIET,
    ROOT_DIR,
];

/// Runs `zuwai pull`; the exit code.
///
/// # Errors
/// When anything goes wrong.
pub fn run(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, COMMAND.hint());
    let Some(parsed) = moving::parse(COMMAND, arguments, environment)? else { return Ok(0) };
    moving::start_logging(&parsed);
    let (image, directory) = match parsed.positional.as_slice() {
        [image] => (image, None),
        [image, directory] => (image, Some(directory.as_str())),
        given => {
            let (command, expected) = (COMMAND.name, "an image's name, and a directory at most");
            return Err(usage(ProgramError::Arguments { command, expected, given: given.to_vec() }));
        }
    };
    let image = image.strip_prefix("docker://").unwrap_or(image);
    let reference = zuwai_oci::Reference::parse(image)
        .map_err(|source| usage(ProgramError::Reference { flag: "the image", source }))?;
    let from = Source::Registry(reference.clone());
    let mut request = moving::request(&parsed, from, environment).map_err(usage)?;
    moving::reads_alone(&mut request.registry);
    if request.platform.is_none() && !parsed.bool("all-platforms") {
        request.platform = Some(Platform::host());
    }
    request.outputs = outputs(&parsed, directory).map_err(usage)?;
    let name = image_place::without_digest(&reference);
    if request.outputs.names.is_empty() && name.tag().is_some() {
        request.outputs.names.push(name.clone());
    }
    let nowhere = request.outputs.is_nowhere();
    if nowhere {
        let layout = layout_name(Some(&name));
        request.outputs.oci_layout = Some(moving::default_layout(&request.root_dir, layout));
    }
    info!("Pulling image {}", reference.familiar());
    moving::run_and_tell(&request)?;
    if let Some(layout) = request.outputs.oci_layout.as_deref().filter(|_| nowhere) {
        tell_where(layout, &request.outputs.names);
    }
    Ok(0)
}

fn outputs(parsed: &Parsed, directory: Option<&str>) -> Result<Outputs, ProgramError> {
    let mut outputs = Outputs { oci_layout: directory.map(source::absolute), ..Outputs::default() };
    for text in parsed.list("output") {
        let read = output::parse(text)?;
        for name in &read.names {
            outputs.names.push(building::name_for("--output", name)?);
        }
        let taken = match read.output {
            Output::OciArchive(path) => outputs.oci_archive.replace(path).is_some(),
            Output::OciLayout(path) => outputs.oci_layout.replace(path).is_some(),
            Output::DockerArchive(path) => outputs.docker_archive.replace(path).is_some(),
            Output::Registry => {
                let reason = "an image goes from registry to registry with 'zuwai copy'".to_owned();
                return Err(ProgramError::Output { value: text.clone(), reason });
            }
        };
        if taken {
            return Err(ProgramError::NotSupported(format!("a second output of the kind of -o {text}")));
        }
    }
    Ok(outputs)
}
