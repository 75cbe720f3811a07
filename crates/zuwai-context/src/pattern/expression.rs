//! A pattern as a regular expression, and matching it.
//!
//! All ways to match are followed side by side, so that no pattern takes longer than its length times the path's.

use std::mem;

use super::class::{self, Character, Class};
use super::syntax;
use super::translate::translate;

/// A regular expression for whole paths.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    tokens: Vec<Token>,
}

/// A part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// These bytes.
    Text(Vec<u8>),
    /// One character of a class.
    One(Class),
    /// Any number of characters of a class.
    Many(Class),
    /// `(.*/)?`: any directories, each with its slash, or none.
    Directories,
    /// The beginning of the path.
    Start,
    /// The end of the path.
    End,
    /// Where a word begins or ends, or where none does.
    Boundary(bool),
}

impl Token {
    /// One character as it is.
    pub fn character(character: Character) -> Self {
        let mut text = Vec::new();
        class::push(&mut text, character);
        Self::Text(text)
    }

    /// Adds a token; text behind text is one.
    pub fn append(tokens: &mut Vec<Self>, token: Self) {
        match (tokens.last_mut(), token) {
            (Some(Self::Text(text)), Self::Text(more)) => text.extend(more),
            (_, token) => tokens.push(token),
        }
    }
}

/// Where in a path the tokens so far can have led: places between its bytes.
struct Places<'a> {
    text: &'a [u8],
    reached: Vec<bool>,
    next: Vec<bool>,
}

impl Expression {
    /// Translates a pattern; `None` if it is malformed.
    pub fn compile(pattern: &[u8]) -> Option<Self> {
        syntax::tokens(&translate(pattern)).map(|tokens| Self { tokens })
    }

    /// The plain characters that every match begins with.
    fn head(&self) -> &[u8] {
        if let Some(Token::Text(text)) = self.tokens.first() { text } else { b"" }
    }

    /// The plain characters that every match ends with.
    pub fn tail(&self) -> &[u8] {
        if let Some(Token::Text(text)) = self.tokens.last() { text } else { b"" }
    }

    /// Whether it matches the whole path.
    pub fn matches(&self, path: &[u8]) -> bool {
        if !path.starts_with(self.head()) || !path.ends_with(self.tail()) {
            return false;
        }
        let mut places = Places::new(path);
        self.tokens.iter().all(|token| places.follow(token)) && places.at_end()
    }

    /// Whether it could match something below a directory.
    pub fn may_match_below(&self, directory: &[u8]) -> bool {
        let path = [directory, b"/"].concat();
        let mut places = Places::new(&path);
        for token in &self.tokens {
            let was_at_end = places.at_end();
            let goes_on = match token {
                Token::Text(text) => places.end_within(text),
                Token::One(_) | Token::Boundary(_) => was_at_end,
                Token::Many(_) | Token::Directories => places.follow(token) && places.at_end(),
                Token::Start | Token::End => false,
            };
            if goes_on {
                return true;
            }
            if !matches!(token, Token::Many(_) | Token::Directories) && !places.follow(token) {
                return false;
            }
        }
        false
    }
}

impl<'a> Places<'a> {
    fn new(text: &'a [u8]) -> Self {
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        Self { text, reached, next: vec![false; text.len() + 1] }
    }

    fn at_end(&self) -> bool {
        self.reached[self.text.len()]
    }

    /// Whether the text ends in the middle of this one, from some place on.
    fn end_within(&self, longer: &[u8]) -> bool {
        let last = (self.text.len() + 1).saturating_sub(longer.len());
        (last..=self.text.len()).any(|place| self.reached[place] && longer.starts_with(&self.text[place..]))
    }

    /// Goes on by one token; whether any way is left.
    fn follow(&mut self, token: &Token) -> bool {
        self.next.fill(false);
        match token {
            Token::Text(text) => self.text_from_each(text),
            Token::One(class) => self.characters(class, false),
            Token::Many(class) => self.characters(class, true),
            Token::Directories => self.directories(),
            Token::Start => self.next[0] = self.reached[0],
            Token::End => self.next[self.text.len()] = self.at_end(),
            Token::Boundary(wanted) => self.boundaries(*wanted),
        }
        mem::swap(&mut self.reached, &mut self.next);
        self.reached.contains(&true)
    }

    fn text_from_each(&mut self, text: &[u8]) {
        for place in 0..self.text.len() {
            if self.reached[place] && self.text[place..].starts_with(text) {
                self.next[place + text.len()] = true;
            }
        }
    }

    fn characters(&mut self, class: &Class, many: bool) {
        if many {
            self.next.copy_from_slice(&self.reached);
        }
        let mut place = 0;
        while let Some((character, length)) = class::first(&self.text[place..]) {
            let from = self.reached[place] || (many && self.next[place]);
            if from && class.has(character) {
                self.next[place + length] = true;
            }
            place += length;
        }
    }

    fn directories(&mut self) {
        let mut open = false;
        for place in 0..=self.text.len() {
            let before = place.checked_sub(1).map(|before| self.text[before]);
            open &= before != Some(b'\n');
            self.next[place] = self.reached[place] || (open && before == Some(b'/'));
            open |= self.reached[place];
        }
    }

    fn boundaries(&mut self, wanted: bool) {
        for place in 0..=self.text.len() {
            let before = place.checked_sub(1).and_then(|before| self.text.get(before));
            let boundary = class::is_word(before) != class::is_word(self.text.get(place));
            self.next[place] = self.reached[place] && boundary == wanted;
        }
    }
}
