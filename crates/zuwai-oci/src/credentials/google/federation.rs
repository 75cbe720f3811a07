//! Tokens for somebody whom Google trusts (workload identity federation, RFC 8693): a token of another identity
//! provider is exchanged for one of Google's.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::aws_subject;
use super::impersonation::impersonate;
use super::token::AccessToken;
use super::{Asking, SCOPE};
use crate::credentials::cloud::request::{address, get, is_loopback, post_form, with};
use crate::credentials::cloud::{read_token, sensitive};
use crate::go_json::from_object;
use crate::secret::Secret;

/// Most headers of a file's that are sent.
const HEADER_LIMIT: usize = 32;
/// The address of the clouds' metadata servers.
const METADATA: &str = "169.254.169.254";

/// A file that says whose token is taken and where it is exchanged.
#[derive(Deserialize)]
pub(super) struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: String,
    credential_source: Source,
    #[serde(default)]
    service_account_impersonation_url: Option<String>,
    #[serde(default)]
    service_account_impersonation: Option<ImpersonationOptions>,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    client_secret: Option<String>,
}

#[derive(Deserialize)]
struct ImpersonationOptions {
    token_lifetime_seconds: Option<u64>,
}

/// Where the other provider's token is.
#[derive(Deserialize)]
pub(super) struct Source {
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    pub(super) environment_id: Option<String>,
    #[serde(default)]
    pub(super) regional_cred_verification_url: Option<String>,
    #[serde(default)]
    executable: Option<Value>,
    #[serde(default)]
    certificate: Option<Value>,
}

/// Whether the token is the text itself or a field of JSON.
#[derive(Deserialize, Default)]
struct Format {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    subject_token_field_name: String,
}

/// Exchanges the other provider's token, and goes on to a service account's where the file names one.
pub(super) async fn token(asking: Asking<'_>, account: &ExternalAccount) -> Result<AccessToken, String> {
    let url = asking.address("token_url", &account.token_url)?;
    let subject = account.subject(asking).await?;
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", &account.audience),
        ("scope", SCOPE),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", subject.reveal()),
        ("subject_token_type", &account.subject_token_type),
    ];
    let mut request = post_form(url, &fields);
    if let (Some(id), Some(secret)) = (&account.client_id, &account.client_secret) {
        let header = sensitive(&format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))))?;
        request = with(request, "authorization", header);
    }
    let token = AccessToken::from_reply(asking.cloud.ask(asking.web, request).await?)?;
    let Some(address) = &account.service_account_impersonation_url else { return Ok(token) };
    let options = account.service_account_impersonation.as_ref();
    let lifetime = options.and_then(|options| options.token_lifetime_seconds);
    impersonate(asking, address, &[], lifetime, &token.secret).await
}

impl ExternalAccount {
    /// The other provider's token.
    async fn subject(&self, asking: Asking<'_>) -> Result<Secret, String> {
        let source = &self.credential_source;
        if source.environment_id.is_some() {
            return aws_subject::token(asking, source, &self.audience).await;
        }
        if let Some(file) = &source.file {
            return source.format.extract(&read_token(Path::new(file))?);
        }
        if let Some(url) = &source.url {
            return source.format.extract(&source.fetch(asking, url).await?);
        }
        Err(match (&source.executable, &source.certificate) {
            (Some(_), _) => "a credential_source that is a program is not supported".to_owned(),
            (_, Some(_)) => "a credential_source that is a certificate is not supported".to_owned(),
            _ => "its credential_source has neither file nor url".to_owned(),
        })
    }
}

impl Source {
    /// Fetches a token from an address: of a CI system over TLS, or of the machine's metadata server.
    async fn fetch(&self, asking: Asking<'_>, text: &str) -> Result<Secret, String> {
        let url = address("credential_source.url", text)?;
        let near = url.scheme() == "http";
        if near && url.host_str() != Some(METADATA) && !is_loopback(&url) {
            return Err("credential_source.url is an address without TLS, and not this machine's".to_owned());
        }
        let mut request = get(url);
        for (name, value) in self.headers.iter().take(HEADER_LIMIT) {
            let name =
                name.parse::<HeaderName>().map_err(|_| "credential_source.headers has a malformed name")?;
            let value: HeaderValue = sensitive(value)?;
            request.headers_mut().insert(name, value);
        }
        let reply = match near {
            true => asking.cloud.ask_nearby(request).await?,
            false => asking.cloud.ask(asking.web, request).await?,
        };
        Ok(Secret::new(reply.success()?.text()?.trim()))
    }
}

impl Format {
    /// The token in a text.
    fn extract(&self, text: &Secret) -> Result<Secret, String> {
        match self.kind.as_str() {
            "" | "text" => Ok(text.clone()),
            "json" => {
                let name = &self.subject_token_field_name;
                let value: Value = from_object(text.reveal().as_bytes())
                    .map_err(|_| "the subject token's document is no JSON object".to_owned())?;
                let token = value.get(name).and_then(Value::as_str);
                token
                    .map(Secret::new)
                    .ok_or_else(|| format!("the subject token's document has no field {name:?}"))
            }
            other => Err(format!("credential_source.format is of the unknown type {other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_token_is_a_text_or_a_field() {
        for (kind, field, text, expected) in [
            ("", "", "token", Ok("token")),
            ("text", "", "{}", Ok("{}")),
            ("json", "t", r#"{"t": "token"}"#, Ok("token")),
            ("json", "t", r#"{"u": "hunter2"}"#, Err("no field \"t\"")),
            ("json", "t", r#"{"t": ["hunter2"]}"#, Err("no field \"t\"")),
            ("json", "t", "hunter2", Err("no JSON object")),
            ("xml", "t", "hunter2", Err("unknown type")),
        ] {
            let format = Format { kind: kind.to_owned(), subject_token_field_name: field.to_owned() };
            match (format.extract(&Secret::new(text)), expected) {
                (Ok(token), Ok(expected)) => assert_eq!(token.reveal(), expected),
                (Err(told), Err(expected)) => {
                    assert!(told.contains(expected) && !told.contains("hunter2"), "{told}")
                }
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }
}
