//! Refusals into errors: what the registry said, in its own words, and what kind of refusal it is.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::error::{Answer, FormatError, OciError, RegistryMessage, Request};
use crate::registry::failure::transport_error;
use crate::registry::scrub::Scrub;

/// Most of an error's body that is read.
const BODY_LIMIT: u64 = 64 << 10;
/// Most messages that are kept, and the longest text of one.
const MESSAGE_LIMIT: usize = 8;
const TEXT_LIMIT: usize = 300;

/// A small document may take this many stall times to come.
const DOCUMENT_PATIENCE: u32 = 5;

/// What was asked for, which decides what a 404 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The root of a registry's interface.
    Root,
    /// A manifest.
    Manifest,
    /// A blob.
    Blob,
    /// To begin an upload, or to store a manifest.
    Upload,
    /// To carry on or end an upload that was begun.
    UploadSession,
    /// A token.
    Token,
}

/// Reads a small body; one longer than `limit` is an error.
pub(crate) async fn read_body(
    response: &mut Response,
    request: &Request,
    document: &'static str,
    limit: u64,
    stall: Duration,
) -> Result<Vec<u8>, OciError> {
    let whole = collect(response, request, document, limit, stall);
    // However steadily it trickles: a small document is not waited for without end.
    match tokio::time::timeout(stall * DOCUMENT_PATIENCE, whole).await {
        Ok(done) => done,
        Err(_) => {
            let seconds = (stall * DOCUMENT_PATIENCE).as_secs();
            Err(OciError::Timeout { request: request.clone(), seconds })
        }
    }
}

async fn collect(
    response: &mut Response,
    request: &Request,
    document: &'static str,
    limit: u64,
    stall: Duration,
) -> Result<Vec<u8>, OciError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(response, request, stall).await? {
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            let source = FormatError::TooLarge { document, limit };
            return Err(OciError::Document { request: request.clone(), source });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The next piece of a body, which must come before the time is over.
pub(crate) async fn next_chunk(
    response: &mut Response,
    request: &Request,
    stall: Duration,
) -> Result<Option<Bytes>, OciError> {
    match tokio::time::timeout(stall, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => Err(transport_error(request, error, None)),
        Err(_) => Err(OciError::Timeout { request: request.clone(), seconds: stall.as_secs() }),
    }
}

/// The error that a refusal is, without what the server was shown.
pub(super) async fn refusal(
    mut response: Response,
    request: &Request,
    wanted: Wanted,
    with_credentials: bool,
    scrub: &Scrub,
    stall: Duration,
) -> OciError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    // An error's body is for the message only: whatever came of it will do.
    let mut body = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = next_chunk(&mut response, request, stall).await {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > BODY_LIMIT {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(stall, reading).await;
    let answer = Answer { status: status.as_u16(), messages: messages(&scrub.scrub(body)), retry_after };
    classify(status, answer, request.clone(), wanted, with_credentials)
}

/// Retry-After as seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    // A date that is over means now.
    Some(date.duration_since(jiff::Timestamp::now()).try_into().unwrap_or_default())
}

fn classify(
    status: StatusCode,
    answer: Answer,
    request: Request,
    wanted: Wanted,
    with_credentials: bool,
) -> OciError {
    match status {
        StatusCode::UNAUTHORIZED if answer.has_code("DENIED") => {
            OciError::Denied { request, answer, with_credentials }
        }
        StatusCode::UNAUTHORIZED => OciError::Unauthorized { request, answer, with_credentials },
        StatusCode::FORBIDDEN => OciError::Denied { request, answer, with_credentials },
        StatusCode::NOT_FOUND if matches!(wanted, Wanted::Root | Wanted::UploadSession | Wanted::Token) => {
            OciError::Refused { request, answer }
        }
        StatusCode::NOT_FOUND if answer.has_code("NAME_UNKNOWN") => OciError::NameUnknown { request, answer },
        StatusCode::NOT_FOUND => match wanted {
            Wanted::Manifest => OciError::ManifestUnknown { request, answer },
            Wanted::Blob => OciError::BlobUnknown { request, answer },
            Wanted::Root | Wanted::Upload | Wanted::UploadSession | Wanted::Token => {
                OciError::NameUnknown { request, answer }
            }
        },
        _ => OciError::Refused { request, answer },
    }
}

/// The registry's words: the distribution spec's form, else what other servers write, else the text itself.
fn messages(body: &[u8]) -> Vec<RegistryMessage> {
    let text_of = |value: Option<&Value>| match value {
        Some(Value::String(text)) => clean(text),
        _ => String::new(),
    };
    let found: Vec<RegistryMessage> = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(fields)) => match fields.get("errors") {
            Some(Value::Array(errors)) => errors
                .iter()
                .map(|error| match error {
                    Value::String(text) => RegistryMessage { code: String::new(), message: clean(text) },
                    error => RegistryMessage {
                        code: text_of(error.get("code")),
                        message: text_of(error.get("message")),
                    },
                })
                .collect(),
            _ => ["message", "error_description", "error", "details", "detail"]
                .iter()
                .map(|field| text_of(fields.get(*field)))
                .filter(|message| !message.is_empty())
                .take(1)
                .map(|message| RegistryMessage { code: String::new(), message })
                .collect(),
        },
        Ok(Value::String(text)) => vec![RegistryMessage { code: String::new(), message: clean(&text) }],
        _ => {
            let text = String::from_utf8_lossy(body);
            let shown = if text.trim_start().starts_with('<') { page(&text) } else { clean(&text) };
            vec![RegistryMessage { code: String::new(), message: shown }]
        }
    };
    let said = |message: &RegistryMessage| !message.code.is_empty() || !message.message.is_empty();
    found.into_iter().filter(said).take(MESSAGE_LIMIT).collect()
}

