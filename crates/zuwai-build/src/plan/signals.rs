//! Signals as STOPSIGNAL takes them.

use zuwai_dockerfile::{Diagnostic, Word};

/// Takes signals by name, with or without `SIG`, or by number, as docker does.
///
/// # Errors
/// For anything else.
pub fn check(signal: &Word) -> Result<(), Diagnostic> {
    const NAMES: [&str; 34] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
        "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
        "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
    ];
    let text = signal.text.to_ascii_uppercase();
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let offset = |base: &str, sign: char| {
        name.strip_prefix(base).and_then(|rest| {
            if rest.is_empty() { Some(0) } else { rest.strip_prefix(sign)?.parse::<u8>().ok() }
        })
    };
    let known = NAMES.contains(&name)
        || offset("RTMIN", '+').is_some_and(|offset| offset <= 15)
        || offset("RTMAX", '-').is_some_and(|offset| offset <= 14)
        || signal.text.parse::<u32>().is_ok_and(|number| number > 0);
    if known {
        return Ok(());
    }
    Err(Diagnostic::error(signal.span, format!("invalid signal: {}", signal.text))
        .with_help("name a signal (SIGTERM, TERM) or give its number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zuwai_dockerfile::Span;

    #[test]
    fn signals_are_named_or_numbered() {
        let word = |text: &str| Word { text: text.to_owned(), span: Span::new(0, 0) };
        for text in ["SIGTERM", "term", "9", "SIGRTMIN", "SIGRTMIN+3", "RTMAX-14"] {
            assert!(check(&word(text)).is_ok(), "{text}");
        }
        for text in ["", "0", "SIGNOPE", "RTMIN+16", "RTMAX-15", "-9"] {
            assert!(check(&word(text)).is_err(), "{text}");
        }
    }
}
