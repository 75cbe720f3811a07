//! Which proxy a request goes through.
//!
//! The rules are Go's (golang.org/x/net/http/httpproxy), because they are what kaniko's users have their variables set
//! for: loopback addresses and `localhost` are never proxied, and NO_PROXY lists `*`, addresses, networks (CIDR) and
//! domains, the latter and single addresses with a port if they like. `example.com` means the domain and all below it,
//! `.example.com` and `*.example.com` only what is below it.
//!
//! Beyond Go, the addresses at which clouds tell a machine about itself are never proxied: seen from a proxy they are
//! the proxy's own.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use url::{Host, Url};

use crate::error::OciError;

/// Where clouds have their metadata servers, beside link-local IPv4 addresses: AWS's over IPv6 (instances, pods), and
/// Google's by name.
const METADATA_ADDRESSES: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)];
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "metadata"];

/// The proxies for HTTP and HTTPS, and who is reached without. `Debug` shows no password.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exempt: Arc<Vec<Exempt>>,
}

/// A proxy's address, which may hold a user and a password.
#[derive(Clone)]
struct Proxy(Url);

/// Whom a part of NO_PROXY exempts.
#[derive(Debug, PartialEq, Eq)]
enum Exempt {
    Everybody,
    /// A network and how many of its bits count.
    Network(IpAddr, u8),
    Address(IpAddr, Option<u16>),
    /// A name with a dot before it, and whether the name itself is meant too.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// The proxies of the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY; an empty text is none.
    ///
    /// # Errors
    /// When a proxy's address cannot be used; the message names the variable and shows no password.
    pub fn new(http: &str, https: &str, no_proxy: &str) -> Result<Self, OciError> {
        let mut exempt = Vec::new();
        for part in no_proxy.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match exemption(&part.to_lowercase()) {
                Some(found) => exempt.push(found),
                None => tracing::debug!("NO_PROXY: {part:?} means nobody"),
            }
        }
        Ok(Self {
            http: Proxy::parse("HTTP_PROXY", http)?,
            https: Proxy::parse("HTTPS_PROXY", https)?,
            exempt: Arc::new(exempt),
        })
    }

    /// The address of the proxy that a request to `url` goes through, user and password included.
    pub(crate) fn address(&self, url: &Url) -> Option<&Url> {
        self.of(url).map(|proxy| &proxy.0)
    }

    /// Host and port of that proxy, for messages.
    pub(crate) fn host(&self, url: &Url) -> Option<String> {
        self.of(url).map(Proxy::host)
    }

    fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        }?;
        let (host, port) = (url.host()?, url.port_or_known_default()?);
        let direct = is_never_proxied(&host) || self.exempt.iter().any(|exempt| exempt.holds(&host, port));
        (!direct).then_some(proxy)
    }
}

impl Proxy {
    /// Reads a variable. Without a scheme, `http` is meant, as in Go.
    fn parse(variable: &str, text: &str) -> Result<Option<Self>, OciError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let unusable = |problem: &str| OciError::Options(format!("{variable} {problem}"));
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&full)
            .map_err(|error| unusable(&format!("is not the address of a proxy: {error}")))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(unusable("names no host"));
        }
        match url.scheme() {
            "http" | "https" | "socks5h" => Ok(Some(Self(url))),
            // Go leaves finding the host to the proxy in both forms.
            "socks5" => Url::parse(&full.replacen("socks5", "socks5h", 1))
                .map(|url| Some(Self(url)))
                .map_err(|error| unusable(&format!("is not the address of a proxy: {error}"))),
            other => Err(unusable(&format!("has the scheme {other}; http, https and socks5 are known"))),
        }
    }

    fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.host())
    }
}

impl Exempt {
    fn holds(&self, host: &Host<&str>, port: u16) -> bool {
        let fits = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match (self, host) {
            (Self::Everybody, _) => true,
            (Self::Domain { suffix, itself, port }, Host::Domain(name)) => {
                let name = name.to_lowercase();
                (name.ends_with(suffix.as_str()) || (*itself && name == suffix[1..])) && fits(port)
            }
            (Self::Network(network, bits), host) => {
                address(host).is_some_and(|address| share_prefix(address, *network, *bits))
            }
            (Self::Address(wanted, port), host) => address(host) == Some(*wanted) && fits(port),
            _ => false,
        }
    }
}

/// Reads one part of NO_PROXY, in lower case; `None` if it can mean nobody.
fn exemption(part: &str) -> Option<Exempt> {
    if part == "*" {
        return Some(Exempt::Everybody);
    }
    if let Some((network, bits)) = part.split_once('/')
        && let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u8>())
    {
        let longest = if network.is_ipv4() { 32 } else { 128 };
        return (bits <= longest).then_some(Exempt::Network(network, bits));
    }
    if let Ok(address) = part.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Exempt::Address(address.to_canonical(), None));
    }
    let (host, port) = match part.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (part, None),
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Exempt::Address(address.to_canonical(), port));
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    let (name, itself) = match host.strip_prefix('.') {
        Some(name) => (name, false),
        None => (host, true),
    };
    // Addresses are asked for in ASCII, whatever the user writes.
    let name = match Host::parse(name) {
        Ok(Host::Domain(name)) => name,
        _ => return None,
    };
    Some(Exempt::Domain { suffix: format!(".{name}"), itself, port })
}

