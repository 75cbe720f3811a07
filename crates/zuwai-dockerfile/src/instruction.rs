//! From a logical line to an instruction.

use std::ops::Range;

use crate::ast::{
    AddInstruction, ArgDeclaration, ArgInstruction, CommandLine, CopyInstruction, Instruction,
    InstructionKind, KeyValue, OnbuildInstruction, StageFrom, Transfer, TransferSource, Word,
};
use crate::diagnostic::Diagnostic;
use crate::flag::{Flags, Takes};
use crate::heredoc::{Heredoc, opening};
use crate::json::{JsonForm, json_form};
use crate::lex::{Command, command, split, split_once, words};
use crate::line::LogicalLine;
use crate::source::Span;
use crate::suggest::with_suggestion;

mod healthcheck;
mod run;

/// All keywords.
pub(crate) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What a line is.
#[derive(Clone, Debug)]
pub(crate) enum Parsed {
    From(StageFrom),
    Instruction(Box<Instruction>),
}

/// Whether the instruction in a line can have here-documents: ADD, COPY and RUN in their shell form, also under ONBUILD.
pub(crate) fn can_contain_heredoc(line: &LogicalLine) -> bool {
    let mut parts = command(&line.text, 0..line.text.len());
    if line.text[parts.keyword.clone()].eq_ignore_ascii_case("onbuild") {
        parts = command(&line.text, parts.rest);
    }
    let keyword = &line.text[parts.keyword.clone()];
    ["add", "copy", "run"].iter().any(|known| keyword.eq_ignore_ascii_case(known))
        && !matches!(json_form(&line.text, parts.rest), JsonForm::Strings(_))
}

/// Parses a line with its here-documents.
pub(crate) fn parse_line(
    line: &LogicalLine,
    heredocs: &[Heredoc],
    span: Span,
    escape: char,
) -> Result<Parsed, Diagnostic> {
    Reader::new(line, heredocs, span, escape, 0..line.text.len()).parse(false)
}

/// Reads one instruction; under ONBUILD a second one reads the rest of the same line.
struct Reader<'a> {
    line: &'a LogicalLine,
    heredocs: &'a [Heredoc],
    span: Span,
    escape: char,
    whole: Range<usize>,
    parts: Command,
}

