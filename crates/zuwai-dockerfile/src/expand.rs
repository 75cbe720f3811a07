//! Variable expansion and quote removal in a word, as BuildKit's `shell.Lex` does it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::error::ExpandError;
use crate::limits::{EXPANSION_BYTES, PATTERN_STEPS, SUBSTITUTION_DEPTH};
use crate::pattern::{Pattern, Preference};

/// Where values of variables come from.
pub trait Lookup {
    /// The value of a variable, or nothing if it is not set.
    fn get(&self, name: &str) -> Option<Cow<'_, str>>;
}

impl Lookup for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        BTreeMap::get(self, name).map(|value| Cow::Borrowed(value.as_str()))
    }
}

/// A list of pairs, as an environment is: of several with one name the last counts.
impl Lookup for [(String, String)] {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.iter().rev().find(|(key, _)| key == name).map(|(_, value)| Cow::Borrowed(value.as_str()))
    }
}

impl Lookup for Vec<(String, String)> {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        Lookup::get(self.as_slice(), name)
    }
}

/// No variable is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoVariables;

impl Lookup for NoVariables {
    fn get(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }
}

/// Expands words.
#[derive(Clone, Debug)]
pub struct Expander {
    escape: char,
}

/// What an expansion gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The whole result as one word.
    pub text: String,
    /// The result split at spaces that are not quoted.
    pub words: Vec<String>,
    /// Variables it asked for that are set.
    pub used: BTreeSet<String>,
    /// Variables it asked for that are not set.
    pub unset: BTreeSet<String>,
}

impl Expander {
    /// An expander for the Dockerfile's escape character.
    pub fn new(escape: char) -> Expander {
        Expander { escape }
    }

    /// The escape character.
    pub fn escape(&self) -> char {
        self.escape
    }

    /// One word: quotes removed, variables replaced (BuildKit's `ProcessWord`).
    pub fn word(&self, text: &str, lookup: &dyn Lookup) -> Result<String, ExpandError> {
        Ok(self.expand(text, lookup)?.text)
    }

    /// A word that may become several or none (BuildKit's `ProcessWords`).
    pub fn words(&self, text: &str, lookup: &dyn Lookup) -> Result<Vec<String>, ExpandError> {
        Ok(self.expand(text, lookup)?.words)
    }

    /// Both, and the variables that were asked for.
    pub fn expand(&self, text: &str, lookup: &dyn Lookup) -> Result<Expansion, ExpandError> {
        Lexer::new(text, self.escape, Mode::WORD, lookup).run()
    }

    /// The content of a here-document of COPY or ADD: variables replaced, quotes left alone. The escape character is
    /// always the backslash there.
    pub fn heredoc(content: &str, lookup: &dyn Lookup) -> Result<String, ExpandError> {
        Ok(Lexer::new(content, '\\', Mode::HEREDOC, lookup).run()?.text)
    }

    /// The names of the variables that a word asks for, whether they are set or not.
    pub fn variables(&self, text: &str) -> Result<BTreeSet<String>, ExpandError> {
        let mode = Mode { values_only: false, ..Mode::WORD };
        let expansion = Lexer::new(text, self.escape, mode, &NoVariables).run()?;
        Ok(expansion.unset)
    }
}

/// How a text is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    /// Quotes and escapes stay in the result.
    pub raw: bool,
    /// Quotes mean nothing.
    pub ignore_quotes: bool,
    /// A variable that is not set stays as it is written.
    pub keep_unset: bool,
    /// `${v:?m}` and patterns are checked, not only read.
    pub values_only: bool,
}

impl Mode {
    /// Words of instructions.
    pub const WORD: Mode = Mode { raw: false, ignore_quotes: false, keep_unset: false, values_only: true };
    /// Content of here-documents.
    pub const HEREDOC: Mode = Mode { ignore_quotes: true, ..Mode::WORD };
    /// The word after `<<`, without its quotes.
    pub const HEREDOC_NAME: Mode = Mode { keep_unset: true, ..Mode::WORD };
    /// A line in search of `<<`: quotes and escapes kept.
    pub const HEREDOC_LINE: Mode = Mode { raw: true, keep_unset: true, ..Mode::WORD };
}

/// The words of a line as the search for here-documents sees them.
pub(crate) fn lex(text: &str, mode: Mode) -> Result<Expansion, ExpandError> {
    Lexer::new(text, '\\', mode, &NoVariables).run()
}

/// Collects a result as one text and as words. Words of nested results are not kept: only the outermost splits.
#[derive(Debug, Default)]
struct Output {
    text: String,
    word: String,
    words: Vec<String>,
}

impl Output {
    /// A character that splits words if it is a space.
    fn plain(&mut self, char: char) {
        self.text.push(char);
        self.split(char);
    }

    fn split(&mut self, char: char) {
        if char.is_whitespace() {
            if !self.word.is_empty() {
                self.words.push(std::mem::take(&mut self.word));
            }
        } else {
            self.word.push(char);
        }
    }