fn address(host: &Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address).to_canonical()),
    }
}

/// Whether the first `bits` of two addresses of one family are the same.
fn share_prefix(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let differing = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()) << 96,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differing.leading_zeros() >= u32::from(bits)
}

/// This machine, and who tells it about itself.
fn is_never_proxied(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || METADATA_NAMES.contains(name),
        Host::Ipv4(address) => address.is_loopback() || address.is_link_local(),
        Host::Ipv6(address) => {
            let mapped = address.to_ipv4_mapped();
            mapped.is_some_and(|address| address.is_loopback() || address.is_link_local())
                || address.is_loopback()
                || METADATA_ADDRESSES.contains(address)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(no_proxy: &str, url: &str) -> bool {
        let proxies =
            Proxies::new("http://proxy.example:3128", "http://proxy.example:3128", no_proxy).unwrap();
        proxies.address(&Url::parse(url).unwrap()).is_some()
    }

    /// The cases of golang.org/x/net/http/httpproxy's own documentation and tests.
    #[test]
    fn no_proxy_is_gos() {
        let no_proxy = "foobar.com, .barbaz.net, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, \
                        2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64, \
                        *.wild.example:8080, \u{436}\u{436}.example";
        for (url, expected) in [
            ("http://localhost/", false),
            ("http://127.0.0.1/", false),
            ("http://127.0.0.2:5000/", false),
            ("https://[::1]:5000/", false),
            ("http://[::2]/", true),
            ("http://192.168.1.1/", false),
            ("http://192.168.1.2/", true),
            ("http://192.168.1.2:81/", false),
            ("http://192.168.1.3/", false),
            ("https://192.168.1.3/", true),
            ("http://192.168.1.4/", true),
            ("http://10.0.0.2/", false),
            ("http://10.0.0.4/", true),
            ("http://[2001:db8::52:0:1]/", false),
            ("https://[2001:db8::52:0:2]/", false),
            ("http://[2001:db8::52:0:2]/", true),
            ("http://[2001:db8::52:0:3]/", false),
            ("http://[2002:db8:a::123]/", false),
            ("http://[2002:db8:b::123]/", true),
            ("http://[fe80::424b:c8be:1643:a1b6]/", true),
            ("http://barbaz.net/", true),
            ("http://www.barbaz.net/", false),
            ("http://foobar.com/", false),
            ("http://FOOBAR.com/", false),
            ("http://www.foobar.com:99/", false),
            ("http://foofoobar.com/", true),
            ("http://baz.com/", true),
            ("http://localhost.net/", true),
            ("http://local.localhost/", true),
            ("http://barbarbaz.net/", true),
            ("http://a.wild.example:8080/", false),
            ("http://a.wild.example/", true),
            ("http://wild.example:8080/", true),
            ("http://\u{436}\u{436}.example/", false),
        ] {
            assert_eq!(proxied(no_proxy, url), expected, "{url}");
        }
        assert!(!proxied("a.example,*", "https://b.example/"));
        assert!(proxied("", "https://b.example/"));
        for odd in [":80", "x:port", "10.0.0.0/64", ",", "."] {
            assert!(proxied(odd, "https://b.example/"), "{odd}");
        }
        assert!(!proxied("0.0.0.0/0", "http://9.9.9.9/") && proxied("0.0.0.0/0", "http://[2001:db8::1]/"));
        assert!(!proxied("::/0", "http://[2001:db8::1]/") && proxied("::/0", "http://9.9.9.9/"));
    }

    #[test]
    fn metadata_servers_are_asked_directly() {
        for url in [
            "http://169.254.169.254/latest/api/token",
            "http://169.254.170.2/v2/credentials",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::254]/latest/api/token",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://metadata.google.internal/computeMetadata/v1/",
        ] {
            assert!(!proxied("", url), "{url}");
        }
    }

    #[test]
    fn each_scheme_has_its_proxy_and_passwords_are_not_shown() {
        let proxies = Proxies::new("me:hunter2@a.example:3128", "socks5://b.example", "").unwrap();
        let host = |url: &str| proxies.host(&Url::parse(url).unwrap());
        assert_eq!(host("http://x.example/"), Some("a.example:3128".to_owned()));
        assert_eq!(host("https://x.example/"), Some("b.example".to_owned()));
        assert!(!format!("{proxies:?}").contains("hunter2"), "{proxies:?}");
        let of = |url: &str| proxies.address(&Url::parse(url).unwrap()).cloned().unwrap();
        assert_eq!(of("http://x.example/").as_str(), "http://me:hunter2@a.example:3128/");
        assert_eq!(of("https://x.example/").scheme(), "socks5h");
        let only_https = Proxies::new("", "http://b.example", "").unwrap();
        assert_eq!(only_https.host(&Url::parse("http://x.example/").unwrap()), None);
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_its_password() {
        for (text, expected) in [
            ("ftp://me:hunter2@a.example", "scheme ftp"),
            ("http://me:hunter2@", "not the address"),
            ("http://me:hunter2@a b", "not the address"),
            ("me:hunter2@a.example:99999", "not the address"),
        ] {
            let message = Proxies::new("", text, "").unwrap_err().to_string();
            assert!(message.contains("HTTPS_PROXY") && message.contains(expected), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
