//! One line of comma-separated values, as docker's flags have them: Go's `encoding/csv`, with its error texts.

/// The fields of a line. A field with a comma or quote in it stands in quotes, a quote in there is doubled. Only the
/// line's end is an end: a line break within is part of a field.
///
/// # Errors
/// When a quote is where none may be.
pub fn fields(line: &str) -> Result<Vec<String>, CsvError> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let at = line.len() - rest.len();
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, at + 1)?,
            None => plain_field(rest, at)?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// A quote inside a field that is not in quotes. The column counts bytes, from 1.
    #[error("parse error on line 1, column {0}: bare \" in non-quoted-field")]
    BareQuote(usize),
    /// A quote that does not end its field, or a field without its second one.
    #[error("parse error on line 1, column {0}: extraneous or missing \" in quoted-field")]
    Quote(usize),
}

/// A field and what follows the comma after it, if there is one.
type Field<'a> = (String, Option<&'a str>);

/// `at` is how many bytes of the line are before the field.
fn plain_field(rest: &str, at: usize) -> Result<Field<'_>, CsvError> {
    let (field, after) = match rest.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (without_line_break(rest), None),
    };
    match field.find('"') {
        Some(quote) => Err(CsvError::BareQuote(at + quote + 1)),
        None => Ok((field.to_owned(), after)),
    }
}

/// `at` is how many bytes of the line are before the field's text.
fn quoted_field(mut rest: &str, mut at: usize) -> Result<Field<'_>, CsvError> {
    let mut field = String::new();
    loop {
        let Some((text, after)) = rest.split_once('"') else { return Err(CsvError::Quote(at + 1)) };
        field.push_str(text);
        at += text.len() + 1;
        if let Some(more) = after.strip_prefix('"') {
            field.push('"');
            rest = more;
            at += 1;
        } else if let Some(after) = after.strip_prefix(',') {
            return Ok((field, Some(after)));
        } else if without_line_break(after).is_empty() {
            return Ok((field, None));
        } else {
            return Err(CsvError::Quote(at));
        }
    }
}

fn without_line_break(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_gos() {
        for (line, expected) in [
            ("", &[""][..]),
            (",", &["", ""]),
            ("a=1,b=2", &["a=1", "b=2"]),
            ("a,", &["a", ""]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#"a,"b""c","#, &["a", "b\"c", ""]),
            (r#""""#, &[""]),
            ("a,b\r\n", &["a", "b"]),
            ("\"a\n\"\n", &["a\n"]),
            (" a, b", &[" a", " b"]),
        ] {
            assert_eq!(fields(line).unwrap(), expected, "{line:?}");
        }
    }

    /// The columns are those that buildx 0.29 names.
    #[test]
    fn quotes_in_wrong_places_are_errors() {
        for (line, expected) in [
            (r#"id=x,src="f""#, CsvError::BareQuote(10)),
            ("é,src=\"x", CsvError::BareQuote(8)),
            (r#"id=x,"src=f"#, CsvError::Quote(7)),
            ("é,\"", CsvError::Quote(5)),
            (r#"id=x,"a""b"#, CsvError::Quote(10)),
            (r#"id=x,"src"=f"#, CsvError::Quote(10)),
            (r#"id=x,"a""b"c"#, CsvError::Quote(11)),
        ] {
            assert_eq!(fields(line).unwrap_err(), expected, "{line:?}");
        }
    }
}
