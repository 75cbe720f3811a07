//! One request to a registry, through redirects and authentication to its answer.
//!
//! Who gets what: the Authorization header goes to the registry's own origin (scheme, host and port) and to no other,
//! wherever redirects and upload locations lead. Redirects are followed here and not by the HTTP library, so that this
//! is decided in one place. Retries, mirrors and resumed transfers will be made here too.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE,
};
use reqwest::{Client, Method, Response, StatusCode};
use tokio::io::AsyncReadExt as _;
use url::Url;

use crate::credentials::Credential;
use crate::error::{IoContext as _, OciError, Request};
use crate::reference::{DOCKER_HUB, Reference};
use crate::registry::Direction;
use crate::registry::answer::{Wanted, refusal, transport_error};
use crate::registry::challenge::Challenge;
use crate::registry::dns::Resolver;
use crate::registry::options::RegistryOptions;
use crate::registry::token::{Token, TokenRequest, bearer_header};
use crate::secret::Secret;

/// Most redirects that are followed.
const REDIRECT_LIMIT: usize = 10;
/// A registry may take this many stall times to digest a blob that was sent whole.
const COMMIT_PATIENCE: u32 = 5;
/// Piece in which files are sent.
const PIECE: usize = 256 << 10;

/// What is asked of a registry.
pub(crate) struct Call<'a> {
    /// The repository.
    pub(crate) reference: &'a Reference,
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
    /// Below the repository.
    Path(String),
    /// An address that the registry named.
    Address(Url),
}

/// A request's body, which can be sent more than once.
#[derive(Clone)]
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// A small document.
    Bytes(HeaderValue, Bytes),
    /// A file of this length.
    File(PathBuf, u64),
}

/// What is known about one registry.
#[derive(Default)]
struct Host {
    /// Its base address, once it is known which scheme it speaks.
    base: tokio::sync::OnceCell<Url>,
    /// What it asked for last.
    challenge: Mutex<Option<Challenge>>,
    /// Tokens by scopes.
    tokens: tokio::sync::Mutex<BTreeMap<Vec<String>, Token>>,
}

/// Connections and what is known about registries.
pub(crate) struct Transport {
    options: Arc<RegistryOptions>,
    resolver: Arc<Resolver>,
    verifying: Client,
    trusting: Client,
    hosts: Mutex<BTreeMap<(String, Direction), Arc<Host>>>,
}

impl Transport {
    pub(crate) fn new(options: Arc<RegistryOptions>) -> Result<Self, OciError> {
        let resolver = Arc::new(Resolver::from_system()?);
        let client = |verify: bool| {
            let mut builder = Client::builder()
                .tls_backend_preconfigured(options.tls_roots.client_config(verify)?)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .user_agent(&options.user_agent)
                .connect_timeout(options.connect_timeout)
                .dns_resolver(resolver.clone());
            if !options.proxies_from_environment {
                builder = builder.no_proxy();
            }
            builder.build().map_err(|error| OciError::Options(error.to_string()))
        };
        let (verifying, trusting) = (client(true)?, client(false)?);
        Ok(Self { options, resolver, verifying, trusting, hosts: Mutex::default() })
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
        &self.verifying
    }

