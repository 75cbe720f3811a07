//! A slow and simple reading of ignore files by the rules of moby's `patternmatcher`, to compare with.
//!
//! It has nothing in common with the compiled patterns but the rules: a pattern becomes the text of a regular expression,
//! and that text is matched by trying everything.

/// An ignore file's patterns.
pub struct Matcher {
    patterns: Vec<Pattern>,
}

struct Pattern {
    exclusion: bool,
    text: String,
    expression: Vec<char>,
}

impl Matcher {
    /// Reads an ignore file; `None` if a pattern is malformed.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for line in text.split('\n').filter(|line| !line.starts_with('#')) {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (invert, pattern) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest.trim()));
            let mut pattern = if pattern.is_empty() { String::new() } else { clean(pattern) };
            if pattern.len() > 1 && pattern.starts_with('/') {
                pattern.remove(0);
            }
            patterns.extend(Pattern::new(&clean(format!("{invert}{pattern}").trim()))?);
        }
        Some(Self { patterns })
    }

    /// The patterns, cleaned.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| pattern.text.as_str())
    }

    /// `MatchesUsingParentResults`: whether the path is excluded, and which patterns matched it. `parent` is what matched
    /// its directory; empty at the top.
    pub fn matches(&self, path: &str, parent: &[bool]) -> (bool, Vec<bool>) {
        let mut matched = false;
        let mut own = vec![false; self.patterns.len()];
        for (number, pattern) in self.patterns.iter().enumerate() {
            let mut found = parent.get(number).copied().unwrap_or(false);
            if !found {
                if pattern.exclusion != matched {
                    continue;
                }
                found = pattern.matches(path);
            }
            own[number] = found;
            if found {
                matched = !pattern.exclusion;
            }
        }
        (matched, own)
    }
}

impl Pattern {
    fn new(text: &str) -> Option<Option<Self>> {
        let (exclusion, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        if text.is_empty() || !well_formed(text) {
            return None;
        }
        let expression: Vec<char> = expression(text).chars().collect();
        // Only what is matched as an expression can be malformed as one.
        if is_expression(text) && !check(&expression) {
            return None;
        }
        Some(Some(Self { exclusion, text: text.to_owned(), expression }))
    }

    fn matches(&self, path: &str) -> bool {
        if is_expression(&self.text) {
            let path: Vec<char> = path.chars().collect();
            return matches(&self.expression, &path, 0);
        }
        match (self.text.strip_prefix("**"), self.text.strip_suffix("**")) {
            (Some(suffix), _) => path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path),
            (None, Some(prefix)) => path.starts_with(prefix),
            (None, None) => path == self.text,
        }
    }
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match (name, names.last()) {
            ("" | ".", _) => {}
            ("..", Some(last)) if *last != ".." => _ = names.pop(),
            ("..", None) if path.starts_with('/') => {}
            _ => names.push(name),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    let clean = format!("{root}{}", names.join("/"));
    if clean.is_empty() { ".".to_owned() } else { clean }
}

/// Whether Go's `filepath.Match` takes the pattern.
fn well_formed(pattern: &str) -> bool {
    let chars: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '\\' if at + 1 == chars.len() => return false,
            '\\' => at += 2,
            '[' => {
                at += 1;
                at += usize::from(chars.get(at) == Some(&'^'));
                let mut ranges = 0;
                while ranges == 0 || chars.get(at) != Some(&']') {
                    let Some(behind) = range_end(&chars, at) else { return false };
                    at = behind;
                    if chars.get(at) == Some(&'-') {
                        let Some(behind) = range_end(&chars, at + 1) else { return false };
                        at = behind;
                    }
                    ranges += 1;
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    true
}

fn range_end(chars: &[char], at: usize) -> Option<usize> {
    let behind = match chars.get(at)? {
        '-' | ']' => return None,
        '\\' => at + 2,
        _ => at + 1,
    };
    (behind < chars.len()).then_some(behind)
}

/// Whether the pattern is matched as an expression, and not compared.
fn is_expression(text: &str) -> bool {
    let plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
    let ends = [text.strip_prefix("**"), text.strip_suffix("**")];
    !plain(text) && !ends.into_iter().flatten().any(plain)
}

/// The text of the regular expression.
fn expression(text: &str) -> String {
    let mut expression = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                expression += if chars.peek().is_some() { "(.*/)?" } else { ".*" };
            }
            '*' => expression += "[^/]*",
            '?' => expression += "[^/]",
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => expression.extend(['\\', char]),
            '\\' => {
                expression.push('\\');
                expression.extend(chars.next());
            }
            _ => expression.push(char),
        }
    }
    expression
}

/// Whether every class and escape is well-formed.
fn check(mut expression: &[char]) -> bool {
    while !expression.is_empty() {
        expression = match expression {
            ['(', '.', '*', '/', ')', '?', rest @ ..] => rest,
            ['.', '*', rest @ ..] => rest,
            ['[', rest @ ..] => match class(rest, 'x') {
                Some((_, ['*', rest @ ..])) => rest,
                Some((_, rest)) => rest,
                None => return false,
            },
            ['\\', 'A' | 'z' | 'b' | 'B' | 'd' | 'D' | 's' | 'S' | 'w' | 'W', rest @ ..] => rest,
            ['\\', rest @ ..] => match escape(rest) {
                Some((_, rest)) => rest,
                None => return false,
            },
            [_, rest @ ..] => rest,
            [] => return true,
        };
    }
    true
}

