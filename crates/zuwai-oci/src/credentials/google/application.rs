//! The files of credentials, by their type.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::federation::{self, ExternalAccount};
use super::impersonation::{Impersonation, impersonate};
use super::service_account::{self, ServiceAccount};
use super::token::AccessToken;
use super::{Asking, SCOPE};
use crate::credentials::cloud::request::post_form;
use crate::go_json::from_object;
use crate::secret::Secret;

/// Where user accounts are refreshed.
const TOKEN_ADDRESS: &str = "https://oauth2.googleapis.com/token";

/// A user's own credentials, as `gcloud` leaves them.
#[derive(Deserialize)]
struct AuthorizedUser {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    #[serde(default)]
    token_uri: Option<String>,
}

/// A token for a file of credentials.
pub(super) async fn token(asking: Asking<'_>, file: &Path, text: &str) -> Result<AccessToken, String> {
    let token = match from_object(text.as_bytes()) {
        Ok(value) => token_of(asking, value).await,
        Err(_) => Err("it is not a JSON object".to_owned()),
    };
    token.map_err(|problem| format!("{}: {problem}", file.display()))
}

/// The file of another provider's token that credentials name, if they do.
pub(super) fn token_file(text: &str) -> Option<PathBuf> {
    let mut value: Value = from_object(text.as_bytes()).ok()?;
    if value["type"] == "impersonated_service_account" {
        value = value["source_credentials"].take();
    }
    value["credential_source"]["file"].as_str().map(PathBuf::from)
}

/// A token for credentials of any type.
async fn token_of(asking: Asking<'_>, value: Value) -> Result<AccessToken, String> {
    if value["type"] != "impersonated_service_account" {
        return base_token(asking, value).await;
    }
    let account: Impersonation = part(value)?;
    let source = base_token(asking, account.source_credentials).await?;
    let Some(address) = &account.service_account_impersonation_url else {
        return Err("there is no service_account_impersonation_url".to_owned());
    };
    impersonate(asking, address, &account.delegates, None, &source.secret).await
}

/// A token for credentials that need no others.
async fn base_token(asking: Asking<'_>, value: Value) -> Result<AccessToken, String> {
    match value["type"].as_str().unwrap_or_default() {
        "service_account" => service_account::token(asking, &part::<ServiceAccount>(value)?).await,
        "authorized_user" => refresh(asking, part(value)?).await,
        "external_account" => federation::token(asking, &part::<ExternalAccount>(value)?).await,
        // The rest of the text is not shown, and of this word no more than a name can be.
        other => {
            let shown: String = other
                .chars()
                .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .take(40)
                .collect();
            Err(format!("credentials of type {shown:?} are not supported"))
        }
    }
}

/// A new access token for a user.
async fn refresh(asking: Asking<'_>, user: AuthorizedUser) -> Result<AccessToken, String> {
    let url = asking.address("token_uri", user.token_uri.as_deref().unwrap_or(TOKEN_ADDRESS))?;
    // Secrets from here on: no struct that could be shown keeps them.
    let (secret, refresh) = (Secret::new(user.client_secret), Secret::new(user.refresh_token));
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", &user.client_id),
        ("client_secret", secret.reveal()),
        ("refresh_token", refresh.reveal()),
        ("scope", SCOPE),
    ];
    AccessToken::from_reply(asking.cloud.ask(asking.web, post_form(url, &fields)).await?)
}

/// A part of a file. The parser's complaint is not told: it could show a key.
fn part<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    let kind = value["type"].as_str().unwrap_or_default().to_owned();
    serde_json::from_value(value).map_err(|_| format!("the fields of its type {kind:?} are not all there"))
}
