//! Keys from Amazon's token service (AWS STS, query protocol of 2011-06-15).

use std::path::PathBuf;

use jiff::Timestamp;
use reqwest::Request;
use url::Url;

use crate::credentials::aws::signature::Scope;
use crate::credentials::aws::{Asking, AwsSettings, Keys, domain, is_region};
use crate::credentials::cloud::request::{address, post_form};
use crate::credentials::cloud::{Reply, read_token};
use crate::secret::Secret;

/// The protocol's version.
const VERSION: &str = "2011-06-15";
/// What a session is called in Amazon's records where the user says nothing.
const SESSION: &str = "zuwai";

/// A role that is taken on with a token of another identity provider, such as Kubernetes.
#[derive(Clone, Debug)]
pub struct WebIdentity {
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`: a file with the token, which is renewed from time to time.
    pub token_file: PathBuf,
    /// `AWS_ROLE_ARN`; to be without it is an error once the identity is needed.
    pub role_arn: Option<String>,
    /// `AWS_ROLE_SESSION_NAME`.
    pub session_name: Option<String>,
}

/// A role that is taken on with other keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session_name: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) duration_seconds: Option<String>,
}

/// Takes on a role with a web identity (AssumeRoleWithWebIdentity). The request is not signed: the token is the proof.
pub(super) async fn assume_with_web_identity(
    settings: &AwsSettings,
    asking: Asking<'_>,
    region: &str,
    identity: &WebIdentity,
) -> Result<Keys, String> {
    let role = identity.role_arn.as_deref().ok_or("a web identity needs AWS_ROLE_ARN or role_arn")?;
    let token = read_token(&identity.token_file)?;
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", VERSION),
        ("RoleArn", role),
        ("RoleSessionName", identity.session_name.as_deref().unwrap_or(SESSION)),
        ("WebIdentityToken", token.reveal()),
    ];
    let request = post_form(settings.sts_address(region)?, &fields);
    ask(asking, request).await.map_err(|problem| format!("cannot take on {role}: {problem}"))
}

/// Takes on a role with keys (AssumeRole).
pub(super) async fn assume_role(
    settings: &AwsSettings,
    asking: Asking<'_>,
    region: &str,
    keys: &Keys,
    role: &Role,
) -> Result<Keys, String> {
    let mut fields = vec![
        ("Action", "AssumeRole"),
        ("Version", VERSION),
        ("RoleArn", &role.arn),
        ("RoleSessionName", role.session_name.as_deref().unwrap_or(SESSION)),
    ];
    fields.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
    fields.extend(role.duration_seconds.as_deref().map(|seconds| ("DurationSeconds", seconds)));
    let mut request = post_form(settings.sts_address(region)?, &fields);
    Scope { region, service: "sts", time: Timestamp::now() }.sign(&mut request, keys)?;
    ask(asking, request).await.map_err(|problem| format!("cannot take on {}: {problem}", role.arn))
}

impl AwsSettings {
    /// Where the token service of a region is.
    pub(super) fn sts_address(&self, region: &str) -> Result<Url, String> {
        if let Some(endpoint) = &self.sts_endpoint {
            return address("AWS_ENDPOINT_URL_STS", endpoint);
        }
        if !is_region(region) {
            return Err(format!("{region:?} is no region"));
        }
        // In GovCloud the one end point follows FIPS.
        let service = if self.fips && !region.starts_with("us-gov-") { "sts-fips" } else { "sts" };
        address("the token service", &format!("https://{service}.{region}.{}/", domain(region)))
    }
}

/// Asks for keys.
async fn ask(asking: Asking<'_>, request: Request) -> Result<Keys, String> {
    let reply = asking.cloud.ask(asking.web, request).await?.success()?;
    keys(&reply)
}

/// The keys in an answer.
fn keys(reply: &Reply) -> Result<Keys, String> {
    let text = reply.text()?;
    let field =
        |name: &str| element(text, name).ok_or_else(|| format!("the token service's answer has no {name}"));
    Ok(Keys {
        id: field("AccessKeyId")?.to_owned(),
        secret: Secret::new(field("SecretAccessKey")?),
        session: Some(Secret::new(field("SessionToken")?)),
    })
}

/// The text of an element that is there once. Keys and tokens are base64, which XML writes as it is: what holds markup
/// or references is none.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, rest) = rest.split_once(&format!("</{name}>"))?;
    let value = value.trim();
    let is_plain = !value.is_empty() && !value.contains(['<', '&', '>']);
    (is_plain && !rest.contains(&format!("<{name}>"))).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_of_the_region_is_asked() {
        let address = |region: &str, fips: bool| {
            let settings = AwsSettings { fips, ..AwsSettings::default() };
            settings.sts_address(region).map(|url| url.to_string())
        };
        assert_eq!(address("eu-west-1", false).unwrap(), "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(address("us-east-1", true).unwrap(), "https://sts-fips.us-east-1.amazonaws.com/");
        assert_eq!(address("us-gov-west-1", true).unwrap(), "https://sts.us-gov-west-1.amazonaws.com/");
        assert_eq!(address("cn-north-1", false).unwrap(), "https://sts.cn-north-1.amazonaws.com.cn/");
        assert!(address("evil.example/", false).is_err());
    }

    #[test]
    fn elements_are_taken_as_they_are_or_not_at_all() {
        for (text, expected) in [
            ("<r><K> a+b/= </K></r>", Some("a+b/=")),
            ("<K></K>", None),
            ("<K>a", None),
            ("<K><b/></K>", None),
            ("<K>a&amp;b</K>", None),
            ("<K>a</K><K>b</K>", None),
            ("<KK>a</KK>", None),
        ] {
            assert_eq!(element(text, "K"), expected, "{text}");
        }
    }
}
