//! One request to a registry, through redirects and authentication to its answer.
//!
//! Who gets what: the Authorization header goes to the registry's own origin (scheme, host and port) and to no other,
//! wherever redirects and upload locations lead. Redirects are followed here and not by the HTTP library, so that this
//! is decided in one place. A request is made once: what to do when it fails is for who asked (`retry`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, StatusCode};
use url::Url;

use crate::error::{OciError, Request};
use crate::reference::{DOCKER_HUB, DOCKER_HUB_API, Reference};
use crate::registry::Direction;
use crate::registry::answer::{Wanted, refusal};
use crate::registry::authorization::{Host, Shown};
use crate::registry::body::{Body, with_patience};
use crate::registry::clients::Clients;
use crate::registry::dns::Resolver;
use crate::registry::failure::transport_error;
use crate::registry::options::RegistryOptions;
use crate::registry::scrub::Scrub;

/// Most redirects that are followed.
const REDIRECT_LIMIT: usize = 10;

/// What is asked of a registry.
pub(crate) struct Call<'a> {
    /// The repository.
    pub(crate) reference: &'a Reference,
    /// A repository of the same registry that a blob is to be mounted from.
    pub(crate) mount_from: Option<&'a Reference>,
    /// Reading or writing.
    pub(crate) direction: Direction,
    /// The method.
    pub(crate) method: Method,
    /// Where: a path below `/v2/REPOSITORY/`, or an address that the registry named.
    pub(crate) target: Target,
    /// What for: decides what a 404 means.
    pub(crate) wanted: Wanted,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Body,
    /// For messages.
    pub(crate) request: Request,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) enum Target {
    /// The root of the interface, which belongs to no repository.
    Root,
    /// Below the repository.
    Path(String),
    /// An address that the registry named.
    Address(Url),
}

/// Connections and what is known about registries.
pub(crate) struct Transport {
    options: Arc<RegistryOptions>,
    resolver: Arc<Resolver>,
    clients: Clients,
    hosts: Mutex<BTreeMap<(String, Direction), Arc<Host>>>,
}

impl Transport {
    pub(crate) fn new(options: Arc<RegistryOptions>) -> Result<Self, OciError> {
        let resolver = Arc::new(Resolver::from_system()?);
        let clients = Clients::new(&options, &resolver)?;
        Ok(Self { options, resolver, clients, hosts: Mutex::default() })
    }

    pub(super) fn hosts(&self) -> &Mutex<BTreeMap<(String, Direction), Arc<Host>>> {
        &self.hosts
    }

    pub(crate) fn options(&self) -> &RegistryOptions {
        &self.options
    }

    /// Finds hosts.
    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The client for what is no registry.
    pub(crate) fn web_client(&self) -> &Client {
        self.clients.web()
    }

    /// The client for a request to `url` that belongs to a conversation with a registry.
    pub(crate) fn client(&self, registry: &str, direction: Direction, url: &Url) -> &Client {
        self.clients.choose(&self.options, registry, direction, url)
    }

    /// The error that a failed exchange with `url` is.
    pub(crate) fn failure(&self, request: &Request, url: &Url, error: reqwest::Error) -> OciError {
        transport_error(request, error, self.options.proxies.host(url))
    }

