//! The JSON form: an array of strings, each with its place. What is no JSON is the shell form, what is a JSON array of
//! something else is an error; so the whole array is checked even where its first element already is no string.

use std::ops::Range;

use crate::limits::JSON_DEPTH;

/// What a text is as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JsonForm {
    /// An array of strings, with the range of each in the text.
    Strings(Vec<(String, Range<usize>)>),
    /// An array that holds something else.
    OtherArray,
    /// No JSON array.
    NotJson,
}

/// Reads `text[range]` as the JSON form.
pub(crate) fn json_form(text: &str, range: Range<usize>) -> JsonForm {
    let mut reader = Reader { bytes: &text.as_bytes()[..range.end], text, place: range.start };
    reader.array().unwrap_or(JsonForm::NotJson)
}

struct Reader<'a> {
    bytes: &'a [u8],
    text: &'a str,
    place: usize,
}

/// `None` stands for "not JSON" throughout.
impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.place).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.place += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.place += 1)
    }

    fn array(&mut self) -> Option<JsonForm> {
        self.space();
        self.eat(b'[')?;
        let mut strings = Vec::new();
        let mut other = false;
        self.space();
        if self.eat(b']').is_none() {
            loop {
                self.space();
                let start = self.place;
                if self.peek()? == b'"' {
                    let string = self.string()?;
                    strings.push((string, start..self.place));
                } else {
                    self.value(1)?;
                    other = true;
                }
                self.space();
                if self.eat(b',').is_none() {
                    self.eat(b']')?;
                    break;
                }
            }
        }
        self.space();
        if self.place != self.bytes.len() {
            return None;
        }
        Some(if other { JsonForm::OtherArray } else { JsonForm::Strings(strings) })
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > JSON_DEPTH {
            return None;
        }
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'[' => self.members(b']', depth, false),
            b'{' => self.members(b'}', depth, true),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    fn members(&mut self, close: u8, depth: usize, keys: bool) -> Option<()> {
        self.place += 1;
        self.space();
        if self.eat(close).is_some() {
            return Some(());
        }
        loop {
            self.space();
            if keys {
                self.string()?;
                self.space();
                self.eat(b':')?;
                self.space();
            }
            self.value(depth + 1)?;
            self.space();
            if self.eat(b',').is_none() {
                return self.eat(close);
            }
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.bytes[self.place..].starts_with(literal).then(|| self.place += literal.len())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.place;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.place += 1;
        }
        (self.place > start).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        self.eat(b'-');
        if self.eat(b'0').is_none() {
            self.digits()?;
        }
        if self.eat(b'.').is_some() {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.place += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.place += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn string(&mut self) -> Option<String> {
        self.eat(b'"')?;
        let mut result = String::new();
        let mut plain = self.place;
        loop {
            match self.peek()? {
                b'"' => {
                    result.push_str(&self.text[plain..self.place]);
                    self.place += 1;
                    return Some(result);
                }
                b'\\' => {
                    result.push_str(&self.text[plain..self.place]);
                    self.place += 1;
                    result.push(self.escaped()?);
                    plain = self.place;
                }
                byte if byte < 0x20 => return None,
                _ => self.place += 1,
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.place += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                match char::from_u32(first) {
                    Some(char) => char,
                    // Half of a surrogate pair: with its other half a character, alone Go's replacement character.
                    None => {
                        let back = self.place;
                        let second = self.literal(b"\\u").and_then(|()| self.hex());
                        match second {
                            Some(second @ 0xDC00..=0xDFFF) if first < 0xDC00 => {
                                char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))?
                            }
                            _ => {
                                self.place = back;
                                char::REPLACEMENT_CHARACTER
                            }
                        }
                    }
                }
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.place..self.place + 4)?;
        let mut value = 0;
        for digit in digits {
            value = value * 16 + (*digit as char).to_digit(16)?;
        }
        self.place += 4;
        Some(value)
    }
}
