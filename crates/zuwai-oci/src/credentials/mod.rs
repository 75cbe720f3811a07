//! Who we are to a registry: the `auths` of docker's `config.json`.
//!
//! Entries are found by the longest path prefix, as containers-auth.json(5) has it: `registry/team/app` comes before
//! `registry/team` and `registry`. Keys in the old URL style (`https://index.docker.io/v1/`) are understood. Credential
//! helpers, identity tokens and other sources of credentials are later additions: [`Credentials::lookup`] is their
//! place.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

pub mod source;

pub use source::{CredentialSource, Granted};

use crate::error::OciError;
use crate::go_json::{from_object, null_is_empty};
use crate::reference::{DOCKER_HUB, Reference};
use crate::secret::Secret;
use crate::store::read_limited;

/// Largest docker configuration that is read.
const CONFIG_LIMIT: u64 = 4 << 20;

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

/// The credentials of all registries. Never shows a secret.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// By registry and path, without scheme.
    entries: BTreeMap<String, Credential>,
    /// Registries whose credentials a helper program keeps.
    helpers: BTreeMap<String, String>,
    /// The helper program for every other registry.
    default_helper: Option<String>,
    /// Asked, in this order, when nothing above has an answer.
    sources: Vec<Arc<dyn CredentialSource>>,
}

/// The parts of `config.json` that are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default, deserialize_with = "null_is_empty")]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default, deserialize_with = "null_is_empty")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    creds_store: String,
}

/// One entry of `auths`.
#[derive(Deserialize, Default)]
struct AuthEntry {
    #[serde(default, deserialize_with = "null_is_empty")]
    auth: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    username: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    password: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    identitytoken: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    registrytoken: String,
}

impl Credentials {
    /// Reads a docker configuration file; one that is not there gives no credentials.
    pub fn load(path: &Path) -> Result<Self, OciError> {
        let bytes = match read_limited(path, CONFIG_LIMIT) {
            Ok(bytes) => bytes,
            Err(OciError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(error),
        };
        Self::parse(path, &bytes)
    }

    /// Reads the contents of a docker configuration; `path` is for messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, OciError> {
        let malformed = |problem: String| OciError::DockerConfig { path: path.to_owned(), problem };
        // Of the parser's complaint only the place is told: the text might hold a password.
        let config: DockerConfig = from_object(bytes).map_err(|error| {
            malformed(format!("not the expected JSON at line {}, column {}", error.line(), error.column()))
        })?;
        let mut credentials = Self {
            entries: BTreeMap::new(),
            helpers: config
                .cred_helpers
                .into_iter()
                .map(|(key, helper)| (normalise_key(&key), helper))
                .collect(),
            default_helper: Some(config.creds_store).filter(|helper| !helper.is_empty()),
            sources: Vec::new(),
        };
        for (key, entry) in config.auths {
            let credential =
                entry.credential().map_err(|problem| malformed(format!("auths.{key:?}: {problem}")))?;
            if let Some(credential) = credential {
                credentials.insert(&key, credential);
            }
        }
        Ok(credentials)
    }

    /// Adds the credential of a registry, or of a part of one (`registry/team`).
    pub fn insert(&mut self, key: &str, credential: Credential) {
        self.entries.insert(normalise_key(key), credential);
    }

    /// Whether there is no credential for anybody.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a source that is asked after the docker configuration and the sources added before.
    pub fn add_source(&mut self, source: Arc<dyn CredentialSource>) {
        self.sources.push(source);
    }

    /// The credential for a repository: from the docker configuration, else from the first source that has one. A source
    /// that fails is told of and passed over: what is asked for may be there for everybody.
    pub(crate) async fn find(&self, reference: &Reference, web: &reqwest::Client) -> Option<Credential> {
        if let Some(credential) = self.lookup(reference) {
            return Some(credential.clone());
        }
        for source in &self.sources {
            match source.credential(reference, web).await {
                Ok(Some(granted)) => return Some(granted.credential),
                Ok(None) => {}
                Err(problem) => tracing::warn!(
                    "no credentials for {} from {}: {problem}",
                    reference.registry(),
                    source.name()
                ),
            }
        }
        None
    }

    /// The credential for a repository: the entry with the longest path that it is under.
    pub fn lookup(&self, reference: &Reference) -> Option<&Credential> {
        let name = reference.name();
        let mut prefix = name.as_str();
        loop {
            if let Some(credential) = self.entries.get(prefix) {
                return Some(credential);
            }
            match prefix.rfind('/') {
                Some(slash) => prefix = &prefix[..slash],
                None => break,
            }
        }
        let helper = self.helpers.get(reference.registry()).or(self.default_helper.as_ref());
        if let Some(helper) = helper {
            tracing::warn!(
                "credentials for {} are kept by docker-credential-{helper}; credential helpers are not supported yet, \
                 going on without credentials",
                reference.registry()
            );
        }
        None
    }
}