    /// Sends a request and returns the answer if it is a success; every other answer is an error.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Response, OciError> {
        let host = self.host(call.reference.registry(), call.direction);
        let base = self.base(&host, call).await?;
        let start = match &call.target {
            Target::Path(path) => {
                let path = format!("{}/{path}", call.reference.repository());
                base.join(&path).map_err(|error| self.odd(call, format!("{path} is no path: {error}")))?
            }
            Target::Root => base.clone(),
            Target::Address(url) => url.clone(),
        };
        let mut url = start.clone();
        let (mut challenges, mut redirects, mut begun_again) = (0, 0, false);
        loop {
            let own = url.origin() == base.origin();
            let shown = match own {
                true => self.authorization(&host, base, call).await?,
                false => Shown::default(),
            };
            let authorized = shown.header.is_some();
            let scrub = shown.header.as_ref().map(Scrub::header).unwrap_or_default();
            let response = self.dispatch(call, url.clone(), shown.header).await?;
            match response.status() {
                // One challenge tells what the registry wants, another that a token ended while it was asked.
                StatusCode::UNAUTHORIZED if own && (challenges == 0 || challenges == 1 && shown.earlier) => {
                    challenges += 1;
                    let known = self.learn(&host, &response, authorized).await
                        || !authorized && self.learn_from_base(&host, base, &response, call).await;
                    if !known {
                        return Err(self.refuse(response, call, shown.own, &scrub).await);
                    }
                }
                // A redirect's address is good for a while only: the registry is asked for another.
                StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST if !own && redirects > 0 && !begun_again => {
                    begun_again = true;
                    url = start.clone();
                }
                status if is_redirect(status, &call.method) => {
                    redirects += 1;
                    if redirects > REDIRECT_LIMIT {
                        return Err(self.odd(call, format!("more than {REDIRECT_LIMIT} redirects")));
                    }
                    let next = location(&response, &url, &call.request)?;
                    if url.scheme() == "https" && next.scheme() == "http" {
                        return Err(self.odd(
                            call,
                            format!("redirected from HTTPS to plain HTTP at {}", authority(&next)),
                        ));
                    }
                    url = next;
                }
                status if status.is_success() => return Ok(response),
                _ => return Err(self.refuse(response, call, shown.own, &scrub).await),
            }
        }
    }

    pub(super) fn odd(&self, call: &Call<'_>, problem: String) -> OciError {
        OciError::Answered { request: call.request.clone(), problem }
    }

    async fn refuse(
        &self,
        response: Response,
        call: &Call<'_>,
        with_credentials: bool,
        scrub: &Scrub,
    ) -> OciError {
        if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            && let Some(proxy) = self.options.proxies.host(response.url())
        {
            let request = call.request.clone();
            return OciError::Proxy { request, proxy, wants_password: true, source: None };
        }
        let stall = self.options.stall_timeout;
        refusal(response, &call.request, call.wanted, with_credentials, scrub, stall).await
    }

    /// One exchange. Time-outs count from the last byte that moved.
    async fn dispatch(
        &self,
        call: &Call<'_>,
        url: Url,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, OciError> {
        tracing::debug!("{} {}{}", call.method, authority(&url), url.path());
        let client = self.client(call.reference.registry(), call.direction, &url);
        let mut builder = client.request(call.method.clone(), url.clone()).headers(call.headers.clone());
        if let Some(value) = authorization {
            builder = builder.header(AUTHORIZATION, value);
        }
        let mut moved = Arc::default();
        let length = match &call.body {
            Body::Empty | Body::End(_) => {
                if call.method != Method::GET && call.method != Method::HEAD {
                    builder = builder.header(CONTENT_LENGTH, 0);
                }
                0
            }
            Body::Bytes(media_type, bytes) => {
                builder = builder.header(CONTENT_TYPE, media_type).body(bytes.clone());
                0
            }
            Body::File(part) => {
                builder = builder.header(CONTENT_LENGTH, part.length).body(part.body()?);
                moved = part.moved.clone();
                part.length
            }
            Body::Stream(once) => {
                let interrupted = || OciError::Interrupted { request: call.request.clone() };
                builder =
                    builder.header(CONTENT_LENGTH, once.length).body(once.take().ok_or_else(interrupted)?);
                moved = once.moved.clone();
                once.length
            }
        };
        if matches!(call.body, Body::File(_) | Body::Stream(_)) {
            builder = builder.header(CONTENT_TYPE, "application/octet-stream");
        }
        let stall = self.options.stall_timeout;
        match with_patience(builder.send(), &call.body, &moved, length, stall).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(self.failure(&call.request, &url, error)),
            None => Err(OciError::Timeout { request: call.request.clone(), seconds: stall.as_secs() }),
        }
    }
}

/// The address in an answer's Location header, which may be relative to where the answer came from.
pub(super) fn location(response: &Response, url: &Url, request: &Request) -> Result<Url, OciError> {
    let odd = |problem| OciError::Answered { request: request.clone(), problem };
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| odd("the answer has no Location".to_owned()))?;
    let next = url.join(location).map_err(|error| odd(format!("Location is no address: {error}")))?;
    match next.scheme() {
        "http" | "https" => Ok(next),
        other => Err(odd(format!("Location has the scheme {other}"))),
    }
}

/// Which requests follow a redirect: those for reading all of them, others only those that keep method and body.
fn is_redirect(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        307 | 308 => true,
        301..=303 => method == Method::GET || method == Method::HEAD,
        _ => false,
    }
}

/// Where a registry's interface is: Docker Hub has it on a host of another name.
pub(crate) fn api_host(registry: &str) -> &str {
    match registry {
        DOCKER_HUB => DOCKER_HUB_API,
        other => other,
    }
}

/// Host and port, without user information.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A lock whose holder panicked still guards good data here: every change is one insertion.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