    /// Quoted or escaped text: part of the word, whatever it is.
    fn quoted(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }

    /// The value of a variable: its spaces split words.
    fn value(&mut self, value: &str) {
        self.text.push_str(value);
        value.chars().for_each(|char| self.split(char));
    }
}

struct Lexer<'a> {
    text: &'a str,
    place: usize,
    escape: char,
    mode: Mode,
    lookup: &'a dyn Lookup,
    depth: usize,
    /// Steps that patterns have taken.
    steps: usize,
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, escape: char, mode: Mode, lookup: &'a dyn Lookup) -> Lexer<'a> {
        Lexer {
            text,
            place: 0,
            escape,
            mode,
            lookup,
            depth: 0,
            steps: 0,
            used: BTreeSet::new(),
            unset: BTreeSet::new(),
        }
    }

    fn run(mut self) -> Result<Expansion, ExpandError> {
        let mut output = self.until(None, self.mode.raw)?;
        if !output.word.is_empty() {
            output.words.push(output.word);
        }
        Ok(Expansion { text: output.text, words: output.words, used: self.used, unset: self.unset })
    }

    fn peek(&self) -> Option<char> {
        self.text[self.place..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.place += char.len_utf8();
        Some(char)
    }

    /// Reads up to the stop character, which is eaten, or up to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<Output, ExpandError> {
        let mut output = Output::default();
        while let Some(char) = self.peek() {
            if output.text.len() > EXPANSION_BYTES {
                return Err(ExpandError::TooLarge(EXPANSION_BYTES));
            }
            if Some(char) == stop {
                self.next();
                return Ok(output);
            }
            match char {
                '$' => {
                    let value = self.dollar()?;
                    output.value(&value);
                }
                '\'' if !self.mode.ignore_quotes => output.quoted(&self.single_quoted()?),
                '"' if !self.mode.ignore_quotes => output.quoted(&self.double_quoted(raw_escapes)?),
                char if char == self.escape => {
                    self.next();
                    let mut buffer = [0; 4];
                    if raw_escapes {
                        output.quoted(char.encode_utf8(&mut buffer));
                    }
                    if let Some(escaped) = self.next() {
                        output.quoted(escaped.encode_utf8(&mut buffer));
                    }
                }
                char => {
                    self.next();
                    output.plain(char);
                }
            }
        }
        match stop {
            None => Ok(output),
            Some('/') => Err(ExpandError::MissingSlash),
            Some(_) => Err(ExpandError::MissingBrace),
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let start = self.place;
        self.next();
        let Some(length) = self.text[self.place..].find('\'') else {
            return Err(ExpandError::Unterminated("single-quote"));
        };
        let end = self.place + length;
        let inside = if self.mode.raw { start..end + 1 } else { start + 1..end };
        self.place = end + 1;
        Ok(self.text[inside].to_owned())
    }

    fn double_quoted(&mut self, raw_escapes: bool) -> Result<String, ExpandError> {
        let mut result = String::new();
        self.next();
        if self.mode.raw {
            result.push('"');
        }
        loop {
            if result.len() > EXPANSION_BYTES {
                return Err(ExpandError::TooLarge(EXPANSION_BYTES));
            }
            match self.peek() {
                None => return Err(ExpandError::Unterminated("double-quote")),
                Some('"') => {
                    self.next();
                    if self.mode.raw {
                        result.push('"');
                    }
                    return Ok(result);
                }
                Some('$') => result.push_str(&self.dollar()?),
                Some(char) if char == self.escape => {
                    self.next();
                    if raw_escapes {
                        result.push(char);
                    }
                    match self.peek() {
                        None => {}
                        // Only these are escaped inside double quotes; before anything else the escape stays.
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == self.escape => {
                            self.next();
                            result.push(escaped);
                        }
                        Some(_) if raw_escapes => {}
                        Some(_) => result.push(char),
                    }
                }
                Some(char) => {
                    self.next();
                    result.push(char);
                }
            }
        }
    }

    /// The value of a variable, remembered as used or unset.
    fn variable(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let lookup = self.lookup;
        let value = lookup.get(name);
        let names = if value.is_some() { &mut self.used } else { &mut self.unset };
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        value
    }

    /// `$name` or `${...}`, from the dollar on.
    fn dollar(&mut self) -> Result<Cow<'a, str>, ExpandError> {
        self.next();
        if self.peek() == Some('{') {
            self.next();
            self.depth += 1;
            if self.depth > SUBSTITUTION_DEPTH {
                return Err(ExpandError::TooDeep(SUBSTITUTION_DEPTH));
            }
            let value = self.braces();
            self.depth -= 1;
            return value;
        }
        let name = self.name();
        if name.is_empty() {
            return Ok(Cow::Borrowed("$"));
        }
        match self.variable(name) {
            Some(value) => Ok(value),
            None if self.mode.keep_unset => Ok(Cow::Owned(format!("${name}"))),
            None => Ok(Cow::Borrowed("")),
        }
    }

    /// `${...}`, from after its opening brace.
    fn braces(&mut self) -> Result<Cow<'a, str>, ExpandError> {
        match self.peek() {
            None => return Err(ExpandError::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let mut modifier = String::new();
        let mut null_is_unset = false;
        let mut char = self.next();
        if char == Some(':') {
            null_is_unset = true;
            modifier.push(':');
            char = self.next();
        }
        modifier.extend(char);
        match char {
            None if !null_is_unset => Err(ExpandError::MissingBrace),
            Some('}') if !null_is_unset => match self.variable(name) {
                Some(value) => Ok(value),
                None if self.mode.keep_unset => Ok(Cow::Owned(format!("${{{name}}}"))),
                None => Ok(Cow::Borrowed("")),
            },
            Some('/') if !null_is_unset => self.replacement(name),
            Some(operator @ ('+' | '-' | '?')) => self.alternative(name, operator, null_is_unset),
            Some(operator @ ('#' | '%')) if !null_is_unset => self.trimmed(name, operator),
            _ => Err(ExpandError::UnsupportedModifier(modifier)),
        }
    }

    /// `-`, `+` and `?`, with and without the colon.
    fn alternative(
        &mut self,
        name: &'a str,
        operator: char,
        null_is_unset: bool,
    ) -> Result<Cow<'a, str>, ExpandError> {
        let word = self.until(Some('}'), false)?.text;
        let value = self.variable(name);
        if self.mode.keep_unset && value.is_none() {
            let colon = if null_is_unset { ":" } else { "" };
            return Ok(Cow::Owned(format!("${{{name}{colon}{operator}{word}}}")));
        }
        let counts = value.filter(|value| !null_is_unset || !value.is_empty());
        match (operator, counts) {
            ('+', Some(_)) => Ok(Cow::Owned(word)),
            ('+', None) => Ok(Cow::Borrowed("")),
            (_, Some(value)) => Ok(value),
            ('?', None) if self.mode.values_only => {
                let set = self.used.contains(name);
                let default = if set { "is not allowed to be empty" } else { "is not allowed to be unset" };
                let message = if word.is_empty() { default.to_owned() } else { word };
                Err(ExpandError::Required { name: name.to_owned(), message })
            }
            (_, None) => Ok(Cow::Owned(word)),
        }
    }

    /// `#`, `##`, `%` and `%%`.
    fn trimmed(&mut self, name: &'a str, operator: char) -> Result<Cow<'a, str>, ExpandError> {
        let word = self.until(Some('}'), true)?.text;
        let value = self.variable(name);
        if self.mode.keep_unset && value.is_none() {
            return Ok(Cow::Owned(format!("${{{name}{operator}{word}}}")));
        }
        let (pattern, preference) = match word.strip_prefix(operator) {
            Some(pattern) => (pattern, Preference::Longest),
            None => (word.as_str(), Preference::Shortest),
        };
        let value = value.unwrap_or_default();
        let pattern = self.pattern(pattern, &value)?;
        let result = match operator {
            '#' => pattern.trim_prefix(&value, preference),
            _ => pattern.trim_suffix(&value, preference),
        };
        result.map(Cow::Owned)
    }

    /// `/pattern/replacement` and `//pattern/replacement`.
    fn replacement(&mut self, name: &'a str) -> Result<Cow<'a, str>, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.until(Some('/'), true)?.text;
        let replacement = self.until(Some('}'), true)?.text;
        let value = self.variable(name);
        if self.mode.keep_unset && value.is_none() {
            let slashes = if all { "//" } else { "/" };
            return Ok(Cow::Owned(format!("${{{name}{slashes}{pattern}/{replacement}}}")));
        }
        let value = value.unwrap_or_default();
        self.pattern(&pattern, &value)?.replace(&value, &replacement, all).map(Cow::Owned)
    }

    /// A pattern to match with a value, as long as the steps suffice.
    fn pattern(&mut self, pattern: &str, value: &str) -> Result<Pattern, ExpandError> {
        let pattern = Pattern::new(pattern)?;
        self.steps = self.steps.saturating_add(pattern.steps(value));
        if self.steps > PATTERN_STEPS { Err(ExpandError::TooManySteps(PATTERN_STEPS)) } else { Ok(pattern) }
    }

    /// A variable's name: letters, digits and underscores; or digits only; or one special parameter.
    fn name(&mut self) -> &'a str {
        let rest = &self.text[self.place..];
        let length = match rest.chars().next() {
            Some(first) if first.is_numeric() => {
                rest.find(|char: char| !char.is_numeric()).unwrap_or(rest.len())
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len()),
        };
        self.place += length;
        &rest[..length]
    }
}
