//! RUN, its flags, and what it runs once here-documents are in place.

use super::Reader;
use crate::ast::{CommandLine, DeviceFlag, NetworkMode, RunInstruction, RunScript, SecurityMode, Word};
use crate::diagnostic::Diagnostic;
use crate::directive::parse_bool;
use crate::flag::Takes;
use crate::heredoc::opening;
use crate::mount::{MountFlag, csv_fields};
use crate::source::Span;
use crate::suggest::with_suggestion;

impl Reader<'_> {
    pub(super) fn run(&self) -> Result<RunInstruction, Diagnostic> {
        let flags = self.flags(&[
            ("device", Takes::Texts),
            ("mount", Takes::Texts),
            ("network", Takes::Text),
            ("security", Takes::Text),
        ])?;
        let mounts = flags
            .all("mount")
            .map(|flag| MountFlag::read(&flag.value, flag.span))
            .collect::<Result<Vec<_>, _>>()?;
        let network = match flags.get("network").map(|flag| flag.value.clone()) {
            None => None,
            Some(value) => Some((
                choice(
                    &value,
                    "network mode",
                    &[
                        ("default", NetworkMode::Default),
                        ("host", NetworkMode::Host),
                        ("none", NetworkMode::None),
                    ],
                )?,
                flags.span("network").unwrap_or(value.span),
            )),
        };
        let security = match flags.get("security").map(|flag| flag.value.clone()) {
            None => None,
            Some(value) => Some((
                choice(
                    &value,
                    "security mode",
                    &[("insecure", SecurityMode::Insecure), ("sandbox", SecurityMode::Sandbox)],
                )?,
                flags.span("security").unwrap_or(value.span),
            )),
        };
        let devices =
            flags.all("device").map(|flag| device(&flag.value, flag.span)).collect::<Result<Vec<_>, _>>()?;
        let command = self.command_line(self.parts.rest.clone())?;
        if matches!(&command, CommandLine::Exec(words) if words.is_empty()) {
            return Err(self
                .rest_error("arguments are required")
                .with_help("name the command inside the array"));
        }
        Ok(RunInstruction { command, heredocs: self.heredocs.to_vec(), mounts, network, security, devices })
    }
}

fn choice<T: Copy>(value: &Word, what: &str, choices: &[(&'static str, T)]) -> Result<T, Diagnostic> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    choices.iter().find(|(name, _)| *name == value.text).map(|(_, choice)| *choice).ok_or_else(|| {
        let message = with_suggestion(format!("invalid {what} {:?}", value.text), &value.text, &names);
        Diagnostic::error(value.span, message).with_help(format!("one of: {}", names.join(", ")))
    })
}

fn device(value: &Word, span: Span) -> Result<DeviceFlag, Diagnostic> {
    let wrong = |message: String| {
        Diagnostic::error(value.span, message).with_help("write --device=NAME or --device=name=NAME,required")
    };
    let fields =
        csv_fields(&value.text).map_err(|error| wrong(format!("failed to parse csv devices: {error}")))?;
    let mut flag = DeviceFlag { span, name: String::new(), required: false };
    for (index, (field, _)) in fields.iter().enumerate() {
        match field.split_once('=') {
            None if field.eq_ignore_ascii_case("required") => flag.required = true,
            // A lone first field is the name; CDI names such as vendor.com/class=name hold a = of their own.
            None if index == 0 => flag.name.clone_from(field),
            Some((key, _)) if index == 0 && key.contains('/') => flag.name.clone_from(field),
            Some((key, value)) if key.eq_ignore_ascii_case("name") => value.clone_into(&mut flag.name),
            Some((key, value)) if key.eq_ignore_ascii_case("required") => {
                flag.required =
                    parse_bool(value).ok_or_else(|| wrong(format!("invalid value for required: {value}")))?;
            }
            Some((key, _)) => return Err(wrong(format!("unexpected key '{key}' in '{field}'"))),
            None => return Err(wrong(format!("invalid field '{field}' must be a key=value pair"))),
        }
    }
    if flag.name.is_empty() {
        return Err(wrong("device name is missing".to_owned()));
    }
    Ok(flag)
}

impl RunInstruction {
    /// What is run, with here-documents put where BuildKit puts them: one that is the whole command is the script
    /// itself (a file where it starts with `#!`), others are given to the shell behind the line they stand in.
    pub fn script(&self) -> RunScript {
        let text = match &self.command {
            CommandLine::Exec(words) => {
                return RunScript::Exec(words.iter().map(|word| word.text.clone()).collect());
            }
            CommandLine::Shell(word) => &word.text,
        };
        let Some(first) = self.heredocs.first() else { return RunScript::Shell(text.clone()) };
        if opening(text).is_some() {
            return if first.content.starts_with("#!") {
                RunScript::File { name: first.name.clone(), content: first.text() }
            } else {
                RunScript::Shell(first.text())
            };
        }
        let mut script = text.clone();
        for heredoc in &self.heredocs {
            script.push('\n');
            script.push_str(&heredoc.content);
            script.push_str(&heredoc.name);
        }
        RunScript::Shell(script)
    }
}
