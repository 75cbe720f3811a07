//! Texts of instructions without the passwords in their addresses, for logs.

/// What stands for a password.
const REDACTED: &str = "xxxxx";

/// The text with every `scheme://user:password@host` without its password, as BuildKit shows it.
#[must_use]
pub fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let end = after.find(|char: char| char == '/' || char == '"' || char.is_whitespace());
        let (authority, tail) = after.split_at(end.unwrap_or(after.len()));
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                let name = user.split(':').next().unwrap_or_default();
                shown.push_str(name);
                if user.contains(':') {
                    shown.push(':');
                    shown.push_str(REDACTED);
                }
                shown.push('@');
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = tail;
    }
    shown.push_str(rest);
    shown
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
}
