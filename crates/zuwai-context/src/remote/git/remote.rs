//! Where a git repository is.

use std::fmt;

use url::Url;

use crate::remote::git::source::GitSourceError;
use crate::remote::location::location;

/// The port of git's own protocol.
const GIT_PORT: u16 = 9418;

/// The address of a git repository.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum GitRemote {
    /// Over HTTP or HTTPS, with git's smart protocol.
    Web(Url),
    /// From a git daemon; neither encrypted nor authenticated.
    Daemon { host: String, port: u16, path: String },
    /// Through the program `ssh`.
    Ssh { user: Option<String>, host: String, port: Option<u16>, path: String },
}

impl GitRemote {
    /// Reads an address without fragment and query; `None` if it is not one of a kind that is known.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, GitSourceError>> {
        match text.split_once("://") {
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "http" | "https" => {
                    let url = Url::parse(text).map_err(|_| GitSourceError::Host);
                    Some(url.map(Self::Web))
                }
                "git" => Some(authority(rest).map(|authority| Self::Daemon {
                    host: authority.host,
                    port: authority.port.unwrap_or(GIT_PORT),
                    path: authority.path,
                })),
                "ssh" => Some(authority(rest).map(|authority| Self::Ssh {
                    user: authority.user,
                    host: authority.host,
                    port: authority.port,
                    path: authority.path,
                })),
                _ => None,
            },
            None => short_ssh(text),
        }
    }

    /// A submodule's address, which may be relative to this one as `git submodule` reads it.
    pub(crate) fn join(&self, text: &str) -> Option<Result<Self, GitSourceError>> {
        if !text.starts_with("./") && !text.starts_with("../") {
            return Self::parse(text);
        }
        let path = match self {
            Self::Web(url) => url.path(),
            Self::Daemon { path, .. } | Self::Ssh { path, .. } => path,
        };
        let mut base = path.trim_end_matches('/');
        let mut rest = text;
        loop {
            if let Some(after) = rest.strip_prefix("./") {
                rest = after;
            } else if let Some(after) = rest.strip_prefix("../") {
                base = base.rfind('/').map_or("", |slash| &base[..slash]);
                rest = after;
            } else {
                break;
            }
        }
        let joined = if base.is_empty() && !path.starts_with('/') {
            rest.to_owned()
        } else {
            format!("{base}/{rest}")
        };
        let mut remote = self.clone();
        match &mut remote {
            Self::Web(url) => url.set_path(&joined),
            Self::Daemon { path, .. } | Self::Ssh { path, .. } => *path = joined,
        }
        Some(Ok(remote))
    }

    /// Host, with its port if one is named.
    pub(crate) fn host(&self) -> String {
        let (host, port) = match self {
            Self::Web(url) => (url.host_str().unwrap_or_default(), url.port()),
            Self::Daemon { host, port, .. } => (host.as_str(), Some(*port).filter(|port| *port != GIT_PORT)),
            Self::Ssh { host, port, .. } => (host.as_str(), *port),
        };
        port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Scheme, host, port and path: neither user nor password, nor a query.
    pub(crate) fn location(&self) -> String {
        let (scheme, path) = match self {
            Self::Web(url) => return location(url),
            Self::Daemon { path, .. } => ("git", path),
            Self::Ssh { path, .. } => ("ssh", path),
        };
        format!("{scheme}://{}/{}", self.host(), path.trim_start_matches('/'))
    }

    /// As it stands in the configuration of a kept `.git` directory: without a password.
    pub(crate) fn config_url(&self) -> String {
        match self {
            Self::Ssh { user, host, port: None, path } if !path.starts_with('/') => {
                format!("{}{host}:{path}", user.as_ref().map(|user| format!("{user}@")).unwrap_or_default())
            }
            Self::Ssh { user: Some(user), .. } => self.location().replacen("://", &format!("://{user}@"), 1),
            _ => self.location(),
        }
    }
}

impl fmt::Debug for GitRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitRemote({})", self.location())
    }
}

struct Authority {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
}

/// `[user[:password]@]host[:port]/path`.
fn authority(text: &str) -> Result<Authority, GitSourceError> {
    let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user.split(':').next().unwrap_or(user).to_owned()), host),
        None => (None, authority),
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, Some(port.parse().map_err(|_| GitSourceError::Port(port.to_owned()))?))
        }
        _ => (host, None),
    };
    check_host(host)?;
    if path.trim_matches('/').is_empty() {
        return Err(GitSourceError::Path);
    }
    Ok(Authority { user, host: host.to_owned(), port, path: path.to_owned() })
}

/// `user@host:path`.
fn short_ssh(text: &str) -> Option<Result<GitRemote, GitSourceError>> {
    let (user, rest) = text.split_once('@')?;
    let (host, path) = rest.split_once(':')?;
    let word = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if user.is_empty() || !user.chars().all(word) || host.contains('/') || host.contains(char::is_whitespace)
    {
        return None;
    }
    if path.is_empty() {
        return Some(Err(GitSourceError::Path));
    }
    Some(check_host(host).map(|()| GitRemote::Ssh {
        user: Some(user.to_owned()),
        host: host.to_owned(),
        port: None,
        path: path.to_owned(),
    }))
}

/// A host that is one, and that `ssh` cannot take for a flag.
fn check_host(host: &str) -> Result<(), GitSourceError> {
    let odd = |character: char| character.is_control() || character.is_whitespace();
    match host.is_empty() || host.starts_with('-') || host.chars().any(odd) {
        true => Err(GitSourceError::Host),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submodule_is_found_from_its_parent() {
        for (parent, text, joined) in [
            ("https://h/a/b.git", "../c.git", "https://h/a/c.git"),
            ("https://h/a/b.git", "./c", "https://h/a/b.git/c"),
            ("https://h/a/b.git/", "../../c", "https://h/c"),
            ("https://h/a", "../../../c", "https://h/c"),
            ("git@h:a/b", "../c", "ssh://h/a/c"),
            ("git@h:a", "../c", "ssh://h/c"),
            ("git://h/a/b", "https://other/c", "https://other/c"),
        ] {
            let parent = GitRemote::parse(parent).unwrap().unwrap();
            assert_eq!(parent.join(text).unwrap().unwrap().location(), joined, "{text}");
        }
        let parent = GitRemote::parse("https://h/a").unwrap().unwrap();
        assert_eq!(parent.join("/etc"), None);
        assert_eq!(parent.join("file:///etc"), None);
    }

    #[test]
    fn a_configuration_holds_no_password() {
        for (text, url) in [
            ("https://me:hunter2@h/x.git", "https://h/x.git"),
            ("git@h:x.git", "git@h:x.git"),
            ("ssh://git:hunter2@h:22/x", "ssh://git@h:22/x"),
            ("git://h/x", "git://h/x"),
        ] {
            assert_eq!(GitRemote::parse(text).unwrap().unwrap().config_url(), url);
        }
    }
}
