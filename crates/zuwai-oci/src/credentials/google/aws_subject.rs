//! Amazon's credentials as a token for Google: a signed request that says who we are, which Google sends for us
//! (Google's "Configure Workload Identity Federation with AWS").

use jiff::Timestamp;
use reqwest::header::HeaderValue;
use reqwest::{Method, Request};
use serde_json::json;
use url::form_urlencoded::byte_serialize;

use super::Asking;
use super::federation::Source;
use crate::credentials::aws;
use crate::credentials::aws::signature::Scope;
use crate::credentials::cloud::request::{safe_address, with};
use crate::secret::Secret;

/// What files have for `regional_cred_verification_url`.
const DEFAULT_ADDRESS: &str =
    "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";

/// Signs the request for an audience of Google's.
pub(super) async fn token(asking: Asking<'_>, source: &Source, audience: &str) -> Result<Secret, String> {
    if source.environment_id.as_deref() != Some("aws1") {
        return Err("its credential_source.environment_id is not aws1".to_owned());
    }
    let settings = &asking.settings.aws;
    let region = settings.own_region(asking.cloud).await?;
    let region = region.as_deref().ok_or("workload identity federation from AWS needs AWS_REGION")?;
    if !aws::is_region(region) {
        return Err("the region of AWS is malformed".to_owned());
    }
    let at = aws::Asking { cloud: asking.cloud, web: asking.web, region };
    let keys = settings.keys(at).await?.ok_or("there are no AWS credentials to exchange")?;

    let template = source.regional_cred_verification_url.as_deref().unwrap_or(DEFAULT_ADDRESS);
    let url = safe_address("regional_cred_verification_url", &template.replace("{region}", region))?;
    let expected = format!("sts.{region}.{}", aws::domain(region));
    if url.host_str() != Some(expected.as_str()) {
        return Err(format!("regional_cred_verification_url is not on {expected}"));
    }
    let audience = HeaderValue::from_str(audience).map_err(|_| "its audience is malformed")?;
    let request = Request::new(Method::POST, url.clone());
    let mut request = with(request, "x-goog-cloud-target-resource", audience);
    Scope { region, service: "sts", time: Timestamp::now() }.sign(&mut request, &keys)?;

    let mut headers = vec![json!({"key": "host", "value": expected})];
    for (name, value) in request.headers() {
        let value = value.to_str().map_err(|_| "a header is no ASCII")?;
        headers.push(json!({"key": name.as_str(), "value": value}));
    }
    let statement = json!({"url": url.as_str(), "method": "POST", "headers": headers}).to_string();
    // Google wants it percent-encoded, before it becomes a field of a form.
    Ok(Secret::new(byte_serialize(statement.as_bytes()).collect::<String>()))
}
