//! When, how often and how soon something is tried again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use crate::error::{OciError, with_causes};
use crate::registry::Direction;

/// How often what failed for a while is tried again, and after how long. A transfer that got on since it was last begun
/// counts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often reading is tried again (`--image-download-retry` raises it).
    pub pull: u32,
    /// How often writing is tried again (`--push-retry` raises it).
    pub push: u32,
    /// The wait before the second attempt; it doubles from one to the next.
    pub first_delay: Duration,
    /// The longest wait, also of those that a registry asks for with Retry-After.
    pub longest_delay: Duration,
}

impl Default for RetryPolicy {
    /// Four more attempts within some fifteen seconds, and up to two minutes of patience with a registry that asks for it.
    fn default() -> Self {
        Self {
            pull: 4,
            push: 4,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(120),
        }
    }
}

/// The attempts at one thing.
pub(crate) struct Attempts {
    policy: RetryPolicy,
    allowed: u32,
    failed: u32,
    carried: u32,
}

impl Attempts {
    pub(crate) fn new(policy: RetryPolicy, direction: Direction) -> Self {
        let allowed = match direction {
            Direction::Pull => policy.pull,
            Direction::Push => policy.push,
        };
        Self { policy, allowed, failed: 0, carried: 0 }
    }

    /// Something was gained since the last failure: the count begins anew.
    pub(crate) fn got_on(&mut self) {
        self.failed = 0;
    }

    /// Much was sent before the failure, though it may be lost: the registry is there, and the count begins anew; not more
    /// often than attempts are allowed.
    pub(crate) fn carried(&mut self) {
        if self.carried < self.allowed {
            self.carried += 1;
            self.failed = 0;
        }
    }

    /// Waits until it is time for another attempt; gives the error back if there is none to be made.
    pub(crate) async fn again(&mut self, error: OciError) -> Result<(), OciError> {
        match self.wait_after(&error) {
            Some(wait) => {
                self.failed += 1;
                tracing::warn!(
                    "{}; trying again in {:.1} s ({} of {})",
                    with_causes(&error),
                    wait.as_secs_f64(),
                    self.failed,
                    self.allowed
                );
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Err(error),
        }
    }

    /// How long to wait after an error before the next attempt, if there is one.
    fn wait_after(&self, error: &OciError) -> Option<Duration> {
        if self.failed >= self.allowed || !error.is_temporary() {
            return None;
        }
        let doubled =
            self.policy.first_delay.saturating_mul(1_u32.checked_shl(self.failed).unwrap_or(u32::MAX));
        let own = jittered(doubled.min(self.policy.longest_delay));
        match error.retry_after() {
            // Who asks for more patience than there is will refuse again before.
            Some(asked) if asked > self.policy.longest_delay => None,
            Some(asked) => Some(asked.max(own)),
            None => Some(own),
        }
    }
}

/// Between half of it and all of it: those who failed together do not come back together.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() as u32;
    wait / 2 + wait.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Answer, Request};

    fn refused(status: u16, retry_after: Option<u64>) -> OciError {
        let request = Request { host: "h".to_owned(), action: "a".to_owned() };
        let retry_after = retry_after.map(Duration::from_secs);
        OciError::Refused { request, answer: Answer { status, retry_after, ..Answer::default() } }
    }

    #[test]
    fn waits_double_and_obey_the_registry() {
        let policy = RetryPolicy { pull: 3, ..RetryPolicy::default() };
        for (failed, status, asked, least, most) in [
            (0, 503, None, 0.5, 1.0),
            (1, 503, None, 1.0, 2.0),
            (2, 500, None, 2.0, 4.0),
            (0, 429, Some(7), 7.0, 7.0),
            (0, 429, Some(120), 120.0, 120.0),
        ] {
            let attempts = Attempts { policy, allowed: 3, failed, carried: 0 };
            let wait = attempts.wait_after(&refused(status, asked)).unwrap().as_secs_f64();
            assert!((least..=most).contains(&wait), "{failed} {status} {asked:?}: {wait}");
        }
        for (failed, status, asked) in [(3, 503, None), (0, 400, None), (0, 404, None), (0, 429, Some(121))] {
            let attempts = Attempts { policy, allowed: 3, failed, carried: 0 };
            assert_eq!(attempts.wait_after(&refused(status, asked)), None, "{failed} {status} {asked:?}");
        }
        let mut attempts = Attempts { policy, allowed: 3, failed: 3, carried: 0 };
        attempts.got_on();
        assert!(attempts.wait_after(&refused(503, None)).is_some());
    }
}
