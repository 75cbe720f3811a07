//! When and how often something is tried again.

use std::time::Duration;

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
