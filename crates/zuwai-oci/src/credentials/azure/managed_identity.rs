//! Tokens of a machine's own identity: from the instance's metadata (virtual machines, Kubernetes nodes), or from the
//! end point that App Service, Functions and Container Apps give their containers.

use reqwest::header::HeaderValue;
use reqwest::{Request, StatusCode};
use url::Url;

use super::directory::Answer;
use super::{Asking, RESOURCE};
use crate::credentials::cloud::request::{address, get, with};
use crate::credentials::cloud::sensitive;
use crate::secret::Secret;

/// Where a machine's identities are asked for.
#[derive(Clone, Debug)]
pub enum IdentityEndpoint {
    /// `IDENTITY_ENDPOINT` and what to show there, `IDENTITY_HEADER`.
    AppService {
        /// The address.
        address: String,
        /// The header.
        header: Secret,
    },
    /// The instance's metadata.
    Instance {
        /// Their address, without a path.
        address: String,
    },
}

impl IdentityEndpoint {
    /// Asks for a token of Entra ID; none where there is no such end point, or where the machine has no identity.
    pub(super) async fn token(&self, asking: Asking<'_>) -> Result<Option<Secret>, String> {
        let client = asking.settings.client_id.as_deref();
        let reply = match asking.cloud.ask_nearby(self.request(client)?).await {
            Ok(reply) => reply,
            Err(failure) if failure.unreachable && matches!(self, Self::Instance { .. }) => {
                tracing::debug!("no instance metadata: {failure}");
                return Ok(None);
            }
            Err(failure) => return Err(failure.to_string()),
        };
        // Other clouds' servers answer at the same address, and Azure's where the machine has no identity; if one was
        // named by AZURE_CLIENT_ID, that is an error.
        let nobody = matches!(
            reply.status,
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
        );
        if nobody && client.is_none() && matches!(self, Self::Instance { .. }) {
            tracing::debug!("the machine has no identity (HTTP {})", reply.status.as_u16());
            return Ok(None);
        }
        Ok(Some(Secret::new(reply.success()?.json::<Answer>()?.access_token)))
    }

    fn request(&self, client: Option<&str>) -> Result<Request, String> {
        match self {
            Self::AppService { address: base, header } => {
                let url = with_query(address("IDENTITY_ENDPOINT", base)?, "2019-08-01", client);
                Ok(with(get(url), "x-identity-header", sensitive(header.reveal())?))
            }
            Self::Instance { address: base } => {
                let path = format!("{}/metadata/identity/oauth2/token", base.trim_end_matches('/'));
                let url = with_query(address("the instance metadata", &path)?, "2018-02-01", client);
                Ok(with(get(url), "metadata", HeaderValue::from_static("true")))
            }
        }
    }
}

fn with_query(mut url: Url, version: &str, client: Option<&str>) -> Url {
    let mut query = url.query_pairs_mut();
    query.append_pair("api-version", version).append_pair("resource", RESOURCE);
    if let Some(client) = client {
        query.append_pair("client_id", client);
    }
    drop(query);
    url
}
