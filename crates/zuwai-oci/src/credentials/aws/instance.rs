//! Keys of the role of an EC2 instance, from its metadata (IMDSv2).

use reqwest::header::HeaderValue;
use reqwest::{Method, Request, StatusCode};
use url::Url;

use crate::credentials::aws::container::Answer;
use crate::credentials::aws::{Asking, Keys};
use crate::credentials::cloud::request::{address, get, with};
use crate::credentials::cloud::sensitive;

/// Where the roles are.
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// The keys of the instance's role; none where no instance's metadata are, or where it has no role.
pub(super) async fn keys(endpoint: &str, asking: Asking<'_>) -> Result<Option<Keys>, String> {
    let base = address("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("{}/", endpoint.trim_end_matches('/')))?;
    let join = |path: &str| base.join(path).map_err(|error| format!("{path}: {error}"));

    let request = Request::new(Method::PUT, join("latest/api/token")?);
    let lifetime = HeaderValue::from_static("21600");
    let request = with(request, "x-aws-ec2-metadata-token-ttl-seconds", lifetime);
    let reply = match asking.cloud.ask_nearby(request).await {
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
    let token = reply.success()?.text()?.trim().to_owned();
    let ask = |url: Url| {
        let header = sensitive(&token);
        async move {
            Ok::<_, String>(
                asking.cloud.ask_nearby(with(get(url), "x-aws-ec2-metadata-token", header?)).await?,
            )
        }
    };

    let reply = ask(join(ROLES)?).await?;
    if reply.status == StatusCode::NOT_FOUND {
        tracing::debug!("the instance has no role");
        return Ok(None);
    }
    let roles = reply.success()?;
    let Some(role) = roles.text()?.lines().map(str::trim).find(|line| !line.is_empty()) else {
        return Ok(None);
    };
    if !role.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte))
        || role.starts_with('.')
    {
        return Err("the instance's metadata name a malformed role".to_owned());
    }
    let answer: Answer = ask(join(&format!("{ROLES}{role}"))?).await?.success()?.json()?;
    Ok(Some(answer.into()))
}
