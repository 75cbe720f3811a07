//! Which scheme a registry speaks: HTTPS, or plain HTTP where that is allowed.

use reqwest::Response;
use url::Url;

use crate::error::OciError;
use crate::registry::authorization::Host;
use crate::registry::transport::{Call, Transport, api_host};

impl Transport {
    /// The base address of a registry, `https://host/v2/`. Where plain HTTP is allowed, HTTPS is tried first, as
    /// go-containerregistry does.
    pub(super) async fn base<'h>(&self, host: &'h Host, call: &Call<'_>) -> Result<&'h Url, OciError> {
        let registry = call.reference.registry();
        let address = |scheme: &str| {
            let text = format!("{scheme}://{}/v2/", api_host(registry));
            Url::parse(&text).map_err(|error| self.odd(call, format!("{text} is no address: {error}")))
        };
        host.base
            .get_or_try_init(|| async {
                let secure = address("https")?;
                if !self.options().allows_plain_http(registry, call.direction) {
                    return Ok(secure);
                }
                let error = match self.probe(call, secure.clone()).await {
                    Ok(_) => return Ok(secure),
                    Err(error) => error,
                };
                let plain = address("http")?;
                let speaks_no_tls = matches!(error, OciError::PlainHttp { .. });
                match self.probe(call, plain.clone()).await {
                    // What speaks HTTP and no TLS is spoken to, whatever it is: its answer to the request tells most.
                    Ok(is_registry) if is_registry || speaks_no_tls => {
                        tracing::debug!("{registry} is spoken to over plain HTTP");
                        Ok(plain)
                    }
                    // Both failed: of a server that speaks no TLS, what it said in the clear is the better news.
                    Err(plain_error) if speaks_no_tls => Err(plain_error),
                    Ok(_) | Err(_) => Err(error),
                }
            })
            .await
    }

    /// Asks whether a registry is there; `true` if the answer is one that a registry gives.
    async fn probe(&self, call: &Call<'_>, url: Url) -> Result<bool, OciError> {
        let response = self.ask_base(call, url).await?;
        let header = response.headers().contains_key("docker-distribution-api-version");
        Ok(header || matches!(response.status().as_u16(), 200 | 401 | 403))
    }

    /// What a registry answers to a request for its base address (distribution spec, "Determining support").
    pub(super) async fn ask_base(&self, call: &Call<'_>, url: Url) -> Result<Response, OciError> {
        let request = self.client(call.reference.registry(), call.direction, &url).get(url.clone()).send();
        let stall = self.options().stall_timeout;
        match tokio::time::timeout(stall, request).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.failure(&call.request, &url, error)),
            Err(_) => Err(OciError::Timeout { request: call.request.clone(), seconds: stall.as_secs() }),
        }
    }
}
