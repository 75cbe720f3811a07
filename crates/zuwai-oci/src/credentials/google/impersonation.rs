//! Tokens of a service account that others may act as (IAM Service Account Credentials API, generateAccessToken).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::token::AccessToken;
use super::{Asking, SCOPE};
use crate::credentials::cloud::request::{post, with};
use crate::credentials::cloud::{bearer, until};
use crate::secret::Secret;

/// How long a token shall be good for, in seconds, if nobody says; the most that is granted by default.
const LIFETIME: u64 = 3600;

/// A file that names the account, and credentials that may act as it.
#[derive(Deserialize)]
pub(super) struct Impersonation {
    pub(super) service_account_impersonation_url: Option<String>,
    pub(super) source_credentials: Value,
    #[serde(default)]
    pub(super) delegates: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    access_token: String,
    expire_time: String,
}

/// A token of the account at an address, for somebody's token.
pub(super) async fn impersonate(
    asking: Asking<'_>,
    address: &str,
    delegates: &[String],
    lifetime: Option<u64>,
    source: &Secret,
) -> Result<AccessToken, String> {
    let url = asking.address("service_account_impersonation_url", address)?;
    let lifetime = format!("{}s", lifetime.unwrap_or(LIFETIME));
    let body = json!({"scope": [SCOPE], "lifetime": lifetime, "delegates": delegates});
    let request = post(url, "application/json", body.to_string());
    let request = with(request, "authorization", bearer(source)?);
    let answer: Answer = asking.cloud.ask(asking.web, request).await?.success()?.json()?;
    let ends: Timestamp = answer.expire_time.parse().map_err(|_| "the answer's expireTime is no time")?;
    Ok(AccessToken { secret: Secret::new(answer.access_token), lifetime: until(ends) })
}
