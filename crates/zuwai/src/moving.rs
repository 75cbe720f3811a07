//! What the commands that move images share: their flags, what these mean, and the start of the work.

use std::path::{Path, PathBuf};

use tracing::level_filters::LevelFilter;
use zuwai_build::BuildError;
use zuwai_build::hint::RootDir;
use zuwai_build::request::Outputs;
use zuwai_build::transfer::source::Source;
use zuwai_build::transfer::{TransferRequest, Transferred, transfer};
use zuwai_oci::media_type::Family;
use zuwai_oci::platform::Platform;
use zuwai_oci::registry::RegistryOptions;
use zuwai_rootfs::signals::Interrupt;

use crate::build_command::request::{docker_config, root_directory};
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::executor::refuse;
use crate::failure::Failure;
use crate::flag_value::Kind::{Bool, CommaList, Text, Word};
use crate::logging::{self, Format};
use crate::pflag::{self, Flag, Parsed, flag};
use crate::usage::Command;
use crate::{building, registries, source, terminal};

/// The format of an image's documents, as kaniko's fork names it.
pub const IMAGE_FORMAT: Flag = flag(
    "image-format",
    Word("imageformat", &["oci", "docker", ""]),
    "media types of the image: oci or docker",
);
/// Which image of an index.
pub const PLATFORM: Flag = flag("platform", CommaList, "the platform of the image, as linux/arm64");
/// Where files are kept meanwhile.
pub const ROOT_DIR: Flag =
    flag("root-dir", Text, "directory for what is kept on disk meanwhile (default $XDG_DATA_HOME/zuwai)");
/// Less and more to read.
pub const QUIET: Flag = flag("quiet", Bool, "print nothing but the digest").short('q');
/// As [`QUIET`].
pub const DEBUG: Flag = flag("debug", Bool, "say more").short('D');

/// The flag that says where files are kept, for hints.
const ROOT_FLAG: &str = "--root-dir";

/// Reads a command's flags, and starts its log; `None` if help was all that was wanted.
///
/// # Errors
/// When they were typed wrong, or ask for what is not done yet.
pub fn parse(
    command: Command,
    arguments: Vec<String>,
    environment: &Environment,
) -> Result<Option<Parsed>, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, command.hint());
    let mut parsed = pflag::parse(command.flags, arguments).map_err(|error| usage(error.into()))?;
    if parsed.help {
        terminal::print(&command.help());
        return Ok(None);
    }
    let variable = |name: &str| environment.get(name).map(str::to_owned);
    parsed.fill_from_environment(variable).map_err(|error| usage(error.into()))?;
    refuse(&parsed).map_err(usage)?;
    Ok(Some(parsed))
}

/// Starts the log of one of zuwai's own commands.
pub fn start_logging(parsed: &Parsed) {
    let level = match (parsed.bool("quiet"), parsed.bool("debug")) {
        (true, _) => LevelFilter::ERROR,
        (false, true) => LevelFilter::DEBUG,
        (false, false) => LevelFilter::INFO,
    };
    logging::start(Format::Plain, false, level);
}

/// What is to be done, but for where the image goes.
///
/// # Errors
/// When a flag's value cannot be used.
pub fn request(
    flags: &Parsed,
    from: Source,
    environment: &Environment,
) -> Result<TransferRequest, ProgramError> {
    Ok(TransferRequest {
        source: from,
        platform: platform(flags)?,
        family: family(flags.text("image-format")),
        outputs: Outputs::default(),
        registry: registries::options(flags, environment, &docker_config(environment))?,
        root_dir: root_directory(flags, environment)?,
        threads: building::threads(),
    })
}

/// The format that a flag's word means; its type has checked it.
pub fn family(word: &str) -> Option<Family> {
    match word {
        "docker" => Some(Family::Docker),
        "oci" => Some(Family::Oci),
        _ => None,
    }
}

/// The format of an image that is built, OCI's unless another was asked for, with layers of this compression.
///
/// # Errors
/// When the format has no such layers.
pub fn family_for(word: &str, compression: &str) -> Result<Family, ProgramError> {
    match (family(word).unwrap_or_default(), compression) {
        (Family::Docker, "zstd") => Err(ProgramError::ZstdInDocker),
        (family, _) => Ok(family),
    }
}

fn platform(flags: &Parsed) -> Result<Option<Platform>, ProgramError> {
    let parse = |text: &String| {
        Platform::parse(text).map_err(|source| ProgramError::Platform { flag: "--platform", source })
    };
    match flags.list("platform") {
        [] => Ok(None),
        [platform] => parse(platform).map(Some),
        _ => Err(ProgramError::NotSupported("more than one --platform".to_owned())),
    }
}

/// The files about the image that was pushed, as kaniko's executor has them.
pub fn set_files(flags: &Parsed, outputs: &mut Outputs) {
    let path = |name: &str| flags.non_empty(name).map(source::absolute);
    outputs.digest_file = path("digest-file");
    outputs.image_name_with_digest_file = path("image-name-with-digest-file");
    outputs.image_name_tag_with_digest_file = path("image-name-tag-with-digest-file");
    outputs.check_push_permission = !flags.bool("skip-push-permission-check");
    outputs.ignore_immutable_tags = flags.bool("push-ignore-immutable-tag-errors");
}

/// Moves an image, until a signal says to stop.
///
/// # Errors
/// When that fails.
pub fn run(request: &TransferRequest, root_flag: &str) -> Result<Transferred, Failure> {
    interruptible(&request.root_dir, root_flag, |interrupt| transfer(request, interrupt))
}

/// As [`run`], for one of zuwai's own commands: prints the digest.
///
/// # Errors
/// As [`run`].
pub fn run_and_tell(request: &TransferRequest) -> Result<Transferred, Failure> {
    let moved = run(request, ROOT_FLAG)?;
    terminal::print(&format!("{}\n", moved.digest));
    Ok(moved)
}

/// Does work that a signal ends. `root_flag` is the flag that says where files are kept.
///
/// # Errors
/// As the work, with the exit code of the signal.
pub fn interruptible<T>(
    root_dir: &Path,
    root_flag: &str,
    work: impl FnOnce(&Interrupt) -> Result<T, BuildError>,
) -> Result<T, Failure> {
    let interrupt = Interrupt::new();
    building::listen(&interrupt);
    work(&interrupt).map_err(|error| {
        let failure = Failure::of_build(error, RootDir { path: root_dir, flag: root_flag });
        building::ended_by(failure, &interrupt)
    })
}

/// Where an image that was pulled goes unless the user says.
pub fn default_layout(root_dir: &Path, name: PathBuf) -> PathBuf {
    root_dir.join("images").join(name)
}

/// The flag that says where files are kept, for a failure's hint.
pub fn root_flag() -> &'static str {
    ROOT_FLAG
}
/// For commands that read alone: what is said of registries without naming a direction is meant for reading.
pub fn reads_alone(registry: &mut RegistryOptions) {
    registry.insecure_pull |= registry.insecure;
    registry.skip_tls_verify_pull |= registry.skip_tls_verify;
}