/// Whether the expression matches all that is left of the path from a place on.
fn matches(expression: &[char], path: &[char], at: usize) -> bool {
    let here = path.get(at).copied();
    let one = |takes: bool, rest: &[char]| here.is_some() && takes && matches(rest, path, at + 1);
    match expression {
        [] => at == path.len(),
        ['(', '.', '*', '/', ')', '?', rest @ ..] => {
            let slashes = (at..path.len()).take_while(|place| path[*place] != '\n');
            matches(rest, path, at)
                || slashes.filter(|place| path[*place] == '/').any(|place| matches(rest, path, place + 1))
        }
        ['.', '*', rest @ ..] => matches(rest, path, at) || one(here != Some('\n'), expression),
        ['^', rest @ ..] | ['\\', 'A', rest @ ..] => at == 0 && matches(rest, path, at),
        ['\\', 'z', rest @ ..] => at == path.len() && matches(rest, path, at),
        ['\\', which @ ('b' | 'B'), rest @ ..] => {
            let before = at.checked_sub(1).map(|before| path[before]);
            (is_word(before) != is_word(here)) == (*which == 'b') && matches(rest, path, at)
        }
        ['\\', letter @ ('d' | 'D' | 's' | 'S' | 'w' | 'W'), rest @ ..] => {
            one(here.is_some_and(|here| perl(*letter, here)), rest)
        }
        ['[', inside @ ..] => {
            let Some((has, rest)) = class(inside, here.unwrap_or('\0')) else { return false };
            match rest {
                ['*', rest @ ..] => matches(rest, path, at) || one(has, expression),
                rest => one(has, rest),
            }
        }
        ['\\', rest @ ..] => escape(rest).is_some_and(|(char, rest)| one(here == Some(char), rest)),
        [char, rest @ ..] => one(here == Some(*char), rest),
    }
}

fn is_word(char: Option<char>) -> bool {
    char.is_some_and(|char| perl('w', char))
}

fn perl(letter: char, char: char) -> bool {
    let has = match letter.to_ascii_lowercase() {
        'd' => char.is_ascii_digit(),
        's' => matches!(char, '\t' | '\n' | '\u{c}' | '\r' | ' '),
        _ => char.is_ascii_alphanumeric() || char == '_',
    };
    has != letter.is_ascii_uppercase()
}

/// A class behind its bracket: whether it has the character, and what stands behind it.
fn class(mut rest: &[char], wanted: char) -> Option<(bool, &[char])> {
    let negated = rest.first() == Some(&'^');
    rest = &rest[usize::from(negated)..];
    let (mut has, mut first) = (false, true);
    loop {
        match rest {
            [']', behind @ ..] if !first => return Some((has != negated, behind)),
            ['[', ':', inside @ ..] if inside.windows(2).any(|pair| pair == [':', ']']) => {
                let end = inside.windows(2).position(|pair| pair == [':', ']'])?;
                has |= named(&inside[..end].iter().collect::<String>(), wanted)?;
                rest = &inside[end + 2..];
            }
            ['\\', letter @ ('d' | 'D' | 's' | 'S' | 'w' | 'W'), behind @ ..] => {
                has |= perl(*letter, wanted);
                rest = behind;
            }
            _ => {
                let (low, behind) = class_char(rest)?;
                let (high, behind) = match behind {
                    ['-', next, ..] if *next != ']' => class_char(&behind[1..])?,
                    _ => (low, behind),
                };
                if high < low {
                    return None;
                }
                has |= (low..=high).contains(&wanted);
                rest = behind;
            }
        }
        first = false;
    }
}

fn class_char(rest: &[char]) -> Option<(char, &[char])> {
    match rest {
        ['\\', rest @ ..] => escape(rest),
        [char, rest @ ..] => Some((*char, rest)),
        [] => None,
    }
}

fn named(name: &str, char: char) -> Option<bool> {
    let plain = name.strip_prefix('^');
    let has = match plain.unwrap_or(name) {
        "alnum" => char.is_ascii_alphanumeric(),
        "alpha" => char.is_ascii_alphabetic(),
        "ascii" => char.is_ascii(),
        "blank" => matches!(char, ' ' | '\t'),
        "cntrl" => char.is_ascii_control(),
        "digit" => char.is_ascii_digit(),
        "graph" => char.is_ascii_graphic(),
        "lower" => char.is_ascii_lowercase(),
        "print" => char.is_ascii_graphic() || char == ' ',
        "punct" => char.is_ascii_punctuation(),
        "space" => matches!(char, '\t'..='\r' | ' '),
        "upper" => char.is_ascii_uppercase(),
        "word" => perl('w', char),
        "xdigit" => char.is_ascii_hexdigit(),
        _ => return None,
    };
    Some(has != plain.is_some())
}

/// What an escape means, and what stands behind it.
fn escape(rest: &[char]) -> Option<(char, &[char])> {
    let (first, behind) = rest.split_first()?;
    let octal = |char: Option<&char>| char.and_then(|char| char.to_digit(8));
    let simple = match first {
        '1'..='7' if octal(behind.first()).is_none() => return None,
        '0'..='7' => {
            let mut number = first.to_digit(8)?;
            let mut behind = behind;
            for _ in 0..2 {
                let Some(digit) = octal(behind.first()) else { break };
                number = number * 8 + digit;
                behind = &behind[1..];
            }
            return Some((char::from_u32(number)?, behind));
        }
        'x' => {
            let number = behind.first()?.to_digit(16)? * 16 + behind.get(1)?.to_digit(16)?;
            return Some((char::from_u32(number)?, &behind[2..]));
        }
        'a' => '\u{7}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        char if char.is_ascii() && !char.is_ascii_alphanumeric() => *char,
        _ => return None,
    };
    Some((simple, behind))
}
