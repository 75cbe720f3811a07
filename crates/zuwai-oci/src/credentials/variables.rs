//! Credentials in environment variables named for hosts, as the helper `docker-credential-env` has them, which kaniko
//! comes with.
//!
//! `DOCKER_registry_example_com_USR` and `..._PSW` are user name and password for `registry.example.com`, and for the
//! hosts below it that have no variables of their own; a top-level domain has none. A hyphen in the host is an
//! underscore, or two: with one, `a-b.example` and `a.b.example` are the same variables, which is the helper's rule and
//! not to be told apart here. The port does not count, as there. `GITHUB_TOKEN` is for `ghcr.io`, where any user name
//! goes with it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures_util::future::{BoxFuture, ready};

use super::{Credential, CredentialSource, Granted};
use crate::reference::Reference;
use crate::secret::Secret;

/// GitHub's registry.
const GITHUB: &str = "ghcr.io";
/// The user name that GitHub's documents use with tokens.
const GITHUB_USER: &str = "x-access-token";

/// Credentials in variables. `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub struct HostVariables {
    /// By what is between `DOCKER_` and `_USR`.
    hosts: BTreeMap<String, Credential>,
    github: Option<Credential>,
}

impl HostVariables {
    /// Picks the variables that are credentials, by name. Those that are empty, or have a user name alone, are none.
    pub fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut users, mut passwords) = (BTreeMap::new(), BTreeMap::new());
        let mut github = None;
        for (name, value) in variables {
            if value.is_empty() {
                continue;
            }
            if name == "GITHUB_TOKEN" {
                let password = Secret::new(value);
                github = Some(Credential::Basic { username: GITHUB_USER.to_owned(), password });
            }
            let Some(rest) = name.strip_prefix("DOCKER_") else { continue };
            if let Some(host) = rest.strip_suffix("_USR") {
                users.insert(host, value);
            } else if let Some(host) = rest.strip_suffix("_PSW") {
                passwords.insert(host, value);
            }
        }
        let pairs = users.into_iter().filter_map(|(host, username)| {
            let password = Secret::new(*passwords.get(host)?);
            Some((host.to_owned(), Credential::Basic { username: username.to_owned(), password }))
        });
        Self { hosts: pairs.collect(), github }
    }

    /// The credential for a registry, which may have a port.
    fn find(&self, registry: &str) -> Option<&Credential> {
        let host = host_of(registry).to_ascii_lowercase();
        let named = names(&host).into_iter().find_map(|name| self.hosts.get(&name));
        named.or_else(|| self.github.as_ref().filter(|_| registry == GITHUB))
    }
}

impl CredentialSource for HostVariables {
    fn name(&self) -> &str {
        "env"
    }

    fn credential<'a>(
        &'a self,
        reference: &'a Reference,
        _: &'a reqwest::Client,
    ) -> BoxFuture<'a, Result<Option<Granted>, String>> {
        let credential = self.find(reference.registry()).cloned();
        Box::pin(ready(Ok(credential.map(|credential| Granted { credential, lifetime: None }))))
    }
}

/// The host without its port.
fn host_of(registry: &str) -> &str {
    match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    }
}

/// What variables for a host are called between `DOCKER_` and `_USR`, its own first.
fn names(host: &str) -> Vec<String> {
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    let mut domains = vec![host];
    while let Some((_, parent)) = domains.last().and_then(|domain| domain.split_once('.')) {
        if is_address || !parent.contains('.') {
            break;
        }
        domains.push(parent);
    }
    let spelled = domains.into_iter().flat_map(|domain| {
        let domain = domain.replace('.', "_");
        let mut spellings = vec![domain.replace('-', "__"), domain.replace('-', "_")];
        spellings.dedup();
        spellings
    });
    spelled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_for_their_host_and_those_below() {
        let variables = HostVariables::new([
            ("DOCKER_registry_example_com_USR", "host"),
            ("DOCKER_registry_example_com_PSW", "p"),
            ("DOCKER_example_com_USR", "domain"),
            ("DOCKER_example_com_PSW", "p"),
            ("DOCKER_com_USR", "top"),
            ("DOCKER_com_PSW", "p"),
            ("DOCKER__USR", "all"),
            ("DOCKER__PSW", "p"),
            ("DOCKER_my_company_io_USR", "one underscore"),
            ("DOCKER_my_company_io_PSW", "p"),
            ("DOCKER_my__shop_io_USR", "two underscores"),
            ("DOCKER_my__shop_io_PSW", "p"),
            ("DOCKER_docker_io_USR", "hub"),
            ("DOCKER_docker_io_PSW", "p"),
            ("DOCKER_127_0_0_1_USR", "address"),
            ("DOCKER_127_0_0_1_PSW", "p"),
            ("DOCKER_0_1_USR", "no domain"),
            ("DOCKER_0_1_PSW", "p"),
            ("DOCKER_localhost_USR", "local"),
            ("DOCKER_localhost_PSW", "p"),
            ("DOCKER_half_io_USR", "half"),
            ("DOCKER_empty_io_USR", "empty"),
            ("DOCKER_empty_io_PSW", ""),
            ("GITHUB_TOKEN", "ghs"),
        ]);
        for (registry, expected) in [
            ("registry.example.com", Some("host")),
            ("registry.example.com:5000", Some("host")),
            ("Registry.Example.com", Some("host")),
            ("eu.registry.example.com", Some("host")),
            ("other.example.com", Some("domain")),
            ("example.com", Some("domain")),
            ("evilexample.com", None),
            ("example.com.evil.org", None),
            ("example.org", None),
            ("my-company.io", Some("one underscore")),
            ("my-shop.io", Some("two underscores")),
            ("index.docker.io", Some("hub")),
            ("127.0.0.1:5000", Some("address")),
            ("10.0.0.1", None),
            ("localhost:5000", Some("local")),
            ("half.io", None),
            ("empty.io", None),
            ("[::1]:5000", None),
            ("ghcr.io", Some("x-access-token")),
            ("ghcr.io:8443", None),
            ("sub.ghcr.io", None),
        ] {
            let found = variables.find(registry).map(|credential| match credential {
                Credential::Basic { username, .. } => username.as_str(),
                other => panic!("{other:?}"),
            });
            assert_eq!(found, expected, "{registry}");
        }
        assert!(!format!("{variables:?}").contains("ghs"));
    }

    #[test]
    fn a_variable_for_githubs_host_comes_before_its_token() {
        let variables = HostVariables::new([
            ("GITHUB_TOKEN", "t"),
            ("DOCKER_ghcr_io_USR", "me"),
            ("DOCKER_ghcr_io_PSW", "p"),
        ]);
        assert!(
            matches!(variables.find("ghcr.io"), Some(Credential::Basic { username, .. }) if username == "me")
        );
    }
}
