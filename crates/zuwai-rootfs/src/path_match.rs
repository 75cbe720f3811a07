//! Wildcards of `COPY` and `ADD`: the rules of Go's `path/filepath.Match`, which the Dockerfile reference names.
//!
//! `*` is any run of characters but `/`, `?` one of them, `[a-z]` and `[^a-z]` one of or none of a class, and `\` takes
//! the next character as it is. The pattern has to match the whole name. A character is a UTF-8 one where the bytes are
//! UTF-8, a byte otherwise.

/// A pattern whose bracket or backslash is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Whether the pattern has anything but plain names in it.
#[must_use]
pub fn has_wildcard(pattern: &[u8]) -> bool {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// The name that a pattern without wildcards means: its backslashes taken away.
#[must_use]
pub fn unescape(pattern: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        name.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
    }
    name
}

/// Whether the pattern matches the whole name.
///
/// # Errors
/// When the pattern is malformed, whether or not the name would have matched up to there.
pub fn matches(pattern: &[u8], name: &[u8]) -> Result<bool, BadPattern> {
    check(pattern)?;
    Ok(matches_checked(pattern, name))
}

/// Whether the pattern is well-formed.
///
/// # Errors
/// When it is not.
pub fn check(mut pattern: &[u8]) -> Result<(), BadPattern> {
    while let Some((first, rest)) = pattern.split_first() {
        pattern = match first {
            b'\\' => rest.split_first().ok_or(BadPattern)?.1,
            b'[' => class(rest, None)?.1,
            _ => rest,
        };
    }
    Ok(())
}

/// Matches a pattern that is known to be well-formed.
fn matches_checked(pattern: &[u8], name: &[u8]) -> bool {
    let (mut left, mut rest) = (pattern, name);
    // What to try again after the last star: the pattern behind it, and the name from where it has to match.
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', behind)) = left.split_first() {
            left = behind;
            again = Some((behind, rest));
            continue;
        }
        if left.is_empty() && rest.is_empty() {
            return true;
        }
        if let Some((pattern_left, name_left)) = step(left, rest) {
            (left, rest) = (pattern_left, name_left);
            continue;
        }
        // The last star has to take one byte more, which cannot be a slash.
        let Some((behind, from)) = again else { return false };
        match from.split_first() {
            Some((byte, shorter)) if *byte != b'/' => {
                (left, rest) = (behind, shorter);
                again = Some((behind, shorter));
            }
            _ => return false,
        }
    }
}

/// Matches one character; what is left of the pattern and the name if it does.
fn step<'a, 'b>(pattern: &'a [u8], name: &'b [u8]) -> Option<(&'a [u8], &'b [u8])> {
    let (first, behind) = pattern.split_first()?;
    match first {
        b'?' => {
            let (character, rest) = character(name)?;
            (character != u32::from(b'/')).then_some((behind, rest))
        }
        b'[' => {
            let (found, rest) = character(name)?;
            let (inside, behind) = class(behind, Some(found)).ok()?;
            inside.then_some((behind, rest))
        }
        _ => {
            let (literal, behind) = if *first == b'\\' { behind.split_first()? } else { (first, behind) };
            let (byte, rest) = name.split_first()?;
            (literal == byte).then_some((behind, rest))
        }
    }
}

/// Reads a class behind its opening bracket: whether the character is of it, and what stands behind the class.
fn class(mut pattern: &[u8], wanted: Option<u32>) -> Result<(bool, &[u8]), BadPattern> {
    let negated = pattern.first() == Some(&b'^');
    if negated {
        pattern = &pattern[1..];
    }
    let mut inside = false;
    let mut ranges = 0;
    loop {
        if ranges > 0 && pattern.first() == Some(&b']') {
            return Ok((inside != negated, &pattern[1..]));
        }
        let (low, behind) = class_character(pattern)?;
        let (high, behind) = match behind.split_first() {
            Some((b'-', behind)) => class_character(behind)?,
            _ => (low, behind),
        };
        inside |= wanted.is_some_and(|wanted| (low..=high).contains(&wanted));
        pattern = behind;
        ranges += 1;
    }
}

/// Reads one end of a range.
fn class_character(pattern: &[u8]) -> Result<(u32, &[u8]), BadPattern> {
    let pattern = match pattern.split_first() {
        None | Some((b'-' | b']', _)) => return Err(BadPattern),
        Some((b'\\', behind)) => behind,
        Some(_) => pattern,
    };
    let (character, behind) = character(pattern).ok_or(BadPattern)?;
    // A class that ends with the pattern is not closed.
    if behind.is_empty() { Err(BadPattern) } else { Ok((character, behind)) }
}

