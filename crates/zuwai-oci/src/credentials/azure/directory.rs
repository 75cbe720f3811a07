//! Tokens of Entra ID for an application (client credentials, RFC 6749 section 4.4; with a token of another identity
//! provider, RFC 7523).

use serde::Deserialize;

use super::host::AzureCloud;
use super::{Asking, RESOURCE};
use crate::credentials::cloud::read_token;
use crate::credentials::cloud::request::{post_form, safe_address};
use crate::secret::Secret;

/// An answer with a token, of Entra ID or of a machine's identities.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) access_token: String,
}

/// Asks for a token with the secret, else with the other provider's token.
pub(super) async fn token(asking: Asking<'_>, cloud: AzureCloud) -> Result<Secret, String> {
    let settings = asking.settings;
    let client = settings.client_id.as_deref().ok_or("AZURE_CLIENT_ID is not set")?;
    let tenant = settings.tenant_id.as_deref().ok_or("AZURE_TENANT_ID is not set")?;
    if !tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        return Err("AZURE_TENANT_ID is neither an identifier nor a domain".to_owned());
    }
    let authority = settings.authority_host.as_deref().unwrap_or(cloud.authority()).trim_end_matches('/');
    let url = safe_address("AZURE_AUTHORITY_HOST", &format!("{authority}/{tenant}/oauth2/v2.0/token"))?;
    let scope = format!("{RESOURCE}/.default");
    let mut fields = vec![("grant_type", "client_credentials"), ("client_id", client), ("scope", &scope)];
    let assertion;
    match (&settings.client_secret, &settings.federated_token_file) {
        (Some(secret), _) => fields.push(("client_secret", secret.reveal())),
        (None, Some(file)) => {
            assertion = read_token(file)?;
            fields.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
            fields.push(("client_assertion", assertion.reveal()));
        }
        (None, None) => {
            return Err("neither AZURE_CLIENT_SECRET nor AZURE_FEDERATED_TOKEN_FILE is set".to_owned());
        }
    }
    let reply = asking.cloud.ask(asking.web, post_form(url, &fields)).await?;
    Ok(Secret::new(reply.success()?.json::<Answer>()?.access_token))
}
