//! What a service's refusal says of itself in one word.

use serde_json::Value;

/// Longest code that is shown. Codes are words; what is longer is none.
const CODE_LIMIT: usize = 64;
/// Most numbers of Entra ID that are shown.
const NUMBER_LIMIT: usize = 3;

/// The code in a refusal: of Amazon's JSON and XML protocols, of OAuth 2, of Google's and Azure's services. The texts
/// beside it are left out: Amazon's show session tokens (in the canonical request of a signature that does not fit).
pub(super) fn code(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    match serde_json::from_str::<Value>(text) {
        Ok(value) => json_code(&value),
        Err(_) => text.split_once("<Code>")?.1.split_once("</Code>").and_then(|(code, _)| word(code)),
    }
}

fn json_code(value: &Value) -> Option<String> {
    let typed = value.get("__type").and_then(Value::as_str);
    if let Some(typed) = typed {
        // The name may come with its namespace.
        return word(typed.rsplit('#').next().unwrap_or(typed));
    }
    let places = ["/error", "/error/status", "/error/code", "/errors/0/code", "/Code", "/code"];
    let found = places.iter().find_map(|place| word(value.pointer(place)?.as_str()?))?;
    let numbers = value.get("error_codes").and_then(Value::as_array).into_iter().flatten();
    let numbers = numbers.filter_map(Value::as_u64).take(NUMBER_LIMIT);
    Some(numbers.fold(found, |code, number| format!("{code} AADSTS{number}")))
}

/// A text that can be a code.
fn word(text: &str) -> Option<String> {
    let is_code = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (!text.is_empty() && text.len() <= CODE_LIMIT && text.bytes().all(is_code)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_and_texts_left_out() {
        for (body, expected) in [
            (
                r#"{"__type":"UnrecognizedClientException","message":"token X"}"#,
                Some("UnrecognizedClientException"),
            ),
            (r#"{"__type":"com.amazon.coral.service#AccessDeniedException"}"#, Some("AccessDeniedException")),
            (
                "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>X</Message>",
                Some("InvalidIdentityToken"),
            ),
            (r#"{"error":"invalid_grant","error_description":"X"}"#, Some("invalid_grant")),
            (
                r#"{"error":"invalid_client","error_codes":[7000215,"X"],"error_description":"X"}"#,
                Some("invalid_client AADSTS7000215"),
            ),
            (
                r#"{"error":{"code":403,"message":"X","status":"PERMISSION_DENIED"}}"#,
                Some("PERMISSION_DENIED"),
            ),
            (r#"{"errors":[{"code":"UNAUTHORIZED","message":"X"}]}"#, Some("UNAUTHORIZED")),
            (r#"{"code":"CredentialsExpired"}"#, Some("CredentialsExpired")),
            (r#"{"error":"a text with words"}"#, None),
            (r#"{"__type":""}"#, None),
            ("<Code>two words</Code>", None),
            ("<html>", None),
            ("\"X\"", None),
            ("", None),
        ] {
            assert_eq!(code(body.as_bytes()).as_deref(), expected, "{body}");
        }
        assert_eq!(code(format!("{{\"error\":\"{}\"}}", "x".repeat(65)).as_bytes()), None);
        assert_eq!(code(&[0xff]), None);
    }
}
