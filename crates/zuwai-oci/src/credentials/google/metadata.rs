//! Tokens of the machine's service account, from the metadata server (Compute Engine, Kubernetes Engine, Cloud Build).

use reqwest::StatusCode;
use reqwest::header::HeaderValue;

use super::Asking;
use super::token::AccessToken;
use crate::credentials::cloud::request::{address, get, with};

/// What the server's answers are known by, and what requests must have.
const FLAVOR: &str = "metadata-flavor";
const GOOGLE: &str = "Google";

/// Asks the server; none where there is no such server, or no service account.
pub(super) async fn token(asking: Asking<'_>, host: &str) -> Result<Option<AccessToken>, String> {
    let path = "computeMetadata/v1/instance/service-accounts/default/token";
    let url = address("GCE_METADATA_HOST", &format!("http://{host}/{path}"))?;
    let request = with(get(url), FLAVOR, HeaderValue::from_static(GOOGLE));
    let reply = match asking.cloud.ask_nearby(request).await {
        Ok(reply) => reply,
        Err(failure) if failure.unreachable => {
            tracing::debug!("no metadata server: {failure}");
            return Ok(None);
        }
        Err(failure) => return Err(failure.to_string()),
    };
    // Another cloud's server is at the same address.
    if reply.headers.get(FLAVOR).is_none_or(|flavor| flavor != GOOGLE) {
        tracing::debug!("the metadata server is not Google's");
        return Ok(None);
    }
    if reply.status == StatusCode::NOT_FOUND {
        tracing::debug!("the machine has no service account");
        return Ok(None);
    }
    AccessToken::from_reply(reply).map(Some)
}
