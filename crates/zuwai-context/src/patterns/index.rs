//! Which of many patterns are worth trying on a path.
//!
//! Most patterns end with plain characters: a whole name (`a/b`, `**/node_modules`, `*/target`) or the end of one
//! (`**/*.log`). Those are found by the path's own name, so that a path costs what the few others cost, however long the
//! list is.

use std::collections::HashMap;

use crate::pattern::Pattern;

/// Patterns by how they end.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// Those that end with a whole name.
    by_name: HashMap<Box<[u8]>, Vec<u32>>,
    /// Those that end with a part of a name, by its last byte; empty if there are none.
    by_last_byte: Vec<Vec<u32>>,
    /// The others.
    others: Vec<u32>,
}

impl Index {
    pub fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let mut index = Self::default();
        for (number, pattern) in (0..).zip(patterns) {
            index.list_for(pattern).push(number);
        }
        index
    }

    fn list_for(&mut self, pattern: &Pattern) -> &mut Vec<u32> {
        let tail = pattern.tail();
        if matches!(pattern, Pattern::Exact(_)) || tail.contains(&b'/') {
            return self.by_name.entry(name(tail).into()).or_default();
        }
        let Some(last) = tail.last() else { return &mut self.others };
        if self.by_last_byte.is_empty() {
            self.by_last_byte = vec![Vec::new(); 256];
        }
        &mut self.by_last_byte[usize::from(*last)]
    }

    /// The numbers of all patterns that may match the path, in order.
    pub fn candidates(&self, path: &[u8]) -> Vec<u32> {
        let by_name = self.by_name.get(name(path)).map_or(&[][..], Vec::as_slice);
        let last = path.last().map_or(0, |byte| usize::from(*byte));
        let by_last_byte = self.by_last_byte.get(last).map_or(&[][..], Vec::as_slice);
        let mut numbers = [by_name, by_last_byte, &self.others].concat();
        numbers.sort_unstable();
        numbers
    }
}

/// What stands behind the last slash.
fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_as_the_path_does_is_tried() {
        let texts = ["a/b", "**/node_modules", "**/*.log", "*~", "tmp*", "**g", "*/x/b", "[ab]"];
        let patterns: Vec<Pattern> =
            texts.iter().map(|text| Pattern::compile(text.as_bytes()).unwrap()).collect();
        let index = Index::new(patterns.iter());
        for (path, expected) in [
            ("z/b", &["a/b", "tmp*", "*/x/b", "[ab]"][..]),
            ("a.log", &["**/*.log", "tmp*", "**g", "[ab]"]),
            ("x/node_modules", &["**/node_modules", "tmp*", "[ab]"]),
            ("x~", &["*~", "tmp*", "[ab]"]),
            ("z", &["tmp*", "[ab]"]),
        ] {
            let found: Vec<&str> =
                index.candidates(path.as_bytes()).into_iter().map(|number| texts[number as usize]).collect();
            assert_eq!(found, expected, "{path}");
        }
    }
}
