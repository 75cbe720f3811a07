//! Signature Version 4 of requests (AWS IAM user guide, "Create a signed AWS API request").

use jiff::Timestamp;
use jiff::tz::TimeZone;
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use ring::{digest, hmac};
use url::Url;

use crate::credentials::aws::Keys;
use crate::credentials::cloud::sensitive;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a signature is good for.
pub(crate) struct Scope<'a> {
    /// The region.
    pub(crate) region: &'a str,
    /// The service's name in signatures.
    pub(crate) service: &'a str,
    /// The time of signing; the signature is good for some minutes before and after.
    pub(crate) time: Timestamp,
}

impl Scope<'_> {
    /// Adds date, session token and signature to a request. All headers that it has by then are signed, and its host.
    pub(crate) fn sign(&self, request: &mut Request, keys: &Keys) -> Result<(), String> {
        let time = self.time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let headers = request.headers_mut();
        headers.insert(HeaderName::from_static("x-amz-date"), sensitive(&time)?);
        if let Some(session) = &keys.session {
            headers.insert(HeaderName::from_static("x-amz-security-token"), sensitive(session.reveal())?);
        }
        let value = self.authorization(request, keys, &time)?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| "the access key's name is malformed")?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    /// The Authorization header.
    fn authorization(&self, request: &Request, keys: &Keys, time: &str) -> Result<String, String> {
        let day = &time[..8];
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let (headers, names) = canonical_headers(request.headers(), request.url())?;
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let canonical = [
            request.method().as_str(),
            &encode(request.url().path(), true),
            &canonical_query(request.url()),
            &headers,
            &names,
            &sha256(body),
        ]
        .join("\n");
        let to_sign = [ALGORITHM, time, &scope, &sha256(canonical.as_bytes())].join("\n");
        let start = format!("AWS4{}", keys.secret.reveal()).into_bytes();
        let parts = [day, self.region, self.service, "aws4_request"];
        let key = parts.iter().fold(start, |key, part| mac(&key, part).as_ref().to_vec());
        let signature = hexadecimal(mac(&key, &to_sign).as_ref());
        Ok(format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            keys.id
        ))
    }
}

/// The headers with their values, each in a line, and their names.
fn canonical_headers(headers: &HeaderMap, url: &Url) -> Result<(String, String), String> {
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut lines = vec![("host".to_owned(), host)];
    for name in headers.keys() {
        let values: Result<Vec<String>, String> = headers
            .get_all(name)
            .iter()
            .map(|value| {
                let text = value.to_str().map_err(|_| format!("the header {name} is no ASCII"))?;
                Ok(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
            })
            .collect();
        lines.push((name.as_str().to_owned(), values?.join(",")));
    }
    lines.sort();
    let names = lines.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    Ok((lines.iter().map(|(name, value)| format!("{name}:{value}\n")).collect(), names))
}

/// The query's parameters in order.
fn canonical_query(url: &Url) -> String {
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (encode(&name, false), encode(&value, false))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encodes all but unreserved letters, and the slashes of a path.
fn encode(text: &str, is_path: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            b'/' if is_path => encoded.push('/'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use reqwest::{Body, Method};

    use super::*;
    use crate::secret::Secret;

    fn sign(method: Method, target: &str, headers: &[(&str, &str)], body: &'static str) -> Request {
        let mut request =
            Request::new(method, format!("https://example.amazonaws.com{target}").parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        *request.body_mut() = Some(Body::from(body));
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let keys = Keys { id: "AKIDEXAMPLE".to_owned(), secret, session: None };
        let time = "2015-08-30T12:36:00Z".parse().unwrap();
        Scope { region: "us-east-1", service: "service", time }.sign(&mut request, &keys).unwrap();
        request
    }

    /// The cases of Amazon's "Signature Version 4 test suite" that concern what is sent here.
    #[test]
    fn signatures_are_those_of_amazons_test_suite() {
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let unreserved = "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let none: &[(&str, &str)] = &[];
        for (method, target, headers, body, expected) in [
            ("GET", "/", none, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                none,
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("GET", unreserved, none, "", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
            (
                "GET",
                "/?\u{1234}=bar",
                none,
                "",
                "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ),
            (
                "GET",
                "/",
                &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
                "",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            ("POST", "/", none, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "POST",
                "/?Param1=value1",
                none,
                "",
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
            (
                "POST",
                "/",
                &form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let request = sign(method.parse().unwrap(), target, headers, body);
            let shown = request.headers()[AUTHORIZATION].to_str().unwrap();
            assert!(shown.ends_with(&format!("Signature={expected}")), "{method} {target}: {shown}");
        }
    }

    #[test]
    fn the_header_names_key_scope_and_signed_headers() {
        let request = sign(Method::POST, "/", &[("X-Amz-Target", "a.b")], "{}");
        let shown = request.headers()[AUTHORIZATION].to_str().unwrap();
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=";
        assert!(shown.starts_with(expected), "{shown}");
        assert!(!format!("{request:?}").contains("AKIDEXAMPLE"));
    }
}
