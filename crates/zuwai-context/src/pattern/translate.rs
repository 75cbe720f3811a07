//! From a pattern to the regular expression that moby's `patternmatcher` makes of it.

use super::class::{self, Character};

/// Any directories, or none.
pub(super) const DIRECTORIES: &[u8] = b"(.*/)?";

/// The expression, without the anchors around it. The translation sees characters, not classes: a star inside of
/// brackets becomes a class itself.
pub(super) fn translate(pattern: &[u8]) -> Vec<Character> {
    let mut expression = Vec::new();
    let mut rest = pattern;
    while let Some((character, length)) = class::first(rest) {
        rest = &rest[length..];
        match u8::try_from(character) {
            Ok(b'*') if rest.starts_with(b"*") => {
                let behind = &rest[1..];
                rest = behind.strip_prefix(b"/").unwrap_or(behind);
                add(&mut expression, if rest.is_empty() { b".*" } else { DIRECTORIES });
            }
            Ok(b'*') => add(&mut expression, b"[^/]*"),
            Ok(b'?') => add(&mut expression, b"[^/]"),
            Ok(byte) if b".+()|{}$".contains(&byte) => add(&mut expression, &[b'\\', byte]),
            Ok(b'\\') => {
                add(&mut expression, b"\\");
                if let Some((escaped, length)) = class::first(rest) {
                    rest = &rest[length..];
                    expression.push(escaped);
                }
            }
            _ => expression.push(character),
        }
    }
    expression
}

fn add(expression: &mut Vec<Character>, text: &[u8]) {
    expression.extend(text.iter().map(|byte| Character::from(*byte)));
}
