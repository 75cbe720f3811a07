//! One pattern, compiled.
//!
//! The rules are those of moby's `patternmatcher`: a pattern of plain characters is compared; `**` at the end of one takes
//! any end, `**` at its beginning any beginning; every other pattern becomes a regular expression, by a translation that
//! knows nothing of classes. What follows from that is part of the language: `[*]` is a class that begins with a bracket,
//! `^` outside of a class is the beginning of the path, `\\d` a digit.

mod class;
mod expression;
mod syntax;
mod translate;

use expression::Expression;
use zuwai_rootfs::path_match;

/// Why text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// `!` with nothing behind it.
    #[error("\"!\" with nothing behind it")]
    EmptyException,
    /// A bracket or backslash that is not finished, a class whose range runs backwards, an escape that means nothing.
    #[error("syntax error in pattern {0:?}")]
    Syntax(String),
}

/// One pattern, without the `!` of an exception.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    /// This and nothing else.
    Exact(Vec<u8>),
    /// This and anything.
    Beginning(Vec<u8>),
    /// Anything before this; if it begins with a slash, also nothing but what is behind the slash.
    Ending(Vec<u8>),
    /// A regular expression.
    Expression(Expression),
}

impl Pattern {
    /// Compiles a pattern that is trimmed and cleaned.
    pub fn compile(text: &[u8]) -> Result<Self, PatternError> {
        let syntax = || PatternError::Syntax(String::from_utf8_lossy(text).into_owned());
        path_match::check(text).map_err(|_| syntax())?;
        let is_plain = |text: &[u8]| !text.iter().any(|byte| b"*?[]\\".contains(byte));
        if let Some(ending) = text.strip_prefix(b"**").filter(|rest| is_plain(rest)) {
            return Ok(Self::Ending(ending.to_vec()));
        }
        if let Some(beginning) = text.strip_suffix(b"**").filter(|rest| is_plain(rest)) {
            return Ok(Self::Beginning(beginning.to_vec()));
        }
        if is_plain(text) {
            return Ok(Self::Exact(text.to_vec()));
        }
        Expression::compile(text).map(Self::Expression).ok_or_else(syntax)
    }