    /// The client for a registry: with or without a look at certificates.
    pub(crate) fn client(&self, registry: &str, direction: Direction) -> &Client {
        match self.options.verifies(registry, direction) {
            true => &self.verifying,
            false => &self.trusting,
        }
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
            Target::Address(url) => url.clone(),
        };
        let mut url = start;
        let mut asked_again = false;
        let mut redirects = 0;
        loop {
            let own = url.origin() == base.origin();
            let authorization = match own {
                true => self.authorization(&host, base, call).await?,
                false => None,
            };
            let shown = authorization.is_some();
            let response = self.dispatch(call, url.clone(), authorization).await?;
            match response.status() {
                StatusCode::UNAUTHORIZED if own && !asked_again => {
                    asked_again = true;
                    if !self.learn(&host, &response, shown).await {
                        return Err(self.refuse(response, call, shown).await);
                    }
                }
                status if is_redirect(status, &call.method) => {
                    redirects += 1;
                    if redirects > REDIRECT_LIMIT {
                        return Err(self.odd(call, format!("more than {REDIRECT_LIMIT} redirects")));
                    }
                    let next = self.location(&response, &url, call)?;
                    if url.scheme() == "https" && next.scheme() == "http" {
                        return Err(self.odd(
                            call,
                            format!("redirected from HTTPS to plain HTTP at {}", authority(&next)),
                        ));
                    }
                    url = next;
                }
                status if status.is_success() => return Ok(response),
                _ => return Err(self.refuse(response, call, shown).await),
            }
        }
    }

    /// The address in an answer's Location header, which may be relative to where the answer came from.
    pub(crate) fn location(&self, response: &Response, url: &Url, call: &Call<'_>) -> Result<Url, OciError> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| self.odd(call, "the answer has no Location".to_owned()))?;
        let next =
            url.join(location).map_err(|error| self.odd(call, format!("Location is no address: {error}")))?;
        match next.scheme() {
            "http" | "https" => Ok(next),
            other => Err(self.odd(call, format!("Location has the scheme {other}"))),
        }
    }

    fn odd(&self, call: &Call<'_>, problem: String) -> OciError {
        OciError::Answered { request: call.request.clone(), problem }
    }

    async fn refuse(&self, response: Response, call: &Call<'_>, with_credentials: bool) -> OciError {
        // A token may be anonymous: only credentials of the user's own count.
        let with_credentials = with_credentials && self.options.credentials.lookup(call.reference).is_some();
        refusal(response, &call.request, call.wanted, with_credentials, self.options.stall_timeout).await
    }

    fn host(&self, registry: &str, direction: Direction) -> Arc<Host> {
        lock(&self.hosts).entry((registry.to_owned(), direction)).or_default().clone()
    }

    /// The base address of a registry, `https://host/v2/`. Where plain HTTP is allowed, HTTPS is tried first, as
    /// go-containerregistry does.
    async fn base<'h>(&self, host: &'h Host, call: &Call<'_>) -> Result<&'h Url, OciError> {
        let registry = call.reference.registry();
        let address = |scheme: &str| {
            let text = format!("{scheme}://{}/v2/", api_host(registry));
            Url::parse(&text).map_err(|error| self.odd(call, format!("{text} is no address: {error}")))
        };
        host.base
            .get_or_try_init(|| async {
                let secure = address("https")?;
                if !self.options.allows_plain_http(registry, call.direction) {
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
        let request = self.client(call.reference.registry(), call.direction).get(url).send();
        let stall = self.options.stall_timeout;
        match tokio::time::timeout(stall, request).await {
            Ok(Ok(response)) => {
                let header = response.headers().contains_key("docker-distribution-api-version");
                Ok(header || matches!(response.status().as_u16(), 200 | 401 | 403))
            }
            Ok(Err(error)) => Err(transport_error(&call.request, error)),
            Err(_) => Err(OciError::Timeout { request: call.request.clone(), seconds: stall.as_secs() }),
        }
    }

    /// Takes note of what a registry asks for; `false` if it is nothing we could answer.
    async fn learn(&self, host: &Host, response: &Response, shown: bool) -> bool {
        let values =
            response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let Some(challenge) = Challenge::parse(values) else { return false };
        // Asked again although it was shown a password: there is no more to say.
        let repeated = shown && challenge == Challenge::Basic;
        *lock(&host.challenge) = Some(challenge);
        host.tokens.lock().await.clear();
        !repeated
    }

    /// The Authorization header for a request, as far as the registry has said what it wants.
    async fn authorization(
        &self,
        host: &Host,
        base: &Url,
        call: &Call<'_>,
    ) -> Result<Option<HeaderValue>, OciError> {
        let Some(challenge) = lock(&host.challenge).clone() else { return Ok(None) };
        let credential = self.options.credentials.lookup(call.reference);
        if let Some(Credential::RegistryToken(token)) = credential {
            return Ok(bearer_header(token));
        }
        let (realm, service, scope) = match challenge {
            Challenge::Basic => {
                return match credential {
                    Some(Credential::Basic { username, password }) => {
                        Ok(Some(basic_header(username, password)))
                    }
                    Some(_) => Err(OciError::Authentication {
                        request: call.request.clone(),
                        kind: "an identity token with basic authentication".to_owned(),
                    }),
                    None => Ok(None),
                };
            }
            Challenge::Bearer { realm, service, scope } => (realm, service, scope),
        };
        let scopes = scopes(call.reference, call.direction, scope.as_deref());
        let mut tokens = host.tokens.lock().await;
        if let Some(token) = tokens.get(&scopes).filter(|token| token.is_good()) {
            return Ok(bearer_header(&token.secret));
        }
        let asked = TokenRequest { realm: &realm, service: service.as_deref(), scopes: &scopes, credential };
        let registry = call.reference.registry();
        let token = self.fetch_token(&asked, base, registry, call.direction, &call.request).await?;
        let header = bearer_header(&token.secret);
        tokens.insert(scopes, token);
        Ok(header)
    }

    /// One exchange. Time-outs count from the last byte that moved.
    async fn dispatch(
        &self,
        call: &Call<'_>,
        url: Url,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, OciError> {
        tracing::debug!("{} {}{}", call.method, authority(&url), url.path());
        let client = self.client(call.reference.registry(), call.direction);
        let mut builder = client.request(call.method.clone(), url).headers(call.headers.clone());
        if let Some(value) = authorization {
            builder = builder.header(AUTHORIZATION, value);
        }
        let moved = Arc::new(AtomicU64::new(0));
        let length = match &call.body {
            Body::Empty => {
                if call.method != Method::GET && call.method != Method::HEAD {
                    builder = builder.header(CONTENT_LENGTH, 0);
                }
                0
            }
            Body::Bytes(media_type, bytes) => {
                builder = builder.header(CONTENT_TYPE, media_type).body(bytes.clone());
                0
            }
            Body::File(path, length) => {
                let file = File::open(path).at("open", path)?;
                builder = builder
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_LENGTH, *length)
                    .body(file_body(file, moved.clone()));
                *length
            }
        };
        let stall = self.options.stall_timeout;
        match with_patience(builder.send(), &moved, length, stall).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(transport_error(&call.request, error)),
            None => Err(OciError::Timeout { request: call.request.clone(), seconds: stall.as_secs() }),
        }
    }
}

/// Waits for an answer as long as something moves, and somewhat longer once all was sent; `None` if the time is over.
async fn with_patience<T>(
    answer: impl Future<Output = T>,
    moved: &AtomicU64,
    length: u64,
    stall: Duration,
) -> Option<T> {
    tokio::pin!(answer);
    let (mut before, mut rounds) = (0, 0);
    loop {
        if let Ok(answer) = tokio::time::timeout(stall, &mut answer).await {
            return Some(answer);
        }
        let now = moved.load(Ordering::Relaxed);
        let sent = length > 0 && now >= length;
        rounds = if now > before { 0 } else { rounds + 1 };
        before = now;
        if rounds >= if sent { COMMIT_PATIENCE } else { 1 } {
            return None;
        }
    }
}

/// A file as a body, read in pieces.
fn file_body(file: File, moved: Arc<AtomicU64>) -> reqwest::Body {
    let file = tokio::fs::File::from_std(file);
    let pieces = stream::try_unfold((file, moved), |(mut file, moved)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await?;
        moved.fetch_add(read as u64, Ordering::Relaxed);
        Ok::<_, std::io::Error>((read > 0).then(|| (piece.freeze(), (file, moved))))
    });
    reqwest::Body::wrap_stream(pieces)
}

/// Which requests follow a redirect: those for reading all of them, others only those that keep method and body.
fn is_redirect(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        307 | 308 => true,
        301..=303 => method == Method::GET || method == Method::HEAD,
        _ => false,
    }
}

/// What a token shall be good for: the repository, and what the registry itself named beside it.
fn scopes(reference: &Reference, direction: Direction, challenged: Option<&str>) -> Vec<String> {
    let resource = format!("repository:{}:", reference.repository());
    let actions = match direction {
        Direction::Pull => "pull",
        Direction::Push => "pull,push",
    };
    let mut scopes = vec![format!("{resource}{actions}")];
    let others =
        challenged.into_iter().flat_map(str::split_whitespace).filter(|scope| !scope.starts_with(&resource));
    scopes.extend(others.filter(|scope| !scope.starts_with("repository:")).map(str::to_owned));
    scopes
}

/// Where a registry's interface is: Docker Hub has it on a host of another name.
pub(crate) fn api_host(registry: &str) -> &str {
    match registry {
        DOCKER_HUB => "registry-1.docker.io",
        other => other,
    }
}

/// The header that shows user name and password.
pub(crate) fn basic_header(username: &str, password: &Secret) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal())));
    // Base64 holds nothing that a header may not.
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
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
