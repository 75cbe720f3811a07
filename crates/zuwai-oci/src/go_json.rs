//! JSON as Go's encoding/json writes it. Digests are over bytes, so spacing and escapes count.

use std::io;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Serialises as Go's `json.Marshal`: compact, and with `<`, `>`, `&`, U+2028 and U+2029 escaped.
pub fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, GoFormatter(CompactFormatter)))?;
    Ok(bytes)
}

/// Serialises as Go's `json.MarshalIndent` with two spaces, as BuildKit writes manifests.
pub fn to_vec_indented(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    let formatter = GoFormatter(PrettyFormatter::with_indent(b"  "));
    value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(bytes)
}

/// Reads a JSON object. serde alone would take an array for a structure.
pub(crate) fn from_object<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, serde_json::Error> {
    match bytes.trim_ascii_start().first() {
        Some(b'{') | None => serde_json::from_slice(bytes),
        Some(_) => Err(serde::de::Error::custom("expected an object")),
    }
}

/// Takes `null` for the empty value, as Go does.
pub fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether a flag is off, for fields with `omitempty`.
pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}

/// Whether a number is zero, for fields with `omitempty`.
pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Go's string escapes over another formatter's spacing.
struct GoFormatter<F>(F);

impl<F: Formatter> Formatter for GoFormatter<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (at, special) in fragment.char_indices() {
            let escape: &[u8] = match special {
                '<' => b"\\u003c",
                '>' => b"\\u003e",
                '&' => b"\\u0026",
                '\u{2028}' => b"\\u2028",
                '\u{2029}' => b"\\u2029",
                // serde_json leaves DEL alone, and so does Go.
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[written..at])?;
            writer.write_all(escape)?;
            written = at + special.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        self.0.write_char_escape(writer, escape)
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_go() {
        // The right-hand sides were printed by Go 1.24's json.Marshal.
        for (text, expected) in [
            ("a<b>&c", r#""a\u003cb\u003e\u0026c""#),
            ("\u{2028}\u{2029}é日", "\"\\u2028\\u2029é日\""),
            ("\"\\/\n\r\t\u{8}\u{c}\u{1}\u{7f}", "\"\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\u{7f}\""),
        ] {
            assert_eq!(String::from_utf8(to_vec(&text).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn indented_form_is_that_of_marshal_indent() {
        let value = serde_json::json!({"a": [], "b": {}, "c": [1, {"d": "<"}]});
        let expected = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"d\": \"\\u003c\"\n    }\n  ]\n}";
        assert_eq!(String::from_utf8(to_vec_indented(&value).unwrap()).unwrap(), expected);
    }
}
