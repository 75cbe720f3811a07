//! How to talk to registries. The program fills this in; nothing here reads the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::credentials::Credentials;
use crate::reference::known_registry;
use crate::registry::Direction;
use crate::registry::client_certificate::ClientCertificate;
use crate::registry::places::Mirrors;
use crate::registry::proxies::Proxies;
use crate::registry::retry::RetryPolicy;
use crate::registry::tls::TlsRoots;

/// Options of a [`super::Registry`] client. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Push to every registry over plain HTTP where it does not speak HTTPS (`--insecure`).
    pub insecure: bool,
    /// Pull so from every registry (`--insecure-pull`).
    pub insecure_pull: bool,
    /// Pull and push so with these registries (`--insecure-registry`).
    pub insecure_registries: BTreeSet<String>,
    /// Take any certificate when pushing (`--skip-tls-verify`).
    pub skip_tls_verify: bool,
    /// Take any certificate when pulling (`--skip-tls-verify-pull`).
    pub skip_tls_verify_pull: bool,
    /// Take any certificate of these registries (`--skip-tls-verify-registry`).
    pub skip_tls_verify_registries: BTreeSet<String>,
    /// The certificates that are trusted, loaded once.
    pub tls_roots: TlsRoots,
    /// Those that are trusted in their place where a registry, by its [`registry_key`], or what it redirects to is talked
    /// to (`--registry-certificate`).
    pub registry_roots: BTreeMap<String, TlsRoots>,
    /// The certificates that are shown to registries, by their [`registry_key`], and to nobody else
    /// (`--registry-client-cert`).
    pub client_certificates: BTreeMap<String, ClientCertificate>,
    /// Where images are pulled from in place of their registry, or before it.
    pub mirrors: Mirrors,
    /// Who we are.
    pub credentials: Credentials,
    /// The User-Agent header.
    pub user_agent: String,
    /// The proxies that requests go through.
    pub proxies: Proxies,
    /// Whether HTTP/2 is left alone (`FF_KANIKO_DISABLE_HTTP2`).
    pub http1_only: bool,
    /// Time to establish a connection.
    pub connect_timeout: Duration,
    /// Time in which something must move, in either direction.
    pub stall_timeout: Duration,
    /// When what failed is tried again.
    pub retry: RetryPolicy,
    /// Most bytes of a blob that are sent in one request, for proxies that refuse large bodies; without it a blob is sent
    /// whole, and in pieces only when a proxy refused that.
    pub chunk_size: Option<u64>,
    /// Most downloads at once.
    pub downloads: usize,
    /// Most uploads at once.
    pub uploads: usize,
}

impl Default for RegistryOptions {
    /// Verified HTTPS, the bundled certificate authorities, no credentials, no proxy.
    fn default() -> Self {
        Self {
            insecure: false,
            insecure_pull: false,
            insecure_registries: BTreeSet::new(),
            skip_tls_verify: false,
            skip_tls_verify_pull: false,
            skip_tls_verify_registries: BTreeSet::new(),
            tls_roots: TlsRoots::default(),
            registry_roots: BTreeMap::new(),
            client_certificates: BTreeMap::new(),
            mirrors: Mirrors::default(),
            credentials: Credentials::default(),
            user_agent: concat!("zuwai/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxies: Proxies::default(),
            http1_only: false,
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            retry: RetryPolicy::default(),
            chunk_size: None,
            downloads: 4,
            uploads: 4,
        }
    }
}

impl RegistryOptions {
    /// Whether plain HTTP may be spoken to a registry: because it was asked for, or, as in go-containerregistry,
    /// because it is on this machine or in a private network.
    pub(crate) fn allows_plain_http(&self, registry: &str, direction: Direction) -> bool {
        let everywhere = match direction {
            Direction::Pull => self.insecure_pull,
            Direction::Push => self.insecure,
        };
        everywhere || names(&self.insecure_registries, registry) || is_local(registry)
    }

    /// Whether a registry's certificate is checked.
    pub(crate) fn verifies(&self, registry: &str, direction: Direction) -> bool {
        let nowhere = match direction {
            Direction::Pull => self.skip_tls_verify_pull,
            Direction::Push => self.skip_tls_verify,
        };
        !nowhere && !names(&self.skip_tls_verify_registries, registry)
    }
}

/// A registry's name in one form, however users write it: lower case, without a slash at its end, Docker Hub's names made
/// one.
pub fn registry_key(registry: &str) -> String {
    known_registry(&registry.trim_end_matches('/').to_ascii_lowercase()).to_owned()
}

/// Whether a list of registries as users write them names this one.
fn names(list: &BTreeSet<String>, registry: &str) -> bool {
    let wanted = registry_key(registry);
    list.iter().any(|name| registry_key(name) == wanted)
}

/// Whether a registry is on this machine or in a private network (RFC 1918), by its name.
fn is_local(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => registry.split(':').next().unwrap_or(registry),
    };
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".local") || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_those_who_asked_and_for_private_networks() {
        let mut options = RegistryOptions::default();
        options.insecure_registries.insert("old.example:5000".to_owned());
        for (registry, allowed) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("10.1.2.3", true),
            ("172.15.0.1", false),
            ("192.168.1.1:80", true),
            ("box.local", true),
            ("old.example:5000", true),
            ("old.example", false),
            ("OLD.example:5000", true),
            ("index.docker.io", false),
        ] {
            assert_eq!(options.allows_plain_http(registry, Direction::Pull), allowed, "{registry}");
        }
        options.insecure = true;
        assert!(options.allows_plain_http("registry.example", Direction::Push));
        assert!(!options.allows_plain_http("registry.example", Direction::Pull));
    }

    #[test]
    fn certificates_are_checked_unless_asked_otherwise() {
        let mut options = RegistryOptions::default();
        options.skip_tls_verify_registries.insert("docker.io".to_owned());
        assert!(!options.verifies("index.docker.io", Direction::Pull));
        assert!(options.verifies("registry.example", Direction::Pull));
        options.skip_tls_verify_pull = true;
        assert!(!options.verifies("registry.example", Direction::Pull));
        assert!(options.verifies("registry.example", Direction::Push));
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut options = RegistryOptions::default();
        let password = crate::secret::Secret::new("hunter2");
        let credential = crate::credentials::Credential::Basic { username: "me".to_owned(), password };
        options.credentials.insert("registry.example", credential);
        let shown = format!("{options:?}");
        assert!(shown.contains("registry.example") && !shown.contains("hunter2"), "{shown}");
    }
}
