//! Characters and classes of them.

/// A code point, or a byte that is no UTF-8: beyond all code points, so that no range of a pattern has it.
pub(super) type Character = u32;

/// Where bytes that are no UTF-8 begin.
const BYTES: Character = 0x0011_0000;

/// The first character and how many bytes it has.
pub(super) fn first(text: &[u8]) -> Option<(Character, usize)> {
    let first = *text.first()?;
    let length = match first {
        0..0x80 => return Some((first.into(), 1)),
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    let decoded = text.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()?.chars().next());
    Some(decoded.map_or((BYTES + Character::from(first), 1), |found| (found.into(), length)))
}

/// Adds a character to a text.
pub(super) fn push(text: &mut Vec<u8>, character: Character) {
    match char::from_u32(character) {
        Some(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None => text.extend(character.checked_sub(BYTES).and_then(|byte| u8::try_from(byte).ok())),
    }
}

/// A set of characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Class {
    /// First and last of each range.
    ranges: Vec<(Character, Character)>,
    /// The set is what the ranges leave out.
    negated: bool,
}

impl Class {
    /// `.`: all but line breaks.
    pub fn dot() -> Self {
        Self { ranges: vec![(u32::from(b'\n'), u32::from(b'\n'))], negated: true }
    }

    /// `\d`, `\s`, `\w`, and in capitals what they leave out.
    pub fn perl(letter: u8) -> Option<Self> {
        let ranges = match letter.to_ascii_lowercase() {
            b'd' => named("digit")?,
            // Without the vertical tab that `[:space:]` has.
            b's' => vec![(0x09, 0x0a), (0x0c, 0x0d), (0x20, 0x20)],
            b'w' => named("word")?,
            _ => return None,
        };
        Some(Self { ranges, negated: letter.is_ascii_uppercase() })
    }

    /// An empty class, to be filled.
    pub fn new(negated: bool) -> Self {
        Self { ranges: Vec::new(), negated }
    }

    /// Adds a range; `None` if it runs backwards.
    pub fn add(&mut self, low: Character, high: Character) -> Option<()> {
        (low <= high).then(|| self.ranges.push((low, high)))
    }

    /// Adds `[:name:]` or `[:^name:]`; `None` if there is no such class.
    pub fn add_named(&mut self, name: &str) -> Option<()> {
        let plain = name.strip_prefix('^');
        let ranges = named(plain.unwrap_or(name))?;
        self.add_class(&Self { ranges, negated: plain.is_some() });
        Some(())
    }

    /// Adds all that another class has.
    pub fn add_class(&mut self, other: &Self) {
        if !other.negated {
            self.ranges.extend_from_slice(&other.ranges);
            return;
        }
        let mut ranges = other.ranges.clone();
        ranges.sort_unstable();
        let mut from = 0;
        for (low, high) in ranges {
            self.ranges.extend(low.checked_sub(1).filter(|last| from <= *last).map(|last| (from, last)));
            from = from.max(high + 1);
        }
        self.ranges.push((from, Character::MAX));
    }

    /// Whether a character is of the class.
    pub fn has(&self, character: Character) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != self.negated
    }
}

/// Whether `\b` counts the byte to a word.
pub(super) fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The classes that have names: ASCII all of them.
fn named(name: &str) -> Option<Vec<(Character, Character)>> {
    let ranges: &[(u8, u8)] = match name {
        "alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        "alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        "ascii" => &[(0, 0x7f)],
        "blank" => &[(b'\t', b'\t'), (b' ', b' ')],
        "cntrl" => &[(0, 0x1f), (0x7f, 0x7f)],
        "digit" => &[(b'0', b'9')],
        "graph" => &[(b'!', b'~')],
        "lower" => &[(b'a', b'z')],
        "print" => &[(b' ', b'~')],
        "punct" => &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        "space" => &[(b'\t', b'\r'), (b' ', b' ')],
        "upper" => &[(b'A', b'Z')],
        "word" => &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')],
        "xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        _ => return None,
    };
    Some(ranges.iter().map(|(low, high)| (u32::from(*low), u32::from(*high))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_all_the_rest() {
        let mut class = Class::new(false);
        class.add_class(&Class::perl(b'W').unwrap());
        for (character, expected) in [('a', false), ('_', false), ('9', false), ('-', true), ('é', true)] {
            assert_eq!(class.has(character.into()), expected, "{character}");
        }
        assert!(class.has(0) && class.has(first(b"\xff").unwrap().0));
    }

    #[test]
    fn characters_are_bytes_where_they_are_no_utf_8() {
        for (text, length) in
            [(&b"a"[..], 1), ("é".as_bytes(), 2), (b"\xc3", 1), (b"\xff\xff", 1), (b"\xe2\x82", 1)]
        {
            let (character, found) = first(text).unwrap();
            let mut again = Vec::new();
            push(&mut again, character);
            assert_eq!((found, again.as_slice()), (length, &text[..length]));
        }
    }
}
