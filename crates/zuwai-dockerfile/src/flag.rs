//! Flags of instructions: which there are, and the rules of their values.

use crate::ast::Word;
use crate::diagnostic::Diagnostic;
use crate::lex::RawFlag;
use crate::line::LogicalLine;
use crate::source::Span;
use crate::suggest::with_suggestion;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// `--flag`, `--flag=true`, `--flag=false`.
    Bool,
    /// `--flag=value`, once.
    Text,
    /// `--flag=value`, any number of times.
    Texts,
}

/// One flag that was given.
#[derive(Clone, Debug)]
pub(crate) struct Flag {
    name: &'static str,
    /// The value; `true` or `false` for a boolean.
    pub value: Word,
    /// The whole flag.
    pub span: Span,
}

/// The flags of one instruction, checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    given: Vec<Flag>,
}

impl Flags {
    /// Checks flags against those that the instruction knows.
    pub fn read(
        line: &LogicalLine,
        raw: &[RawFlag],
        known: &[(&'static str, Takes)],
    ) -> Result<Flags, Diagnostic> {
        let mut flags = Flags::default();
        for flag in raw {
            let span = line.span(flag.range.start, flag.range.end);
            let wrong = |message: String| Diagnostic::error(span, message);
            let body = flag.text.get(2..).unwrap_or("");
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let Some((name, takes)) = known.iter().find(|(known, _)| *known == name).copied() else {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                let message = with_suggestion(format!("unknown flag: --{name}"), name, &names);
                let help = if names.is_empty() {
                    "this instruction takes no flags".to_owned()
                } else {
                    format!("this instruction takes --{}", names.join(", --"))
                };
                return Err(wrong(message).with_help(help));
            };
            if takes != Takes::Texts && flags.get(name).is_some() {
                return Err(wrong(format!("duplicate flag specified: --{name}")).with_help("give it once"));
            }
            let value = match (takes, value) {
                (Takes::Bool, None) => "true".to_owned(),
                (Takes::Bool, Some(value)) if !value.is_empty() => {
                    let lower = value.to_ascii_lowercase();
                    if lower != "true" && lower != "false" {
                        return Err(wrong(format!(
                            "expecting boolean value for flag --{name}, not: {value}"
                        ))
                        .with_help(format!("write --{name}, --{name}=true or --{name}=false")));
                    }
                    lower
                }
                (Takes::Text | Takes::Texts, Some(value)) => value.to_owned(),
                (Takes::Bool, Some(_)) | (_, None) => {
                    return Err(wrong(format!("missing a value on flag: --{name}"))
                        .with_help(format!("write --{name}=VALUE")));
                }
            };
            // Where nothing was quoted the value is the end of the flag as it stands.
            let value_span = if flag.text == line.text[flag.range.clone()] && body.contains('=') {
                line.span(flag.range.end - value.len(), flag.range.end)
            } else {
                span
            };
            flags.given.push(Flag { name, value: Word { text: value, span: value_span }, span });
        }
        Ok(flags)
    }

    /// A flag that was given.
    pub fn get(&self, name: &str) -> Option<&Flag> {
        self.given.iter().find(|flag| flag.name == name)
    }

    /// All of a flag that may be given several times.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Flag> {
        self.given.iter().filter(move |flag| flag.name == name)
    }

    /// The value of a flag; an empty one is as good as none.
    pub fn text(&self, name: &str) -> Option<Word> {
        self.get(name).map(|flag| flag.value.clone()).filter(|word| !word.text.is_empty())
    }

    /// The value of a boolean flag.
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.get(name).map(|flag| flag.value.text == "true")
    }

    /// Where a flag stands.
    pub fn span(&self, name: &str) -> Option<Span> {
        self.get(name).map(|flag| flag.span)
    }
}
