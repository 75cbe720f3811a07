//! Tokens from a token server (distribution's token specification, and its OAuth2 one for identity tokens).
//!
//! Credentials go where the registry says that its token server is, whatever host that is, as docker sends them; but not
//! over plain HTTP if the registry itself is reached safely.

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use crate::credentials::Credential;
use crate::error::{OciError, Request};
use crate::go_json::{from_object, null_is_empty};
use crate::registry::Direction;
use crate::registry::answer::{Wanted, read_body, refusal};
use crate::registry::authorization::basic_header;
use crate::registry::scrub::Scrub;
use crate::registry::transport::Transport;
use crate::secret::Secret;

/// What we are called there.
const CLIENT_ID: &str = "zuwai";
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

impl TokenRequest<'_> {
    /// The request of the token specification.
    fn get(&self, client: &Client, mut url: Url) -> RequestBuilder {
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(self.service.map(|service| ("service", service)));
            query.extend_pairs(self.scopes.iter().map(|scope| ("scope", scope)));
        }
        let builder = client.get(url);
        match self.credential.and_then(basic_header) {
            Some(value) => builder.header(AUTHORIZATION, value),
            None => builder,
        }
    }

    /// The request of the OAuth2 token specification, with an identity token. The token is in the body alone.
    fn refresh(&self, client: &Client, url: Url, token: &Secret) -> RequestBuilder {
        let scope = self.scopes.join(" ");
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", token.reveal())
            .extend_pairs(self.service.map(|service| ("service", service)))
            .append_pair("scope", &scope)
            .append_pair("client_id", CLIENT_ID)
            .finish();
        client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
    }
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
        let url = Url::parse(asked.realm).map_err(|error| fail(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fail("it is not an HTTP address".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fail("it names a user".to_owned()));
        }
        // A registry that is reached safely must not make us send a password in the clear.
        if url.scheme() == "http" && registry.scheme() == "https" && asked.credential.is_some() {
            return Err(fail("credentials are not sent to a token server without TLS".to_owned()));
        }
        let stall = self.options().stall_timeout;
        let client = self.client(name, direction, &url);
        let asking = Request { host: host_of(asked.realm), action: request.action.clone() };
        let send = async |builder: RequestBuilder| {
            let sent = tokio::time::timeout(stall, builder.send()).await;
            let sent =
                sent.map_err(|_| OciError::Timeout { request: asking.clone(), seconds: stall.as_secs() })?;
            sent.map_err(|error| self.failure(&asking, &url, error))
        };
        let mut response = match asked.credential {
            Some(Credential::IdentityToken(token)) => {
                let response = send(asked.refresh(client, url.clone(), token)).await?;
                // Servers that do not speak OAuth2 have nothing there; docker's then ask as with a password.
                match matches!(response.status().as_u16(), 404 | 405) {
                    true => send(asked.get(client, url.clone())).await?,
                    false => response,
                }
            }
            _ => send(asked.get(client, url.clone())).await?,
        };
        if !response.status().is_success() {
            let (shown, scrub) = (asked.credential.is_some(), Scrub::credential(asked.credential));
            return Err(refusal(response, request, Wanted::Token, shown, &scrub, stall).await);
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