impl AuthEntry {
    fn credential(self) -> Result<Option<Credential>, String> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::IdentityToken(Secret::new(self.identitytoken))));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credential::RegistryToken(Secret::new(self.registrytoken))));
        }
        if !self.auth.is_empty() {
            let text = self.auth.trim();
            let decoded = STANDARD
                .decode(text)
                .or_else(|_| STANDARD_NO_PAD.decode(text))
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or("auth is not base64 of user:password")?;
            let (username, password) =
                decoded.split_once(':').ok_or("auth is not base64 of user:password")?;
            // Docker pads the password with NUL bytes in some versions.
            let password = Secret::new(password.trim_end_matches('\0'));
            return Ok(Some(Credential::Basic { username: username.to_owned(), password }));
        }
        if self.username.is_empty() && self.password.is_empty() {
            // docker leaves `{}` where a helper keeps the credentials.
            return Ok(None);
        }
        Ok(Some(Credential::Basic { username: self.username, password: Secret::new(self.password) }))
    }
}

/// A key without scheme, trailing slash and API version, Docker Hub's names made one.
fn normalise_key(key: &str) -> String {
    let plain = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let plain = plain.trim_end_matches('/');
    let plain = ["/v1", "/v2"].iter().find_map(|version| plain.strip_suffix(version)).unwrap_or(plain);
    let (host, path) = plain.split_once('/').map_or((plain, None), |(host, path)| (host, Some(path)));
    let host = match host {
        "docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => DOCKER_HUB,
        other => other,
    };
    match path {
        Some(path) => format!("{host}/{path}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Credentials, OciError> {
        Credentials::parse(Path::new("/x/config.json"), text.as_bytes())
    }

    #[test]
    fn the_longest_path_wins() {
        let credentials = parse(
            r#"{"auths": {
                "registry.example": {"username": "host", "password": "1"},
                "registry.example/team": {"auth": "dGVhbToy"},
                "registry.example/team/app": {"auth": "YXBwOjM="},
                "https://index.docker.io/v1/": {"auth": "aHViOng6eQ=="},
                "https://old.example:5000/v2/": {"username": "old", "password": "4"},
                "empty.example": {}
            }, "unknown": {"a": 1}}"#,
        )
        .unwrap();
        for (name, expected) in [
            ("registry.example/x", Some(("host", "1"))),
            ("registry.example/teamwork/x", Some(("host", "1"))),
            ("registry.example/team/other", Some(("team", "2"))),
            ("registry.example/team/app:1", Some(("app", "3"))),
            ("registry.example/team/app/deeper", Some(("app", "3"))),
            ("registry.example:5000/team/app", None),
            ("evil-registry.example/x", None),
            ("ubuntu", Some(("hub", "x:y"))),
            ("docker.io/some/one", Some(("hub", "x:y"))),
            ("old.example:5000/x", Some(("old", "4"))),
            ("empty.example/x", None),
        ] {
            let found = credentials.lookup(&name.parse().unwrap());
            let found = found.map(|credential| match credential {
                Credential::Basic { username, password } => (username.as_str(), password.reveal()),
                other => panic!("{other:?}"),
            });
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_malformed_file_is_named_but_not_shown() {
        for text in [
            "{",
            "[]",
            r#"{"auths": {"a": {"auth": "!hunter2!"}}}"#,
            r#"{"auths": {"a": {"auth": "aHVudGVyMg=="}}}"#,
            r#"{"auths": {"a": {"password": ["hunter2"]}}}"#,
            r#"{"auths": "hunter2"}"#,
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains("/x/config.json") && !message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn tokens_are_told_from_passwords() {
        let credentials = parse(
            r#"{"auths": {"a.io": {"auth": "eDp5", "identitytoken": "i"}, "b.io": {"registrytoken": "r"}},
                "credHelpers": {"c.io": "ecr-login"}, "credsStore": null}"#,
        )
        .unwrap();
        let lookup = |name: &str| credentials.lookup(&name.parse().unwrap()).cloned();
        assert_eq!(lookup("a.io/x"), Some(Credential::IdentityToken(Secret::new("i"))));
        assert_eq!(lookup("b.io/x"), Some(Credential::RegistryToken(Secret::new("r"))));
        assert_eq!(lookup("c.io/x"), None);
    }

    #[test]
    fn a_file_that_is_not_there_gives_no_credentials() {
        assert!(Credentials::load(Path::new("/nonexistent/config.json")).unwrap().is_empty());
    }
}
