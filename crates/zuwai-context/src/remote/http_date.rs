//! Dates as HTTP writes them (RFC 9110, section 5.6.7).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The three forms: today's, that of RFC 850, and that of C's `asctime`.
const FORMS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// The moment that a header such as `Last-Modified` names; `None` if it is no date.
pub fn parse(text: &str) -> Option<Timestamp> {
    let date = FORMS.iter().find_map(|form| DateTime::strptime(form, text.trim()).ok())?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse(text).map(|date| date.as_second()), seconds, "{text:?}");
        }
    }
}
