//! The face of kaniko's `executor`: its flags, its checks in its order, its words.

pub mod flags;
pub mod request;

use tracing::{info, warn};

use crate::building::{self, Role};
use crate::doctor_command;
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::failure::Failure;
use crate::logging;
use crate::login_command;
use crate::pflag::{self, Parsed};
use crate::push_command;
use crate::registries;
use crate::secrets;
use crate::ssh;
use crate::surroundings;
use crate::terminal;
use crate::usage::Command;

/// What `executor --help` says.
pub const COMMAND: Command = Command {
    name: "executor",
    arguments: "",
    about: "Builds an image from a Dockerfile inside a container, and pushes it. Takes kaniko's flags.",
    subcommands: &[
        ("doctor", "Say what can be built here, what cannot, and what to change for that"),
        ("help", "Help about any command"),
        ("login", "Log in to a registry"),
        ("push", "Push an image that was built before"),
        ("version", "Print the version"),
    ],
    flags: flags::EXECUTOR,
};

const WARMER: Command = Command {
    name: "warmer",
    arguments: "",
    about: "Fetches base images into a cache directory.",
    subcommands: &[],
    flags: flags::WARMER,
};

/// Runs `executor`; the exit code.
///
/// # Errors
/// When anything goes wrong.
pub fn run(mut arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    // cobra looks for a subcommand at the first word only when it is one; values of flags are never taken for one.
    match arguments.first().map(String::as_str) {
        Some("doctor") => {
            return doctor_command::run_as_executor(arguments.into_iter().skip(1).collect(), environment);
        }
        Some("push") => return push_command::run_as_executor(arguments.split_off(1), environment),
        Some("login") => return login_command::executor_login(arguments.split_off(1), environment),
        Some("version") => {
            terminal::print(&terminal::version());
            return Ok(0);
        }
        Some("help") => {
            terminal::print(&COMMAND.help());
            return Ok(0);
        }
        _ => {}
    }
    let usage = |error: ProgramError| Failure::usage(error, COMMAND.hint());
    let mut parsed = pflag::parse(COMMAND.flags, arguments).map_err(|error| usage(error.into()))?;
    if parsed.help {
        terminal::print(&COMMAND.help());
        return Ok(0);
    }
    if let Some(command) = parsed.positional.first() {
        // A subcommand may come after flags.
        if let Some(name) = ["push", "login"].into_iter().find(|name| name == command) {
            return Err(ProgramError::NotSupported(format!("'executor {name}'")).into());
        }
        return Err(usage(ProgramError::UnknownCommand { command: command.clone(), face: COMMAND.name }));
    }
    start_logging(&parsed).map_err(usage)?;
    for warning in parsed.replace_deprecated() {
        warn!("{warning}");
    }
    let variable = |name: &str| environment.get(name).map(str::to_owned);
    parsed.fill_from_environment(variable).map_err(|error| usage(error.into()))?;
    refuse(&parsed).map_err(usage)?;
    if parsed.is_given("ignore-var-run") && parsed.bool("ignore-var-run") {
        info!(
            "--ignore-var-run: what is mounted in /var/run stays out of the image; the image's own files stay"
        );
    }

    if parsed.bool("materialize") {
        if request::materialize(&parsed) {
            info!("--materialize: building in place, in this container's /, where the image's files stay");
        } else {
            warn!("--cleanup clears away what --materialize would leave: the container keeps its own files");
        }
    }
    building::put_right();

    let request = request::from_flags(&parsed, environment).map_err(usage)?;
    if let Role::Watched(code) = building::become_root(request.isolation) {
        return Ok(code);
    }
    let docker_config = request::docker_config(environment);
    let mut secrets = secrets::files(parsed.list("secret"), environment);
    secrets.extend(ssh::files(parsed.list("ssh"), environment));
    secrets.extend(registries::client_files(&parsed));
    let surroundings =
        surroundings::read_with_volumes(environment, &docker_config, &request.root_dir, &secrets);
    building::build(&request, &surroundings, "--kaniko-dir").map_err(|failure| {
        let in_stage = failure.is_of_stage();
        failure.during(if in_stage {
            "error building image: error building stage"
        } else {
            "error building image"
        })
    })?;
    if parsed.bool("no-push") {
        info!("Skipping push to container registry due to --no-push flag");
    }
    Ok(0)
}

/// Runs `warmer`: its flags are known, its work is not done yet.
///
/// # Errors
/// Always, but for `--help`.
pub fn warmer(arguments: Vec<String>) -> Result<u8, Failure> {
    subcommand(WARMER, std::iter::once(String::new()).chain(arguments).collect())
}

fn subcommand(command: Command, arguments: Vec<String>) -> Result<u8, Failure> {
    let parsed = pflag::parse(command.flags, arguments.into_iter().skip(1));
    let parsed = parsed.map_err(|error| Failure::usage(error.into(), command.hint()))?;
    if parsed.help {
        terminal::print(&command.help());
        return Ok(0);
    }
    Err(ProgramError::NotSupported(format!("'{}'", command.name)).into())
}

fn start_logging(parsed: &Parsed) -> Result<(), ProgramError> {
    let level = logging::parse_level(parsed.text("verbosity"))?;
    let format = logging::parse_format(parsed.text("log-format"))?;
    logging::start(format, parsed.bool("log-timestamp"), level);
    Ok(())
}

/// Fails when a flag was given whose work is not done yet.
///
/// # Errors
/// Naming the flags.
pub fn refuse(parsed: &Parsed) -> Result<(), ProgramError> {
    let refused = parsed.refused();
    if refused.is_empty() {
        return Ok(());
    }
    Err(ProgramError::NotSupported(refused.join(" is not supported yet, ")))
}
