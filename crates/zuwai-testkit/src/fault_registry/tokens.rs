//! Bearer tokens: the registry's own token server, and what a request needs one for.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::Answer;
use super::fault::{Operation, split};
use crate::http::Head;
use crate::registry::{PASSWORD, USER};

/// How long a token is good for. The token server says five minutes in any case, so that a token ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// So many requests.
    Requests(u64),
    /// So long.
    Time(Duration),
}

impl Lifetime {
    /// Longer than any test.
    pub const LONG: Self = Self::Requests(u64::MAX);
}

/// Tokens given out, by their text.
#[derive(Debug)]
pub(super) struct Tokens {
    lifetime: Lifetime,
    given: Mutex<BTreeMap<String, Given>>,
    count: Mutex<u64>,
}

#[derive(Debug)]
struct Given {
    scopes: Vec<String>,
    requests: u64,
    since: Instant,
}

impl Tokens {
    pub(super) fn new(lifetime: Lifetime) -> Self {
        Self { lifetime, given: Mutex::default(), count: Mutex::default() }
    }

    /// Makes the token that a request shows worthless.
    pub(super) fn forget(&self, head: &Head) {
        if let Some(token) = shown(head) {
            self.given.lock().unwrap().remove(token);
        }
    }

    /// The token server: whoever shows no password gets tokens to pull, [`USER`] gets what was asked for.
    pub(super) fn give(&self, head: &Head) -> Answer {
        let basic = head.header("authorization").and_then(|value| value.strip_prefix("Basic "));
        let right = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        if basic.is_some_and(|shown| shown != right) {
            return Answer::refusal(401, "UNAUTHORIZED", "incorrect username or password");
        }
        let asked = head.query().into_iter().filter(|(name, _)| name == "scope");
        let scopes = asked.flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let allowed = scopes.map(|scope| match (basic, scope.rsplit_once(':')) {
            (None, Some((resource, _))) => format!("{resource}:pull"),
            _ => scope,
        });
        let given = Given { scopes: allowed.collect(), requests: 0, since: Instant::now() };
        let mut count = self.count.lock().unwrap();
        *count += 1;
        let token = format!("token-{count}");
        self.given.lock().unwrap().insert(token.clone(), given);
        Answer::json(200, &serde_json::json!({"token": token, "expires_in": 300}))
    }

    /// Whether a request shows a token that is good for it; for a mount's source, see [`Tokens::may_read`].
    pub(super) fn admit(&self, head: &Head, operation: Operation) -> bool {
        let mut given = self.given.lock().unwrap();
        let Some(token) = shown(head).and_then(|token| given.get_mut(token)) else { return false };
        token.requests += 1;
        let good = match self.lifetime {
            Lifetime::Requests(requests) => token.requests <= requests,
            Lifetime::Time(time) => token.since.elapsed() < time,
        };
        let needed = needed(head, operation);
        good && needed.is_none_or(|(repository, action)| token.allows(&repository, action))
    }

    /// Whether the token that a request shows lets it read another repository.
    pub(super) fn may_read(&self, head: &Head, repository: &str) -> bool {
        let given = self.given.lock().unwrap();
        let token = shown(head).and_then(|token| given.get(token));
        token.is_some_and(|token| token.allows(repository, "pull"))
    }
}

impl Given {
    fn allows(&self, repository: &str, action: &str) -> bool {
        let resource = format!("repository:{repository}:");
        let mut actions = self.scopes.iter().filter_map(|scope| scope.strip_prefix(&resource));
        actions.any(|actions| actions.split(',').any(|own| own == action))
    }
}

/// The token that a request shows.
fn shown(head: &Head) -> Option<&str> {
    head.header("authorization")?.strip_prefix("Bearer ")
}

/// Repository and action that a request needs a token for.
fn needed(head: &Head, operation: Operation) -> Option<(String, &'static str)> {
    let (repository, _, _) = split(head.path())?;
    let action = match operation {
        Operation::ManifestHead | Operation::ManifestGet | Operation::Tags => "pull",
        Operation::BlobHead | Operation::BlobGet => "pull",
        _ => "push",
    };
    Some((repository.to_owned(), action))
}

/// 401 with what would be needed.
pub(super) fn challenge(address: &str, head: &Head, operation: Operation) -> Answer {
    let scope = needed(head, operation).map(|(repository, action)| {
        let actions = if action == "push" { "pull,push" } else { action };
        format!(",scope=\"repository:{repository}:{actions}\"")
    });
    let text =
        format!("Bearer realm=\"http://{address}/token\",service=\"{address}\"{}", scope.unwrap_or_default());
    Answer::refusal(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", &text)
}
