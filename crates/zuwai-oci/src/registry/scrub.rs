//! What was shown to a server, kept out of what is said of its answer: some servers repeat in an error what they were sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use crate::credentials::Credential;
use crate::registry::authorization::basic_header;

/// Shorter texts are no secrets, and stand in many an honest answer.
const SHORTEST: usize = 4;

/// Texts that may not be seen.
#[derive(Default)]
pub(super) struct Scrub(Vec<String>);

impl Scrub {
    /// What an Authorization header shows: a token, or a password and its base64.
    pub(super) fn header(header: &HeaderValue) -> Self {
        let text = String::from_utf8_lossy(header.as_bytes());
        let shown = text.split_once(' ').map_or(&*text, |(_, shown)| shown);
        let decoded = STANDARD.decode(shown).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let password = decoded.as_deref().and_then(|text| text.split_once(':')).map(|(_, password)| password);
        Self::of([Some(shown), password].into_iter().flatten())
    }

    /// What a token server is shown of a credential.
    pub(super) fn credential(credential: Option<&Credential>) -> Self {
        // Identity tokens too are shown as a password, where a server knows nothing else.
        credential.and_then(basic_header).as_ref().map(Self::header).unwrap_or_default()
    }

    fn of<'s>(secrets: impl Iterator<Item = &'s str>) -> Self {
        let mut all: Vec<String> = Vec::new();
        for secret in secrets.filter(|secret| secret.len() >= SHORTEST) {
            let quoted = serde_json::Value::from(secret).to_string();
            let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            all.extend([secret.to_owned(), quoted.trim_matches('"').to_owned(), escaped]);
        }
        // A text that another one begins with would leave the rest of that one standing.
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(all)
    }

    /// The answer without them.
    pub(super) fn scrub(&self, body: Vec<u8>) -> Vec<u8> {
        if self.0.is_empty() {
            return body;
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        self.0.iter().fold(text, |text, secret| text.replace(secret, "[secret]")).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn what_was_shown_is_not_said() {
        let password = Secret::new("hun\"ter 2");
        let basic = Scrub::credential(Some(&Credential::Basic { username: "me".to_owned(), password }));
        let token = Scrub::header(&HeaderValue::from_static("Bearer abcdef"));
        for (scrub, body, expected) in [
            (&basic, r#"{"message":"got hun\"ter 2"}"#, r#"{"message":"got [secret]"}"#),
            (&basic, "Basic bWU6aHVuInRlciAy, hun%22ter+2", "Basic [secret], [secret]"),
            (&basic, "me is not known", "me is not known"),
            (&token, "Bearer abcdef: abcdefabc", "Bearer [secret]: [secret]abc"),
            (&Scrub::default(), "abcdef", "abcdef"),
            (&Scrub::header(&HeaderValue::from_static("Bearer a")), "a b a", "a b a"),
        ] {
            let scrubbed = scrub.scrub(body.as_bytes().to_vec());
            assert_eq!(String::from_utf8(scrubbed).unwrap(), expected, "{body}");
        }
    }
}
