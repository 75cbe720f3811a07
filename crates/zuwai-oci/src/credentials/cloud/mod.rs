//! How the clouds' services are asked for credentials: one exchange at a time, bounded in time, size and attempts.
//!
//! Requests hold secrets and so may answers: an error names the host, the status and the service's code for it, never a
//! text of the answer.

mod refusal;
pub(crate) mod request;
mod settings_file;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Request, StatusCode};
use serde::de::DeserializeOwned;

pub use settings_file::SettingsFile;
pub(crate) use settings_file::read_token;

use crate::error::OciError;
use crate::go_json::from_object;
use crate::registry::dns::Resolver;
use crate::registry::tls::TlsRoots;
use crate::secret::Secret;

/// Largest answer that is read.
const ANSWER_LIMIT: usize = 1 << 20;
/// How long a metadata server's connection may take: it is on this machine, or there is none.
const NEARBY_CONNECT: Duration = Duration::from_secs(1);
/// How long an answer of a metadata server may take; some make a token before they answer.
const NEARBY_PATIENCE: Duration = Duration::from_secs(5);
/// How often a metadata server is asked.
const NEARBY_ATTEMPTS: u32 = 2;
/// How often any other service is asked.
const ATTEMPTS: u32 = 3;
/// The wait before the second attempt; it doubles from one to the next.
const PAUSE: Duration = Duration::from_millis(250);

/// What the clouds' sources share: a client for addresses near this machine, which goes through no proxy, and what is
/// known of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CloudClient {
    nearby: Client,
    patience: Duration,
    nearby_patience: Duration,
    /// Metadata servers that did not answer, so that a machine outside a cloud waits for each of them once.
    silent: Arc<Mutex<BTreeSet<String>>>,
}

impl CloudClient {
    /// A client with the name servers that this machine has now.
    ///
    /// # Errors
    /// When there can be no client for HTTP on this machine.
    pub fn new() -> Result<Self, OciError> {
        let nearby = Client::builder()
            .tls_backend_preconfigured(TlsRoots::default().client_config(true, None, &[b"http/1.1"])?)
            .dns_resolver(Arc::new(Resolver::from_system()?))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(NEARBY_CONNECT)
            .no_proxy()
            .build()
            .map_err(|error| OciError::Options(error.to_string()))?;
        let patience = Duration::from_secs(30);
        Ok(Self { nearby, patience, nearby_patience: NEARBY_PATIENCE, silent: Arc::default() })
    }

    /// Waits for no answer longer than this; 30 seconds, and 5 for metadata servers, if it is not said.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, nearby_patience: patience.min(NEARBY_PATIENCE), ..self }
    }

    /// The client that goes through no proxy, for tests.
    #[cfg(test)]
    pub(crate) fn nearby(&self) -> &Client {
        &self.nearby
    }

    /// Asks a service of a cloud through the program's client. What failed for a while is asked again.
    pub(crate) async fn ask(&self, web: &Client, request: Request) -> Result<Reply, Failure> {
        repeat(web, request, ATTEMPTS, self.patience).await
    }

    /// Asks a server on or beside this machine: past proxies, and not again if it was silent before.
    pub(crate) async fn ask_nearby(&self, request: Request) -> Result<Reply, Failure> {
        let host = host_of(&request);
        if self.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(&host) {
            return Err(Failure {
                host,
                cause: "no answer before".to_owned(),
                unreachable: true,
                is_passing: false,
            });
        }
        let result = repeat(&self.nearby, request, NEARBY_ATTEMPTS, self.nearby_patience).await;
        if result.as_ref().is_err_and(|failure| failure.unreachable) {
            self.silent.lock().unwrap_or_else(PoisonError::into_inner).insert(host);
        }
        result
    }
}

