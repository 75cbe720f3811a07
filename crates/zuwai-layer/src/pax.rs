//! PAX extended headers (POSIX pax, "pax Extended Header").
//!
//! Reading is strict: what a record says decides where the next header begins, so a tool that skipped a malformed
//! one would see another archive than the next tool does.

/// One `keyword=value` of an extended header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// Splits the first record off; `None` if it is malformed.
fn split(data: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = data.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    Some((Record { key: &body[..equals], value: &body[equals + 1..] }, rest))
}

/// The records of an extended header in order, or `Err` once for a malformed one.
pub(crate) fn records(mut data: &[u8]) -> impl Iterator<Item = Result<Record<'_>, ()>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        Some(match split(data) {
            Some((record, rest)) => {
                data = rest;
                Ok(record)
            }
            None => {
                data = &[];
                Err(())
            }
        })
    })
}

/// Adds a record, whose length counts its own digits.
pub(crate) fn append(data: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3; // space, equals, newline
    let mut length = body + 1;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    data.extend_from_slice(length.to_string().as_bytes());
    data.push(b' ');
    data.extend_from_slice(key);
    data.push(b'=');
    data.extend_from_slice(value);
    data.push(b'\n');
}

/// A time in whole seconds, rounded down: `[-]digits[.digits]`.
pub(crate) fn seconds(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.starts_with('+') || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let below = whole.starts_with('-') && fraction.bytes().any(|byte| byte != b'0');
    if below { seconds.checked_sub(1) } else { Some(seconds) }
}

/// A number that is not negative.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    if text.starts_with('+') { None } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_whatever_their_length() {
        for length in [0, 1, 5, 80, 90, 91, 92, 93, 94, 95, 985, 986, 987, 988, 989, 99_990] {
            let mut data = Vec::new();
            append(&mut data, b"key", &vec![b'='; length]);
            append(&mut data, b"SCHILY.xattr.user.k", b"line\nline\0");
            let read: Vec<_> = records(&data).map(Result::unwrap).collect();
            assert_eq!(read.len(), 2, "{length}");
            assert_eq!((read[0].key, read[0].value.len()), (&b"key"[..], length));
            assert_eq!(read[1].value, b"line\nline\0");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for data in [
            "garbage",
            "5",
            "0 a=b\n",
            "6 a=b",
            "7 a=b\n",
            "6 a=bc",
            "-6 a=b\n",
            "99999999999999999999 a=b\n",
            "5 ab\n",
            "5 =b\n",
            "3 a=b\n",
            "6 a=b\n\0\0",
        ] {
            assert!(records(data.as_bytes()).any(|record| record.is_err()), "{data:?}");
        }
    }

    #[test]
    fn times_are_rounded_down() {
        for (text, value) in [
            ("0", Some(0)),
            ("12.9", Some(12)),
            ("-1", Some(-1)),
            ("-1.0", Some(-1)),
            ("-1.5", Some(-2)),
            ("-0.5", Some(-1)),
            ("", None),
            ("+1", None),
            ("1.x", None),
            ("1e3", None),
            ("9223372036854775808", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), value, "{text:?}");
        }
    }
}
