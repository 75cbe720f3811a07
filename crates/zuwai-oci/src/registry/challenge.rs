//! What a registry asks for when it answers 401 (RFC 9110 section 11.6.1, distribution's token specification).

use std::collections::BTreeMap;

/// How a registry wants to be shown who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server.
        realm: String,
        /// The registry's name there.
        service: Option<String>,
        /// What the request would have needed.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads the values of WWW-Authenticate headers. Bearer is preferred; schemes that are not known are skipped.
    pub(crate) fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = false;
        for value in values {
            for (scheme, parameters) in challenges(value) {
                if scheme.eq_ignore_ascii_case("bearer")
                    && let Some(realm) = parameters.get("realm")
                {
                    let own = |name: &str| parameters.get(name).cloned().filter(|text| !text.is_empty());
                    return Some(Self::Bearer {
                        realm: realm.clone(),
                        service: own("service"),
                        scope: own("scope"),
                    });
                }
                basic |= scheme.eq_ignore_ascii_case("basic");
            }
        }
        basic.then_some(Self::Basic)
    }
}

/// Splits a header value into schemes and their parameters; several challenges may stand in one header.
fn challenges(value: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let length = rest.find(|letter: char| !is_token(letter)).unwrap_or(rest.len());
        if length == 0 {
            return found;
        }
        let (word, after) = rest.split_at(length);
        let after_word = after.trim_start_matches([' ', '\t']);
        match (after_word.strip_prefix('='), found.last_mut()) {
            (Some(text), Some((_, parameters))) => {
                let (text, after) = parameter_value(text.trim_start_matches([' ', '\t']));
                parameters.entry(word.to_ascii_lowercase()).or_insert(text);
                rest = after;
            }
            (Some(_), None) => return found,
            (None, _) => {
                found.push((word.to_owned(), BTreeMap::new()));
                rest = after;
            }
        }
    }
}

/// A parameter's value, quoted or not, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn is_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_real_registries_are_understood() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        for (value, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/ubuntu:pull""#,
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/ubuntu:pull"),
                ),
            ),
            (r#"bearer realm="https://x/t" , Service=y"#, bearer("https://x/t", Some("y"), None)),
            (
                r#"Bearer realm="https://x/t?a=b,c",scope="repository:a:pull,push",error="invalid_token""#,
                bearer("https://x/t?a=b,c", None, Some("repository:a:pull,push")),
            ),
            (r#"Basic realm="Registry Realm""#, Some(Challenge::Basic)),
            (r#"Basic realm="x", Bearer realm="https://y""#, bearer("https://y", None, None)),
            (r#"Bearer realm="a\"b""#, bearer("a\"b", None, None)),
            ("BASIC", Some(Challenge::Basic)),
            ("Bearer", None),
            ("Negotiate", None),
            (r#"Bearer realm="unfinished"#, bearer("unfinished", None, None)),
            ("", None),
            ("=\"", None),
        ] {
            assert_eq!(Challenge::parse([value].into_iter()), expected, "{value}");
        }
    }

    #[test]
    fn bearer_is_preferred_over_basic_in_another_header() {
        let values = [r#"Basic realm="x""#, r#"Bearer realm="https://y""#];
        assert!(matches!(Challenge::parse(values.into_iter()), Some(Challenge::Bearer { .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(value in ".{0,200}") {
            Challenge::parse([value.as_str()].into_iter());
        }
    }
}
