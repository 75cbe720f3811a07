//! The pattern language of `.dockerignore` and `COPY --exclude`.
//!
//! The rules are those of moby's `patternmatcher` in a walk from the top, as BuildKit reads contexts: patterns are tried
//! in order, each turns the answer of those before it around, and what matched a directory also matches everything in
//! it. A pattern that could not have changed the answer for a directory is not tried on it, and so does not reach into
//! it: with `**/x` and `!d` the file `d/x` is excluded, since nothing excluded `d` when `!d` was looked at. Paths and
//! patterns are bytes.

mod index;

use index::Index;
use zuwai_rootfs::path_filter::{PathFilter, Verdict};
use zuwai_rootfs::path_match::BadPattern;

use crate::pattern::{Pattern, PatternError};

/// Patterns that exclude paths, compiled once.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    rules: Vec<Rule>,
    index: Index,
}

#[derive(Debug, Clone)]
struct Rule {
    /// Its place in the list it comes from.
    place: usize,
    exception: bool,
    pattern: Pattern,
}

/// The patterns that match a directory, or one above it, by number and in order.
#[derive(Debug, Clone, Default)]
pub struct Matched(Vec<u32>);

/// What is said of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is excluded.
    pub excluded: bool,
    /// The number of the pattern that decided, if any did.
    rule: Option<u32>,
}

impl Patterns {
    /// Compiles patterns, in order. Space around them does not count, nor do empty ones.
    ///
    /// # Errors
    /// The number of the bad pattern, counted from 0, and what is wrong with it.
    pub fn new<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>) -> Result<Self, (usize, PatternError)> {
        let mut rules = Vec::new();
        for (place, text) in patterns.into_iter().enumerate() {
            rules.extend(Rule::compile(place, text.as_ref()).map_err(|error| (place, error))?);
        }
        Ok(Self::of(rules))
    }

    fn of(rules: Vec<Rule>) -> Self {
        let index = Index::new(rules.iter().map(|rule| &rule.pattern));
        Self { rules, index }
    }

    /// Whether there are none, so that nothing is excluded.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is said of a path (relative, clean), given what matched its directory. What matches the path itself is put
    /// into `own`, for what is in it.
    pub fn answer(&self, path: &[u8], above: &Matched, own: &mut Matched) -> Answer {
        let Matched(own) = own;
        own.clear();
        let candidates = self.index.candidates(path);
        let (mut inherited, mut tried) =
            (above.0.iter().copied().peekable(), candidates.iter().copied().peekable());
        let mut answer = Answer { excluded: false, rule: None };
        while let Some(number) = inherited.peek().into_iter().chain(tried.peek()).min().copied() {
            let of_directory = inherited.next_if_eq(&number).is_some();
            let of_index = tried.next_if_eq(&number).is_some();
            let rule = &self.rules[number as usize];
            // What cannot change the answer is not tried, and so is not among what matched either.
            let matches =
                of_directory || (of_index && rule.exception == answer.excluded && rule.pattern.matches(path));
            if matches {
                own.push(number);
                answer = Answer { excluded: !rule.exception, rule: Some(number) };
            }
        }
        answer
    }

    /// Whether something below an excluded directory may be included.
    pub fn may_include_below(&self, directory: &[u8], answer: Answer) -> bool {
        // What comes before the pattern that decided is turned around again by it, everywhere below.
        let from = answer.rule.map_or(0, |rule| rule as usize + 1);
        self.rules[from..].iter().any(|rule| rule.exception && rule.pattern.may_match_below(directory))
    }

    /// The place of the pattern that decided, in the list it comes from, counted from 0.
    pub fn place(&self, answer: Answer) -> Option<usize> {
        answer.rule.map(|rule| self.rules[rule as usize].place)
    }

    /// Whether the path (relative, clean) is excluded, by itself or with a directory above it.
    pub fn excludes(&self, path: &[u8]) -> bool {
        self.answer_from_the_top(path).excluded
    }

    fn answer_from_the_top(&self, path: &[u8]) -> Answer {
        let (mut above, mut own) = (Matched::default(), Matched::default());
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            self.answer(&path[..end], &above, &mut own);
            std::mem::swap(&mut above, &mut own);
        }
        self.answer(path, &above, &mut own)
    }
}

