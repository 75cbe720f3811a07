//! `zuwai login`, `zuwai logout` and `executor login`: credentials into docker's `config.json`, and out of it.
//!
//! `zuwai login` asks the registry first and keeps nothing that it does not accept, as docker does. `executor login`
//! keeps what it is given, as kaniko does: it has no flags for how the registry is reached, runs where the registry may
//! not be reached yet, and the build checks the permission to push before it begins.

use std::io::{self, Read as _};
use std::path::Path;

use zuwai_oci::credentials::login::{self, Stored};
use zuwai_oci::credentials::{Credential, Credentials, DockerConfig, RegistryKey};
use zuwai_oci::reference::ReferenceError;
use zuwai_oci::{Registry, Secret};

use crate::credentials::{CONFIG_FILE, helpers};
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::executor;
use crate::executor::flags::{
    IMAGE_DOWNLOAD_RETRY, INSECURE_REGISTRY, REGISTRY_CERTIFICATE, REGISTRY_CLIENT_CERT,
    SKIP_TLS_VERIFY_REGISTRY,
};
use crate::failure::Failure;
use crate::pflag::{self, Flag, Parsed, join};
use crate::usage::Command;
use crate::{build_command, registries, terminal};

/// Longest password that is read from standard input.
const PASSWORD_LIMIT: u64 = 64 << 10;
/// The registry that docker logs in to when none is named.
const DEFAULT_REGISTRY: &str = "docker.io";

const ABOUT: &str = "Logs in to a registry (default docker.io): asks it whether it accepts user name and password, and keeps them in\n\
    config.json in the directory of DOCKER_CONFIG (default ~/.docker), or with the helper that is named there.";

/// What `zuwai login --help` says.
pub const LOGIN: Command = Command {
    name: "zuwai login",
    arguments: "[REGISTRY]",
    about: ABOUT,
    subcommands: &[],
    flags: LOGIN_FLAGS,
};

/// What `zuwai logout --help` says.
pub const LOGOUT: Command = Command {
    name: "zuwai logout",
    arguments: "[REGISTRY]",
    about: "Forgets what is kept for a registry (default docker.io), in config.json or with the helper that is named there.",
    subcommands: &[],
    flags: &[],
};

/// What `executor login --help` says.
pub const EXECUTOR_LOGIN: Command = Command {
    name: "executor login",
    arguments: "REGISTRY",
    about: "Keeps user name and password for a registry in config.json in the directory of DOCKER_CONFIG (default /kaniko/.docker).",
    subcommands: &[],
    flags: executor::flags::LOGIN,
};

// What concerns the one registry that is asked; it has no mirrors here, and no other is asked who we are.
const REACHED: &[Flag] = &[
    IMAGE_DOWNLOAD_RETRY,
    INSECURE_REGISTRY,
    REGISTRY_CERTIFICATE,
    REGISTRY_CLIENT_CERT,
    SKIP_TLS_VERIFY_REGISTRY,
];

const LOGIN_FLAGS: &[Flag] =
    &join::<{ executor::flags::LOGIN.len() + REACHED.len() }>(executor::flags::LOGIN, REACHED);

/// Why a login is not even tried.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Who is it? crane's words, on which kaniko's command is built.
    #[error("username and password required")]
    Incomplete,
    /// A password on standard input needs a user name. docker's words.
    #[error("the --password-stdin option requires --username to be set")]
    NoUsername,
    /// Two passwords. docker's words.
    #[error("conflicting options: cannot specify both --password and --password-stdin")]
    TwoPasswords,
    /// An endless password.
    #[error("the password on standard input is longer than {PASSWORD_LIMIT} bytes")]
    TooLong,
    /// What was named is no registry.
    #[error("invalid registry")]
    Registry(#[source] ReferenceError),
}

impl LoginError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Incomplete => {
                Some("give --username, and the password with --password-stdin; there is no prompt".to_owned())
            }
            Self::Registry(_) => Some("name the registry's host, with its port if it has one".to_owned()),
            _ => None,
        }
    }
}

/// Runs `zuwai login`; the exit code.
///
/// # Errors
/// When the registry does not accept the credentials, or they cannot be kept.
pub fn login(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, LOGIN.hint());
    let Some(parsed) = parse(&LOGIN, arguments, "no argument but a registry")? else { return Ok(0) };
    let (registry, credential) = given(&parsed).map_err(usage)?;
    let directory = build_command::request::docker_config(environment);
    check(&parsed, environment, &directory, &registry, &credential)?;
    match keep(&directory, environment, &registry, &credential)? {
        Stored::File(path) => terminal::print_error(&format!(
            "WARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning.\n",
            path.display()
        )),
        Stored::Helper(_) => {}
    }
    terminal::print("Login Succeeded\n");
    Ok(0)
}

/// Runs `executor login`; the exit code.
///
/// # Errors
/// When the credentials cannot be kept.
pub fn executor_login(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, EXECUTOR_LOGIN.hint());
    let expected = "one argument, a registry";
    let Some(parsed) = parse(&EXECUTOR_LOGIN, arguments, expected)? else { return Ok(0) };
    if parsed.positional.is_empty() {
        let command = EXECUTOR_LOGIN.name;
        return Err(usage(ProgramError::Arguments { command, expected, given: Vec::new() }));
    }
    let (registry, credential) = given(&parsed).map_err(usage)?;
    let directory = executor::request::docker_config(environment);
    let place = match keep(&directory, environment, &registry, &credential)? {
        Stored::File(path) => path.display().to_string(),
        Stored::Helper(name) => format!("docker-credential-{name}"),
    };
    terminal::print_error(&format!("logged in via {place}\n"));
    Ok(0)
}

