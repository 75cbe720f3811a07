//! Who we are to a registry.
//!
//! In reading order:
//! - [`docker_config`]: documents in the form of docker's `config.json`, asked first and in order; [`key`]: the names under
//!   which they keep credentials.
//! - [`helper`]: the programs `docker-credential-NAME` that documents name.
//! - [`source`]: what is asked after the documents; [`variables`], [`hosts`]: sources that know their answers; [`ecr`], [`google`],
//!   [`azure`]: sources that ask a cloud, by way of [`cloud`] and, for Amazon, [`aws`].
//! - `cache`: what helpers and sources gave, until it ends.
//! - [`login`]: writing `config.json`.
//!
//! The first that has a credential for a repository decides; a keeper that fails is told of and passed over, for what is
//! asked for may be there for everybody. Where a credential goes is decided in [`crate::registry`].

use std::path::Path;
use std::sync::Arc;

use cache::Cache;

pub mod aws;
pub mod azure;
mod cache;
pub mod cloud;
pub mod docker_config;
pub mod ecr;
pub mod google;
pub mod helper;
pub mod hosts;
pub mod key;
pub mod login;
pub mod source;
pub mod variables;

pub use docker_config::DockerConfig;
pub use helper::Helpers;
pub use hosts::HostCredentials;
pub use key::RegistryKey;
pub use source::{CredentialSource, Granted};
pub use variables::HostVariables;

use crate::error::OciError;
use crate::reference::Reference;
use crate::secret::Secret;
use docker_config::Keeper;

/// What to show to a registry or its token server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// User name and password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token.
    IdentityToken(Secret),
    /// A bearer token that is sent as it is.
    RegistryToken(Secret),
}

/// The credentials of all registries. Never shows a secret. Clones share what helpers and sources gave.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Given one by one; asked first.
    own: DockerConfig,
    documents: Vec<DockerConfig>,
    helpers: Helpers,
    /// Asked, in this order, when no document has an answer.
    sources: Vec<Arc<dyn CredentialSource>>,
    cache: Arc<Cache>,
}

impl Credentials {
    /// The credentials of one docker configuration file; one that is not there gives none.
    ///
    /// # Errors
    /// As [`DockerConfig::load`].
    pub fn load(path: &Path) -> Result<Self, OciError> {
        let mut credentials = Self::default();
        credentials.add_document(DockerConfig::load(path)?);
        Ok(credentials)
    }

    /// Adds a document that is asked after the ones added before.
    pub fn add_document(&mut self, document: DockerConfig) {
        self.documents.push(document);
    }

    /// Adds the credential of a registry, or of a part of one (`registry/team`). It comes before all others.
    pub fn insert(&mut self, key: &str, credential: Credential) {
        self.own.insert(key, credential);
    }

    /// Gives the helper programs that documents name. Those that are not given are not there.
    pub fn set_helpers(&mut self, helpers: Helpers) {
        self.helpers = helpers;
    }

    /// Adds a source that is asked after the documents and the sources added before.
    pub fn add_source(&mut self, source: Arc<dyn CredentialSource>) {
        self.sources.push(source);
    }

    /// Whether nobody is there to have a credential.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.documents().all(DockerConfig::is_empty)
    }

    /// The credential for a repository: from the first document that has one, else from the first source.
    pub(crate) async fn find(&self, reference: &Reference, web: &reqwest::Client) -> Option<Credential> {
        let name = reference.name();
        for keeper in self.documents().flat_map(|document| document.keepers(reference, &name)) {
            match keeper {
                Keeper::Entry(credential) => return Some(credential.clone()),
                Keeper::Helper { name, key } => {
                    let found = self.ask_helper(name, key).await;
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        for source in &self.sources {
            let key = (source.name().to_owned(), reference.registry().to_owned());
            let found = self.cache.get(key, source.credential(reference, web)).await;
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Forgets what helpers and sources gave for a registry, which has refused it; `true` if asking anew may bring another.
    pub(crate) async fn forget(&self, registry: &str) -> bool {
        self.cache.forget(registry).await
    }

    async fn ask_helper(&self, name: &str, key: &str) -> Option<Credential> {
        let keeper = format!("docker-credential-{name}");
        let (helpers, owned) = (self.helpers.clone(), (name.to_owned(), key.to_owned()));
        let ask = async {
            let asked = tokio::task::spawn_blocking(move || helpers.get(&owned.0, &owned.1)).await;
            let answer = asked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            Ok(answer.map(|credential| Granted { credential, lifetime: None }))
        };
        self.cache.get((keeper, key.to_owned()), ask).await
    }

    fn documents(&self) -> impl Iterator<Item = &DockerConfig> {
        std::iter::once(&self.own).chain(&self.documents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str) -> Credential {
        Credential::Basic { username: username.to_owned(), password: Secret::new("hunter2") }
    }

    #[tokio::test]
    async fn the_first_that_has_a_credential_decides() {
        let document = |text: &str| DockerConfig::parse(Path::new("x"), text.as_bytes()).unwrap();
        let mut source = HostCredentials::new("ci");
        for host in ["a.io", "b.io", "c.io", "d.io"] {
            source.insert(host, basic("source"));
        }
        let mut credentials = Credentials::default();
        assert!(credentials.is_empty());
        credentials.add_source(Arc::new(source));
        credentials.add_document(document(
            r#"{"auths": {"b.io": {"username": "first", "password": "p"}}, "credHelpers": {"d.io": "missing"}}"#,
        ));
        credentials.add_document(document(
            r#"{"auths": {"b.io/team": {"username": "second", "password": "p"},
                "c.io": {"username": "second", "password": "p"}}}"#,
        ));
        credentials.insert("own.io", basic("own"));
        let web = crate::Registry::new(crate::RegistryOptions::default()).unwrap().web_client();
        for (image, expected) in [
            ("a.io/x", Some("source")),
            // Within a document the longest path counts, but not across documents.
            ("b.io/team/x", Some("first")),
            ("c.io/x", Some("second")),
            // A helper that is not there is passed over.
            ("d.io/x", Some("source")),
            ("own.io/x", Some("own")),
            ("e.io/x", None),
        ] {
            let found = credentials.find(&image.parse().unwrap(), &web).await;
            let found = found.map(|credential| match credential {
                Credential::Basic { username, .. } => username,
                other => panic!("{other:?}"),
            });
            assert_eq!(found.as_deref(), expected, "{image}");
        }
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
