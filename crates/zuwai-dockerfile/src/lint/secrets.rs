//! Names that say that a value is a secret.

use super::{Linter, Rule};
use crate::source::Span;

const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];

/// A word that says that the value may be seen.
const PUBLIC: &str = "public";

pub(super) fn check(keyword: &str, name: &str, span: Span, instruction: Span, linter: &mut Linter<'_>) {
    if is_secret(name) {
        let detail = format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})");
        linter.found(Rule::SecretsUsedInArgOrEnv, span, instruction, detail);
    }
}

/// Whether one of the words of a name, parted by underscores, says "secret", and none says "public".
fn is_secret(name: &str) -> bool {
    let mut words = name.split('_').map(str::to_ascii_lowercase);
    words.clone().any(|word| SECRET.contains(&word.as_str())) && !words.any(|word| word == PUBLIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_name_count_and_not_parts_of_words() {
        for name in ["AUTH", "API_KEY", "api_token", "A_TOKEN_B", "apikey", "pword", "AWS_SECRET_ACCESS_KEY"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in ["MYTOKEN", "MY_KEYS", "pass", "OAUTH", "my-key", "PUBLIC_KEY", "TOKEN_PUBLIC", ""] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
