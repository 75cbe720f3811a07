//! EXPOSE: a port of the container, with a protocol in lower case.

use super::{Linter, Rule};
use crate::ast::Word;
use crate::source::Span;

/// `ports` are the words with their variables replaced, each at the place of the word it comes from.
pub(super) fn check(ports: &[Word], instruction: Span, linter: &mut Linter<'_>) {
    for port in ports {
        let written = &port.text;
        let (numbers, protocol) = written.split_once('/').unwrap_or((written, ""));
        if protocol != protocol.to_lowercase() {
            let detail = format!("Defined protocol '{written}' in EXPOSE instruction should be lowercase");
            linter.found(Rule::ExposeProtoCasing, port.span, instruction, detail);
        }
        if numbers.contains(':') {
            let detail = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{written}'"
            );
            linter.found(Rule::ExposeInvalidFormat, port.span, instruction, detail);
        }
    }
}