impl<'a> Reader<'a> {
    fn new(
        line: &'a LogicalLine,
        heredocs: &'a [Heredoc],
        span: Span,
        escape: char,
        whole: Range<usize>,
    ) -> Reader<'a> {
        let parts = command(&line.text, whole.clone());
        Reader { line, heredocs, span, escape, whole, parts }
    }

    fn parse(&self, onbuild: bool) -> Result<Parsed, Diagnostic> {
        let keyword = self.line.text[self.parts.keyword.clone()].to_uppercase();
        if onbuild {
            match keyword.as_str() {
                "ONBUILD" => {
                    return Err(self
                        .keyword_error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
                        .with_help("write ONBUILD once"));
                }
                "FROM" | "MAINTAINER" => {
                    return Err(self.keyword_error(format!("{keyword} isn't allowed as an ONBUILD trigger")));
                }
                _ => {}
            }
        }
        let kind = match keyword.as_str() {
            "FROM" => return self.from().map(Parsed::From),
            "ADD" => self.add()?,
            "ARG" => InstructionKind::Arg(self.arg()?),
            "CMD" => InstructionKind::Cmd(self.command_without_flags()?),
            "COPY" => self.copy()?,
            "ENTRYPOINT" => InstructionKind::Entrypoint(self.command_without_flags()?),
            "ENV" => InstructionKind::Env(self.key_values("ENV")?),
            "EXPOSE" => InstructionKind::Expose(self.expose()?),
            "HEALTHCHECK" => InstructionKind::Healthcheck(self.healthcheck()?),
            "LABEL" => InstructionKind::Label(self.key_values("LABEL")?),
            "MAINTAINER" => InstructionKind::Maintainer(self.single()?),
            "ONBUILD" => InstructionKind::Onbuild(self.onbuild()?),
            "RUN" => InstructionKind::Run(self.run()?),
            "SHELL" => InstructionKind::Shell(self.shell()?),
            "STOPSIGNAL" => InstructionKind::Stopsignal(self.single()?),
            "USER" => InstructionKind::User(self.single()?),
            "VOLUME" => InstructionKind::Volume(self.volume()?),
            "WORKDIR" => InstructionKind::Workdir(self.single()?),
            _ => {
                let written = &self.line.text[self.parts.keyword.clone()];
                let shown: String = written.chars().take(64).collect();
                let message = with_suggestion(format!("unknown instruction: {shown}"), written, &KEYWORDS);
                return Err(self.keyword_error(message).with_help(
                    "a line that goes on from the one before needs the escape character at that one's end",
                ));
            }
        };
        Ok(Parsed::Instruction(Box::new(Instruction {
            span: self.span,
            keyword_span: self.range_span(&self.parts.keyword),
            original: self.original().to_owned(),
            kind,
        })))
    }

    fn original(&self) -> &str {
        self.line.text[self.whole.clone()].trim()
    }

    fn keyword(&self) -> String {
        self.line.text[self.parts.keyword.clone()].to_uppercase()
    }

    fn rest(&self) -> &str {
        &self.line.text[self.parts.rest.clone()]
    }

    fn range_span(&self, range: &Range<usize>) -> Span {
        self.line.span(range.start, range.end)
    }

    fn word(&self, range: &Range<usize>) -> Word {
        self.line.word(range.start, range.end)
    }

    fn keyword_error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.range_span(&self.parts.keyword), message)
    }

    fn rest_error(&self, message: impl Into<String>) -> Diagnostic {
        let range = if self.parts.rest.is_empty() { &self.parts.keyword } else { &self.parts.rest };
        Diagnostic::error(self.range_span(range), message)
    }

    fn flags(&self, known: &[(&'static str, Takes)]) -> Result<Flags, Diagnostic> {
        Flags::read(self.line, &self.parts.flags, known)
    }

    /// The strings of the JSON form; nothing where the rest is no JSON array.
    fn json(&self) -> Result<Option<Vec<Word>>, Diagnostic> {
        self.json_of(self.parts.rest.clone())
    }

    fn json_of(&self, range: Range<usize>) -> Result<Option<Vec<Word>>, Diagnostic> {
        match json_form(&self.line.text, range.clone()) {
            JsonForm::Strings(strings) => Ok(Some(
                strings
                    .into_iter()
                    .map(|(text, range)| Word { text, span: self.range_span(&range) })
                    .collect(),
            )),
            JsonForm::NotJson => Ok(None),
            JsonForm::OtherArray => Err(Diagnostic::error(
                self.range_span(&range),
                "when using JSON array syntax, arrays must be comprised of strings only",
            )
            .with_help("put every element into double quotes")),
        }
    }

    /// A command in the JSON form, or the text as it is.
    fn command_line(&self, range: Range<usize>) -> Result<CommandLine, Diagnostic> {
        Ok(match self.json_of(range.clone())? {
            Some(words) => CommandLine::Exec(words),
            None => CommandLine::Shell(self.word(&range)),
        })
    }

    fn command_without_flags(&self) -> Result<CommandLine, Diagnostic> {
        self.flags(&[])?;
        self.command_line(self.parts.rest.clone())
    }

    fn from(&self) -> Result<StageFrom, Diagnostic> {
        let flags = self.flags(&[("platform", Takes::Text)])?;
        let words = split(&self.line.text, self.parts.rest.clone());
        let (image, name) = match words.as_slice() {
            [image] => (image, None),
            [image, keyword, name] if self.line.text[keyword.clone()].eq_ignore_ascii_case("as") => {
                (image, Some(self.stage_name(name)?))
            }
            _ => {
                return Err(self
                    .rest_error("FROM requires either one or three arguments")
                    .with_help("write FROM IMAGE or FROM IMAGE AS NAME"));
            }
        };
        Ok(StageFrom {
            span: self.span,
            original: self.original().to_owned(),
            image: self.word(image),
            platform: flags.text("platform"),
            name,
        })
    }

    fn stage_name(&self, range: &Range<usize>) -> Result<Word, Diagnostic> {
        let written = self.word(range);
        let text = written.text.to_lowercase();
        let valid = text.starts_with(|char: char| char.is_ascii_lowercase())
            && text.chars().all(|char| {
                char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '-' | '_' | '.')
            });
        if !valid {
            return Err(Diagnostic::error(
                written.span,
                format!(
                    "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
                    written.text
                ),
            )
            .with_help("use letters, digits, '-', '_' and '.', a letter first"));
        }
        Ok(Word { text, span: written.span })
    }

    fn arg(&self) -> Result<ArgInstruction, Diagnostic> {
        self.flags(&[])?;
        let words = words(&self.line.text, self.parts.rest.clone(), self.escape);
        if words.is_empty() {
            return Err(self
                .keyword_error("ARG requires at least one argument")
                .with_help("write ARG NAME or ARG NAME=DEFAULT"));
        }
        let mut args = Vec::with_capacity(words.len());
        for range in words {
            let (key, default) = match self.line.text[range.clone()].find('=') {
                Some(0) => return Err(self.blank_name("ARG", &range)),
                Some(at) => {
                    let at = range.start + at;
                    (range.start..at, Some(self.word(&(at + 1..range.end))))
                }
                None => (range, None),
            };
            args.push(ArgDeclaration { key: self.word(&key), default });
        }
        Ok(ArgInstruction { args })
    }

    fn blank_name(&self, keyword: &str, range: &Range<usize>) -> Diagnostic {
        Diagnostic::error(self.range_span(range), format!("{keyword} names can not be blank"))
            .with_help("write a name before the =")
    }

    fn key_values(&self, keyword: &str) -> Result<Vec<KeyValue>, Diagnostic> {
        self.flags(&[])?;
        let rest = self.parts.rest.clone();
        let words = words(&self.line.text, rest.clone(), self.escape);
        let Some(first) = words.first() else {
            return Err(self
                .keyword_error(format!("{keyword} requires at least one argument"))
                .with_help(format!("write {keyword} NAME=VALUE")));
        };
        if !self.line.text[first.clone()].contains('=') {
            let Some((key, value)) = split_once(&self.line.text, rest) else {
                return Err(self
                    .rest_error(format!("{keyword} must have two arguments"))
                    .with_help(format!("write {keyword} NAME=VALUE")));
            };
            return Ok(vec![KeyValue { key: self.word(&key), value: self.word(&value), legacy: true }]);
        }
        words
            .iter()
            .map(|range| match self.line.text[range.clone()].find('=') {
                None => Err(Diagnostic::error(
                    self.range_span(range),
                    format!(
                        "Syntax error - can't find = in {:?}. Must be of the form: name=value",
                        &self.line.text[range.clone()]
                    ),
                )
                .with_help("put a value with spaces into double quotes")),
                Some(0) => Err(self.blank_name(keyword, range)),
                Some(at) => {
                    let at = range.start + at;
                    Ok(KeyValue {
                        key: self.word(&(range.start..at)),
                        value: self.word(&(at + 1..range.end)),
                        legacy: false,
                    })
                }
            })
            .collect()
    }

    fn single(&self) -> Result<Word, Diagnostic> {
        self.flags(&[])?;
        if self.parts.rest.is_empty() {
            return Err(self.keyword_error(format!("{} requires exactly one argument", self.keyword())));
        }
        Ok(self.word(&self.parts.rest))
    }

    fn expose(&self) -> Result<Vec<Word>, Diagnostic> {
        self.flags(&[])?;
        let ports: Vec<Word> =
            split(&self.line.text, self.parts.rest.clone()).iter().map(|range| self.word(range)).collect();
        if ports.is_empty() {
            return Err(self
                .keyword_error("EXPOSE requires at least one argument")
                .with_help("write EXPOSE PORT or EXPOSE PORT/udp"));
        }
        Ok(ports)
    }

    fn shell(&self) -> Result<Vec<Word>, Diagnostic> {
        self.flags(&[])?;
        let help = "write SHELL [\"/bin/sh\", \"-c\"]";
        match self.json()? {
            Some(words) if !words.is_empty() => Ok(words),
            None if !self.parts.rest.is_empty() => {
                Err(self.rest_error("SHELL requires the arguments to be in JSON form").with_help(help))
            }
            _ => Err(self.rest_error("SHELL requires at least one argument").with_help(help)),
        }
    }

    /// JSON strings, or words split at spaces; and whether it was JSON.
    fn list(&self) -> Result<(Vec<Word>, bool), Diagnostic> {
        Ok(match self.json()? {
            Some(words) => (words, true),
            None => {
                let words = split(&self.line.text, self.parts.rest.clone());
                (words.iter().map(|range| self.word(range)).collect(), false)
            }
        })
    }

    fn volume(&self) -> Result<Vec<Word>, Diagnostic> {
        self.flags(&[])?;
        let (mut volumes, _) = self.list()?;
        if volumes.is_empty() {
            return Err(self
                .rest_error("VOLUME requires at least one argument")
                .with_help("write VOLUME /path"));
        }
        for volume in &mut volumes {
            volume.text = volume.text.trim().to_owned();
            if volume.text.is_empty() {
                return Err(Diagnostic::error(volume.span, "VOLUME specified can not be an empty string"));
            }
        }
        Ok(volumes)
    }

    fn transfer(&self, flags: &Flags) -> Result<Transfer, Diagnostic> {
        let keyword = self.keyword();
        let (mut list, json) = self.list()?;
        let destination = match list.pop() {
            Some(destination) if !list.is_empty() => destination,
            _ => {
                return Err(self
                    .rest_error(format!(
                        "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
                    ))
                    .with_help(format!("write {keyword} SOURCE... DESTINATION")));
            }
        };
        if !json && opening(&destination.text).is_some() {
            return Err(Diagnostic::error(
                destination.span,
                format!("{keyword} cannot accept a heredoc as a destination"),
            )
            .with_help("put the destination last"));
        }
        let mut sources = Vec::with_capacity(list.len());
        for word in list {
            let heredoc = if json { None } else { opening(&word.text) };
            let Some(heredoc) = heredoc else {
                sources.push(TransferSource::Path(word));
                continue;
            };
            // Of two with one name BuildKit takes the later one's content for both; both are the same file.
            match self.heredocs.iter().rev().find(|read| read.name == heredoc.name) {
                Some(read) => {
                    sources.push(TransferSource::Heredoc(Heredoc { span: word.span, ..read.clone() }))
                }
                None => sources.push(TransferSource::Path(word)),
            }
        }
        Ok(Transfer {
            sources,
            destination,
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.bool("link").unwrap_or(false),
            exclude: flags.all("exclude").map(|flag| flag.value.clone()).collect(),
            json,
            link_span: flags.span("link"),
        })
    }

    fn copy(&self) -> Result<InstructionKind, Diagnostic> {
        let flags = self.flags(&[
            ("chmod", Takes::Text),
            ("chown", Takes::Text),
            ("exclude", Takes::Texts),
            ("from", Takes::Text),
            ("link", Takes::Bool),
            ("parents", Takes::Bool),
        ])?;
        let transfer = self.transfer(&flags)?;
        let from = flags.text("from");
        if let Some(from) = &from {
            no_variables("--from", from)?;
        }
        Ok(InstructionKind::Copy(CopyInstruction {
            transfer,
            from,
            parents: flags.bool("parents").unwrap_or(false),
            parents_span: flags.span("parents"),
        }))
    }

    fn add(&self) -> Result<InstructionKind, Diagnostic> {
        let flags = self.flags(&[
            ("checksum", Takes::Text),
            ("chmod", Takes::Text),
            ("chown", Takes::Text),
            ("exclude", Takes::Texts),
            ("keep-git-dir", Takes::Bool),
            ("link", Takes::Bool),
            ("unpack", Takes::Bool),
        ])?;
        Ok(InstructionKind::Add(AddInstruction {
            transfer: self.transfer(&flags)?,
            checksum: flags.text("checksum"),
            keep_git_dir: flags.bool("keep-git-dir"),
            unpack: flags.bool("unpack"),
            keep_git_dir_span: flags.span("keep-git-dir"),
            unpack_span: flags.span("unpack"),
        }))
    }

    fn onbuild(&self) -> Result<OnbuildInstruction, Diagnostic> {
        self.flags(&[])?;
        if self.parts.rest.is_empty() {
            return Err(self
                .keyword_error("ONBUILD requires at least one argument")
                .with_help("write ONBUILD and an instruction"));
        }
        let inner = Reader::new(self.line, self.heredocs, self.span, self.escape, self.parts.rest.clone());
        // FROM is refused under ONBUILD, so the other arm has nothing to come from.
        let Parsed::Instruction(instruction) = inner.parse(true)? else {
            return Err(self.rest_error("FROM isn't allowed as an ONBUILD trigger"));
        };
        let mut trigger = self.rest().to_owned();
        for heredoc in self.heredocs {
            trigger.push('\n');
            trigger.push_str(&heredoc.content);
            trigger.push_str(&heredoc.name);
        }
        Ok(OnbuildInstruction { trigger, instruction })
    }
}

/// Refuses variables where BuildKit does.
pub(crate) fn no_variables(what: &str, value: &Word) -> Result<(), Diagnostic> {
    match value.text.find('$') {
        Some(at) if at + 1 < value.text.len() => Err(Diagnostic::error(
            value.span,
            format!(
                "variable expansion is not supported for {what}, define a new stage with FROM using ARG from global scope as a workaround"
            ),
        )
        .with_help("before this stage: FROM ${NAME} AS source; then use source here")),
        _ => Ok(()),
    }
}
