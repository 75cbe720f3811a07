//! The pattern language of `.dockerignore` and `COPY --exclude`.
//!
//! The rules are those of moby's `patternmatcher`: a pattern that matches a directory also concerns everything in it,
//! `!` before a pattern makes it an exception, and the last pattern that matches decides. Paths and patterns are bytes.

use zuwai_rootfs::path_filter::{PathFilter, Verdict};
use zuwai_rootfs::path_match::BadPattern;

use crate::pattern::{Pattern, PatternError};

/// Patterns that exclude paths, compiled once. The last one that matches a path, or a directory above it, decides.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    exception: bool,
    pattern: Pattern,
}

impl Patterns {
    /// Compiles patterns, in order. Space around them does not count, nor do empty ones.
    ///
    /// # Errors
    /// The number of the bad pattern, counted from 0, and what is wrong with it.
    pub fn new<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>) -> Result<Self, (usize, PatternError)> {
        let mut compiled = Self::default();
        for (number, text) in patterns.into_iter().enumerate() {
            compiled.rules.extend(Rule::compile(text.as_ref()).map_err(|error| (number, error))?);
        }
        Ok(compiled)
    }

    /// Whether there are none, so that nothing is excluded.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the path (relative, clean) is excluded, by itself or with a directory above it.
    pub fn excludes(&self, path: &[u8]) -> bool {
        let decides = self.rules.iter().rev().find(|rule| rule.concerns(path));
        decides.is_some_and(|rule| !rule.exception)
    }
}

/// Lets through what one pattern matches, with all that is in it, and nothing else: what `COPY --parents` copies. The
/// pattern is clean; an empty one matches nothing. There is no `!` here.
///
/// # Errors
/// When the pattern is malformed.
pub fn only(pattern: &[u8]) -> Result<Box<dyn PathFilter>, BadPattern> {
    let compile = |pattern| Pattern::compile(pattern).map_err(|_| BadPattern);
    let mut rules = vec![Rule { exception: false, pattern: compile(b"**")? }];
    if !pattern.is_empty() {
        rules.push(Rule { exception: true, pattern: compile(pattern)? });
    }
    Ok(Box::new(Patterns { rules }))
}

impl PathFilter for Patterns {
    fn verdict(&self, path: &[u8], is_directory: bool) -> Verdict {
        if !self.excludes(path) {
            Verdict::Include
        } else if is_directory
            && self.rules.iter().any(|rule| rule.exception && rule.pattern.may_match_below(path))
        {
            Verdict::ExcludeButMayHoldIncluded
        } else {
            Verdict::Prune
        }
    }
}

impl Rule {
    fn compile(text: &[u8]) -> Result<Option<Self>, PatternError> {
        let text = text.trim_ascii();
        let (exception, pattern) = match text.split_first() {
            Some((b'!', rest)) => (true, rest),
            _ => (false, text),
        };
        match (exception, pattern.is_empty()) {
            (true, true) => Err(PatternError::EmptyException),
            (false, true) => Ok(None),
            _ => Ok(Some(Self { exception, pattern: Pattern::compile(&clean(pattern))? })),
        }
    }

    /// Whether the pattern matches the path or a directory above it.
    fn concerns(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        self.pattern.matches(path) || ends.into_iter().any(|end| self.pattern.matches(&path[..end]))
    }
}

/// A path cleaned by name as Go's `filepath.Clean` does: one slash between names, none at the end, no `.`, and `..` only
/// at the beginning.
pub(crate) fn clean(path: &[u8]) -> Vec<u8> {
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
    ];

    #[test]
    fn the_last_match_decides_and_parents_count() {
        for (patterns, excluded, included) in TABLE {
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
