//! Names to addresses. `resolv.conf` and `hosts` are read once, when the client is made: later those files may be the
//! image's. getaddrinfo is not used, because in a static binary it loads libraries from the root it stands in.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::error::OciError;

/// A resolver whose configuration was read when it was made.
#[derive(Clone)]
pub(crate) struct Resolver(TokioResolver);

impl Resolver {
    /// Reads the machine's configuration. Without one, only the names in `hosts` are known.
    pub(crate) fn from_system() -> Result<Self, OciError> {
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::debug!("no name servers: {error}");
            let none = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            TokioResolver::builder_with_config(none, TokioRuntimeProvider::default())
        });
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        let resolver = builder.build().map_err(|error| OciError::Options(error.to_string()))?;
        Ok(Self(resolver))
    }
}

impl Resolver {
    /// The addresses of a host, which may be written as an address itself.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, OciError> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return Ok(vec![address]);
        }
        let found = self.0.lookup_ip(host).await;
        let found =
            found.map_err(|source| OciError::Resolve { host: host.to_owned(), source: Box::new(source) })?;
        Ok(found.iter().collect())
    }
}

/// The name servers say that there is no such host.
#[derive(Debug, thiserror::Error)]
#[error("no such host")]
pub(crate) struct NoSuchHost {
    /// The host.
    pub(crate) host: String,
    #[source]
    source: NetError,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await;
            let found = found.map_err(|error| -> Box<dyn Error + Send + Sync> {
                match error.is_no_records_found() {
                    true => Box::new(NoSuchHost { host: name.as_str().to_owned(), source: error }),
                    false => Box::new(error),
                }
            })?;
            let addresses: Vec<_> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}
