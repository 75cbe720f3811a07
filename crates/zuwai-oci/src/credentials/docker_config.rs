//! Docker's `config.json` and what has its form: podman's `auth.json`, and the text of `DOCKER_AUTH_CONFIG`.
//!
//! Read are `auths`, `credHelpers` and `credsStore`. For a repository the longest path counts, as containers-auth.json(5)
//! has it: `registry/team/app` comes before `registry/team` and `registry`. Of one path its helper program comes before
//! its entry, as in docker; the program of `credsStore` comes last, so that an entry that somebody wrote by hand is not
//! hidden by a keeper that knows nothing of it. Keys in the old URL style (`https://index.docker.io/v1/`) are
//! understood, and give way to the plain form of the same name.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::Credential;
use super::key::normalise_key;
use crate::error::OciError;
use crate::go_json::{from_object, null_is_empty};
use crate::reference::Reference;
use crate::secret::Secret;
use crate::store::read_limited;

/// Largest docker configuration that is read.
pub(super) const CONFIG_LIMIT: u64 = 4 << 20;

/// The credentials and keepers of credentials that one document names. `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub struct DockerConfig {
    /// By registry and path, without scheme.
    entries: BTreeMap<String, Credential>,
    /// Helper programs by registry and path.
    helpers: BTreeMap<String, String>,
    /// The helper program for every registry.
    default_helper: Option<String>,
}

/// Who may have a repository's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keeper<'a> {
    /// The document itself.
    Entry(&'a Credential),
    /// A helper program.
    Helper {
        /// What follows `docker-credential-`.
        name: &'a str,
        /// What it is asked for: a registry, or a part of one.
        key: &'a str,
    },
}

/// The parts of the document that are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
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

impl DockerConfig {
    /// Reads a file; one that is not there says nothing.
    ///
    /// # Errors
    /// When the file cannot be read, is too long or malformed.
    pub fn load(path: &Path) -> Result<Self, OciError> {
        match read_limited(path, CONFIG_LIMIT) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(OciError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a document; `path` is for messages.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, OciError> {
        let malformed = |problem: String| OciError::DockerConfig { path: path.to_owned(), problem };
        // An empty file is what `touch` and an unset secret leave.
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // Of the parser's complaint only the place is told: the text might hold a password.
        let document: Document = from_object(bytes).map_err(|error| {
            malformed(format!("not the expected JSON at line {}, column {}", error.line(), error.column()))
        })?;
        let mut config = Self {
            entries: BTreeMap::new(),
            helpers: by_path(document.cred_helpers).filter(|(_, helper)| !helper.is_empty()).collect(),
            default_helper: Some(document.creds_store).filter(|helper| !helper.is_empty()),
        };
        for (key, entry) in document.auths {
            let normal = normalise_key(&key);
            let credential =
                entry.credential().map_err(|problem| malformed(format!("auths.{key:?}: {problem}")))?;
            let Some(credential) = credential else { continue };
            if normal == key {
                config.entries.insert(normal, credential);
            } else {
                config.entries.entry(normal).or_insert(credential);
            }
        }
        Ok(config)
    }

    /// Adds the credential of a registry, or of a part of one (`registry/team`).
    pub fn insert(&mut self, key: &str, credential: Credential) {
        self.entries.insert(normalise_key(key), credential);
    }

    /// Whether neither a credential nor a keeper of credentials is named.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.helpers.is_empty() && self.default_helper.is_none()
    }

    /// The helper programs that are named, without `docker-credential-`.
    pub fn helper_names(&self) -> impl Iterator<Item = &str> {
        self.helpers.values().chain(&self.default_helper).map(String::as_str)
    }

    /// The helper program that keeps what belongs to a key as `normalise_key` makes it.
    pub(super) fn helper_for(&self, key: &str) -> Option<&str> {
        self.helpers.get(key).or(self.default_helper.as_ref()).map(String::as_str)
    }

    /// Who may have the credential of a repository, in the order in which they are asked; `name` is its full name.
    pub(super) fn keepers<'a>(&'a self, reference: &'a Reference, name: &'a str) -> Vec<Keeper<'a>> {
        let mut keepers = Vec::new();
        let mut prefix = name;
        loop {
            if let Some((key, helper)) = self.helpers.get_key_value(prefix) {
                keepers.push(Keeper::Helper { name: helper, key });
            }
            keepers.extend(self.entries.get(prefix).map(Keeper::Entry));
            match prefix.rfind('/') {
                Some(slash) => prefix = &prefix[..slash],
                None => break,
            }
        }
        let key = reference.registry();
        keepers.extend(self.default_helper.as_deref().map(|name| Keeper::Helper { name, key }));
        keepers
    }
}

