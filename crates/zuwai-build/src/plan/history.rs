//! What each instruction leaves in an image's history, to the letter of BuildKit's `created_by`.

use zuwai_oci::config::History;

/// The comment of every row that a Dockerfile's instruction leaves.
pub const COMMENT: &str = "buildkit.dockerfile.v0";

/// `RUN |2 A=1 B= /bin/sh -c text # buildkit`
pub fn run(history_args: &[String], argv: &[String]) -> String {
    let mut words: Vec<String> = Vec::new();
    if !history_args.is_empty() {
        words.push(format!("|{}", history_args.len()));
        words.extend_from_slice(history_args);
    }
    words.extend_from_slice(argv);
    format!("RUN {} # buildkit", words.join(" "))
}

/// A list as Go prints a `[]string` with `%q`: `["a" "b"]`.
pub fn quoted_list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| go_quote(word)).collect();
    format!("[{}]", quoted.join(" "))
}

/// A list as Go prints a `[]string` with `%v`: `[a b]`.
pub fn plain_list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// A text as Go's `strconv.Quote` prints it.
pub fn go_quote(text: &str) -> String {
    use std::fmt::Write as _;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            control if control.is_control() && (control as u32) < 0x80 => {
                let _ = write!(quoted, "\\x{:02x}", control as u32);
            }
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// `HEALTHCHECK &{["CMD-SHELL" "x"] "5s" "3s" "1s" "2s" '\x02'}`: Go's `%q` of the configuration, as BuildKit leaves it.
/// Times are in nanoseconds.
pub fn healthcheck(test: &[String], times: [i64; 4], retries: i64) -> String {
    let [interval, timeout, start_period, start_interval] = times.map(go_duration);
    let retries = go_quote_rune(retries);
    format!(
        "HEALTHCHECK &{{{} {interval:?} {timeout:?} {start_period:?} {start_interval:?} {retries}}}",
        quoted_list(test)
    )
}

/// A number as Go's `%q` prints it: a character in single quotes.
fn go_quote_rune(number: i64) -> String {
    let character =
        u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    match character {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        other => {
            let quoted = go_quote(&other.to_string());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

/// Nanoseconds as Go's `time.Duration` prints them: `1h2m3.5s`, `300ms`, `0s`.
pub fn go_duration(nanoseconds: i64) -> String {
    const UNITS: [(u64, &str); 3] = [(1, "ns"), (1_000, "µs"), (1_000_000, "ms")];
    const SECOND: u64 = 1_000_000_000;
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    if total == 0 {
        return "0s".to_owned();
    }
    if total < SECOND {
        let (unit, name) = UNITS.into_iter().rev().find(|(unit, _)| total >= *unit).unwrap_or((1, "ns"));
        return format!("{sign}{}{name}", fraction(total, unit));
    }
    let (hours, minutes) = (total / (3600 * SECOND), total / (60 * SECOND) % 60);
    let seconds = fraction(total % (60 * SECOND), SECOND);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / unit` with as many decimals as are needed.
fn fraction(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

/// Rows of a stage that makes a single layer: it belongs to the last of those that make one.
pub fn one_layer(rows: &mut [History]) {
    let mut makers = rows.iter_mut().rev().filter(|row| !row.empty_layer);
    makers.next();
    makers.for_each(|row| row.empty_layer = true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_read_as_buildkit_writes_them() {
        let args = words(&["V=1", "FOO=a b"]);
        let argv = words(&["/bin/sh", "-c", "echo $A"]);
        assert_eq!(run(&args, &argv), "RUN |2 V=1 FOO=a b /bin/sh -c echo $A # buildkit");
        assert_eq!(run(&[], &argv), "RUN /bin/sh -c echo $A # buildkit");
        assert_eq!(quoted_list(&words(&["/bin/sh", "echo \"hi\""])), r#"["/bin/sh" "echo \"hi\""]"#);
        assert_eq!(quoted_list(&[]), "[]");
        assert_eq!(plain_list(&words(&["/data", "/data2"])), "[/data /data2]");
        assert_eq!(
            healthcheck(
                &words(&["CMD-SHELL", "curl -f http://x || exit 1"]),
                [5_000_000_000, 3_000_000_000, 1_000_000_000, 2_000_000_000],
                2
            ),
            r#"HEALTHCHECK &{["CMD-SHELL" "curl -f http://x || exit 1"] "5s" "3s" "1s" "2s" '\x02'}"#
        );
        assert_eq!(
            healthcheck(&words(&["NONE"]), [0; 4], 0),
            r#"HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\x00'}"#
        );
    }

    #[test]
    fn durations_read_as_go_writes_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (300_000_000, "300ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (-1_000_000_000, "-1s"),
        ] {
            assert_eq!(go_duration(nanoseconds), text);
        }
    }

    #[test]
    fn control_characters_are_escaped_as_go_does() {
        assert_eq!(go_quote("a\tb\n\u{1}é\u{7f}"), r#""a\tb\n\x01é\x7f""#);
    }
}
