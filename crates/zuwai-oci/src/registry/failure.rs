//! Exchanges that fail before there is an answer: which of name, proxy, certificate or connection it was.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use crate::error::{OciError, Request, with_causes};
use crate::registry::dns::NoSuchHost;

/// The error that a failed exchange is, sent through `proxy` if there is one. The URL is left out: it may hold
/// signatures.
pub(crate) fn transport_error(request: &Request, error: reqwest::Error, proxy: Option<String>) -> OciError {
    let request = request.clone();
    let source = error.without_url();
    let tls = beneath::<rustls::Error>(&source);
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => return OciError::Certificate { request, source },
        // What a plain HTTP server answers to a TLS greeting is no TLS record.
        Some(rustls::Error::InvalidMessage(_)) if source.is_connect() => {
            return OciError::PlainHttp { request, source };
        }
        _ => {}
    }
    let text = with_causes(&source);
    if is_about_our_certificate(&text) {
        return OciError::ClientCertificate { request, source };
    }
    if let Some(proxy) = proxy.filter(|_| source.is_connect() && tls.is_none()) {
        let wants_password = text.contains(PROXY_WANTS_PASSWORD);
        return OciError::Proxy { request, proxy, wants_password, source: Some(source) };
    }
    match beneath::<NoSuchHost>(&source).map(|missing| missing.host.clone()) {
        Some(host) => OciError::UnknownHost { request, host, source },
        None if source.is_connect() => OciError::Connect { request, source },
        None => OciError::Transport { request, source },
    }
}

/// How hyper-util says that a proxy answered a CONNECT with 407; its error has no public type.
const PROXY_WANTS_PASSWORD: &str = "proxy authorization required";

/// Whether it ended with an alert by which a server says that it wants a certificate from us, or not the one it got (RFC
/// 8446, 6.2). HTTP/2's library keeps rustls' words alone.
fn is_about_our_certificate(text: &str) -> bool {
    let alert = text.split_once("received fatal alert: ").map_or("", |(_, alert)| alert);
    let alert = alert.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default();
    matches!(
        alert,
        "CertificateRequired"
            | "BadCertificate"
            | "UnsupportedCertificate"
            | "CertificateRevoked"
            | "CertificateExpired"
            | "CertificateUnknown"
            | "UnknownCA"
            | "AccessDenied"
    )
}

/// What to do about a server's certificate that is not trusted.
pub(crate) fn certificate_hint(host: &str, source: &reqwest::Error) -> String {
    let cause = match beneath::<rustls::Error>(source) {
        Some(rustls::Error::InvalidCertificate(cause)) => Some(cause),
        _ => None,
    };
    let otherwise = format!("--skip-tls-verify-registry={host} goes on without a look at it");
    match cause {
        Some(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!(
                "the certificate of {host} has expired: renew it, or check this machine's clock; {otherwise}"
            )
        }
        Some(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            format!("the certificate of {host} is not valid yet: check this machine's clock; {otherwise}")
        }
        Some(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            format!("the certificate is not for the name {host}: use a name that it is for; {otherwise}")
        }
        _ => format!(
            "name the file of the certificate authority with --registry-certificate={host}=FILE, or put it into \
             SSL_CERT_DIR or /kaniko/ssl/certs; {otherwise}"
        ),
    }
}

/// The first cause of a type. I/O errors hold theirs beside the chain of sources, and may do so several times over.
fn beneath<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    if let Some(found) = error.downcast_ref::<E>() {
        return Some(found);
    }
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let held = held.and_then(|inner| beneath(inner));
    held.or_else(|| error.source().and_then(beneath))
}
