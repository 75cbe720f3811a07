//! Reading a regular expression by the rules of Go's `regexp/syntax`, as far as translated patterns can hold them.

use super::class::{Character, Class};
use super::expression::Token;
use super::translate::DIRECTORIES;

/// The tokens of an expression; `None` if it is malformed, or holds what nobody puts into a pattern on purpose: `\Q`, and
/// Unicode's classes (`\pL`).
pub(super) fn tokens(expression: &[Character]) -> Option<Vec<Token>> {
    let mut reader = Reader { rest: expression };
    let mut tokens = Vec::new();
    while let Some(character) = reader.rest.first() {
        let token = match u8::try_from(*character) {
            Ok(b'(') if reader.take(DIRECTORIES) => Token::Directories,
            Ok(b'.') if reader.take(b".*") => Token::Many(Class::dot()),
            Ok(b'^') if reader.take(b"^") => Token::Start,
            Ok(b'[') if reader.take(b"[") => {
                let class = reader.class()?;
                if reader.take(b"*") { Token::Many(class) } else { Token::One(class) }
            }
            Ok(b'\\') if reader.take(b"\\") => reader.escape()?,
            _ => Token::character(reader.next()?),
        };
        Token::append(&mut tokens, token);
    }
    Some(tokens)
}

struct Reader<'a> {
    rest: &'a [Character],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Character> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().and_then(|character| u8::try_from(*character).ok())
    }

    fn starts_with(&self, text: &[u8]) -> bool {
        let start = self.rest.iter().zip(text);
        self.rest.len() >= text.len() && start.into_iter().all(|(one, other)| *one == u32::from(*other))
    }

    /// Takes the text if it comes next.
    fn take(&mut self, text: &[u8]) -> bool {
        let found = self.starts_with(text);
        if found {
            self.rest = &self.rest[text.len()..];
        }
        found
    }

    /// What stands behind a backslash outside of classes.
    fn escape(&mut self) -> Option<Token> {
        let token = match self.peek()? {
            b'A' => Token::Start,
            b'z' => Token::End,
            b'b' => Token::Boundary(true),
            b'B' => Token::Boundary(false),
            letter => match Class::perl(letter) {
                Some(class) => Token::One(class),
                None => return self.escaped().map(Token::character),
            },
        };
        self.next();
        Some(token)
    }

    /// The character that an escape means.
    fn escaped(&mut self) -> Option<Character> {
        let byte = u8::try_from(self.next()?).ok()?;
        match byte {
            b'1'..=b'7' if !matches!(self.peek(), Some(b'0'..=b'7')) => None, // a reference back, which there is not
            b'0'..=b'7' => {
                let mut number = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = self.peek() else { break };
                    number = number * 8 + u32::from(digit - b'0');
                    self.next();
                }
                Some(number)
            }
            b'x' => {
                let mut digit = || char::from_u32(self.next()?)?.to_digit(16);
                Some(digit()? * 16 + digit()?)
            }
            b'a' => Some(0x07),
            b'f' => Some(0x0c),
            b'n' => Some(u32::from(b'\n')),
            b'r' => Some(u32::from(b'\r')),
            b't' => Some(u32::from(b'\t')),
            b'v' => Some(0x0b),
            byte => (byte.is_ascii() && !byte.is_ascii_alphanumeric()).then_some(byte.into()),
        }
    }

    /// A class behind its opening bracket.
    fn class(&mut self) -> Option<Class> {
        let mut class = Class::new(self.take(b"^"));
        let mut first = true;
        while first || self.peek() != Some(b']') {
            first = false;
            if self.rest.len() > 2 && self.starts_with(b"[:") && self.named_class(&mut class)? {
                continue;
            }
            if let Some(perl) = self.perl_class() {
                class.add_class(&perl);
                continue;
            }
            let low = self.class_character()?;
            let ends = self.rest.get(1).is_none_or(|next| *next == u32::from(b']'));
            let high = if !ends && self.take(b"-") { self.class_character()? } else { low };
            class.add(low, high)?;
        }
        self.take(b"]").then_some(class)
    }

    fn class_character(&mut self) -> Option<Character> {
        if self.take(b"\\") { self.escaped() } else { self.next() }
    }

    fn perl_class(&mut self) -> Option<Class> {
        let letter = self.rest.get(1).and_then(|letter| u8::try_from(*letter).ok());
        let class = letter.filter(|_| self.starts_with(b"\\")).and_then(Class::perl)?;
        self.rest = &self.rest[2..];
        Some(class)
    }

    /// `[:name:]`: whether there is one; `None` if nothing has that name.
    fn named_class(&mut self, class: &mut Class) -> Option<bool> {
        let inside = &self.rest[2..];
        let closing = |pair: &[Character]| pair == [u32::from(b':'), u32::from(b']')];
        let Some(length) = inside.windows(2).position(closing) else { return Some(false) };
        let name: Option<String> =
            inside[..length].iter().map(|character| char::from_u32(*character)).collect();
        class.add_named(&name?)?;
        self.rest = &inside[length + 2..];
        Some(true)
    }
}
