//! Types of flag values: what fits, with Go's rules and error texts, and the type's name in help.

/// The type of a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// On or off, in Go's words.
    Bool,
    /// A whole number.
    Int,
    /// Go's durations, as `1h30m`.
    Duration,
    /// Any text; the last one given counts.
    Text,
    /// Texts that add up; kaniko's multi-arg, pflag's stringArray.
    List,
    /// Texts that add up, several in one value between commas; pflag's stringSlice.
    CommaList,
    /// `key=value` texts that add up; kaniko's key-value-arg.
    KeyValues,
    /// `key=value;value` texts that add up; kaniko's key-multi-value-arg.
    KeyMultiValues,
    /// One of a few words, or any if none are listed. The type's name in help comes first.
    Word(&'static str, &'static [&'static str]),
    /// kaniko's options for git contexts, `name=value` between commas.
    GitOptions,
    /// Build secrets, as docker writes them.
    Secret,
}

const GIT_OPTIONS: &[&str] = &["branch", "single-branch", "depth", "recurse-submodules", "insecure-skip-tls"];

impl Kind {
    /// Whether values given one after the other add up.
    pub fn appends(self) -> bool {
        matches!(self, Self::List | Self::CommaList | Self::KeyValues | Self::KeyMultiValues | Self::Secret)
    }

    /// The type's name in the table of kaniko's flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Duration => "duration",
            Self::Text => "string",
            Self::List => "multi-arg",
            Self::CommaList => "strings",
            Self::KeyValues => "key-value-arg",
            Self::KeyMultiValues => "key-multi-value-arg",
            Self::Word(name, _) => name,
            Self::GitOptions => "gitoptions",
            Self::Secret => "secret",
        }
    }

    /// Checks one value and splits it where the type says so.
    ///
    /// # Errors
    /// The reason, in Go's or kaniko's words.
    pub fn check(self, value: &str) -> Result<Vec<String>, String> {
        let whole = || vec![value.to_owned()];
        match self {
            Self::Bool => parse_bool(value)
                .map(|_| whole())
                .ok_or_else(|| format!("strconv.ParseBool: parsing {value:?}: invalid syntax")),
            Self::Int => parse_int(value)
                .map(|_| whole())
                .map_err(|reason| format!("strconv.ParseInt: parsing {value:?}: {reason}")),
            Self::Duration => check_duration(value).map(|()| whole()),
            Self::Text | Self::List | Self::Secret => Ok(whole()),
            Self::CommaList => {
                Ok(value.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect())
            }
            Self::KeyValues | Self::KeyMultiValues => match value.split_once('=') {
                Some(_) => Ok(whole()),
                None => Err(format!("invalid argument value. expect key=value, got {value}")),
            },
            Self::Word(_, words) if words.is_empty() || words.contains(&value) => Ok(whole()),
            Self::Word(_, words) => {
                let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
                Err(format!("must be either {}", words.join(" or ")))
            }
            Self::GitOptions => {
                for option in value.split(',').filter(|option| !option.is_empty()) {
                    let name = option.split_once('=').map_or(option, |(name, _)| name);
                    if !GIT_OPTIONS.contains(&name) {
                        return Err(format!("unsupported git option {name:?}"));
                    }
                }
                Ok(whole())
            }
        }
    }

    /// Whether the value means the same as one of these.
    pub fn is_among(self, value: &str, others: &[&str]) -> bool {
        others.iter().any(|other| match self {
            Self::Bool => parse_bool(value) == parse_bool(other),
            Self::Int => parse_int(value) == parse_int(other),
            _ => value == *other,
        })
    }
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `strconv.ParseInt` with base 0: decimal, or another base by prefix.
///
/// # Errors
/// The part of Go's text after the value.
pub fn parse_int(value: &str) -> Result<i64, &'static str> {
    let (sign, digits) = match value.as_bytes().first() {
        Some(b'-') => ("-", &value[1..]),
        Some(b'+') => ("", &value[1..]),
        _ => ("", value),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err("invalid syntax");
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|_| "value out of range")
}

/// Go's `time.ParseDuration`, as far as whether a text is one.
fn check_duration(value: &str) -> Result<(), String> {
    let invalid = || format!("time: invalid duration {value:?}");
    let mut rest = value.strip_prefix(['-', '+']).unwrap_or(value);
    if rest == "0" {
        return Ok(());
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let digits = &rest[..number];
        if !digits.contains(|c: char| c.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return Err(invalid());
        }
        rest = &rest[number..];
        let unit_length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..unit_length];
        match unit {
            "" => return Err(format!("time: missing unit in duration {value:?}")),
            "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h" => {}
            _ => return Err(format!("time: unknown unit {unit:?} in duration {value:?}")),
        }
        rest = &rest[unit_length..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_gos() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("-1", Ok(-1)),
            ("+7", Ok(7)),
            ("0x1F", Ok(31)),
            ("010", Ok(8)),
            ("0b11", Ok(3)),
            ("", Err("invalid syntax")),
            ("-", Err("invalid syntax")),
            ("1.5", Err("invalid syntax")),
            ("1e3", Err("invalid syntax")),
            ("99999999999999999999", Err("value out of range")),
        ] {
            assert_eq!(parse_int(text), expected, "{text:?}");
        }
    }

    #[test]
    fn durations_are_gos() {
        for good in ["0", "336h0m0s", "1.5h", "-3m", "250ms", ".5s", "1h30m"] {
            assert_eq!(check_duration(good), Ok(()), "{good}");
        }
        for (bad, reason) in [
            ("", r#"time: invalid duration """#),
            ("x", r#"time: invalid duration "x""#),
            ("5", r#"time: missing unit in duration "5""#),
            ("5d", r#"time: unknown unit "d" in duration "5d""#),
            ("1..5s", r#"time: invalid duration "1..5s""#),
            (".s", r#"time: invalid duration ".s""#),
        ] {
            assert_eq!(check_duration(bad).unwrap_err(), reason, "{bad:?}");
        }
    }

    #[test]
    fn words_say_which_they_may_be() {
        let kind = Kind::Word("compression", &["gzip", "zstd"]);
        assert!(kind.check("zstd").is_ok());
        assert_eq!(kind.check("lz4").unwrap_err(), r#"must be either "gzip" or "zstd""#);
    }

    #[test]
    fn git_options_are_kanikos() {
        assert!(Kind::GitOptions.check("branch=main,depth=1").is_ok());
        assert_eq!(Kind::GitOptions.check("tag=x").unwrap_err(), r#"unsupported git option "tag""#);
    }
}
