//! HEALTHCHECK and its options.

use std::time::Duration;

use super::Reader;
use crate::ast::{CommandLine, Healthcheck, HealthcheckInstruction};
use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::flag::{Flags, Takes};
use crate::lex::trim;

/// The shortest time that may be asked for.
const MINIMUM: Duration = Duration::from_millis(1);

impl Reader<'_> {
    pub(super) fn healthcheck(&self) -> Result<HealthcheckInstruction, Diagnostic> {
        let help = "write HEALTHCHECK CMD command or HEALTHCHECK NONE";
        let rest = self.rest();
        if rest.is_empty() {
            return Err(self.keyword_error("HEALTHCHECK requires at least one argument").with_help(help));
        }
        let kind_end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let kind = &rest[..kind_end];
        let command = trim(&self.line.text, self.parts.rest.start + kind_end..self.parts.rest.end);
        if kind.eq_ignore_ascii_case("none") {
            if !command.is_empty() {
                let span = self.range_span(&command);
                return Err(Diagnostic::error(span, "HEALTHCHECK NONE takes no arguments").with_help(help));
            }
            return Ok(HealthcheckInstruction::None);
        }
        let flags = self.flags(&[
            ("interval", Takes::Text),
            ("retries", Takes::Text),
            ("start-interval", Takes::Text),
            ("start-period", Takes::Text),
            ("timeout", Takes::Text),
        ])?;
        if !kind.eq_ignore_ascii_case("cmd") {
            let message = format!("Unknown type {:?} in HEALTHCHECK (try CMD)", kind.to_uppercase());
            return Err(self.rest_error(message).with_help(help));
        }
        let missing = || self.rest_error("Missing command after HEALTHCHECK CMD").with_help(help);
        if command.is_empty() {
            return Err(missing());
        }
        let command = self.command_line(command)?;
        if matches!(&command, CommandLine::Exec(words) if words.is_empty()) {
            return Err(missing());
        }
        Ok(HealthcheckInstruction::Command(Healthcheck {
            command,
            interval: interval(&flags, "interval")?,
            timeout: interval(&flags, "timeout")?,
            start_period: interval(&flags, "start-period")?,
            start_interval: interval(&flags, "start-interval")?,
            retries: retries(&flags)?,
        }))
    }
}

fn interval(flags: &Flags, name: &str) -> Result<Duration, Diagnostic> {
    let Some(value) = flags.text(name) else { return Ok(Duration::ZERO) };
    let help = "write a number and a unit: 30s, 1m30s, 500ms";
    match duration::parse(&value.text) {
        Err(message) => Err(Diagnostic::error(value.span, message).with_help(help)),
        Ok((_, Duration::ZERO)) => Ok(Duration::ZERO),
        Ok((false, duration)) if duration >= MINIMUM => Ok(duration),
        Ok(_) => Err(Diagnostic::error(value.span, format!("Interval {name:?} cannot be less than 1ms"))
            .with_help(help)),
    }
}

fn retries(flags: &Flags) -> Result<u32, Diagnostic> {
    let Some(value) = flags.text("retries") else { return Ok(0) };
    match value.text.parse::<i32>() {
        Ok(number) if number < 0 => {
            Err(Diagnostic::error(value.span, format!("--retries cannot be negative ({number})")))
        }
        Ok(number) => Ok(number.unsigned_abs()),
        Err(_) => {
            let message = format!("strconv.ParseInt: parsing {:?}: invalid syntax", value.text);
            Err(Diagnostic::error(value.span, message).with_help("write a whole number"))
        }
    }
}
