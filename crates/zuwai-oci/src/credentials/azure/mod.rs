//! Credentials for Azure Container Registry: a token of Entra ID, from the places where Azure's libraries look for it
//! (`EnvironmentCredential`, `WorkloadIdentityCredential`, `ManagedIdentityCredential`), exchanged at the registry
//! itself for one of its own (ACR's "AAD-OAuth", `/oauth2/exchange`).

mod directory;
mod host;
mod managed_identity;

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;

pub use managed_identity::IdentityEndpoint;

use crate::credentials::cloud::request::{post_form, safe_address};
use crate::credentials::cloud::{CloudClient, until};
use crate::credentials::{Credential, CredentialSource, Granted};
use crate::reference::Reference;
use crate::secret::Secret;

use host::AzureCloud;

/// The user name that goes with a refresh token of a registry.
const TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";
/// What a token of Entra ID is asked to be good for: registries alone, in every cloud (azcontainerregistry's audience).
const RESOURCE: &str = "https://containerregistry.azure.net";
/// How long a registry's token is taken to be good for if it does not say; ACR's are for three hours.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// Where credentials may come from, as the program found it. `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub struct AzureSettings {
    /// `AZURE_CLIENT_ID`: the application, or which of the machine's identities.
    pub client_id: Option<String>,
    /// `AZURE_TENANT_ID`.
    pub tenant_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub client_secret: Option<Secret>,
    /// `AZURE_CLIENT_CERTIFICATE_PATH`, which is not supported: named in an error if nothing else is set up.
    pub client_certificate: Option<PathBuf>,
    /// `AZURE_FEDERATED_TOKEN_FILE`: a file with another identity provider's token, renewed from time to time.
    pub federated_token_file: Option<PathBuf>,
    /// `AZURE_AUTHORITY_HOST`; without it, that of the registry's cloud.
    pub authority_host: Option<String>,
    /// The machine's identities; none where they are not to be asked for.
    pub identity: Option<IdentityEndpoint>,
    /// Where tokens are exchanged in place of the registry itself; none usually.
    pub exchange: Option<String>,
}

/// Credentials for Azure Container Registry.
#[derive(Debug)]
pub struct Azure {
    settings: AzureSettings,
    cloud: CloudClient,
}

/// What is needed to ask.
#[derive(Clone, Copy)]
struct Asking<'a> {
    settings: &'a AzureSettings,
    cloud: &'a CloudClient,
    web: &'a Client,
}

/// A registry's answer to an exchange.
#[derive(Deserialize)]
struct Exchanged {
    refresh_token: String,
}

impl Azure {
    /// With tokens of Entra ID from these places.
    pub fn new(settings: AzureSettings, cloud: CloudClient) -> Self {
        Self { settings, cloud }
    }

    async fn ask(&self, registry: &str, cloud: AzureCloud, web: &Client) -> Result<Option<Granted>, String> {
        let asking = Asking { settings: &self.settings, cloud: &self.cloud, web };
        match self.entra_token(asking, cloud).await? {
            Some(token) => self.exchange(registry, &token, web).await.map(Some),
            None => Ok(None),
        }
    }

    /// A token of Entra ID, from the first place that is set up.
    async fn entra_token(&self, asking: Asking<'_>, cloud: AzureCloud) -> Result<Option<Secret>, String> {
        if self.settings.client_secret.is_some() || self.settings.federated_token_file.is_some() {
            return directory::token(asking, cloud).await.map(Some);
        }
        if self.settings.client_certificate.is_some() {
            return Err(
                "AZURE_CLIENT_CERTIFICATE_PATH is not supported; use a secret, a workload identity or a \
                        managed identity"
                    .to_owned(),
            );
        }
        match &self.settings.identity {
            Some(identity) => identity.token(asking).await,
            None => Ok(None),
        }
    }

    /// Exchanges a token of Entra ID for one of the registry's.
    async fn exchange(&self, registry: &str, token: &Secret, web: &Client) -> Result<Granted, String> {
        let at =
            self.settings.exchange.clone().unwrap_or_else(|| format!("https://{registry}/oauth2/exchange"));
        let url = safe_address("the exchange", &at)?;
        let mut fields =
            vec![("grant_type", "access_token"), ("service", registry), ("access_token", token.reveal())];
        fields.extend(self.settings.tenant_id.as_deref().map(|tenant| ("tenant", tenant)));
        let reply = self.cloud.ask(web, post_form(url, &fields)).await?.success()?;
        let token = Secret::new(reply.json::<Exchanged>()?.refresh_token);
        let lifetime = Some(expiry(&token).map_or(DEFAULT_LIFETIME, until));
        // As a password it is good at both of the registry's end points, for tokens and for itself.
        let credential = Credential::Basic { username: TOKEN_USER.to_owned(), password: token };
        Ok(Granted { credential, lifetime })
    }
}

impl CredentialSource for Azure {
    fn name(&self) -> &str {
        "acr"
    }

    fn credential<'a>(
        &'a self,
        reference: &'a Reference,
        web: &'a Client,
    ) -> BoxFuture<'a, Result<Option<Granted>, String>> {
        Box::pin(async move {
            let registry = reference.registry();
            match AzureCloud::of(registry) {
                Some(cloud) => self.ask(registry, cloud, web).await,
                None => Ok(None),
            }
        })
    }
}

/// When a token ends by its own words (the claim `exp` of a JSON Web Token).
fn expiry(token: &Secret) -> Option<Timestamp> {
    let claims = token.reveal().split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_token_is_read_from_it() {
        let token = |claims: &str| Secret::new(format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims)));
        assert_eq!(expiry(&token(r#"{"exp": 86400}"#)), Some(Timestamp::from_second(86_400).unwrap()));
        for other in
            [token("{}"), token("x"), Secret::new("opaque"), token(r#"{"exp": 9223372036854775807}"#)]
        {
            assert_eq!(expiry(&other), None);
        }
    }
}
