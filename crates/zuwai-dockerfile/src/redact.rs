//! Texts of instructions without the passwords in their addresses, for logs and messages.

use std::ops::Range;

/// What stands for a password.
const REDACTED: &str = "xxxxx";

/// The text with every `scheme://user:password@host` without its password, as BuildKit shows it.
#[must_use]
pub fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut end = 0;
    for password in passwords(text) {
        shown.push_str(&text[end..password.start]);
        shown.push_str(REDACTED);
        end = password.end;
    }
    shown + &text[end..]
}

/// An image's name, or what should be one, without a password before its host.
pub(crate) fn name_without_password(name: &str) -> String {
    match password_of_name(name, 0..name.len()) {
        Some(password) => format!("{}{REDACTED}{}", &name[..password.start], &name[password.end..]),
        None => name.to_owned(),
    }
}

/// The line with every letter of a password an asterisk, so that all else stays in its column. In an image's name, which
/// is behind FROM or `--from=`, a password needs no scheme.
pub(crate) fn masked(line: &str) -> String {
    const FLAG: &str = "--from=";
    let mut hidden = passwords(line);
    let is_from = line.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("from"));
    hidden.extend(words(line).filter_map(|word| match line[word.start..].starts_with(FLAG) {
        true => password_of_name(line, word.start + FLAG.len()..word.end),
        false if is_from => password_of_name(line, word),
        false => None,
    }));
    let mask = |(at, char)| if hidden.iter().any(|range| range.contains(&at)) { '*' } else { char };
    line.char_indices().map(mask).collect()
}

/// Where the passwords of addresses are, in order.
fn passwords(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let start = from + at + "://".len();
        let end = text[start..].find(|char: char| char == '/' || char == '"' || char.is_whitespace());
        let end = end.map_or(text.len(), |length| start + length);
        let user = text[start..end].rfind('@').map(|length| &text[start..start + length]);
        if let Some((name, password)) = user.and_then(|user| user.split_once(':')) {
            let start = start + name.len() + 1;
            found.push(start..start + password.len());
        }
        from = end;
    }
    found
}

/// The words of a line.
fn words(line: &str) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    line.split_inclusive(char::is_whitespace).map(move |piece| {
        let start = next;
        next += piece.len();
        start..start + piece.trim_end().len()
    })
}

/// Where the password is in `user:password@host/name`; what follows the `@` of a digest has no slash.
fn password_of_name(line: &str, word: Range<usize>) -> Option<Range<usize>> {
    let text = Some(&line[word.start..word.end]).filter(|text| !text.contains("://"))?;
    let (end, _) = text.match_indices('@').rfind(|(at, _)| text[*at..].contains('/'))?;
    let (name, password) = text[..end].split_once(':').filter(|(name, _)| !name.contains('/'))?;
    let start = word.start + name.len() + 1;
    Some(start..start + password.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_and_all_else_stays() {
        for (text, shown) in [
            ("ADD http://u:p@h/x http://h/y@z /", "ADD http://u:xxxxx@h/x http://h/y@z /"),
            ("ADD [\"https://u:p:q@h\", \"/\"]", "ADD [\"https://u:xxxxx@h\", \"/\"]"),
            ("ADD ssh://git@h/x /", "ADD ssh://git@h/x /"),
            ("RUN curl http://a:p@b@c:1", "RUN curl http://a:xxxxx@c:1"),
            ("COPY a:b@c d", "COPY a:b@c d"),
            ("a://", "a://"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    #[test]
    fn a_line_keeps_its_columns() {
        for (line, shown) in [
            ("FROM https://me:hé@h.io/x AS a", "FROM https://me:**@h.io/x AS a"),
            (" from me:pass@h.io/x:1", " from me:****@h.io/x:1"),
            ("FROM me:pass@h.io/x@sha256:12", "FROM me:****@h.io/x@sha256:12"),
            ("FROM h.io:5000/x:1@sha256:12", "FROM h.io:5000/x:1@sha256:12"),
            ("COPY a:b@c/d e", "COPY a:b@c/d e"),
            ("COPY --from=me:pass@h.io/x a b", "COPY --from=me:****@h.io/x a b"),
            ("é", "é"),
        ] {
            assert_eq!(masked(line), shown);
        }
        assert_eq!(name_without_password("me:pass@h.io/x"), "me:xxxxx@h.io/x");
        assert_eq!(name_without_password("h.io:5000/x:1@sha256:12"), "h.io:5000/x:1@sha256:12");
    }
}
