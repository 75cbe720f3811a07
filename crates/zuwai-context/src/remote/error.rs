//! What goes wrong with remote sources, and what the user can do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::remote::checksum::Checksum;
use crate::remote::git::GitSourceError;
use crate::remote::git::remote::GitRemote;

/// Why a remote source cannot be had. A location is scheme, host, port and path: never user information, nor a query,
/// which may hold signatures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The address is none.
    #[error("invalid address {location:?}")]
    Address {
        /// What was written, without user, query and fragment.
        location: String,
        /// What is wrong with it.
        #[source]
        source: url::ParseError,
    },
    /// The server refused or failed.
    #[error("cannot fetch {location}: invalid response status {status}")]
    Status {
        /// What was asked for.
        location: String,
        /// The HTTP status.
        status: u16,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// Nobody answers, or who answers is not trusted.
    #[error("cannot fetch {location}: cannot connect")]
    Connect {
        /// What was asked for.
        location: String,
        /// The complaint.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke.
    #[error("cannot fetch {location}: the connection failed")]
    Transport {
        /// What was asked for.
        location: String,
        /// The complaint.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing came for too long.
    #[error("cannot fetch {location}: nothing came for {seconds} seconds")]
    Timeout {
        /// What was asked for.
        location: String,
        /// For how long.
        seconds: u64,
    },
    /// The answer is not one that can be used.
    #[error("cannot fetch {location}: {problem}")]
    Answer {
        /// What was asked for.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The address of a git repository cannot be understood.
    #[error("invalid git repository {location:?}")]
    GitAddress {
        /// What was written, without user, query and fragment.
        location: String,
        /// What is wrong with it.
        #[source]
        source: GitSourceError,
    },
    /// A git server refused or failed.
    #[error("cannot fetch repository {location}: invalid response status {status}")]
    GitStatus {
        /// What was asked for.
        location: String,
        /// The HTTP status.
        status: u16,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// A git repository cannot be had.
    #[error("cannot fetch repository {location}: {problem}")]
    Git {
        /// The repository.
        location: String,
        /// What failed.
        problem: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no program `ssh`.
    #[error("cannot fetch repository {location}: the program ssh is needed and cannot be started")]
    NoSsh {
        /// The repository.
        location: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program `ssh`, or git at its other end, failed.
    #[error("cannot fetch repository {location}: ssh: {text}")]
    Ssh {
        /// The repository.
        location: String,
        /// What it said.
        text: String,
    },
    /// A git repository has no such branch, tag or commit.
    #[error("repository {location} does not contain ref {reference}")]
    NoReference {
        /// The repository.
        location: String,
        /// What was asked for.
        reference: String,
    },
    /// A git repository has no default branch.
    #[error("repository {location} has no commit on its default branch")]
    Empty {
        /// The repository.
        location: String,
    },
    /// A checksum that no commit can have.
    #[error("invalid checksum {checksum} for Git URL, expected hex commit hash")]
    GitChecksum {
        /// The repository.
        location: String,
        /// The checksum.
        checksum: String,
    },
    /// The reference stands for another commit than the one that was demanded.
    #[error("repository {location}: expected checksum to match {expected}, got {actual}")]
    Commit {
        /// The repository.
        location: String,
        /// What was demanded.
        expected: String,
        /// The commit.
        actual: String,
    },
    /// A repository has no such directory.
    #[error("repository {location}: invalid subdir {subdirectory}: {problem}")]
    Subdirectory {
        /// The repository.
        location: String,
        /// What was asked for.
        subdirectory: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The content is not the one that was asked for.
    #[error("cannot fetch {location}: digest mismatch {actual}: {expected}")]
    Checksum {
        /// What was asked for.
        location: String,
        /// What it should be.
        expected: Checksum,
        /// What it is.
        actual: Checksum,
    },
    /// A file cannot be written.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl RemoteError {
    /// The error that a failed exchange is. The URL is left out: it may hold signatures.
    pub(crate) fn of_exchange(location: &str, error: reqwest::Error) -> Self {
        let (location, source) = (location.to_owned(), error.without_url());
        match source.is_connect() {
            true => Self::Connect { location, source },
            false => Self::Transport { location, source },
        }
    }

    /// What went wrong with a git repository.
    pub(crate) fn git(
        remote: &GitRemote,
        problem: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Git { location: remote.location(), problem: problem.to_owned(), source: source.into() }
    }

    /// What the user can do about it, to be shown after the error and its causes.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Status { status: 401 | 403, with_credentials: true, location } => {
                format!("the server did not accept the credentials for {}; check the secret", host(location))
            }
            Self::Status { status: 401 | 403, location, .. } => {
                let host = host(location);
                format!("give the build a secret HTTP_AUTH_TOKEN_{host} or HTTP_AUTH_HEADER_{host}")
            }
            Self::GitStatus { status: 401 | 403, with_credentials: true, location } => {
                format!("the server did not accept the credentials for {}; check the secret", authority(location))
            }
            Self::GitStatus { status: 401 | 403 | 404, location, .. } => {
                let host = authority(location);
                format!("check the address; if the repository is private, give the build a secret GIT_AUTH_TOKEN or GIT_AUTH_TOKEN.{host}")
            }
            Self::NoSsh { .. } => "install ssh where the build runs, or use an https address".to_owned(),
            Self::Ssh { .. } => {
                "check the address, and that an agent with a key for it is given to the build (--ssh)".to_owned()
            }
            Self::NoReference { .. } | Self::Empty { .. } => {
                "name a branch, a tag, or all digits of a commit after '#'".to_owned()
            }
            Self::Commit { .. } => {
                "the reference was moved; if that is known to be right, change the checksum".to_owned()
            }
            Self::Subdirectory { .. } => "name a directory of the repository after '#ref:'".to_owned(),
            Self::Status { status: 404 | 410, .. } => "check the address".to_owned(),
            Self::Status { status: 500.., .. }
            | Self::GitStatus { status: 500.., .. }
            | Self::Transport { .. } | Self::Timeout { .. } => {
                "the server or the network failed; try again".to_owned()
            }
            Self::Connect { location, .. } => format!(
                "check the name and port of {} and that it can be reached from here; a private certificate authority belongs into SSL_CERT_DIR",
                host(location)
            ),
            Self::Checksum { .. } => {
                "the file was changed, on its server or on the way; if that is known to be right, change the checksum"
                    .to_owned()
            }
            _ => return None,
        })
    }
}

/// The host of a location, with its port.
fn authority(location: &str) -> &str {
    let rest = location.split_once("://").map_or(location, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The host of a location, without its port.
fn host(location: &str) -> &str {
    let host = authority(location);
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Names the file in an I/O error.
pub(crate) trait IoContext<T> {
    /// Adds what was tried and on which file.
    fn at(self, action: &'static str, path: &Path) -> Result<T, RemoteError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, RemoteError> {
        self.map_err(|source| RemoteError::Io { action, path: path.to_owned(), source })
    }
}
