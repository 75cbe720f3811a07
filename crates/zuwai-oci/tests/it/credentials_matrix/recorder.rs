//! Looks for secrets where they must not be, in every form in which they can be written.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use url::form_urlencoded;

use crate::stub::Asked;

/// The secrets of the matrix, each with characters that encodings change.
pub const SECRETS: [&str; 14] = [
    PASSWORD,
    IDENTITY,
    REGISTRY,
    ACCESS,
    HELPER,
    HELPER_IDENTITY,
    VARIABLE,
    CI,
    CLIENT,
    CLOUD,
    SIGNATURE,
    SIBLING,
    MIRROR,
    PROXY,
];
pub const PASSWORD: &str = "canary-password/+&=%1";
pub const IDENTITY: &str = "canary-identity/+&=%2";
pub const REGISTRY: &str = "canary-registry-token/+=3";
pub const ACCESS: &str = "canary-access-token/+=4";
pub const HELPER: &str = "canary-helper/+&=%5";
pub const HELPER_IDENTITY: &str = "canary-helper-identity/+&=%6";
pub const VARIABLE: &str = "canary-variable/+&=%7";
pub const CI: &str = "canary-ci/+&=%8";
pub const CLIENT: &str = "canary-client-secret/+&=%9";
pub const CLOUD: &str = "canary-cloud/+&=%10";
/// In the address of a blob, as storage services sign them.
pub const SIGNATURE: &str = "canary-signature.11";

/// Of somebody else in the same registry, or at another.
pub const SIBLING: &str = "canary-sibling/+&=%12";
pub const MIRROR: &str = "canary-mirror/+&=%13";
pub const PROXY: &str = "canary-proxy/+&=%14";

/// How a secret may be shown at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// The Authorization header with user name and password.
    Basic(&'static str, &'static str),
    /// The Authorization header with a token.
    Bearer(&'static str),
    /// The Proxy-Authorization header with user name and password.
    Proxy(&'static str, &'static str),
    /// A field of a form in the body.
    Field(&'static str, &'static str),
    /// The query of an address that somebody else made.
    Query(&'static str),
}

impl Form {
    /// Takes what may be shown out of a request; `true` if it was there.
    pub fn take_from(&self, asked: &mut Asked) -> bool {
        match self {
            Self::Basic(user, secret) => take_header(asked, "authorization", &basic(user, secret)),
            Self::Proxy(user, secret) => take_header(asked, "proxy-authorization", &basic(user, secret)),
            Self::Bearer(secret) => take_header(asked, "authorization", &format!("Bearer {secret}")),
            Self::Field(name, secret) => {
                let pair = form_urlencoded::Serializer::new(String::new()).append_pair(name, secret).finish();
                let body = String::from_utf8_lossy(&asked.body).into_owned();
                let fields: Vec<&str> = body.split('&').collect();
                let rest: Vec<&str> = fields.iter().copied().filter(|field| *field != pair).collect();
                let found = rest.len() + 1 == fields.len();
                if found {
                    asked.body = rest.join("&").into_bytes();
                }
                found
            }
            Self::Query(secret) => {
                let found = asked.method == "GET" && asked.target.ends_with(&format!("={secret}"));
                if found {
                    asked.target.truncate(asked.target.len() - secret.len());
                }
                found
            }
        }
    }
}

fn basic(user: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")))
}

fn take_header(asked: &mut Asked, name: &str, value: &str) -> bool {
    let before = asked.headers.len();
    asked.headers.retain(|(own, shown)| !(own.eq_ignore_ascii_case(name) && shown == value));
    before == asked.headers.len() + 1
}

/// Fails if requests at a place show a secret in a way that is not among `allowed`, or one of those was never seen.
pub fn check_place(row: &str, place: &str, asked: Vec<Asked>, allowed: &[Form]) {
    let mut seen = vec![false; allowed.len()];
    for mut request in asked {
        request.authorization = None;
        for (form, seen) in allowed.iter().zip(&mut seen) {
            *seen |= form.take_from(&mut request);
        }
        let body = String::from_utf8_lossy(&request.body);
        let text = format!("{} {} {:?} {body}", request.method, request.target, request.headers);
        check_text(&format!("{row}: a request to {place}"), &text);
        let credentials = request.headers.iter().find(|(name, _)| {
            ["authorization", "proxy-authorization", "cookie"].contains(&name.to_ascii_lowercase().as_str())
        });
        assert_eq!(credentials, None, "{row}: {place} is shown who we are");
    }
    for (form, seen) in allowed.iter().zip(seen) {
        assert!(seen, "{row}: {place} never saw {form:?}");
    }
}

/// Fails if a text holds a secret in any form.
pub fn check_text(what: &str, text: &str) {
    for secret in SECRETS {
        for form in forms(secret) {
            assert!(!text.contains(&form), "{what} shows {secret} as {form}");
        }
    }
}

/// Encoded as a part of an address (RFC 3986, 2).
fn percent(text: &str) -> String {
    let encode = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ways to write a secret: as it is, quoted, in hexadecimal digits, as numbers, for addresses, and in the middle of something in base64.
pub fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        percent(secret),
        secret.replace('/', "\\/"),
        secret.replace('&', "\\u0026"),
        hex(secret.as_bytes()),
        hex(secret.as_bytes()).to_uppercase(),
        format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned(),
    ];
    for offset in 0..3 {
        let bytes = [&[0; 2][..offset], secret.as_bytes()].concat();
        // Letters that say something of what is around are left out.
        let (first, last) = ((offset * 8).div_ceil(6), bytes.len() * 8 / 6);
        for engine in [STANDARD, URL_SAFE] {
            forms.push(engine.encode(&bytes)[first..last].to_owned());
        }
    }
    forms
}

#[test]
fn secrets_are_found_in_every_form() {
    let encoded: String = form_urlencoded::byte_serialize(IDENTITY.as_bytes()).collect();
    for text in [
        format!("x{PASSWORD}y"),
        STANDARD.encode(format!("user:{PASSWORD}")),
        STANDARD.encode(format!("me:{HELPER}:more")),
        URL_SAFE.encode(format!("u:{CI}")),
        format!("https://a.io/?refresh_token={encoded}&x=y"),
        format!("https://a.io/{}", percent(MIRROR)),
        format!("{{\"secret\": \"{}\"}}", SIBLING.replace('/', "\\/")),
        hex(format!("user:{PROXY}").as_bytes()),
        format!("{:?}", format!("user:{PASSWORD}").as_bytes()),
    ] {
        assert!(std::panic::catch_unwind(|| check_text("this", &text)).is_err(), "{text}");
    }
    check_text("this", "canary-password");
}