    /// Whether the pattern matches the whole path.
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Beginning(beginning) => path.starts_with(beginning),
            Self::Ending(ending) => path.ends_with(ending) || ending.strip_prefix(b"/") == Some(path),
            Self::Expression(expression) => expression.matches(path),
        }
    }

    /// Whether the pattern could match something below a directory.
    pub fn may_match_below(&self, directory: &[u8]) -> bool {
        let begins_below =
            |text: &[u8]| text.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"));
        match self {
            Self::Exact(text) => begins_below(text),
            Self::Beginning(beginning) => directory.starts_with(beginning) || begins_below(beginning),
            Self::Ending(_) => true,
            Self::Expression(expression) => expression.may_match_below(directory),
        }
    }

    /// The plain characters that every match ends with.
    pub fn tail(&self) -> &[u8] {
        match self {
            Self::Exact(text) => text,
            Self::Beginning(_) => b"",
            Self::Ending(ending) => ending,
            Self::Expression(expression) => expression.tail(),
        }
    }
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
        for (pattern, matching, others) in TABLE.iter().chain(ODD) {
            let compiled = Pattern::compile(pattern.as_bytes()).unwrap();
            for path in *matching {
                assert!(compiled.matches(path.as_bytes()), "{pattern} on {path}");
            }
            for path in *others {
                assert!(!compiled.matches(path.as_bytes()), "{pattern} not on {path}");
            }
        }
    }

    /// What follows from the translation, as Docker Engine 28.5 did it.
    const ODD: &[(&str, &[&str], &[&str])] = &[
        ("a^b", &["a^b"], &["ab"]),
        ("*^b", &["b"], &["a^b", "^b"]),
        ("^*", &["ab", "^b"], &["a/b"]),
        ("?^", &[], &["a^"]),
        ("\\d", &["5"], &["d", "\\d"]),
        ("d\\d", &["d5"], &["dd"]),
        ("**/\\w", &["a", "d/5", "d/_"], &["d/a.b", "\u{e9}"]),
        ("**\\d", &["5", "d/5"], &["ab5"]),
        ("[^\\d]", &["a", "\u{e9}"], &["5"]),
        ("\\A*5", &["5", "d5"], &["d/5"]),
        ("b\\z", &["b"], &["bz"]),
        ("*\\b-b", &["a-b"], &["--b"]),
        ("*\\Bb", &["ab"], &["-b", "b"]),
        ("n\\nl", &["n\nl"], &["nnl"]),
        ("\\x62", &["b"], &["x62"]),
        ("\\07", &["\u{7}"], &["07"]),
        ("[\\x62]", &["b"], &["x"]),
        ("[*]", &["]", "[]", "^]", "[[]"], &["*", "a]", "["]),
        ("[?]", &["[]", "^]", "/]"], &["?", "]"]),
        ("[a*]", &["]", "[]", "a]"], &["a", "*"]),
        ("[^*]", &["]", "z]"], &["[]", "z"]),
        ("[[:alpha:]]b", &["ab"], &["5b", ":b", "a]b"]),
        ("[[:^alpha:]]", &["5", "\u{e9}"], &["a"]),
        ("[\u{e9}-\u{fc}]b", &["\u{e9}b"], &["ab"]),
        ("[a\\]b]", &["a", "]", "b"], &["]b"]),
        ("[a&&b]", &["a", "&", "b"], &[]),
        ("[.+$]", &[".", "+", "$"], &["\\", "a"]),
        ("[^a]", &["b", "/", "\n"], &["a"]),
        ("a]?", &["a]b"], &["a]"]),
        ("n*", &["n\nl"], &[]),
        ("**l", &["d/n\nl"], &[]),
        ("**/l", &["d/n\nn/l"], &[]),
        ("d/**/l", &["d/e/l", "d/l"], &["d/n\nn/l"]),
        ("d/**", &["d/n\nn/l"], &[]),
    ];

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in [
            "[",
            "a[",
            "a/[b",
            "[]",
            "[^",
            "a\\",
            "[a-",
            "[z-a]",
            "a/[9-0]*",
            "\\5",
            "d/\\8",
            "\\\u{e9}",
            "\\Ca",
            "[\\z]",
            "[a-\\]]",
            "\\x6",
            "\\pL",
            "\\Qa",
            "[[:letters:]]",
        ] {
            let error = Pattern::compile(pattern.as_bytes()).unwrap_err();
            assert_eq!(error, PatternError::Syntax(pattern.to_owned()), "{pattern}");
        }
    }

    #[test]
    fn what_is_below_a_directory_is_foreseen() {
        for (pattern, directory, expected) in [
            ("a/b", "a", true),
            ("a/b", "a/b", false),
            ("ab", "a", false),
            ("a/b/**", "a/b/c", true),
            ("a/b/**", "a/c", false),
            ("**/x", "a", true),
            ("*.md", "a", false),
            ("*/c.md", "a", true),
            ("*/c.md", "a/b", false),
            ("a/*/c", "a/x", true),
            ("a/*/c", "a/x/d", false),
            ("**/a*/c", "x/y", true),
            ("a[/]b", "a", true),
        ] {
            let compiled = Pattern::compile(pattern.as_bytes()).unwrap();
            assert_eq!(
                compiled.may_match_below(directory.as_bytes()),
                expected,
                "{pattern} below {directory}"
            );
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = [&b"**/*a".repeat(2000)[..], b"b"].concat();
        let path = b"a/".repeat(2000);
        assert!(!Pattern::compile(&pattern).unwrap().matches(&path));
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in proptest::collection::vec(any::<u8>(), 0..32), path in proptest::collection::vec(any::<u8>(), 0..32)) {
            if let Ok(pattern) = Pattern::compile(&pattern) {
                pattern.may_match_below(&path);
                prop_assert!(!pattern.matches(&path) || path.ends_with(pattern.tail().strip_prefix(b"/").unwrap_or(pattern.tail())));
            }
        }

        #[test]
        fn what_matches_below_was_foreseen(pattern in "[ab*/?^]{1,6}", directory in "[ab](/[ab]){0,2}", below in "[ab](/[ab]){0,2}") {
            let pattern = Pattern::compile(pattern.as_bytes()).unwrap();
            let path = format!("{directory}/{below}");
            prop_assert!(!pattern.matches(path.as_bytes()) || pattern.may_match_below(directory.as_bytes()));
        }
    }
}
