//! `.dockerignore`: any file and any paths. The compiled patterns say what a slow and simple matcher says, and a
//! directory that is pruned holds nothing that is included.
//!
//! An input is the ignore file, a NUL, and paths, one a line.

use std::collections::BTreeMap;

use zuwai_context::ignore::Ignore;
use zuwai_context::patterns::Matched;

use crate::moby::Matcher;

/// How many bytes a pattern and a path may have, and how many stars: what the slow matcher can do in time.
const LONGEST: usize = 48;
const STARS: usize = 6;

/// Checks one ignore file with paths.
pub fn check(data: &[u8]) {
    let (file, paths) = match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &b"a\na/b\na/b/c\nb/a.txt"[..]),
    };
    let compiled = Ignore::parse("ignore".into(), file);
    let Ok(text) = std::str::from_utf8(file) else { return };
    let reference = Matcher::read(text);
    let (Ok(ignore), Some(reference)) = (&compiled, &reference) else {
        assert_eq!(compiled.is_ok(), reference.is_some(), "{text:?}: {compiled:?}");
        return;
    };
    let slow = |pattern: &str| {
        pattern.len() > LONGEST || pattern.bytes().filter(|byte| *byte == b'*').count() > STARS
    };
    if reference.patterns().any(slow) || reference.patterns().count() > 16 {
        return;
    }
    let tree = tree(paths);
    let mut walk = Walk { ignore, reference, tree: &tree };
    walk.directory("", &Matched::default(), &[], false);
}

/// All paths with the directories above them, and whether they are directories.
fn tree(paths: &[u8]) -> BTreeMap<String, bool> {
    let mut tree = BTreeMap::new();
    let Ok(paths) = std::str::from_utf8(paths) else { return tree };
    for path in paths.split('\n').take(16).filter(|path| path.len() <= LONGEST) {
        let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | "." | "..")).collect();
        for length in 1..=names.len() {
            *tree.entry(names[..length].join("/")).or_default() |= length < names.len();
        }
    }
    tree
}

struct Walk<'a> {
    ignore: &'a Ignore,
    reference: &'a Matcher,
    tree: &'a BTreeMap<String, bool>,
}

impl Walk<'_> {
    /// Compares everything in a directory; below what is pruned nothing may be included.
    fn directory(&mut self, directory: &str, above: &Matched, parent: &[bool], pruned: bool) {
        for (path, is_directory) in self.tree {
            if path.rsplit_once('/').map_or("", |(above, _)| above) != directory {
                continue;
            }
            let mut own = Matched::default();
            let answer = self.ignore.patterns.answer(path.as_bytes(), above, &mut own);
            let (excluded, matched) = self.reference.matches(path, parent);
            assert_eq!(answer.excluded, excluded, "{path:?}");
            assert_eq!(self.ignore.patterns.excludes(path.as_bytes()), excluded, "{path:?}");
            assert!(!pruned || excluded, "{path:?} is below what was pruned");
            assert_eq!(self.ignore.line(answer).is_some(), matched.contains(&true), "{path:?}");
            if *is_directory {
                let pruned =
                    pruned || (excluded && !self.ignore.patterns.may_include_below(path.as_bytes(), answer));
                self.directory(path, &own, &matched, pruned);
            }
        }
    }
}
