//! One pattern, compiled.
//!
//! The rules are those of moby's `patternmatcher`, which turns a pattern into a regular expression: `*` is `[^/]*`, `?`
//! is `[^/]`, `**` (with the slash behind it, if there is one) is `(.*/)?`, but `.*` at the end of the pattern, and a
//! class is a class. A `**` at the beginning of an otherwise plain pattern takes any beginning at all.

use std::mem;

use zuwai_rootfs::path_match;

/// Why text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// `!` with nothing behind it.
    #[error("\"!\" with nothing behind it")]
    EmptyException,
    /// A bracket or backslash that is not finished, or a class whose range runs backwards.
    #[error("syntax error in pattern {0:?}")]
    Syntax(String),
}

/// One pattern, without the `!` of an exception.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// The plain beginning that every match has.
    prefix: Vec<u8>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// The prefix and nothing else.
    Exact,
    /// The prefix and anything.
    Beginning,
    /// Anything before this; if it begins with a slash, also nothing but what is behind the slash.
    Ending(Vec<u8>),
    /// The prefix, then these.
    Tokens(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`: one character but a slash.
    One,
    /// `*`: any characters but a slash.
    Many,
    /// `**`: any directories, each with its slash, or none.
    Directories,
    /// `**` at the end: anything.
    Anything,
    /// A class with its brackets.
    Class(Vec<u8>),
}

impl Pattern {
    /// Compiles a pattern that is trimmed and cleaned.
    pub fn compile(text: &[u8]) -> Result<Self, PatternError> {
        let syntax = || PatternError::Syntax(String::from_utf8_lossy(text).into_owned());
        path_match::check(text).map_err(|_| syntax())?;
        let tokens = tokens(text).ok_or_else(syntax)?;
        // A backslash makes a pattern a real expression even where only plain characters are escaped.
        let plain =
            |bytes: &[u8]| !bytes.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\'));
        if let Some(ending) = text.strip_prefix(b"**")
            && plain(ending)
        {
            return Ok(Self { prefix: Vec::new(), kind: Kind::Ending(ending.to_vec()) });
        }
        let plain = tokens.iter().position(|token| !matches!(token, Token::Byte(_))).unwrap_or(tokens.len());
        let mut prefix = tokens;
        let rest = prefix.split_off(plain);
        let prefix = prefix
            .iter()
            .filter_map(|token| if let Token::Byte(byte) = token { Some(*byte) } else { None })
            .collect();
        let kind = match rest.as_slice() {
            [] => Kind::Exact,
            [Token::Anything] => Kind::Beginning,
            _ => Kind::Tokens(rest),
        };
        Ok(Self { prefix, kind })
    }

    /// Whether the pattern matches the whole path.
    pub fn matches(&self, path: &[u8]) -> bool {
        let Some(rest) = path.strip_prefix(self.prefix.as_slice()) else { return false };
        match &self.kind {
            Kind::Exact => rest.is_empty(),
            Kind::Beginning => true,
            Kind::Ending(ending) => path.ends_with(ending) || ending.strip_prefix(b"/") == Some(path),
            Kind::Tokens(tokens) => match_tokens(tokens, rest),
        }
    }

    /// Whether the pattern could match something below a directory, or the directory and so everything below it.
    pub fn may_match_below(&self, directory: &[u8]) -> bool {
        let shared = self.prefix.len().min(directory.len());
        if self.prefix[..shared] != directory[..shared] {
            return false;
        }
        // A longer plain beginning has to go on below the directory; with a shorter one anything may follow.
        self.prefix.len() <= directory.len() || self.prefix[directory.len()] == b'/'
    }
}

fn tokens(text: &[u8]) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'*' => {
                if let Some(behind) = rest.strip_prefix(b"*") {
                    rest = behind.strip_prefix(b"/").unwrap_or(behind);
                    tokens.push(if rest.is_empty() { Token::Anything } else { Token::Directories });
                } else {
                    tokens.push(Token::Many);
                }
            }
            b'?' => tokens.push(Token::One),
            b'[' => {
                let length = class_length(behind)?;
                tokens.push(Token::Class([b"[", &behind[..length]].concat()));
                rest = &behind[length..];
            }
            b'\\' => {
                let (escaped, behind) = behind.split_first()?;
                tokens.push(Token::Byte(*escaped));
                rest = behind;
            }
            byte => tokens.push(Token::Byte(*byte)),
        }
    }
    Some(tokens)
}

/// How long a class is behind its opening bracket, with the closing one. `None` if it is not closed, or if a range in it
/// runs backwards, which no regular expression takes.
fn class_length(text: &[u8]) -> Option<usize> {
    let body = usize::from(text.first() == Some(&b'^'));
    let mut position = body;
    let mut before: Option<u8> = None;
    let mut low: Option<u8> = None;
    loop {
        let byte = *text.get(position)?;
        if byte == b']' && position > body {
            return Some(position + 1);
        }
        if byte == b'-' && low.is_none() && before.is_some() {
            low = before;
            position += 1;
            continue;
        }
        let character = if byte == b'\\' { *text.get(position + 1)? } else { byte };
        if low.take().is_some_and(|low| low.is_ascii() && character.is_ascii() && low > character) {
            return None;
        }
        before = Some(character);
        position += if byte == b'\\' { 2 } else { 1 };
    }
}

/// Whether tokens match a whole text. All ways to match are followed side by side, so that no pattern takes long.
fn match_tokens(tokens: &[Token], text: &[u8]) -> bool {
    // reached[n]: the tokens so far match the first n bytes.
    let mut reached = vec![false; text.len() + 1];
    let mut next = vec![false; text.len() + 1];
    reached[0] = true;
    for token in tokens {
        next.fill(false);
        match token {
            Token::Many | Token::Anything | Token::Directories => {
                let mut open = false;
                for position in 0..=text.len() {
                    let before = position.checked_sub(1).map(|before| text[before]);
                    let grows = match token {
                        Token::Many => {
                            open &= before != Some(b'/');
                            open
                        }
                        Token::Directories => open && before == Some(b'/'),
                        _ => open,
                    };
                    next[position] = grows || reached[position];
                    open |= reached[position];
                }
            }
            Token::Byte(wanted) => {
                for (position, byte) in text.iter().enumerate() {
                    next[position + 1] = reached[position] && byte == wanted;
                }
            }
            Token::One | Token::Class(_) => {
                for position in (0..text.len()).filter(|position| reached[*position]) {
                    let character = &text[position..position + character_length(&text[position..])];
                    next[position + character.len()] |= match token {
                        Token::Class(class) => path_match::matches(class, character) == Ok(true),
                        _ => character != b"/",
                    };
                }
            }
        }
        mem::swap(&mut reached, &mut next);
    }
    reached[text.len()]
}

/// How many bytes the first character has: those of its UTF-8 form, or one.
fn character_length(text: &[u8]) -> usize {
    let length = match text.first() {
        Some(0xC2..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF4) => 4,
        _ => 1,
    };
    if text.get(..length).is_some_and(|bytes| std::str::from_utf8(bytes).is_ok()) { length } else { 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Patterns, what they match, and what they do not.
    const TABLE: &[(&str, &[&str], &[&str])] = &[
        ("abc.def", &["abc.def"], &["abcdef", "abcZdef", "x/abc.def", "abc.def/x"]),
        ("abc?def", &["abcZdef", "abcédef"], &["abcdef", "abc/def"]),
        ("*", &["a", ".a"], &["a/b"]),
        (".*", &[".foo"], &["foo", "a/.foo"]),
        ("a/*.txt", &["a/file.txt", "a/.txt"], &["a/dir/file.txt", "file.txt"]),
        ("*/b", &["a/b"], &["b", "a/a/b"]),
        ("**", &["file", "dir/file", ".a"], &[]),
        ("**/**", &["file", "dir/file"], &[]),
        ("dir/**", &["dir/file", "dir/dir2/file"], &["dir", "dirt/file"]),
        ("dir*/**", &["dir/file", "dirt/a/b"], &["dir", "dirt"]),
        ("**/dir", &["dir", "a/dir", "a/b/dir"], &["dir/file", "adir", "a/bdir"]),
        ("**/dir2/*", &["dir/dir2/file", "dir2/file"], &["dir/dir2", "dir2/a/b"]),
        ("**/dir2/**", &["dir/dir2/dir3/file", "dir2/a"], &["dir2", "dir/dir2"]),
        ("**file", &["file", "dir/file", "profile", "dir/profile"], &["files"]),
        ("**fil?", &["file", "dir/file"], &["profile", "dir/profile"]),
        ("**/file*", &["file", "dir/dir/file.txt"], &["dir/dir/afile"]),
        ("**/file*.txt*", &["dir/file.txt", "fileA.txtB"], &["file.tx"]),
        ("**/**/*.txt", &["file.txt", "dir/dir/file.txt"], &["file.txt2"]),
        ("a**/*.txt", &["a/file.txt", "a/dir/dir/file.txt", "ab/file.txt", "afile.txt"], &["b/file.txt"]),
        ("a**b", &["ab", "a/b", "ax/b"], &["axb"]),
        ("a/*.txt**", &["a/file.txt", "a/file.txtb", "a/file.txt/b/c"], &["a/file.tx"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]),
        ("a[b-d]e", &["ace"], &["ae", "aae"]),
        ("a[^b-d]e", &["aze"], &["ace"]),
        ("[!a]", &["!", "a"], &["b"]),
        ("a\\*b", &["a*b"], &["aab"]),
        ("a\\\\", &["a\\"], &["a"]),
        ("a(b)c/d|$+{}e", &["a(b)c/d|$+{}e"], &["abc/d"]),
        ("dist/*.whl", &["dist/proxy.py-2.4.0rc3.dev36+g08acad9-py3-none-any.whl"], &["dist/x/y.whl"]),
        ("/abs", &[], &["abs"]),
        ("../up", &[], &["up"]),
    ];

    #[test]
    fn patterns_match_as_mobys() {
        for (pattern, matching, others) in TABLE {
            let compiled = Pattern::compile(pattern.as_bytes()).unwrap();
            for path in *matching {
                assert!(compiled.matches(path.as_bytes()), "{pattern} on {path}");
            }
            for path in *others {
                assert!(!compiled.matches(path.as_bytes()), "{pattern} not on {path}");
            }
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in ["[", "a[", "a/[b", "[]", "[^", "a\\", "[a-", "[z-a]", "a/[9-0]*"] {
            let error = Pattern::compile(pattern.as_bytes()).unwrap_err();
            assert_eq!(error, PatternError::Syntax(pattern.to_owned()), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in proptest::collection::vec(any::<u8>(), 0..32), path in proptest::collection::vec(any::<u8>(), 0..32)) {
            if let Ok(pattern) = Pattern::compile(&pattern) {
                pattern.matches(&path);
                pattern.may_match_below(&path);
            }
        }

        #[test]
        fn what_matches_below_was_foreseen(pattern in "[ab*/?]{1,6}", directory in "[ab](/[ab]){0,2}", below in "[ab](/[ab]){0,2}") {
            let pattern = Pattern::compile(pattern.as_bytes()).unwrap();
            let path = format!("{directory}/{below}");
            prop_assert!(!pattern.matches(path.as_bytes()) || pattern.may_match_below(directory.as_bytes()));
        }
    }
}
