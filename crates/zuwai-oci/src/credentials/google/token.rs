//! Access tokens (OAuth 2, RFC 6749 section 5.1).

use std::time::Duration;

use serde::Deserialize;

use crate::credentials::cloud::Reply;
use crate::secret::Secret;

/// How long a token is taken to be good for if nobody says.
const DEFAULT_LIFETIME: u64 = 600;
/// Longest time that is believed.
const LONGEST: u64 = 86_400;

/// A token that opens registries.
pub(super) struct AccessToken {
    /// The token.
    pub(super) secret: Secret,
    /// How long it is good for.
    pub(super) lifetime: Duration,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl AccessToken {
    /// The token in a token server's answer.
    pub(super) fn from_reply(reply: Reply) -> Result<Self, String> {
        let answer: Answer = reply.success()?.json()?;
        let seconds = answer.expires_in.unwrap_or(DEFAULT_LIFETIME).min(LONGEST);
        Ok(Self { secret: Secret::new(answer.access_token), lifetime: Duration::from_secs(seconds) })
    }
}
