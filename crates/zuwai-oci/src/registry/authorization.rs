//! Who we are, shown to a registry in the way it asks for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Response;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use url::Url;

use crate::credentials::Credential;
use crate::error::OciError;
use crate::registry::Direction;
use crate::registry::challenge::Challenge;
use crate::registry::token::{Token, TokenRequest, bearer_header};
use crate::registry::transport::{Call, Transport, lock};
use crate::secret::Secret;

/// What is known about one registry.
#[derive(Default)]
pub(super) struct Host {
    /// Its base address, once it is known which scheme it speaks.
    pub(super) base: tokio::sync::OnceCell<Url>,
    /// What it asked for last.
    challenge: Mutex<Option<Challenge>>,
    /// Tokens by scopes.
    tokens: tokio::sync::Mutex<BTreeMap<Vec<String>, Token>>,
}

/// What is shown to a registry with a request.
#[derive(Default)]
pub(super) struct Shown {
    /// The Authorization header.
    pub(super) header: Option<HeaderValue>,
    /// Whether the user's own credentials are behind it: a token may be anonymous.
    pub(super) own: bool,
}

impl Transport {
    pub(super) fn host(&self, registry: &str, direction: Direction) -> Arc<Host> {
        lock(self.hosts()).entry((registry.to_owned(), direction)).or_default().clone()
    }

    /// Takes note of what a registry asks for; `false` if it is nothing we could answer.
    pub(super) async fn learn(&self, host: &Host, response: &Response, shown: bool) -> bool {
        let values =
            response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let Some(challenge) = Challenge::parse(values) else { return false };
        // Asked again although it was shown a password: there is no more to say.
        let repeated = shown && challenge == Challenge::Basic;
        *lock(&host.challenge) = Some(challenge);
        host.tokens.lock().await.clear();
        !repeated
    }

    /// What to show for a request, as far as the registry has said what it wants.
    pub(super) async fn authorization(
        &self,
        host: &Host,
        base: &Url,
        call: &Call<'_>,
    ) -> Result<Shown, OciError> {
        let Some(challenge) = lock(&host.challenge).clone() else { return Ok(Shown::default()) };
        let credential = self.options().credentials.find(call.reference, self.web_client()).await;
        let own = credential.is_some();
        if let Some(Credential::RegistryToken(token)) = &credential {
            return Ok(Shown { header: bearer_header(token), own });
        }
        let (realm, service, scope) = match challenge {
            Challenge::Basic => {
                return match credential {
                    Some(Credential::Basic { username, password }) => {
                        Ok(Shown { header: Some(basic_header(&username, &password)), own })
                    }
                    Some(_) => Err(OciError::Authentication {
                        request: call.request.clone(),
                        kind: "an identity token with basic authentication".to_owned(),
                    }),
                    None => Ok(Shown::default()),
                };
            }
            Challenge::Bearer { realm, service, scope } => (realm, service, scope),
        };
        let scopes = scopes(call, scope.as_deref());
        let mut tokens = host.tokens.lock().await;
        if let Some(token) = tokens.get(&scopes).filter(|token| token.is_good()) {
            return Ok(Shown { header: bearer_header(&token.secret), own });
        }
        let asked = TokenRequest {
            realm: &realm,
            service: service.as_deref(),
            scopes: &scopes,
            credential: credential.as_ref(),
        };
        let registry = call.reference.registry();
        let token = self.fetch_token(&asked, base, registry, call.direction, &call.request).await?;
        let header = bearer_header(&token.secret);
        tokens.insert(scopes, token);
        Ok(Shown { header, own })
    }
}

/// What a token shall be good for: the repository, and what the registry itself named beside it.
fn scopes(call: &Call<'_>, challenged: Option<&str>) -> Vec<String> {
    let resource = format!("repository:{}:", call.reference.repository());
    let actions = match call.direction {
        Direction::Pull => "pull",
        Direction::Push => "pull,push",
    };
    let mut scopes = vec![format!("{resource}{actions}")];
    scopes.extend(call.mount_from.map(|source| format!("repository:{}:pull", source.repository())));
    let others =
        challenged.into_iter().flat_map(str::split_whitespace).filter(|scope| !scope.starts_with(&resource));
    scopes.extend(others.filter(|scope| !scope.starts_with("repository:")).map(str::to_owned));
    scopes
}

/// The header that shows user name and password.
pub(crate) fn basic_header(username: &str, password: &Secret) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal())));
    // Base64 holds nothing that a header may not.
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}
