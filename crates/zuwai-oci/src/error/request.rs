//! What was asked of a registry, and what it answered.

use std::fmt;
use std::time::Duration;

/// What was asked of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The host that was asked, with its port.
    pub host: String,
    /// What was wanted, such as `pull manifest latest of library/ubuntu`.
    pub action: String,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at registry {}", self.action, self.host)
    }
}

/// One error in a registry's answer (distribution spec, error codes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryMessage {
    /// The code, such as `MANIFEST_UNKNOWN`; empty if there is none.
    pub code: String,
    /// The text; empty if there is none.
    pub message: String,
}

/// A registry's answer that is not the one hoped for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The registry's own words; empty if it gave none.
    pub messages: Vec<RegistryMessage>,
    /// How long to wait before asking again, where it says so (Retry-After).
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// Whether a web server before the registry misses a client certificate, in nginx's words: a status of its own
    /// (495, 496), sent as 400.
    pub(super) fn wants_certificate(&self) -> bool {
        let said = |message: &RegistryMessage| message.message.contains("SSL certificate");
        matches!(self.status, 400 | 403 | 495 | 496) && self.messages.iter().any(said)
    }

    /// Whether the registry gave this code.
    pub fn has_code(&self, code: &str) -> bool {
        self.messages.iter().any(|message| message.code == code)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        for (index, RegistryMessage { code, message }) in self.messages.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            match (code.as_str(), message.as_str()) {
                ("", text) => f.write_str(text)?,
                (code, "") => f.write_str(code)?,
                (code, text) => write!(f, "{code}: {text}")?,
            }
        }
        Ok(())
    }
}
