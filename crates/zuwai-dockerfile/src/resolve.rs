//! Which words of an instruction take variables: the instruction with its values in place.

use crate::ast::{Instruction, InstructionKind, KeyValue, Transfer, TransferSource, Word};
use crate::diagnostic::Diagnostic;
use crate::error::ExpandError;
use crate::expand::{Expander, Lookup};
use crate::heredoc::Heredoc;

impl Instruction {
    /// The same instruction with quotes removed and variables replaced in every word where BuildKit does so: ADD,
    /// COPY (not `--from` and `--exclude`), ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR and here-documents of COPY and ADD.
    /// ARG stays as it is: its names take no variables, a default counts only where no value is given from outside, and
    /// sees the arguments before it in the same line. CMD, ENTRYPOINT, HEALTHCHECK, MAINTAINER, ONBUILD, RUN and SHELL stay as they are; RUN's mounts are made
    /// by [`crate::mount::MountFlag::resolve`].
    ///
    /// All words of one instruction see the same values: `ENV a=1 b=$a` uses the `a` from before the line.
    pub fn resolve(&self, expander: &Expander, lookup: &dyn Lookup) -> Result<Instruction, Diagnostic> {
        let scope = Resolver { expander, lookup };
        let kind = match &self.kind {
            InstructionKind::Add(add) => {
                let mut add = add.clone();
                add.transfer = scope.transfer(&add.transfer)?;
                add.checksum = scope.optional(add.checksum.as_ref())?;
                InstructionKind::Add(add)
            }
            InstructionKind::Copy(copy) => {
                let mut copy = copy.clone();
                copy.transfer = scope.transfer(&copy.transfer)?;
                InstructionKind::Copy(copy)
            }
            InstructionKind::Env(pairs) => InstructionKind::Env(scope.pairs(pairs)?),
            InstructionKind::Label(pairs) => InstructionKind::Label(scope.pairs(pairs)?),
            InstructionKind::Expose(ports) => {
                // BuildKit sorts what is written, before it is expanded; the image's history shows it.
                let mut ports: Vec<&Word> = ports.iter().collect();
                ports.sort_by(|a, b| a.text.cmp(&b.text));
                let mut words = Vec::with_capacity(ports.len());
                for port in ports {
                    let expanded = expander.words(&port.text, lookup).map_err(|error| wrong(port, &error))?;
                    words.extend(expanded.into_iter().map(|text| Word { text, span: port.span }));
                }
                InstructionKind::Expose(words)
            }
            InstructionKind::Volume(volumes) => InstructionKind::Volume(scope.words(volumes)?),
            InstructionKind::Stopsignal(word) => InstructionKind::Stopsignal(scope.word(word)?),
            InstructionKind::User(word) => InstructionKind::User(scope.word(word)?),
            InstructionKind::Workdir(word) => InstructionKind::Workdir(scope.word(word)?),
            InstructionKind::Arg(_)
            | InstructionKind::Cmd(_)
            | InstructionKind::Entrypoint(_)
            | InstructionKind::Healthcheck(_)
            | InstructionKind::Maintainer(_)
            | InstructionKind::Onbuild(_)
            | InstructionKind::Run(_)
            | InstructionKind::Shell(_) => self.kind.clone(),
        };
        Ok(Instruction { kind, ..self.clone() })
    }
}

fn wrong(word: &Word, error: &ExpandError) -> Diagnostic {
    let shown: String = word.text.chars().take(80).collect();
    Diagnostic::error(word.span, format!("failed to process {shown:?}: {error}"))
}

struct Resolver<'a> {
    expander: &'a Expander,
    lookup: &'a dyn Lookup,
}

impl Resolver<'_> {
    fn word(&self, word: &Word) -> Result<Word, Diagnostic> {
        let text = self.expander.word(&word.text, self.lookup).map_err(|error| wrong(word, &error))?;
        Ok(Word { text, span: word.span })
    }

    fn words(&self, words: &[Word]) -> Result<Vec<Word>, Diagnostic> {
        words.iter().map(|word| self.word(word)).collect()
    }

    fn optional(&self, word: Option<&Word>) -> Result<Option<Word>, Diagnostic> {
        word.map(|word| self.word(word)).transpose()
    }

    fn pairs(&self, pairs: &[KeyValue]) -> Result<Vec<KeyValue>, Diagnostic> {
        pairs
            .iter()
            .map(|pair| {
                Ok(KeyValue {
                    key: self.word(&pair.key)?,
                    value: self.word(&pair.value)?,
                    legacy: pair.legacy,
                })
            })
            .collect()
    }

    fn transfer(&self, transfer: &Transfer) -> Result<Transfer, Diagnostic> {
        let sources = transfer.sources.iter().map(|source| match source {
            TransferSource::Path(word) => Ok(TransferSource::Path(self.word(word)?)),
            TransferSource::Heredoc(heredoc) => Ok(TransferSource::Heredoc(self.heredoc(heredoc)?)),
        });
        Ok(Transfer {
            sources: sources.collect::<Result<_, Diagnostic>>()?,
            destination: self.word(&transfer.destination)?,
            chown: self.optional(transfer.chown.as_ref())?,
            chmod: self.optional(transfer.chmod.as_ref())?,
            ..transfer.clone()
        })
    }

    /// The here-document as the file it becomes: tabs removed, variables replaced.
    fn heredoc(&self, heredoc: &Heredoc) -> Result<Heredoc, Diagnostic> {
        let mut content = heredoc.text();
        if heredoc.expand {
            content = Expander::heredoc(&content, self.lookup)
                .map_err(|error| Diagnostic::error(heredoc.content_span, error.to_string()))?;
        }
        Ok(Heredoc { content, chomp: false, expand: false, ..heredoc.clone() })
    }
}