/// Values by plain keys; of two that are the same name, the one that was written plainly counts.
fn by_path(values: BTreeMap<String, String>) -> impl Iterator<Item = (String, String)> {
    let (plain, urls): (Vec<_>, Vec<_>) = values.into_iter().partition(|(key, _)| normalise_key(key) == *key);
    urls.into_iter().chain(plain).map(|(key, value)| (normalise_key(&key), value))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DockerConfig, OciError> {
        DockerConfig::parse(Path::new("/x/config.json"), text.as_bytes())
    }

    /// Who is asked for a repository, as `entry USER` and `helper NAME KEY`.
    fn asked(config: &DockerConfig, name: &str) -> Vec<String> {
        let reference: Reference = name.parse().unwrap();
        let full = reference.name();
        let keepers = config.keepers(&reference, &full).into_iter().map(|keeper| match keeper {
            Keeper::Entry(Credential::Basic { username, password }) => {
                format!("entry {username} {}", password.reveal())
            }
            Keeper::Entry(other) => format!("entry {other:?}"),
            Keeper::Helper { name, key } => format!("helper {name} {key}"),
        });
        keepers.collect()
    }

    #[test]
    fn the_longest_path_wins() {
        let config = parse(
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
            ("registry.example/x", Some("entry host 1")),
            ("registry.example/teamwork/x", Some("entry host 1")),
            ("registry.example/team/other", Some("entry team 2")),
            ("registry.example/team/app:1", Some("entry app 3")),
            ("registry.example/team/app/deeper", Some("entry app 3")),
            ("registry.example:5000/team/app", None),
            ("evil-registry.example/x", None),
            ("ubuntu", Some("entry hub x:y")),
            ("docker.io/some/one", Some("entry hub x:y")),
            ("old.example:5000/x", Some("entry old 4")),
            ("empty.example/x", None),
        ] {
            assert_eq!(asked(&config, name).first().map(String::as_str), expected, "{name}");
        }
    }

    #[test]
    fn a_paths_helper_comes_before_its_entry_and_the_store_last() {
        let config = parse(
            r#"{"auths": {"a.io": {"username": "u", "password": "p"}, "a.io/t": {"username": "t", "password": "p"}},
                "credHelpers": {"a.io": "host", "a.io/t/x": "deep", "https://index.docker.io/v1/": "hub", "e.io": ""},
                "credsStore": "desktop"}"#,
        )
        .unwrap();
        for (name, expected) in [
            ("a.io/t/x", &["helper deep a.io/t/x", "entry t p", "helper host a.io", "entry u p"][..]),
            ("a.io/y", &["helper host a.io", "entry u p"]),
            ("ubuntu", &["helper hub index.docker.io"]),
            ("b.io/x", &[]),
            ("e.io/x", &[]),
        ] {
            let store = format!("helper desktop {}", Reference::parse(name).unwrap().registry());
            let expected: Vec<&str> = expected.iter().copied().chain([store.as_str()]).collect();
            assert_eq!(asked(&config, name), expected, "{name}");
        }
    }

    #[test]
    fn a_plain_key_comes_before_a_url_of_the_same_name() {
        for host in ["a.io", "z.io"] {
            let config = parse(&format!(
                r#"{{"auths": {{"https://{host}/v1/": {{"username": "url", "password": "p"}},
                    "{host}": {{"username": "plain", "password": "p"}}}}}}"#
            ))
            .unwrap();
            assert_eq!(asked(&config, &format!("{host}/x")), ["entry plain p"], "{host}");
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
        let config = parse(
            r#"{"auths": {"a.io": {"auth": "eDp5", "identitytoken": "i"}, "b.io": {"registrytoken": "r"}},
                "credsStore": null}"#,
        )
        .unwrap();
        let lookup = |name: &str| config.entries.get(name).cloned();
        assert_eq!(lookup("a.io"), Some(Credential::IdentityToken(Secret::new("i"))));
        assert_eq!(lookup("b.io"), Some(Credential::RegistryToken(Secret::new("r"))));
    }

    #[test]
    fn what_is_not_there_says_nothing() {
        assert!(DockerConfig::load(Path::new("/nonexistent/config.json")).unwrap().is_empty());
        assert!(parse(" \n").unwrap().is_empty());
    }
}