/// The first character: its code point, or a byte that begins none (told apart by being out of their range).
fn character(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let first = *bytes.first()?;
    let length = match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    let decoded = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()?.chars().next());
    match decoded {
        Some(character) => Some((u32::from(character), &bytes[length..])),
        None => Some((0x0011_0000 + u32::from(first), &bytes[1..])),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Go's own documented rules, case by case.
    const TABLE: &[(&str, &str, Result<bool, BadPattern>)] = &[
        ("abc", "abc", Ok(true)),
        ("*", "abc", Ok(true)),
        ("*c", "abc", Ok(true)),
        ("a*", "a", Ok(true)),
        ("a*", "abc", Ok(true)),
        ("a*", "ab/c", Ok(false)),
        ("a*/b", "abc/b", Ok(true)),
        ("a*/b", "a/c/b", Ok(false)),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", Ok(true)),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Ok(true)),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Ok(false)),
        ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
        ("a*b?c*x", "abxbbxdbxebxczzy", Ok(false)),
        ("ab[c]", "abc", Ok(true)),
        ("ab[b-d]", "abc", Ok(true)),
        ("ab[e-g]", "abc", Ok(false)),
        ("ab[^c]", "abc", Ok(false)),
        ("ab[^b-d]", "abc", Ok(false)),
        ("ab[^e-g]", "abc", Ok(true)),
        ("a\\*b", "a*b", Ok(true)),
        ("a\\*b", "ab", Ok(false)),
        ("a?b", "a☺b", Ok(true)),
        ("a[^a]b", "a☺b", Ok(true)),
        ("a???b", "a☺b", Ok(false)),
        ("a[^a][^a][^a]b", "a☺b", Ok(false)),
        ("[a-ζ]*", "α", Ok(true)),
        ("*[a-ζ]", "A", Ok(false)),
        ("a?b", "a/b", Ok(false)),
        ("a*b", "a/b", Ok(false)),
        ("[\\]a]", "]", Ok(true)),
        ("[\\-]", "-", Ok(true)),
        ("[x\\-]", "x", Ok(true)),
        ("[x\\-]", "-", Ok(true)),
        ("[x\\-]", "z", Ok(false)),
        ("[\\-x]", "a", Ok(false)),
        ("[]a]", "]", Err(BadPattern)),
        ("[-]", "-", Err(BadPattern)),
        ("[x-]", "x", Err(BadPattern)),
        ("[-x]", "x", Err(BadPattern)),
        ("\\", "a", Err(BadPattern)),
        ("[a-b-c]", "a", Err(BadPattern)),
        ("[", "a", Err(BadPattern)),
        ("[^", "a", Err(BadPattern)),
        ("[^bc", "a", Err(BadPattern)),
        ("a[", "a", Err(BadPattern)),
        ("a[", "ab", Err(BadPattern)),
        ("a[", "x", Err(BadPattern)),
        ("a/b[", "x", Err(BadPattern)),
        ("*x", "xxx", Ok(true)),
        ("", "", Ok(true)),
        ("", "a", Ok(false)),
        ("**", "a", Ok(true)),
        ("[!a]", "!", Ok(true)),
        ("[[]", "[", Ok(true)),
    ];

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in TABLE {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), *expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn wildcards_are_seen_and_escapes_taken_away() {
        for (pattern, wild, name) in
            [("a", false, "a"), ("a\\*", false, "a*"), ("\\\\*", true, "\\*"), ("a\\", false, "a")]
        {
            assert_eq!(has_wildcard(pattern.as_bytes()), wild, "{pattern}");
            assert_eq!(unescape(pattern.as_bytes()), name.as_bytes(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in proptest::collection::vec(any::<u8>(), 0..24), name in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = matches(&pattern, &name);
        }

        #[test]
        fn an_escaped_name_matches_itself_only(name in "[a-z*?\\[\\]\\\\-]{0,12}", other in "[a-z*?]{0,12}") {
            let escaped: String = name.chars().flat_map(|letter| ['\\', letter]).collect();
            prop_assert_eq!(matches(escaped.as_bytes(), name.as_bytes()), Ok(true));
            prop_assert_eq!(matches(escaped.as_bytes(), other.as_bytes()), Ok(name == other));
        }
    }
}
