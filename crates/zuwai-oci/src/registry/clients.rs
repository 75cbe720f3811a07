//! HTTP clients, one for every way of talking that the options ask for.
//!
//! A way is whom we trust, whether we look at certificates at all, and which certificate of our own we show. It is chosen
//! by the registry that a request is for and by the host that it goes to, which are not the same after a redirect or at
//! a token server: the registry's trust goes along, its client certificate does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reqwest::{Client, Proxy};
use url::Url;

use crate::error::OciError;
use crate::registry::Direction;
use crate::registry::dns::Resolver;
use crate::registry::options::{RegistryOptions, registry_key};
use crate::registry::transport::api_host;

/// The clients. All are made at the start, from what was read then.
pub(crate) struct Clients {
    web: Client,
    by_way: BTreeMap<Way, Client>,
}

/// A way of talking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    /// Whether certificates are checked.
    verify: bool,
    /// The registry whose own settings count; none for those that all have.
    like: Option<String>,
    /// Whether that registry's client certificate is shown.
    certified: bool,
}

impl Clients {
    /// Makes the clients.
    pub(crate) fn new(options: &RegistryOptions, resolver: &Arc<Resolver>) -> Result<Self, OciError> {
        let named: BTreeSet<&String> =
            options.registry_roots.keys().chain(options.client_certificates.keys()).collect();
        let named = named.into_iter().map(|registry| Some(registry.clone()));
        let mut by_way = BTreeMap::new();
        for like in named.chain([None]) {
            for verify in [true, false] {
                for certified in [true, false] {
                    let own = like.as_ref().filter(|_| certified);
                    if certified && own.is_none_or(|like| !options.client_certificates.contains_key(like)) {
                        continue;
                    }
                    let way = Way { verify, like: like.clone(), certified };
                    by_way.insert(way.clone(), way.client(options, resolver)?);
                }
            }
        }
        let web = Way::of_web().client(options, resolver)?;
        Ok(Self { web, by_way })
    }

    /// The client for what is no registry: it checks certificates and has none of its own.
    pub(crate) fn web(&self) -> &Client {
        &self.web
    }

    /// The client for a request to `url` that belongs to a conversation with `registry`.
    pub(crate) fn choose(
        &self,
        options: &RegistryOptions,
        registry: &str,
        direction: Direction,
        url: &Url,
    ) -> &Client {
        self.by_way.get(&Way::choose(options, registry, direction, url)).unwrap_or(&self.web)
    }
}

impl Way {
    fn of_web() -> Self {
        Self { verify: true, like: None, certified: false }
    }

    fn choose(options: &RegistryOptions, registry: &str, direction: Direction, url: &Url) -> Self {
        let named = |host: &str| {
            let key = registry_key(host);
            let known =
                options.registry_roots.contains_key(&key) || options.client_certificates.contains_key(&key);
            known.then_some(key)
        };
        let own = is_host_of(registry, url);
        let host = if own { registry.to_owned() } else { authority(url) };
        let here = named(&host);
        let certified = here.as_ref().is_some_and(|key| options.client_certificates.contains_key(key));
        Self {
            verify: options.verifies(registry, direction) && options.verifies(&host, direction),
            like: here.or_else(|| named(registry)),
            certified,
        }
    }

    fn client(&self, options: &RegistryOptions, resolver: &Arc<Resolver>) -> Result<Client, OciError> {
        let of_registry = self.like.as_ref();
        let roots =
            of_registry.and_then(|like| options.registry_roots.get(like)).unwrap_or(&options.tls_roots);
        let own =
            of_registry.filter(|_| self.certified).and_then(|like| options.client_certificates.get(like));
        let protocols: &[&[u8]] = if options.http1_only { &[b"http/1.1"] } else { &[b"h2", b"http/1.1"] };
        let proxies = options.proxies.clone();
        let mut builder = Client::builder()
            .tls_backend_preconfigured(roots.client_config(self.verify, own, protocols)?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(&options.user_agent)
            .connect_timeout(options.connect_timeout)
            .dns_resolver(resolver.clone())
            .proxy(Proxy::custom(move |url| proxies.address(url).cloned()));
        if options.http1_only {
            builder = builder.http1_only();
        }
        builder.build().map_err(|error| OciError::Options(error.to_string()))
    }
}

/// Host and port as a registry's name has them.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether an address is on a registry's own host and port. Names of hosts are the same in capitals (RFC 9110, 4.2.3).
fn is_host_of(registry: &str, url: &Url) -> bool {
    Url::parse(&format!("{}://{}/", url.scheme(), api_host(registry))).is_ok_and(|own| {
        own.host() == url.host() && own.port_or_known_default() == url.port_or_known_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::TlsRoots;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_registrys_own_host_is_known_by_name_and_port() {
        for (registry, address, own) in [
            ("registry.example", "https://registry.example/v2/", true),
            ("Registry.Example", "https://registry.example/v2/", true),
            ("registry.example:443", "https://registry.example/v2/", true),
            ("registry.example", "https://registry.example:5000/v2/", false),
            ("registry.example", "https://auth.registry.example/", false),
            ("registry.example:5000", "http://registry.example:5000/", true),
            ("[::1]:5000", "https://[::1]:5000/v2/", true),
            ("index.docker.io", "https://registry-1.docker.io/v2/", true),
            ("index.docker.io", "https://auth.docker.io/token", false),
        ] {
            assert_eq!(is_host_of(registry, &url(address)), own, "{registry} {address}");
        }
    }

    #[test]
    fn trust_goes_along_with_redirects() {
        let mut options = RegistryOptions::default();
        options.registry_roots.insert("registry.example".to_owned(), TlsRoots::default());
        options.registry_roots.insert("storage.example:9000".to_owned(), TlsRoots::default());
        options.skip_tls_verify_registries.insert("careless.example".to_owned());
        for (registry, address, verify, like) in [
            ("registry.example", "https://registry.example/v2/", true, Some("registry.example")),
            ("REGISTRY.example", "https://registry.example/v2/", true, Some("registry.example")),
            ("registry.example", "https://cdn.example/blob", true, Some("registry.example")),
            ("registry.example", "https://storage.example:9000/b", true, Some("storage.example:9000")),
            ("registry.example", "https://careless.example/b", false, Some("registry.example")),
            ("careless.example", "https://cdn.example/blob", false, None),
            ("other.example", "https://other.example/v2/", true, None),
        ] {
            let way = Way::choose(&options, registry, Direction::Pull, &url(address));
            let expected = Way { verify, like: like.map(str::to_owned), certified: false };
            assert_eq!(way, expected, "{registry} {address}");
        }
    }
}