/// Runs `zuwai logout`; the exit code.
///
/// # Errors
/// When what is kept cannot be changed.
pub fn logout(arguments: Vec<String>, environment: &Environment) -> Result<u8, Failure> {
    let Some(parsed) = parse(&LOGOUT, arguments, "no argument but a registry")? else { return Ok(0) };
    let registry = registry(&parsed).map_err(|error| Failure::usage(error, LOGOUT.hint()))?;
    let path = build_command::request::docker_config(environment).join(CONFIG_FILE);
    let programs = helpers(&[DockerConfig::load(&path).map_err(ProgramError::from)?], environment);
    let erased = login::erase(&path, &registry, &programs).map_err(ProgramError::from)?;
    terminal::print(&match erased {
        true => format!("Removing login credentials for {registry}\n"),
        false => format!("Not logged in to {registry}\n"),
    });
    Ok(0)
}

/// The command line; none if help was asked for and given.
fn parse(
    command: &'static Command,
    arguments: Vec<String>,
    expected: &'static str,
) -> Result<Option<Parsed>, Failure> {
    let usage = |error: ProgramError| Failure::usage(error, command.hint());
    let parsed = pflag::parse(command.flags, arguments).map_err(|error| usage(error.into()))?;
    if parsed.help {
        terminal::print(&command.help());
        return Ok(None);
    }
    if parsed.positional.len() > 1 {
        let given = parsed.positional;
        return Err(usage(ProgramError::Arguments { command: command.name, expected, given }));
    }
    Ok(Some(parsed))
}

fn registry(parsed: &Parsed) -> Result<RegistryKey, ProgramError> {
    let name = parsed.positional.first().map_or(DEFAULT_REGISTRY, String::as_str);
    Ok(RegistryKey::parse(name).map_err(LoginError::Registry)?)
}

/// Where to log in, and as whom.
fn given(parsed: &Parsed) -> Result<(RegistryKey, Credential), ProgramError> {
    let registry = registry(parsed)?;
    let (username, from_stdin) = (parsed.text("username"), parsed.bool("password-stdin"));
    let password = match parsed.non_empty("password") {
        Some(_) if from_stdin => return Err(LoginError::TwoPasswords.into()),
        Some(password) => {
            terminal::print_error(
                "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n",
            );
            Secret::new(password)
        }
        None if from_stdin && username.is_empty() => return Err(LoginError::NoUsername.into()),
        None if from_stdin => read_password(io::stdin().lock())?,
        None => Secret::default(),
    };
    if username.is_empty() || password.is_empty() {
        return Err(LoginError::Incomplete.into());
    }
    Ok((registry, Credential::Basic { username: username.to_owned(), password }))
}

/// A password without the end of its line.
fn read_password(input: impl io::Read) -> Result<Secret, ProgramError> {
    let mut text = String::new();
    input
        .take(PASSWORD_LIMIT + 1)
        .read_to_string(&mut text)
        .map_err(|error| ProgramError::StandardInput("the password", error))?;
    if text.len() as u64 > PASSWORD_LIMIT {
        return Err(LoginError::TooLong.into());
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}

/// Asks the registry whether it accepts a credential, and shows it no other.
fn check(
    parsed: &Parsed,
    environment: &Environment,
    docker_config: &Path,
    registry: &RegistryKey,
    credential: &Credential,
) -> Result<(), ProgramError> {
    let mut options = registries::options(parsed, environment, docker_config)?;
    options.credentials = Credentials::default();
    options.credentials.insert(&registry.to_string(), credential.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build();
    let runtime = runtime.map_err(ProgramError::Runtime)?;
    Ok(runtime.block_on(async { Registry::new(options)?.check_login(registry).await })?)
}

fn keep(
    directory: &Path,
    environment: &Environment,
    registry: &RegistryKey,
    credential: &Credential,
) -> Result<Stored, ProgramError> {
    let path = directory.join(CONFIG_FILE);
    let programs = helpers(&[DockerConfig::load(&path)?], environment);
    Ok(login::store(&path, registry, credential, &programs)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_ends_with_its_line() {
        for (input, expected) in
            [("p", "p"), ("p\n", "p"), ("p\r\n", "p"), (" p \n\n", " p \n"), ("a\nb", "a\nb"), ("", "")]
        {
            assert_eq!(read_password(input.as_bytes()).unwrap().reveal(), expected, "{input:?}");
        }
        assert!(read_password(io::repeat(b'a')).unwrap_err().to_string().contains("longer"));
        assert!(read_password(&b"\xff"[..]).is_err());
    }

    #[test]
    fn who_it_is_must_be_said_and_said_once() {
        for (arguments, expected) in [
            (&["a.io"][..], Err("username and password required")),
            (&["a.io", "-u", "me"], Err("username and password required")),
            (&["a.io", "-p", "hunter2"], Err("username and password required")),
            (&["a.io", "--password-stdin"], Err("the --password-stdin option requires --username to be set")),
            (
                &["a.io", "-u", "me", "-p", "hunter2", "--password-stdin"],
                Err("conflicting options: cannot specify both --password and --password-stdin"),
            ),
            (&["Not A Host", "-u", "me", "-p", "hunter2"], Err("invalid registry")),
            (&["registry", "-u", "me", "-p", "hunter2"], Err("invalid registry")),
            (&["a.io", "-u", "me", "-p", "hunter2"], Ok("a.io")),
            (&["-u", "me", "-p", "hunter2"], Ok("https://index.docker.io/v1/")),
        ] {
            let parsed = pflag::parse(LOGIN.flags, arguments.iter().map(|text| (*text).to_owned())).unwrap();
            let found = given(&parsed).map(|(registry, _)| registry.to_string());
            let found = found.map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{arguments:?}");
        }
    }
}
