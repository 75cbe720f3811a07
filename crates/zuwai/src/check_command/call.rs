//! `--call` and `--check` of `zuwai build`, as buildx has them.

use crate::error::ProgramError;
use crate::pflag::{FlagError, Parsed};

/// How a check that was asked for in place of a build is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The form of what it says.
    pub format: Format,
    /// Findings do not fail the program.
    pub ignore_status: bool,
}

/// The form of what a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Call {
    /// What the flags of a build ask for: a check, or, with nothing here, a build.
    ///
    /// # Errors
    /// When they ask for something else.
    pub fn of(flags: &Parsed) -> Result<Option<Self>, ProgramError> {
        match flags.non_empty("call") {
            // Of the two it counts, as with buildx.
            Some(text) => parse(text),
            None => Ok(flags.bool("check").then(Self::default)),
        }
    }
}

impl Default for Call {
    fn default() -> Self {
        Self { format: Format::Text, ignore_status: false }
    }
}

/// `check[,format=text|json][,ignorestatus=true]`, or a build.
fn parse(text: &str) -> Result<Option<Call>, ProgramError> {
    let wrong = |part: &str| {
        let reason = format!("{part:?} is none of build, check, format=text, format=json, ignorestatus=true");
        FlagError::InvalidValue { value: text.to_owned(), flag: "--call".to_owned(), reason }
    };
    let mut call = Call::default();
    let mut name = "";
    for (position, part) in text.split(',').enumerate() {
        match part.split_once('=') {
            None if position == 0 => name = part,
            Some(("format", "text")) => call.format = Format::Text,
            Some(("format", "json")) => call.format = Format::Json,
            Some(("ignorestatus", "true" | "1")) => call.ignore_status = true,
            Some(("ignorestatus", "false" | "0")) => call.ignore_status = false,
            _ => return Err(wrong(part).into()),
        }
    }
    match name {
        "build" => Ok(None),
        "check" | "lint" => Ok(Some(call)),
        "outline" | "targets" => Err(ProgramError::NotSupported(format!("--call={name}"))),
        other => Err(wrong(other).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_called_as_buildx_calls_them() {
        let json = Call { format: Format::Json, ignore_status: false };
        for (text, expected) in [
            ("build", None),
            ("check", Some(Call::default())),
            ("check,format=json", Some(json)),
            ("lint,format=json,ignorestatus=true", Some(Call { ignore_status: true, ..json })),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for (text, expected) in [
            ("outline", "--call=outline is not supported yet"),
            ("chek", "invalid argument \"chek\" for \"--call\" flag: \"chek\" is none of"),
            (
                "check,format=xml",
                "invalid argument \"check,format=xml\" for \"--call\" flag: \"format=xml\" is",
            ),
            ("format=json", "invalid argument \"format=json\" for \"--call\" flag: \"\" is none of"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
