//! What an EC2 instance's metadata say (IMDSv2): the keys of its role, and its region.

use reqwest::header::HeaderValue;
use reqwest::{Method, Request, StatusCode};
use url::Url;

use crate::credentials::aws::container::Answer;
use crate::credentials::aws::{Asking, Keys};
use crate::credentials::cloud::request::{address, get, with};
use crate::credentials::cloud::{CloudClient, Reply, sensitive};
use crate::secret::Secret;

/// Where the roles are.
const ROLES: &str = "iam/security-credentials/";
/// Where the region is.
const REGION: &str = "placement/region";

/// Metadata that answered, and the token that they are read with.
struct Metadata<'a> {
    cloud: &'a CloudClient,
    base: Url,
    token: Secret,
}

/// The keys of the instance's role; none where no instance's metadata are, or where it has no role.
pub(super) async fn keys(endpoint: &str, asking: Asking<'_>) -> Result<Option<Keys>, String> {
    let Some(metadata) = Metadata::open(endpoint, asking.cloud).await? else { return Ok(None) };
    let Some(roles) = metadata.read(ROLES).await? else {
        tracing::debug!("the instance has no role");
        return Ok(None);
    };
    let Some(role) = roles.text()?.lines().map(str::trim).find(|line| !line.is_empty()) else {
        return Ok(None);
    };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    if !role.bytes().all(is_letter) || role.starts_with('.') {
        return Err("the instance's metadata name a malformed role".to_owned());
    }
    match metadata.read(&format!("{ROLES}{role}")).await? {
        Some(reply) => Ok(Some(reply.json::<Answer>()?.into())),
        None => Err(format!("the instance's metadata have no keys for its role {role}")),
    }
}

/// The region of the instance; none where no instance's metadata are.
pub(super) async fn region(endpoint: &str, cloud: &CloudClient) -> Result<Option<String>, String> {
    let Some(metadata) = Metadata::open(endpoint, cloud).await? else { return Ok(None) };
    match metadata.read(REGION).await? {
        Some(reply) => Ok(Some(reply.text()?.trim().to_owned())),
        None => Ok(None),
    }
}

impl<'a> Metadata<'a> {
    /// Asks for a token; none where nobody answers who knows of such tokens.
    async fn open(endpoint: &str, cloud: &'a CloudClient) -> Result<Option<Self>, String> {
        let base = format!("{}/latest/", endpoint.trim_end_matches('/'));
        let base = address("AWS_EC2_METADATA_SERVICE_ENDPOINT", &base)?;
        let token = base.join("api/token").map_err(|error| error.to_string())?;
        let lifetime = HeaderValue::from_static("21600");
        let request =
            with(Request::new(Method::PUT, token), "x-aws-ec2-metadata-token-ttl-seconds", lifetime);
        let reply = match cloud.ask_nearby(request).await {
            Ok(reply) => reply,
            Err(failure) if failure.unreachable => {
                tracing::debug!("no instance metadata: {failure}");
                return Ok(None);
            }
            Err(failure) => return Err(failure.to_string()),
        };
        // Metadata servers of other clouds know no such path.
        if matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            return Ok(None);
        }
        let token = Secret::new(reply.success()?.text()?.trim());
        Ok(Some(Self { cloud, base, token }))
    }

    /// Reads what is at a path; none where nothing is.
    async fn read(&self, path: &str) -> Result<Option<Reply>, String> {
        let url = self.base.join(&format!("meta-data/{path}")).map_err(|error| error.to_string())?;
        let request = with(get(url), "x-aws-ec2-metadata-token", sensitive(self.token.reveal())?);
        let reply = self.cloud.ask_nearby(request).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => reply.success().map(Some),
        }
    }
}
