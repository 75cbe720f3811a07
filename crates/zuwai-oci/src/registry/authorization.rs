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
use crate::registry::transport::{Call, Target, Transport, lock};

/// The user name that goes with an identity token where a user name must be; Azure's registry documents it so.
const TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// What is known about one registry.
#[derive(Default)]
pub(super) struct Host {
    name: String,
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
    /// Whether it is a token that was fetched for an earlier request, and may have ended since.
    pub(super) earlier: bool,
}

impl Transport {
    pub(super) fn host(&self, registry: &str, direction: Direction) -> Arc<Host> {
        let new = || Arc::new(Host { name: registry.to_owned(), ..Host::default() });
        lock(self.hosts()).entry((registry.to_owned(), direction)).or_insert_with(new).clone()
    }

    /// Takes note of what a registry asks for; `false` if it is nothing we could answer.
    pub(super) async fn learn(&self, host: &Host, response: &Response, shown: bool) -> bool {
        let values =
            response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let Some(challenge) = Challenge::parse(values) else { return false };
        // Asked again although it was shown a password: there is no more to say, unless a helper or a cloud gave it some
        // time ago and it has ended since.
        let repeated =
            shown && challenge == Challenge::Basic && !self.options().credentials.forget(&host.name).await;
        *lock(&host.challenge) = Some(challenge);
        host.tokens.lock().await.clear();
        !repeated
    }

    /// Some registries say what they ask for only where they are asked for their base address. `false` if this one said
    /// it, or does not there either.
    pub(super) async fn learn_from_base(
        &self,
        host: &Host,
        base: &Url,
        refusal: &Response,
        call: &Call<'_>,
    ) -> bool {
        if refusal.headers().contains_key(WWW_AUTHENTICATE) {
            return false;
        }
        match self.ask_base(call, base.clone()).await {
            Ok(response) => self.learn(host, &response, false).await,
            Err(_) => false,
        }
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
            return Ok(Shown { header: bearer_header(token), own, earlier: false });
        }
        let (realm, service, scope) = match challenge {
            Challenge::Basic => {
                return Ok(Shown { header: credential.as_ref().and_then(basic_header), own, earlier: false });
            }
            Challenge::Bearer { realm, service, scope } => (realm, service, scope),
        };
        let scopes = scopes(call, scope.as_deref());
        let mut tokens = host.tokens.lock().await;
        if let Some(token) = tokens.get(&scopes).filter(|token| token.is_good()) {
            return Ok(Shown { header: bearer_header(&token.secret), own, earlier: true });
        }
        let asked = TokenRequest {
            realm: &realm,
            service: service.as_deref(),
            scopes: &scopes,
            credential: credential.as_ref(),
        };
        let registry = call.reference.registry();
        let fetched = self.fetch_token(&asked, base, registry, call.direction, &call.request).await;
        let token = match fetched {
            // What a helper or a cloud gave some time ago may have ended.
            Err(OciError::Unauthorized { .. })
                if own && self.options().credentials.forget(registry).await =>
            {
                let renewed = self.options().credentials.find(call.reference, self.web_client()).await;
                let asked = TokenRequest { credential: renewed.as_ref(), ..asked };
                self.fetch_token(&asked, base, registry, call.direction, &call.request).await?
            }
            fetched => fetched?,
        };
        let header = bearer_header(&token.secret);
        tokens.insert(scopes, token);
        Ok(Shown { header, own, earlier: false })
    }
}

/// What a token shall be good for: the repository, and what the registry itself named beside it.
fn scopes(call: &Call<'_>, challenged: Option<&str>) -> Vec<String> {
    // Nothing but to be known.
    if matches!(call.target, Target::Root) {
        return Vec::new();
    }
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

/// The header that shows a credential as user name and password; none for what is shown in another way.
pub(crate) fn basic_header(credential: &Credential) -> Option<HeaderValue> {
    let (username, password) = match credential {
        Credential::Basic { username, password } => (username.as_str(), password),
        Credential::IdentityToken(token) => (TOKEN_USER, token),
        Credential::RegistryToken(_) => return None,
    };
    let text = format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal())));
    // Base64 holds nothing that a header may not.
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
