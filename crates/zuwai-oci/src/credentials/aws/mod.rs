//! Amazon's credentials, from the places where its SDKs look for them and in their order (SDK reference guide,
//! "Standardized credential providers"): the environment's keys, a web identity, the profile of the shared files, the
//! container's end point, the instance's metadata. The first place that is set up decides; that it fails is an error.

mod container;
mod instance;
mod profile;
mod region;
pub(crate) mod signature;
pub(crate) mod sts;

use std::path::PathBuf;

use reqwest::Client;

pub use container::ContainerEndpoint;
pub use sts::WebIdentity;

use crate::credentials::cloud::{CloudClient, SettingsFile};
use crate::secret::Secret;

pub(crate) use region::{domain, is_region};

/// Where credentials may come from, as the program found it. `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
pub struct AwsSettings {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<Secret>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE` and what belongs to it (IAM roles for service accounts).
    pub web_identity: Option<WebIdentity>,
    /// `AWS_CONFIG_FILE`, else `~/.aws/config`.
    pub config_file: Option<SettingsFile>,
    /// `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`.
    pub credentials_file: Option<SettingsFile>,
    /// `AWS_PROFILE`; without it, the profile `default` if there is one.
    pub profile: Option<String>,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`: where the token service is asked. Without it, the profile's region, else
    /// that of the registry.
    pub region: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `_FULL_URI` and what belongs to it (ECS, EKS pod identity).
    pub container: Option<ContainerEndpoint>,
    /// The address of the instance's metadata; none where they are not to be asked (`AWS_EC2_METADATA_DISABLED`).
    pub metadata: Option<String>,
    /// Whether end points that follow FIPS are asked (`AWS_USE_FIPS_ENDPOINT`).
    pub fips: bool,
    /// `AWS_ENDPOINT_URL_STS`, else `AWS_ENDPOINT_URL`.
    pub sts_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_ECR`, else `AWS_ENDPOINT_URL`.
    pub ecr_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_ECR_PUBLIC`, else `AWS_ENDPOINT_URL`.
    pub ecr_public_endpoint: Option<String>,
}

/// Keys that requests are signed with.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The name of the key, which is no secret.
    pub(crate) id: String,
    /// The key.
    pub(crate) secret: Secret,
    /// What is shown beside temporary keys.
    pub(crate) session: Option<Secret>,
}

/// What is needed to ask.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// Addresses near this machine.
    pub(crate) cloud: &'a CloudClient,
    /// Everything else.
    pub(crate) web: &'a Client,
    /// The region of the registry.
    pub(crate) region: &'a str,
}

impl AwsSettings {
    /// The files of tokens that profiles name, whichever is chosen.
    pub fn token_files(&self) -> Vec<PathBuf> {
        profile::token_files(self)
    }

    /// The keys of the first place that is set up; none where there is none and this is no machine of Amazon's.
    pub(crate) async fn keys(&self, asking: Asking<'_>) -> Result<Option<Keys>, String> {
        if let Some(keys) = self.environment_keys()? {
            return Ok(Some(keys));
        }
        if let Some(identity) = &self.web_identity {
            let region = self.region.as_deref().unwrap_or(asking.region);
            return sts::assume_with_web_identity(self, asking, region, identity).await.map(Some);
        }
        if let Some(plan) = profile::plan(self)? {
            return profile::carry_out(self, asking, plan).await.map(Some);
        }
        match &self.container {
            Some(container) => container.keys(asking).await.map(Some),
            None => self.instance_keys(asking).await,
        }
    }

    /// The region that was set, else that of the instance that we are on.
    pub(crate) async fn own_region(&self, cloud: &CloudClient) -> Result<Option<String>, String> {
        match (&self.region, &self.metadata) {
            (Some(region), _) => Ok(Some(region.clone())),
            (None, Some(address)) => instance::region(address, cloud).await,
            (None, None) => Ok(None),
        }
    }

    /// The keys in the environment.
    fn environment_keys(&self) -> Result<Option<Keys>, String> {
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), Some(secret)) => {
                Ok(Some(Keys { id: id.clone(), secret: secret.clone(), session: self.session_token.clone() }))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err("AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY".to_owned()),
            (None, Some(_)) => Err("AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID".to_owned()),
        }
    }

    /// The keys of the machine's role.
    async fn instance_keys(&self, asking: Asking<'_>) -> Result<Option<Keys>, String> {
        match &self.metadata {
            Some(address) => instance::keys(address, asking).await,
            None => Ok(None),
        }
    }
}
