//! Requests to the clouds' services.

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Body, Method, Request};
use url::{Url, form_urlencoded};

/// A GET.
pub(crate) fn get(url: Url) -> Request {
    Request::new(Method::GET, url)
}

/// A POST of a form.
pub(crate) fn post_form(url: Url, fields: &[(&str, &str)]) -> Request {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    post(url, "application/x-www-form-urlencoded", form)
}

/// A POST of JSON, or of another kind of text.
pub(crate) fn post(url: Url, content_type: &'static str, body: String) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    *request.body_mut() = Some(Body::from(body));
    request
}

/// The request with one more header.
pub(crate) fn with(mut request: Request, name: &'static str, value: HeaderValue) -> Request {
    request.headers_mut().insert(HeaderName::from_static(name), value);
    request
}

/// An address that was given; `what` names it in messages. It is not shown: it may hold a password.
pub(crate) fn address(what: &str, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{what} is no address: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(format!("{what} is no HTTP address")),
    }
}

/// An address that secrets may be sent to: over TLS, or on this machine.
pub(crate) fn safe_address(what: &str, text: &str) -> Result<Url, String> {
    let url = address(what, text)?;
    match url.scheme() == "https" || is_loopback(&url) {
        true => Ok(url),
        false => Err(format!("{what} is an address without TLS; secrets are not sent there")),
    }
}

/// Whether an address is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_over_tls_or_nowhere() {
        for (text, safe) in [
            ("https://login.example/", true),
            ("http://127.0.0.1:1/", true),
            ("http://[::1]/", true),
            ("http://localhost/", true),
            ("http://localhost.example/", false),
            ("http://127.0.0.1.example/", false),
            ("http://login.example/", false),
            ("ftp://127.0.0.1/", false),
            ("login.example", false),
        ] {
            assert_eq!(safe_address("X", text).is_ok(), safe, "{text}");
        }
    }

    #[test]
    fn forms_are_encoded() {
        let request = post_form("https://a/".parse().unwrap(), &[("a", "b&c=d"), ("e", "é +")]);
        assert_eq!(request.body().unwrap().as_bytes().unwrap(), b"a=b%26c%3Dd&e=%C3%A9+%2B");
    }
}
