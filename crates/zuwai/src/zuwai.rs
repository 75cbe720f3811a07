//! The face `zuwai`: a command with subcommands.

use crate::build_command;
use crate::certificates;
use crate::check_command;
use crate::context_command;
use crate::copy_command;
use crate::doctor_command;
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::failure::Failure;
use crate::inspect_command;
use crate::login_command;
use crate::pull_command;
use crate::push_command;
use crate::terminal;
use crate::usage::Command;

/// What `zuwai --help` says.
pub const COMMAND: Command = Command {
    name: "zuwai",
    arguments: "",
    about: "Builds container images from a Dockerfile, in a container or on a machine, with no daemon and no privilege.",
    subcommands: &[
        ("build", "Build an image from a Dockerfile"),
        ("ca-roots", "Print the certificate authorities that come with the program, as PEM"),
        ("check", "Check a Dockerfile by BuildKit's build checks, without building it"),
        ("context", "Look at a build context"),
        ("copy", "Copy an image from one place to another, byte by byte"),
        ("doctor", "Say what can be built here, what cannot, and what to change for that"),
        ("explain", "Say why steps were built again (not supported yet)"),
        ("help", "Print this help"),
        ("index", "Put images of several platforms together (not supported yet)"),
        ("inspect", "Show what an image is"),
        ("login", "Log in to a registry"),
        ("logout", "Log out from a registry"),
        ("pull", "Fetch an image into an OCI layout or an archive"),
        ("push", "Push an image that was built before"),
        ("version", "Print the version"),
        ("warm", "Fetch base images beforehand (not supported yet)"),
    ],
    flags: &[],
};

/// Runs `zuwai`; the exit code.
///
/// # Errors
/// When anything goes wrong.
pub fn run(mut arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let first = if arguments.is_empty() { "help".to_owned() } else { arguments.remove(0) };
    match first.as_str() {
        "build" => return build_command::run(arguments, environment),
        "check" => return check_command::run(arguments, environment),
        "context" => return context_command::run(arguments),
        "copy" => return copy_command::run(arguments, environment),
        "inspect" => return inspect_command::run(arguments, environment),
        "login" => return login_command::login(arguments, environment),
        "logout" => return login_command::logout(arguments, environment),
        "pull" => return pull_command::run(arguments, environment),
        "push" => return push_command::run(arguments, environment),
        "doctor" => return doctor_command::run(arguments, environment),
        "help" if arguments.first().is_some_and(|word| command(word).is_some()) => {
            let command = arguments.first().and_then(|word| command(word));
            terminal::print(&command.unwrap_or(&COMMAND).help());
        }
        "help" | "-h" | "--help" => terminal::print(&COMMAND.help()),
        "version" | "--version" => terminal::print(&terminal::version()),
        "ca-roots" => terminal::print(&certificates::bundled_pem()),
        known if COMMAND.subcommands.iter().any(|(name, _)| *name == known) => {
            return Err(ProgramError::NotSupported(format!("'zuwai {known}'")).into());
        }
        flag if flag.starts_with('-') => {
            let error = crate::pflag::parse(COMMAND.flags, [first]).err();
            let error = error.map_or(
                ProgramError::UnknownCommand { command: String::new(), face: COMMAND.name },
                ProgramError::from,
            );
            return Err(Failure::usage(error, COMMAND.hint()));
        }
        _ => {
            let error = ProgramError::UnknownCommand { command: first, face: COMMAND.name };
            return Err(Failure::usage(error, COMMAND.hint()));
        }
    }
    Ok(0)
}

/// What the help of a subcommand is made of.
fn command(word: &str) -> Option<&'static Command> {
    const COMMANDS: [&Command; 10] = [
        &build_command::COMMAND,
        &check_command::COMMAND,
        &context_command::COMMAND,
        &copy_command::COMMAND,
        &doctor_command::COMMAND,
        &inspect_command::COMMAND,
        &login_command::LOGIN,
        &login_command::LOGOUT,
        &pull_command::COMMAND,
        &push_command::COMMAND,
    ];
    COMMANDS.into_iter().find(|command| command.name.strip_prefix("zuwai ") == Some(word))
}
