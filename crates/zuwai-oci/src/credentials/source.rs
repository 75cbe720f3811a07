//! Where credentials come from beside the docker configuration.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::credentials::Credential;
use crate::reference::Reference;

/// A keeper of credentials that is asked when they are needed: a helper program, a cloud's metadata server, variables
/// of a CI system.
///
/// An implementation answers for its own registries alone, by an exact look at the host's name, before it opens a file
/// or a connection.
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// What it is called in messages and by `--credential-helpers`, such as `ecr`.
    fn name(&self) -> &str;

    /// The credential for a repository; none where the registry is not one of its own, or where it was given nothing to
    /// work with. `web` is a client for servers that are no registries; it follows no redirect.
    ///
    /// The error is a text for the user: cause and place, without any secret.
    fn credential<'a>(
        &'a self,
        reference: &'a Reference,
        web: &'a reqwest::Client,
    ) -> BoxFuture<'a, Result<Option<Granted>, String>>;
}

/// A credential that a source gave.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The credential.
    pub credential: Credential,
    /// How long it may be used; without one, to the end of the program.
    pub lifetime: Option<Duration>,
}
