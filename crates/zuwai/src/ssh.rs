//! `--ssh`: from what docker's users write to the SSH agents of a build, with buildx's rules and error texts.
//!
//! `ID[=SOCKET|KEY[,KEY...]]`: an agent's socket or private keys; without them `SSH_AUTH_SOCK` names a socket (or a
//! key). The ID that mounts mean where they name none is `default`, which an empty one is, too.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use zuwai_build::ssh::{DEFAULT_ID, SshAgent, SshAgents, SshError};

use crate::environment::Environment;

/// The agents that the values of `--ssh` name, opened now.
///
/// # Errors
/// When there is no such socket or key, or an ID is given twice.
pub fn read(values: &[String], environment: &Environment) -> Result<SshAgents, SshFlagError> {
    let mut agents = SshAgents::default();
    for (id, paths) in places(values, environment) {
        if paths.first().is_none_or(|path| path.is_empty()) {
            return Err(SshFlagError::NoSocket);
        }
        let agent =
            SshAgent::open(paths).map_err(|source| SshFlagError::Agent { id: id.to_owned(), source })?;
        agents.insert(id, agent).map_err(SshFlagError::Twice)?;
    }
    Ok(agents)
}

/// The sockets and keys that the values of `--ssh` name: what commands must not see but through a socket of their own.
pub fn files(values: &[String], environment: &Environment) -> Vec<PathBuf> {
    let paths = places(values, environment).flat_map(|(_, paths)| paths);
    paths.filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// The ID and the paths of each value.
fn places<'a>(
    values: &'a [String],
    environment: &'a Environment,
) -> impl Iterator<Item = (&'a str, Vec<&'a OsStr>)> {
    // An empty value is none, as with buildx.
    values.iter().filter(|value| !value.is_empty()).map(|value| {
        let (id, paths) = value.split_once('=').unwrap_or((value, ""));
        let id = if id.is_empty() { DEFAULT_ID } else { id };
        let paths = match paths {
            "" => environment.bytes("SSH_AUTH_SOCK").map(OsStr::from_bytes).into_iter().collect(),
            paths => paths.split(',').map(OsStr::new).collect(),
        };
        (id, paths)
    })
}

/// Why there is no such agent.
#[derive(Debug, thiserror::Error)]
pub enum SshFlagError {
    /// Neither a path nor the variable.
    #[error("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")]
    NoSocket,
    /// The paths cannot be used.
    #[error("failed to convert agent config for ID: {id:?}")]
    Agent {
        /// The agent's ID.
        id: String,
        /// Why not.
        source: SshError,
    },
    /// An ID is given twice.
    #[error(transparent)]
    Twice(SshError),
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_files_of_agents_are_known() {
        let environment = [("SSH_AUTH_SOCK".to_owned(), "/socket".to_owned())].into_iter().collect();
        let values = ["default", "a=/a,b", "", "c="].map(str::to_owned);
        assert_eq!(files(&values, &environment), ["/socket", "/a", "b", "/socket"].map(PathBuf::from));
    }

    /// The IDs that are there after `values`, or the error with its causes. `DIR/socket` is a socket, and
    /// `SSH_AUTH_SOCK` names it where `variable` says so.
    fn ids(values: &[&str], variable: bool) -> Result<Vec<&'static str>, String> {
        let directory = tempfile::tempdir().unwrap();
        let prefix = format!("{}/", directory.path().display());
        let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
        std::fs::write(directory.path().join("file"), "no key").unwrap();
        let values: Vec<_> = values.iter().map(|value| value.replace("DIR/", &prefix)).collect();
        let socket = ("SSH_AUTH_SOCK".to_owned(), format!("{prefix}socket"));
        match read(&values, &variable.then_some(socket).into_iter().collect()) {
            Ok(agents) => {
                Ok(["default", "a", "b"].into_iter().filter(|id| agents.get(id).is_some()).collect())
            }
            Err(error) => {
                let causes = std::iter::successors(error.source(), |cause| (*cause).source());
                let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
                Err(text.replace(&prefix, "DIR/"))
            }
        }
    }

    /// Each row is what buildx 0.29 does.
    #[test]
    fn agents_are_what_docker_has_them_be() {
        for (values, variable, expected) in [
            (&[""][..], false, &[][..]),
            (&["default"], true, &["default"]),
            (&["="], true, &["default"]),
            (&["a="], true, &["a"]),
            (&["default=DIR/socket"], false, &["default"]),
            (&["=DIR/socket", "a=DIR/socket", "b"], true, &["default", "a", "b"]),
        ] {
            assert_eq!(ids(values, variable).as_deref(), Ok(expected), "{values:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_buildxs_words() {
        let unset = "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set";
        let config = |reason: &str| format!("failed to convert agent config for ID: \"a\": {reason}");
        for (values, variable, expected) in [
            (&["default"][..], false, unset.to_owned()),
            (&["="], false, unset.to_owned()),
            (&["a=,"], true, unset.to_owned()),
            (&["a=,DIR/socket"], true, unset.to_owned()),
            (&["a=DIR/socket", "a=DIR/socket"], false, "duplicate agent ID \"a\"".to_owned()),
            (&["default", "=DIR/socket"], true, "duplicate agent ID \"default\"".to_owned()),
            (&["a=DIR/no"], false, config("failed to open DIR/no: No such file or directory (os error 2)")),
            (&["a=DIR/"], false, config("failed to read DIR/: Is a directory (os error 21)")),
            (&["a=DIR/socket,DIR/socket"], false, config("only single socket allowed")),
            (&["a=DIR/file"], false, config("failed to parse DIR/file: no key found")),
            (&["a=/dev/zero"], false, config("failed to parse /dev/zero: no key found")),
        ] {
            let error = ids(values, variable).unwrap_err();
            assert!(error.starts_with(&expected), "{values:?}: {error}");
        }
    }
}
