//! Credentials for Amazon's registries: a password from the service of the registry's region (ECR API reference,
//! GetAuthorizationToken).

mod host;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::Client;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::credentials::aws::signature::Scope;
use crate::credentials::aws::{Asking, AwsSettings};
use crate::credentials::cloud::request::{address, post, with};
use crate::credentials::cloud::{CloudClient, Reply, until};
use crate::credentials::{Credential, CredentialSource, Granted};
use crate::reference::Reference;
use crate::secret::Secret;

use host::EcrHost;

/// How long a password is taken to be good for if the service does not say; it says twelve hours.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// Credentials for Amazon ECR, private and public.
#[derive(Debug)]
pub struct Ecr {
    settings: AwsSettings,
    cloud: CloudClient,
}

/// A token of the service.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: String,
    #[serde(default)]
    expires_at: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrivateAnswer {
    authorization_data: Vec<Authorization>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicAnswer {
    authorization_data: Authorization,
}

impl Ecr {
    /// With Amazon's credentials from these places.
    pub fn new(settings: AwsSettings, cloud: CloudClient) -> Self {
        Self { settings, cloud }
    }

    async fn ask(&self, host: &EcrHost, web: &Client) -> Result<Option<Granted>, String> {
        let asking = Asking { cloud: &self.cloud, web, region: &host.region };
        let Some(keys) = self.settings.keys(asking).await? else {
            // What is public can be had without.
            return match host.is_public {
                true => Ok(None),
                false => Err("no AWS credentials: neither environment, shared files, web identity nor container end point \
                              are set up, and no instance metadata answered (from a container they do only where \
                              the instance's metadata hop limit is 2 or more)"
                    .to_owned()),
            };
        };
        let (endpoint, target, service) = match host.is_public {
            true => (&self.settings.ecr_public_endpoint, "SpencerFrontendService", "ecr-public"),
            false => (&self.settings.ecr_endpoint, "AmazonEC2ContainerRegistry_V20150921", "ecr"),
        };
        let url = match endpoint {
            Some(endpoint) => address("AWS_ENDPOINT_URL_ECR", endpoint)?,
            None => address("the service", &host.service_address(self.settings.fips))?,
        };
        let target = HeaderValue::from_str(&format!("{target}.GetAuthorizationToken"));
        let target = target.map_err(|error| error.to_string())?;
        let request = post(url, "application/x-amz-json-1.1", "{}".to_owned());
        let mut request = with(request, "x-amz-target", target);
        Scope { region: &host.region, service, time: Timestamp::now() }.sign(&mut request, &keys)?;
        granted(&self.cloud.ask(web, request).await?.success()?, host.is_public).map(Some)
    }
}

impl CredentialSource for Ecr {
    fn name(&self) -> &str {
        "ecr"
    }

    fn credential<'a>(
        &'a self,
        reference: &'a Reference,
        web: &'a Client,
    ) -> BoxFuture<'a, Result<Option<Granted>, String>> {
        Box::pin(async move {
            match EcrHost::parse(reference.registry()) {
                Some(host) => self.ask(&host, web).await,
                None => Ok(None),
            }
        })
    }
}

/// The credential in an answer: the base64 of `AWS:PASSWORD`.
fn granted(reply: &Reply, is_public: bool) -> Result<Granted, String> {
    let data = match is_public {
        true => reply.json::<PublicAnswer>()?.authorization_data,
        false => {
            let first = reply.json::<PrivateAnswer>()?.authorization_data.into_iter().next();
            first.ok_or("the service's answer holds no token")?
        }
    };
    let decoded = STANDARD.decode(&data.authorization_token).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = decoded.as_ref().and_then(|text| text.split_once(':'));
    let (username, password) = parts.ok_or("the service's token is not base64 of user:password")?;
    // Whole seconds do.
    let ends = data.expires_at.and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
    Ok(Granted {
        credential: Credential::Basic { username: username.to_owned(), password: Secret::new(password) },
        lifetime: Some(ends.map_or(DEFAULT_LIFETIME, until)),
    })
}
