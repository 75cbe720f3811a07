//! Credentials for certain hosts and no other, such as a CI system hands to its jobs.

use std::collections::BTreeMap;

use futures_util::future::{BoxFuture, ready};

use super::key::normalise_key;
use super::{Credential, CredentialSource, Granted};
use crate::reference::Reference;

/// Credentials by host and port. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct HostCredentials {
    name: &'static str,
    hosts: BTreeMap<String, Credential>,
}

impl HostCredentials {
    /// A source without credentials; `name` is what it is called in messages.
    pub fn new(name: &'static str) -> Self {
        Self { name, hosts: BTreeMap::new() }
    }

    /// Adds the credential of a host, unless it has one. Port 443 is the same as none; a scheme or a path does not count.
    pub fn insert(&mut self, host: &str, credential: Credential) {
        let key = normalise_key(host);
        let host = key.split('/').next().unwrap_or_default();
        self.hosts.entry(without_default_port(host).to_owned()).or_insert(credential);
    }

    /// Whether there is no credential.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

impl CredentialSource for HostCredentials {
    fn name(&self) -> &str {
        self.name
    }

    fn credential<'a>(
        &'a self,
        reference: &'a Reference,
        _: &'a reqwest::Client,
    ) -> BoxFuture<'a, Result<Option<Granted>, String>> {
        let credential = self.hosts.get(without_default_port(reference.registry())).cloned();
        Box::pin(ready(Ok(credential.map(|credential| Granted { credential, lifetime: None }))))
    }
}

fn without_default_port(host: &str) -> &str {
    host.strip_suffix(":443").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[tokio::test]
    async fn only_the_host_itself_is_known() {
        let mut hosts = HostCredentials::new("gitlab");
        let named =
            |username: &str| Credential::Basic { username: username.to_owned(), password: Secret::new("p") };
        hosts.insert("registry.gitlab.example", named("registry"));
        hosts.insert("gitlab.example:443", named("proxy"));
        hosts.insert("gitlab.example", named("second"));
        hosts.insert("https://other.example:5050/group/", named("other"));
        let web = crate::Registry::new(crate::RegistryOptions::default()).unwrap().web_client();
        for (image, expected) in [
            ("registry.gitlab.example/a", Some("registry")),
            ("registry.gitlab.example:443/a", Some("registry")),
            ("registry.gitlab.example:5000/a", None),
            ("gitlab.example:443/group/dependency_proxy/containers/alpine", Some("proxy")),
            ("gitlab.example/a", Some("proxy")),
            ("sub.registry.gitlab.example/a", None),
            ("registry.gitlab.example.evil.io/a", None),
            ("other.example:5050/a", Some("other")),
            ("alpine", None),
        ] {
            let found = hosts.credential(&image.parse().unwrap(), &web).await.unwrap();
            let found = found.map(|granted| granted.credential);
            assert_eq!(found, expected.map(named), "{image}");
        }
    }
}