/// An answer, whatever its status. It may hold secrets.
pub(crate) struct Reply {
    host: String,
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    /// The answer, if it is a success; else an error with the service's code for it.
    pub(crate) fn success(self) -> Result<Self, String> {
        if self.status.is_success() {
            return Ok(self);
        }
        let Self { host, status, .. } = &self;
        Err(match refusal::code(&self.body) {
            Some(code) => format!("{host} answered HTTP {}, {code}", status.as_u16()),
            None => format!("{host} answered HTTP {}", status.as_u16()),
        })
    }

    /// The answer as a JSON object. The parser's complaint is not told: it could show a secret.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        from_object(&self.body).map_err(|_| format!("{}'s answer is not the expected JSON", self.host))
    }

    /// The answer as a text.
    pub(crate) fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.body).map_err(|_| format!("{}'s answer is no text", self.host))
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    host: String,
    cause: String,
    /// Whether nobody is there, as far as can be known.
    pub(crate) unreachable: bool,
    /// Whether asking again may help.
    is_passing: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.cause)
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.to_string()
    }
}

/// Sends a request until there is an answer that asking again would not change.
async fn repeat(
    client: &Client,
    request: Request,
    attempts: u32,
    patience: Duration,
) -> Result<Reply, Failure> {
    let mut pause = PAUSE;
    let mut left = attempts;
    loop {
        left -= 1;
        // Bodies are small and in memory, so that there always is a copy.
        let copy = if left > 0 { request.try_clone() } else { None };
        let Some(copy) = copy else { return exchange(client, request, patience).await };
        let result = exchange(client, copy, patience).await;
        let again = match &result {
            Ok(reply) => is_passing(reply.status),
            Err(failure) => failure.is_passing,
        };
        if !again {
            return result;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// Whether asking again may help.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502..=504)
}

/// One exchange.
async fn exchange(client: &Client, request: Request, patience: Duration) -> Result<Reply, Failure> {
    let host = host_of(&request);
    // Neither path nor query: ECS's path is what opens a task's role.
    tracing::debug!("{} to {host} for credentials", request.method());
    let failure = |cause: String| Failure { host: host.clone(), cause, unreachable: false, is_passing: true };
    let whole = async {
        let sent = client.execute(request).await;
        let mut response = sent.map_err(|error| {
            let unreachable = error.is_connect();
            Failure { unreachable, ..failure(cause(error)) }
        })?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(cause(error)))? {
            if body.len() + chunk.len() > ANSWER_LIMIT {
                let problem = format!("its answer is longer than {ANSWER_LIMIT} bytes");
                return Err(Failure { is_passing: false, ..failure(problem) });
            }
            body.extend_from_slice(&chunk);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Reply { host: host.clone(), status, headers, body })
    };
    tokio::time::timeout(patience, whole).await.unwrap_or_else(|_| {
        Err(Failure { unreachable: true, ..failure(format!("no answer within {patience:?}")) })
    })
}

/// The last cause of a failed exchange, without its URL, which may hold secrets.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut last: &dyn std::error::Error = &error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Host and port of a request.
fn host_of(request: &Request) -> String {
    let host = request.url().host_str().unwrap_or_default();
    request.url().port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A header's value that no log shows.
pub(crate) fn sensitive(value: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(value).map_err(|_| "a secret has letters that no header may have")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The header that shows an access token.
pub(crate) fn bearer(token: &Secret) -> Result<HeaderValue, String> {
    sensitive(&format!("Bearer {}", token.reveal()))
}

/// The time from now until then; none where that is over.
pub(crate) fn until(end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_asked_again() {
        let passing: Vec<u16> =
            (100..600).filter(|code| is_passing(StatusCode::from_u16(*code).unwrap())).collect();
        assert_eq!(passing, [429, 500, 502, 503, 504]);
    }

    #[test]
    fn a_time_that_is_over_leaves_none() {
        assert_eq!(until(Timestamp::UNIX_EPOCH), Duration::ZERO);
        let hour = Timestamp::now().checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
        assert!(until(hour) <= Duration::from_secs(3600) && !until(hour).is_zero());
    }
}
