//! The names under which credentials are kept.

use std::fmt;

use crate::reference::{
    DOCKER_HUB, Reference, ReferenceError, ReferenceProblem, known_registry, without_user,
};

/// What docker's programs call Docker Hub.
const HUB_URL: &str = "https://index.docker.io/v1/";

/// A registry, or a part of one (`registry/team`), that one can be logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryKey {
    key: String,
    /// Some repository under the key.
    example: Reference,
}

impl RegistryKey {
    /// Reads what a user calls a registry: a host with its port, a path below it, or a URL of the old style. Docker Hub
    /// has several names.
    ///
    /// # Errors
    /// When images of no such registry can be named.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let key = normalise_key(text.trim());
        let example = Reference::parse_repository(&format!("{key}/repository"))?;
        // A host that is neither dotted nor has a port is a part of Docker Hub in an image's name.
        let host = key.split('/').next().unwrap_or_default();
        if host != example.registry() {
            let problem = ReferenceProblem::Registry(host.to_owned());
            return Err(ReferenceError { text: without_user(text).into_owned(), problem });
        }
        Ok(Self { key, example })
    }

    /// The registry.
    pub fn registry(&self) -> &str {
        self.example.registry()
    }

    /// Some repository under the key.
    pub(crate) fn example(&self) -> &Reference {
        &self.example
    }

    /// The key as documents are searched for it.
    pub(crate) fn as_str(&self) -> &str {
        &self.key
    }

    /// The key as docker writes it.
    pub(crate) fn server(&self) -> &str {
        server(&self.key)
    }
}

impl fmt::Display for RegistryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.server())
    }
}

/// How docker and its helpers call what is kept under a key.
pub(super) fn server(key: &str) -> &str {
    if key == DOCKER_HUB { HUB_URL } else { key }
}

/// A key without scheme, trailing slash and API version, Docker Hub's names made one.
pub(super) fn normalise_key(key: &str) -> String {
    let plain = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let plain = plain.trim_end_matches('/');
    let plain = ["/v1", "/v2"].iter().find_map(|version| plain.strip_suffix(version)).unwrap_or(plain);
    let (host, path) = plain.split_once('/').map_or((plain, None), |(host, path)| (host, Some(path)));
    let host = known_registry(host);
    match path {
        Some(path) => format!("{host}/{path}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_go_by_the_names_their_images_have() {
        for (text, key, server) in [
            ("docker.io", "index.docker.io", "https://index.docker.io/v1/"),
            ("https://index.docker.io/v1/", "index.docker.io", "https://index.docker.io/v1/"),
            ("registry.example", "registry.example", "registry.example"),
            ("https://registry.example:5000/v2/", "registry.example:5000", "registry.example:5000"),
            ("registry.example/team", "registry.example/team", "registry.example/team"),
            (" localhost ", "localhost", "localhost"),
        ] {
            let parsed = RegistryKey::parse(text).unwrap();
            assert_eq!((parsed.as_str(), parsed.server()), (key, server), "{text}");
        }
        for text in ["", "registry", "team/app", "registry.example/Team", "a b.io", "ftp://x.io", "x.io/a:1"]
        {
            assert!(RegistryKey::parse(text).is_err(), "{text}");
        }
    }
}
