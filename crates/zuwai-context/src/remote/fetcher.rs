//! How remote sources are reached.

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::runtime::Handle;
use zuwai_oci::{Registry, Secret};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Who fetches: over the connections, proxies, name servers and certificate authorities of a registry client, and from
/// plain threads. Must not be used inside async code.
#[derive(Clone, Copy)]
pub struct Fetcher<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) runtime: &'a Handle,
}

impl<'a> Fetcher<'a> {
    /// A fetcher on this runtime, which must have its I/O and time drivers.
    pub fn new(registry: &'a Registry, runtime: &'a Handle) -> Self {
        Self { registry, runtime }
    }

    /// Time in which something must move.
    pub(crate) fn stall_timeout(&self) -> Duration {
        self.registry.options().stall_timeout
    }
}

impl fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("registry", self.registry).finish_non_exhaustive()
    }
}

/// The value of an `Authorization` header. `Debug` does not show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization(HeaderValue);

impl Authorization {
    /// The header as it is (`HTTP_AUTH_HEADER`, `GIT_AUTH_HEADER`); `None` if it holds what no header may.
    pub fn header(value: &Secret) -> Option<Self> {
        let mut header = HeaderValue::from_str(value.reveal().trim()).ok()?;
        header.set_sensitive(true);
        Some(Self(header))
    }

    /// A token for an HTTP server (`HTTP_AUTH_TOKEN`).
    pub fn bearer(token: &Secret) -> Option<Self> {
        Self::header(&Secret::new(format!("Bearer {}", token.reveal().trim())))
    }

    /// A token for a git server (`GIT_AUTH_TOKEN`): the password of the user `x-access-token`.
    pub fn git_token(token: &Secret) -> Option<Self> {
        Self::basic("x-access-token", token.reveal().trim())
    }

    /// User name and password.
    pub(crate) fn basic(user: &str, password: &str) -> Option<Self> {
        let text = STANDARD.encode(format!("{user}:{password}"));
        Self::header(&Secret::new(format!("Basic {text}")))
    }

    pub(crate) fn value(&self) -> &HeaderValue {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_become_headers_that_are_not_shown() {
        let token = Secret::new("hunter2\n");
        let text = |made: Option<Authorization>| made.unwrap().value().to_str().unwrap().to_owned();
        assert_eq!(text(Authorization::bearer(&token)), "Bearer hunter2");
        assert_eq!(text(Authorization::header(&token)), "hunter2");
        assert_eq!(text(Authorization::git_token(&token)), "Basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMg==");
        assert!(Authorization::header(&Secret::new("a\nb")).is_none());
        assert!(!format!("{:?}", Authorization::bearer(&token)).contains("hunter2"));
    }
}