/// What a proxy's error page or a storage service's XML says: its title, and its text where that says more.
fn page(document: &str) -> String {
    let title = document.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.map(|(title, _)| clean(title)).unwrap_or_default();
    let body = document.find("<body").map_or(document, |at| &document[at..]);
    // What stands before a tag's end is the tag, and what follows it is text.
    let texts = body.split('<').map(|piece| piece.split_once('>').map_or("", |(_, text)| text));
    let text = clean(&texts.collect::<Vec<_>>().join(" "));
    match (title.as_str(), text.strip_prefix(&title)) {
        ("", _) => text,
        (_, Some(_)) => title,
        (_, None) => clean(&format!("{title}: {text}")),
    }
}

/// One line without control characters, not too long: the text is a stranger's.
fn clean(text: &str) -> String {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TEXT_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_kinds_of_servers_are_kept() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no","detail":{}}]}"#, "HTTP 403: DENIED: no"),
            (r#"{"errors":[{"code":"A"},{"message":"b"}]}"#, "HTTP 403: A; b"),
            (r#"{"message":"blocked"}"#, "HTTP 403: blocked"),
            (r#"{"errors":["odd"]}"#, "HTTP 403: odd"),
            ("go\naway\u{1b}[31m", "HTTP 403: go away [31m"),
            ("<html><head><title>403 Forbidden</title></head>", "HTTP 403: 403 Forbidden"),
            ("<title>No</title><body class=x><h1>No</h1><hr>nginx</body>", "HTTP 403: No"),
            ("<title>Shop</title><body><p>It is <b>shut</b>", "HTTP 403: Shop: It is shut"),
            ("<?xml ?><Error><Code>Late</Code><Message>over</Message></Error>", "HTTP 403: Late over"),
            ("<p", "HTTP 403"),
            ("", "HTTP 403"),
            ("[1]", "HTTP 403: [1]"),
        ] {
            let answer = Answer { status: 403, messages: messages(body.as_bytes()), retry_after: None };
            assert_eq!(answer.to_string(), expected, "{body}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            super::retry_after(&headers)
        };
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait(" 0 "), Some(Duration::ZERO));
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert!(wait("Tue, 31 Dec 2199 23:59:59 GMT").unwrap() > Duration::from_secs(86_400));
        assert_eq!(wait("soon"), None);
        assert_eq!(super::retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_refusal_is_told_by_status_and_code() {
        let kind = |status: u16, code: &str, wanted| {
            let message = RegistryMessage { code: code.to_owned(), message: String::new() };
            let answer = Answer { status, messages: vec![message], retry_after: None };
            let request = Request { host: "h".to_owned(), action: "a".to_owned() };
            let status = StatusCode::from_u16(status).unwrap();
            let shown = format!("{:?}", classify(status, answer, request, wanted, false));
            shown.split(' ').next().unwrap().to_owned()
        };
        assert_eq!(kind(401, "UNAUTHORIZED", Wanted::Manifest), "Unauthorized");
        assert_eq!(kind(401, "DENIED", Wanted::Manifest), "Denied");
        assert_eq!(kind(403, "", Wanted::Upload), "Denied");
        assert_eq!(kind(404, "NAME_UNKNOWN", Wanted::Manifest), "NameUnknown");
        assert_eq!(kind(404, "MANIFEST_UNKNOWN", Wanted::Manifest), "ManifestUnknown");
        assert_eq!(kind(404, "", Wanted::Blob), "BlobUnknown");
        assert_eq!(kind(404, "", Wanted::Upload), "NameUnknown");
        assert_eq!(kind(404, "BLOB_UPLOAD_UNKNOWN", Wanted::UploadSession), "Refused");
        assert_eq!(kind(500, "UNKNOWN", Wanted::Manifest), "Refused");
    }
}
