//! Help texts, laid out as cobra and pflag lay them out.

use std::fmt::Write as _;

use crate::flag_value::Kind;
use crate::pflag::{Flag, Support};

/// What help says about a command.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// What one types, as `zuwai build`.
    pub name: &'static str,
    /// What follows the flags, as `CONTEXT`.
    pub arguments: &'static str,
    /// What the command is for.
    pub about: &'static str,
    /// Its subcommands with a line each.
    pub subcommands: &'static [(&'static str, &'static str)],
    /// Its flags.
    pub flags: &'static [Flag],
}

impl Command {
    /// The text of `--help`.
    pub fn help(&self) -> String {
        let mut text = format!("{}\n\nUsage:\n", self.about);
        if !self.flags.is_empty() || self.subcommands.is_empty() {
            let arguments = if self.arguments.is_empty() { "" } else { " " };
            let _ = writeln!(text, "  {} [flags]{arguments}{}", self.name, self.arguments);
        }
        if !self.subcommands.is_empty() {
            let _ = writeln!(text, "  {} [command]\n\nAvailable Commands:", self.name);
            let width = self.subcommands.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            for (name, about) in self.subcommands {
                let _ = writeln!(text, "  {name:width$} {about}");
            }
        }
        if !self.flags.is_empty() {
            text.push_str("\nFlags:\n");
            text.push_str(&flag_usages(self.flags));
        }
        if !self.subcommands.is_empty() {
            let name = self.name;
            let _ = writeln!(text, "\nUse \"{name} [command] --help\" for more information about a command.");
        }
        text
    }

    /// What follows an error about how the command was typed.
    pub fn hint(&self) -> String {
        format!("Run '{} --help' for usage.", self.name)
    }
}

/// pflag's `FlagUsages`: sorted by name, columns three apart.
fn flag_usages(flags: &[Flag]) -> String {
    let mut lines: Vec<(&str, String, String)> = flags
        .iter()
        .filter(|flag| !matches!(flag.support, Support::Deprecated(_)))
        .map(|flag| (flag.name, left_column(flag), right_column(flag)))
        .collect();
    lines.push(("help", "  -h, --help".to_owned(), "print this help".to_owned()));
    lines.sort();
    let width = lines.iter().map(|(_, left, _)| left.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (_, left, right) in lines {
        let _ = writeln!(text, "{left:width$}   {right}");
    }
    text
}

fn left_column(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let value = match flag.kind {
        Kind::Bool => String::new(),
        kind => format!(" {}", kind.name()),
    };
    format!("  {short}--{}{value}", flag.name)
}

fn right_column(flag: &Flag) -> String {
    let mut text = flag.help.to_owned();
    match flag.kind {
        _ if matches!(flag.default, "" | "0" | "0s" | "false") => {}
        Kind::Text | Kind::Word(..) => {
            let _ = write!(text, " (default {:?})", flag.default);
        }
        _ => {
            let _ = write!(text, " (default {})", flag.default);
        }
    }
    if let Some(variable) = flag.environment {
        let _ = write!(text, " [{variable}]");
    }
    match flag.support {
        Support::Works | Support::Deprecated(_) => {}
        Support::AlwaysSo(why) => {
            let _ = write!(text, " (always so: {why})");
        }
        Support::OnlyWith(other) => {
            let _ = write!(text, " (only with --{other})");
        }
        Support::Later(_) => text.push_str(" (not supported yet)"),
    }
    text
}
