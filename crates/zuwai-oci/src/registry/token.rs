//! Tokens from a token server (distribution's token specification).

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use url::Url;

use crate::credentials::Credential;
use crate::error::{OciError, Request};
use crate::go_json::{from_object, null_is_empty};
use crate::registry::Direction;
use crate::registry::answer::{Wanted, read_body, refusal};
use crate::registry::authorization::basic_header;
use crate::registry::transport::Transport;
use crate::secret::Secret;

/// Largest answer of a token server that is read.
const ANSWER_LIMIT: u64 = 1 << 20;
/// Time that a token is taken to be good for if the server does not say.
const DEFAULT_LIFETIME: u64 = 60;
/// A token is renewed this long before its end, so that it does not end on the way.
const MARGIN: Duration = Duration::from_secs(10);

/// A token and when it ends.
#[derive(Clone)]
pub(crate) struct Token {
    /// The token.
    pub(crate) secret: Secret,
    ends: Instant,
}

impl Token {
    /// Whether the token can still be used.
    pub(crate) fn is_good(&self) -> bool {
        Instant::now() < self.ends
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default, deserialize_with = "null_is_empty")]
    token: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Everything about a token that decides what it is good for.
pub(crate) struct TokenRequest<'a> {
    /// The token server.
    pub(crate) realm: &'a str,
    /// The registry's name there.
    pub(crate) service: Option<&'a str>,
    /// What it shall be good for.
    pub(crate) scopes: &'a [String],
    /// Who we are.
    pub(crate) credential: Option<&'a Credential>,
}

impl Transport {
    /// Asks a token server. `registry` is the URL of the registry that named it.
    pub(crate) async fn fetch_token(
        &self,
        asked: &TokenRequest<'_>,
        registry: &Url,
        name: &str,
        direction: Direction,
        request: &Request,
    ) -> Result<Token, OciError> {
        let fail = |problem: String| OciError::Token {
            request: request.clone(),
            realm: shown(asked.realm),
            problem,
        };
        let mut url = Url::parse(asked.realm).map_err(|error| fail(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fail("it is not an HTTP address".to_owned()));
        }
        // A registry that is reached safely must not make us send a password in the clear.
        if url.scheme() == "http" && registry.scheme() == "https" && asked.credential.is_some() {
            return Err(fail("credentials are not sent to a token server without TLS".to_owned()));
        }
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = asked.service {
                query.append_pair("service", service);
            }
            for scope in asked.scopes {
                query.append_pair("scope", scope);
            }
        }
        let authorization = match asked.credential {
            Some(Credential::Basic { username, password }) => Some(basic_header(username, password)),
            Some(Credential::IdentityToken(_)) => {
                let kind = "an identity token (OAuth2 refresh token)".to_owned();
                return Err(OciError::Authentication { request: request.clone(), kind });
            }
            Some(Credential::RegistryToken(_)) | None => None,
        };
        let stall = self.options().stall_timeout;
        let client = self.client(name, direction);
        let mut builder = client.get(url);
        if let Some(value) = authorization {
            builder = builder.header(AUTHORIZATION, value);
        }
        let asking = Request { host: host_of(asked.realm), action: request.action.clone() };
        let sent = tokio::time::timeout(stall, builder.send()).await;
        let sent =
            sent.map_err(|_| OciError::Timeout { request: asking.clone(), seconds: stall.as_secs() })?;
        let mut response = sent.map_err(|error| super::answer::transport_error(&asking, error))?;
        if !response.status().is_success() {
            return Err(refusal(response, request, Wanted::Token, asked.credential.is_some(), stall).await);
        }
        let body = read_body(&mut response, &asking, "token", ANSWER_LIMIT, stall).await?;
        // The parser's complaint could show the token.
        let answer: TokenAnswer =
            from_object(&body).map_err(|_| fail("its answer is not the expected JSON".to_owned()))?;
        let text = if answer.token.is_empty() { answer.access_token } else { answer.token };
        if text.is_empty() {
            return Err(fail("its answer holds no token".to_owned()));
        }
        // No more than a day, so that the sum stays in range.
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFETIME).min(86_400));
        let usable = lifetime.saturating_sub(MARGIN.min(lifetime / 2));
        Ok(Token { secret: Secret::new(text), ends: Instant::now() + usable })
    }
}

/// The header that shows a token.
pub(crate) fn bearer_header(token: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A realm without what may be secret in it.
fn shown(realm: &str) -> String {
    realm.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn host_of(realm: &str) -> String {
    Url::parse(realm)
        .map(|url| url.authority().rsplit('@').next().unwrap_or_default().to_owned())
        .unwrap_or_default()
}
