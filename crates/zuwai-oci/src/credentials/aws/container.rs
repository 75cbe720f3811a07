//! Keys from the container's credential end point (ECS tasks, EKS pod identity).

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use url::{Host, Url};

use crate::credentials::aws::{Asking, Keys};
use crate::credentials::cloud::request::{address, get, is_loopback, with};
use crate::credentials::cloud::{read_token, sensitive};
use crate::secret::Secret;

/// Where ECS answers for `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
const ECS: &str = "http://169.254.170.2";
/// The addresses of ECS and EKS, the only ones beside this machine that are asked without TLS.
const PLAIN: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// The end point that a container is told of.
#[derive(Clone, Debug, Default)]
pub struct ContainerEndpoint {
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`: a path at ECS's own address.
    pub relative: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`, if there is no path: an address over TLS, on this machine, or of ECS or EKS.
    pub full: Option<String>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`: what to show there.
    pub token: Option<Secret>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, which comes before the token; it is renewed from time to time.
    pub token_file: Option<PathBuf>,
}

/// Keys as the end points of containers and instances answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

impl From<Answer> for Keys {
    fn from(answer: Answer) -> Self {
        let secret = Secret::new(answer.secret_access_key);
        Self { id: answer.access_key_id, secret, session: answer.token.map(Secret::new) }
    }
}

impl ContainerEndpoint {
    /// Asks for keys.
    pub(super) async fn keys(&self, asking: Asking<'_>) -> Result<Keys, String> {
        let url = self.address()?;
        let near = url.scheme() == "http";
        let mut request = get(url);
        let token = match &self.token_file {
            Some(file) => Some(read_token(file)?),
            None => self.token.clone(),
        };
        if let Some(token) = token {
            request = with(request, "authorization", sensitive(token.reveal())?);
        }
        let reply = match near {
            true => asking.cloud.ask_nearby(request).await?,
            false => asking.cloud.ask(asking.web, request).await?,
        };
        Ok(reply.success()?.json::<Answer>()?.into())
    }

    /// The address, if it may be asked: whoever sets it decides which role we take on and may read our token.
    fn address(&self) -> Result<Url, String> {
        if let Some(path) = &self.relative {
            if !path.starts_with('/') {
                return Err("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path".to_owned());
            }
            return address("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", &format!("{ECS}{path}"));
        }
        let full = self.full.as_deref().unwrap_or_default();
        let url = address("AWS_CONTAINER_CREDENTIALS_FULL_URI", full)?;
        let ip = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::from(address)),
            _ => None,
        };
        let known = ip.is_some_and(|ip| PLAIN.iter().any(|plain| plain.parse() == Ok(ip)));
        match url.scheme() == "https" || known || is_loopback(&url) {
            true => Ok(url),
            false => Err(format!(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI is on {} without TLS, and neither this machine nor ECS or EKS",
                url.host_str().unwrap_or_default()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_addresses_are_asked() {
        for (full, allowed) in [
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://169.254.170.2/x", true),
            ("http://127.0.0.1:9/x", true),
            ("http://localhost:9/x", true),
            ("https://keys.example/x", true),
            ("http://keys.example/x", false),
            ("http://169.254.169.254/x", false),
            ("http://169.254.170.23.example/x", false),
            ("http://169.254.170.23@evil.example/x", false),
            ("file:///etc/passwd", false),
            ("", false),
        ] {
            let endpoint = ContainerEndpoint { full: Some(full.to_owned()), ..ContainerEndpoint::default() };
            assert_eq!(endpoint.address().is_ok(), allowed, "{full}");
        }
    }

    #[test]
    fn a_path_is_one_of_ecs() {
        let address = |path: &str| {
            let relative = Some(path.to_owned());
            ContainerEndpoint { relative, ..ContainerEndpoint::default() }
                .address()
                .map(|url| url.to_string())
        };
        assert_eq!(address("/v2/credentials/1").unwrap(), "http://169.254.170.2/v2/credentials/1");
        assert!(address("@evil.example/").is_err());
        assert!(address(".evil.example/").is_err());
    }
}
