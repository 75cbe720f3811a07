//! Shell patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?` and escapes, nothing else.
//!
//! BuildKit makes regular expressions of them. Here a table is filled from the back of the value: for each rest of
//! the pattern, how far it can match from the current place. That takes pattern times value steps, whatever both are.

use crate::error::ExpandError;
use crate::limits::{EXPANSION_BYTES, PATTERN_STEPS};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Any characters but line breaks.
    Star,
    /// Any one character but a line break.
    Any,
    Literal(char),
}

/// A pattern, compiled.
#[derive(Clone, Debug)]
pub struct Pattern {
    tokens: Vec<Token>,
}

/// Which of several possible matches at one place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// `#`, `%`.
    Shortest,
    /// `##`, `%%`, `/`, `//`.
    Longest,
}

impl Pattern {
    /// Reads a pattern. A backslash makes `*`, `?` and itself literal; before `}` and `/` it is only what kept them from
    /// ending the substitution; before anything else it is an error.
    pub fn new(pattern: &str) -> Result<Pattern, ExpandError> {
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut chars = pattern.chars();
        while let Some(char) = chars.next() {
            tokens.push(match char {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(escaped),
                    other => {
                        let shown = other.map_or_else(|| "\\".to_owned(), |char| format!("\\{char}"));
                        return Err(ExpandError::InvalidPattern {
                            pattern: pattern.to_owned(),
                            reason: format!("invalid escape '{shown}'"),
                        });
                    }
                },
                literal => Token::Literal(literal),
            });
        }
        Ok(Pattern { tokens })
    }

    /// How many steps it takes to match the pattern everywhere in a value.
    pub fn steps(&self, value: &str) -> usize {
        (self.tokens.len() + 1).saturating_mul(value.chars().count() + 1)
    }

    /// The value without what the pattern matches at its start.
    pub fn trim_prefix(&self, value: &str, preference: Preference) -> Result<String, ExpandError> {
        let chars: Vec<char> = value.chars().collect();
        let ends = match_ends(&self.tokens, &chars, preference)?;
        let cut = ends.first().copied().flatten().unwrap_or(0);
        Ok(chars[cut..].iter().collect())
    }

    /// The value without what the pattern matches at its end.
    pub fn trim_suffix(&self, value: &str, preference: Preference) -> Result<String, ExpandError> {
        let chars: Vec<char> = value.chars().rev().collect();
        let tokens: Vec<Token> = self.tokens.iter().rev().copied().collect();
        let ends = match_ends(&tokens, &chars, preference)?;
        let cut = ends.first().copied().flatten().unwrap_or(0);
        Ok(chars[cut..].iter().rev().collect())
    }

    /// The value with the first match, or all of them, replaced. Matches are the leftmost and longest.
    pub fn replace(&self, value: &str, replacement: &str, all: bool) -> Result<String, ExpandError> {
        let chars: Vec<char> = value.chars().collect();
        let ends = match_ends(&self.tokens, &chars, Preference::Longest)?;
        let mut result = String::with_capacity(value.len());
        let mut place = 0;
        let mut last_end = None;
        while place <= chars.len() {
            let found = match ends[place] {
                // An empty match right after another match is none, as in Go's regular expressions.
                Some(end) if end == place && last_end == Some(place) => None,
                other => other,
            };
            if let Some(end) = found {
                if all {
                    push_template(&mut result, replacement, &chars[place..end]);
                } else {
                    result.push_str(replacement);
                }
                if result.len() > EXPANSION_BYTES {
                    return Err(ExpandError::TooLarge(EXPANSION_BYTES));
                }
                if !all {
                    result.extend(&chars[end..]);
                    return Ok(result);
                }
                last_end = Some(end);
                if end > place {
                    place = end;
                    continue;
                }
            }
            if let Some(char) = chars.get(place) {
                result.push(*char);
            }
            place += 1;
        }
        Ok(result)
    }
}

/// A replacement as BuildKit's `//` puts it in: through Go's regular expressions, where `$0` is what was matched, `$$` a
/// dollar, and other `$name`s are groups that a pattern never has. `/` takes the text as it is.
fn push_template(result: &mut String, replacement: &str, matched: &[char]) {
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        let name_length =
            |text: &str| text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
        let (name, after_name) = match after.strip_prefix('{') {
            Some(inside) => {
                let (name, after_name) = inside.split_at(name_length(inside));
                (name, after_name.strip_prefix('}'))
            }
            None => {
                let (name, after_name) = after.split_at(name_length(after));
                (name, Some(after_name))
            }
        };
        match after_name {
            _ if after.starts_with('$') => {
                result.push('$');
                rest = &after[1..];
            }
            Some(after_name) if !name.is_empty() => {
                if name.bytes().all(|byte| byte == b'0') && name.len() == 1 {
                    result.extend(matched);
                }
                rest = after_name;
            }
            _ => {
                result.push('$');
                rest = after;
            }
        }
    }
    result.push_str(rest);
}

/// For every place in the value, where the preferred match that starts there ends.
fn match_ends(
    tokens: &[Token],
    chars: &[char],
    preference: Preference,
) -> Result<Vec<Option<usize>>, ExpandError> {
    let steps = (tokens.len() + 1).saturating_mul(chars.len() + 1);
    if steps > PATTERN_STEPS {
        return Err(ExpandError::TooManySteps(PATTERN_STEPS));
    }
    let better = |first: Option<usize>, second: Option<usize>| match (first, second) {
        (Some(first), Some(second)) => Some(match preference {
            Preference::Shortest => first.min(second),
            Preference::Longest => first.max(second),
        }),
        (one, other) => one.or(other),
    };
    let mut result = vec![None; chars.len() + 1];
    // `later[t]`: where tokens[t..] end when they start one character further on.
    let mut later: Vec<Option<usize>> = vec![None; tokens.len() + 1];
    let mut here = later.clone();
    for place in (0..=chars.len()).rev() {
        here[tokens.len()] = Some(place);
        for (index, token) in tokens.iter().enumerate().rev() {
            let char = chars.get(place).copied();
            here[index] = match token {
                Token::Star => {
                    let stretched = char.filter(|char| *char != '\n').and_then(|_| later[index]);
                    better(here[index + 1], stretched)
                }
                Token::Any => char.filter(|char| *char != '\n').and_then(|_| later[index + 1]),
                Token::Literal(literal) => char.filter(|char| char == literal).and_then(|_| later[index + 1]),
            };
        }
        result[place] = here[0];
        std::mem::swap(&mut here, &mut later);
    }
    Ok(result)
}
