//! Credentials that sources gave, until their lifetime ends.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Credential, Granted};
use crate::registry::lock;

/// What a source did not have, or failed to give, is not asked for again so soon: a registry is asked many times in a
/// build, and each time somebody may have to wait for a metadata server that is not there.
const PATIENCE: Duration = Duration::from_secs(60);
/// A credential is renewed this long before its end, so that it does not end on the way.
const MARGIN: Duration = Duration::from_secs(60);
/// A credential that was refused is asked for anew if it is older than this; a younger one is wrong.
const STALE: Duration = Duration::from_secs(60);

/// Who keeps a credential, and for which registry or part of one.
pub(super) type CacheKey = (String, String);

/// What was given. One asks for a credential; others wait for what comes of it.
#[derive(Debug, Default)]
pub(super) struct Cache {
    slots: Mutex<BTreeMap<CacheKey, Arc<tokio::sync::Mutex<Option<Kept>>>>>,
}

#[derive(Debug)]
struct Kept {
    credential: Option<Credential>,
    since: Instant,
    until: Option<Instant>,
}

impl Cache {
    /// The credential of a keeper: what it gave before while that is good, else what `fetch` brings. A failure is told
    /// of once, and is as if there were no credential.
    pub(super) async fn get(
        &self,
        key: CacheKey,
        fetch: impl Future<Output = Result<Option<Granted>, String>>,
    ) -> Option<Credential> {
        let slot = lock(&self.slots).entry(key.clone()).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(kept) = slot.as_ref().filter(|kept| kept.is_good()) {
            return kept.credential.clone();
        }
        let granted = fetch.await.unwrap_or_else(|problem| {
            tracing::warn!("no credentials for {} from {}: {problem}", key.1, key.0);
            None
        });
        let since = Instant::now();
        let until = match &granted {
            // No more than a year, so that the sum stays in range.
            Some(granted) => granted.lifetime.map(|lifetime| {
                let lifetime = lifetime.min(Duration::from_secs(365 * 24 * 60 * 60));
                since + lifetime.saturating_sub(MARGIN.min(lifetime / 2))
            }),
            None => Some(since + PATIENCE),
        };
        let kept = slot.insert(Kept { credential: granted.map(|granted| granted.credential), since, until });
        kept.credential.clone()
    }

    /// Forgets what was given for a registry some time ago and was refused now; `true` if there was such a credential.
    pub(super) async fn forget(&self, registry: &str) -> bool {
        let is_of = |key: &str| {
            key.strip_prefix(registry).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let slots: Vec<_> = lock(&self.slots)
            .iter()
            .filter(|((_, key), _)| is_of(key))
            .map(|(_, slot)| slot.clone())
            .collect();
        let mut forgotten = false;
        for slot in slots {
            let mut slot = slot.lock().await;
            if slot.as_ref().is_some_and(|kept| kept.credential.is_some() && kept.since.elapsed() > STALE) {
                *slot = None;
                forgotten = true;
            }
        }
        forgotten
    }
}

impl Kept {
    fn is_good(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::secret::Secret;

    fn granted(lifetime: Option<Duration>) -> Result<Option<Granted>, String> {
        Ok(Some(Granted { credential: Credential::RegistryToken(Secret::new("t")), lifetime }))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_given_is_asked_for_once_until_it_ends() {
        let hour = Some(Duration::from_secs(3600));
        for (answer, asked) in [
            (granted(None), 1),
            (granted(hour), 1),
            (granted(Some(Duration::MAX)), 1),
            (granted(Some(Duration::ZERO)), 5),
            (Ok(None), 1),
            (Err("the server is away".to_owned()), 1),
        ] {
            let cache = Cache::default();
            let count = AtomicUsize::new(0);
            let expected = answer.clone().ok().flatten().map(|granted| granted.credential);
            let ask = || {
                cache.get(("source".to_owned(), "a.io".to_owned()), async {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    answer.clone()
                })
            };
            let all = futures_util::future::join_all([ask(), ask(), ask(), ask(), ask()]).await;
            assert!(all.iter().all(|found| *found == expected), "{all:?}");
            assert_eq!(count.load(Ordering::Relaxed), asked, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn keepers_and_registries_are_told_apart() {
        let cache = Cache::default();
        for (source, key) in [("a", "x.io"), ("b", "x.io"), ("a", "y.io")] {
            let token = Credential::RegistryToken(Secret::new(format!("{source} {key}")));
            let given = Ok(Some(Granted { credential: token.clone(), lifetime: None }));
            let found = cache.get((source.to_owned(), key.to_owned()), async { given }).await;
            assert_eq!(found, Some(token));
        }
    }

    #[tokio::test]
    async fn only_what_is_old_is_forgotten() {
        let cache = Cache::default();
        cache.get(("a".to_owned(), "x.io/team".to_owned()), async { granted(None) }).await;
        assert!(!cache.forget("x.io").await, "it is new");
        let slot = lock(&cache.slots).values().next().unwrap().clone();
        let Some(old) = Instant::now().checked_sub(2 * STALE) else { return };
        slot.lock().await.as_mut().unwrap().since = old;
        assert!(!cache.forget("x.i").await && !cache.forget("x.io:5000").await, "it is another's");
        assert!(cache.forget("x.io").await);
        assert!(!cache.forget("x.io").await, "it is gone");
    }
}