/// Lets through what one pattern matches, with all that is in it, and nothing else: what `COPY --parents` copies. The
/// pattern is clean; an empty one matches nothing. There is no `!` here.
///
/// # Errors
/// When the pattern is malformed.
pub fn only(pattern: &[u8]) -> Result<Box<dyn PathFilter>, BadPattern> {
    let compile = |pattern| Pattern::compile(pattern).map_err(|_| BadPattern);
    let mut rules = vec![Rule { place: 0, exception: false, pattern: compile(b"**")? }];
    if !pattern.is_empty() {
        rules.push(Rule { place: 1, exception: true, pattern: compile(pattern)? });
    }
    Ok(Box::new(Patterns::of(rules)))
}

impl PathFilter for Patterns {
    fn verdict(&self, path: &[u8], is_directory: bool) -> Verdict {
        let answer = self.answer_from_the_top(path);
        if !answer.excluded {
            Verdict::Include
        } else if is_directory && self.may_include_below(path, answer) {
            Verdict::ExcludeButMayHoldIncluded
        } else {
            Verdict::Prune
        }
    }
}

impl Rule {
    fn compile(place: usize, text: &[u8]) -> Result<Option<Self>, PatternError> {
        let text = trim(text);
        if text.is_empty() {
            return Ok(None);
        }
        // The `!` is part of what is cleaned, as in moby's: `!a/../b` is `b`, and `!/` is a `!` with nothing behind it.
        let cleaned = clean(text);
        let (exception, pattern) = match cleaned.strip_prefix(b"!") {
            Some([]) => return Err(PatternError::EmptyException),
            Some(rest) => (true, rest),
            None => (false, cleaned.as_slice()),
        };
        Ok(Some(Self { place, exception, pattern: Pattern::compile(pattern)? }))
    }
}

/// Text without the white space around it, Unicode's too.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    std::str::from_utf8(text).map_or_else(|_| text.trim_ascii(), |text| text.trim().as_bytes())
}

