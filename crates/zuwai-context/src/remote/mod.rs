//! Sources that are elsewhere: files on web servers, and git repositories.
//!
//! What comes is hostile: sizes are bound by the disk and never held in memory, names never lead out of the directory
//! that the caller gives, and no message holds a password, a token or a query.
//!
//! In reading order: [`fetcher`] says how servers are reached; [`http`] fetches files, [`checksum`] says what they must
//! be; [`git`] checks out repositories; [`error`] is what goes wrong.

pub mod checksum;
pub mod error;
pub mod fetcher;
pub mod git;
pub mod http;
mod http_body;
mod http_date;
mod location;

pub use checksum::Checksum;
pub use error::RemoteError;
pub use fetcher::{Authorization, Fetcher};
pub use git::{GitCheckout, GitOptions, GitSource, GitSourceError, SshOptions};
pub use http::{FetchedFile, HttpOptions, HttpSource};

/// A source that is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteSource {
    /// A file on a web server.
    Http(HttpSource),
    /// A git repository.
    Git(GitSource),
}

impl RemoteSource {
    /// Reads a source of `ADD`; `None` if it is a path. As in BuildKit, schemes count in lower case alone.
    ///
    /// # Errors
    /// When the source is remote, but its address is not one.
    pub fn parse(text: &str) -> Option<Result<Self, RemoteError>> {
        if let Some(git) = GitSource::parse(text) {
            let invalid = |source| RemoteError::GitAddress { location: location::shown(text), source };
            return Some(git.map(Self::Git).map_err(invalid));
        }
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return None;
        }
        let invalid = |source| RemoteError::Address { location: location::shown(text), source };
        Some(HttpSource::parse(text).map(Self::Http).map_err(invalid))
    }
}