/// A path cleaned by name as Go's `filepath.Clean` does: one slash between names, none at the end, no `.`, and `..` only
/// at the beginning.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let absolute = path.starts_with(b"/");
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." if names.last().is_some_and(|last| *last != b"..") => _ = names.pop(),
            b".." if absolute => {}
            name => names.push(name),
        }
    }
    let clean = names.join(&b'/');
    match (absolute, clean.is_empty()) {
        (true, _) => [b"/", clean.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => clean,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Lists of patterns, what they exclude, and what they do not.
    const TABLE: &[(&[&str], &[&str], &[&str])] = &[
        (&[], &[], &["a"]),
        (&["", "  ", "a "], &["a"], &["b"]),
        (&["a"], &["a", "a/b", "a/b/c"], &["ab", "b/a"]),
        (&["a/", "./b/../c//d"], &["a", "a/x", "c/d"], &["b", "c"]),
        (&["*/b"], &["a/b", "a/b/c"], &["b", "a/c/b"]),
        (&["**/dir"], &["dir/file", "a/dir/b/c"], &["a/directory"]),
        (
            &["**", "!util/docker/web"],
            &["a", "util", "util/docker"],
            &["util/docker/web", "util/docker/web/foo"],
        ),
        (
            &["**", "!util/docker/web", "util/docker/web/foo"],
            &["util/docker/web/foo"],
            &["util/docker/web/bar"],
        ),
        (&["*", "!*.md"], &["a", "docs", "docs/a.md"], &["README.md"]),
        (&["*", "!**/*.md"], &["a", "docs", "docs/a.txt"], &["README.md", "docs/a.md"]),
        (&["docs", "!docs/README.md"], &["docs", "docs/a"], &["docs/README.md"]),
        (&["!a", "a"], &["a"], &["b"]),
        (&["a", "!a"], &[], &["a", "a/b"]),
        (&["*.md", "!README*.md", "README-secret.md"], &["a.md", "README-secret.md"], &["README.md"]),
        (&["/a"], &[], &["a"]),
        (&["."], &[], &["a"]),
        (&["\u{a0}a\u{a0}", "\u{b}b"], &["a", "b"], &["c"]),
        (&["*", "!a/../b"], &["a", "b"], &[]),
    ];

    /// Docker Engine 28.5, of a context with `d/x`, `d/y`, `vendor/node_modules/f` and `vendor/ok`.
    const AS_BUILDKIT: &[(&[&str], &[&str], &[&str])] = &[
        (&["d", "!d/x", "d"], &["d", "d/y"], &["d/x"]),
        (&["**/node_modules", "!vendor"], &["vendor/node_modules/f"], &["vendor", "vendor/ok"]),
        (&["d/x", "!d"], &["d/x"], &["d", "d/y"]),
    ];

    #[test]
    fn the_last_match_decides_and_parents_count() {
        for (patterns, excluded, included) in TABLE.iter().chain(AS_BUILDKIT) {
            let compiled = Patterns::new(*patterns).unwrap();
            for path in *excluded {
                assert!(compiled.excludes(path.as_bytes()), "{patterns:?} on {path}");
            }
            for path in *included {
                assert!(!compiled.excludes(path.as_bytes()), "{patterns:?} not on {path}");
            }
        }
    }

    #[test]
    fn directories_are_pruned_where_no_exception_reaches() {
        for (patterns, directory, expected) in [
            (&["node_modules"][..], "node_modules", Verdict::Prune),
            (&["node_modules", "!src/a"], "node_modules", Verdict::Prune),
            (&["*", "!src/a"], "src", Verdict::ExcludeButMayHoldIncluded),
            (&["*", "!src/a"], "srcs", Verdict::Prune),
            (&["*", "!**/a"], "src", Verdict::ExcludeButMayHoldIncluded),
            (&["*", "!s*/a"], "other", Verdict::Prune),
            (&["!a/b", "a"], "a", Verdict::Prune),
            (&["a", "!*.md"], "a", Verdict::Prune),
            (&["a"], "b", Verdict::Include),
        ] {
            let compiled = Patterns::new(patterns).unwrap();
            assert_eq!(compiled.verdict(directory.as_bytes(), true), expected, "{patterns:?} on {directory}");
        }
    }

    #[test]
    fn one_pattern_alone_lets_through_what_it_matches() {
        use Verdict::{ExcludeButMayHoldIncluded as Walk, Include, Prune};
        for (pattern, path, expected) in [
            ("a/b", "a", Walk),
            ("a/b", "a/b", Include),
            ("a/b", "a/b/c", Include),
            ("a/b", "b", Prune),
            ("a/*/c", "a/x", Walk),
            ("**/c", "x/y", Walk),
            ("**/c", "x/y/c", Include),
            ("!a", "a", Prune),
            ("!a", "!a", Include),
            ("", "a", Prune),
        ] {
            let filter = only(pattern.as_bytes()).unwrap();
            assert_eq!(filter.verdict(path.as_bytes(), true), expected, "{pattern} on {path}");
        }
        assert!(matches!(only(b"a["), Err(BadPattern)));
    }

    #[test]
    fn bad_patterns_are_told_by_number() {
        let syntax = |text: &str| PatternError::Syntax(text.to_owned());
        assert_eq!(Patterns::new(["a", "b["]).unwrap_err(), (1, syntax("b[")));
        assert_eq!(Patterns::new(["!"]).unwrap_err(), (0, PatternError::EmptyException));
        assert_eq!(Patterns::new(["a", "!/"]).unwrap_err(), (1, PatternError::EmptyException));
        assert_eq!(Patterns::new(["a", "", "![z-a]"]).unwrap_err(), (2, syntax("[z-a]")));
    }

    /// All paths of names `a` and `b` down to a depth, with whether they are directories.
    fn all_paths() -> Vec<(String, bool)> {
        let mut paths = Vec::new();
        let mut level = vec![String::new()];
        for depth in 0..4 {
            level = level
                .iter()
                .flat_map(|above| {
                    ["a", "b", "ab"].map(|name| format!("{above}/{name}").trim_start_matches('/').to_owned())
                })
                .collect();
            paths.extend(level.iter().map(|path| (path.clone(), depth < 3)));
        }
        paths
    }

    proptest! {
        #[test]
        fn pruning_leaves_the_same_files(patterns in proptest::collection::vec("!?(\\*\\*/)?[ab*?]{1,3}(/[ab*?]{1,3}){0,2}", 0..5)) {
            let compiled = Patterns::new(&patterns).unwrap();
            let mut whole = BTreeSet::new();
            let mut pruned: BTreeSet<String> = BTreeSet::new();
            let mut walked = BTreeSet::new();
            for (path, is_directory) in all_paths() {
                if !compiled.excludes(path.as_bytes()) {
                    whole.insert(path.clone());
                }
                if path.rfind('/').is_some_and(|end| pruned.contains(&path[..end])) {
                    pruned.insert(path);
                    continue;
                }
                match compiled.verdict(path.as_bytes(), is_directory) {
                    Verdict::Include => _ = walked.insert(path),
                    Verdict::Prune => _ = pruned.insert(path),
                    Verdict::ExcludeButMayHoldIncluded => {}
                }
            }
            prop_assert_eq!(whole, walked);
        }

        #[test]
        fn nothing_panics(patterns in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..16), 0..4), path in proptest::collection::vec(any::<u8>(), 1..16)) {
            if let Ok(patterns) = Patterns::new(patterns) {
                patterns.verdict(&path, true);
            }
        }
    }
}
