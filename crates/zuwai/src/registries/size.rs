//! Sizes as docker writes them: `50m`.

use crate::error::ProgramError;

/// Smallest size that is taken: a request for every few bytes would be a mistake.
const LEAST: u64 = 64 << 10;

/// Bytes, or with `k`, `m` or `g` after the number kibi-, mebi- or gibibytes; none where nothing is said.
///
/// # Errors
/// When it is not a size.
pub fn read(flag: &'static str, text: &str) -> Result<Option<u64>, ProgramError> {
    if text.is_empty() {
        return Ok(None);
    }
    let problem =
        || "it must be a number of bytes, or one with k, m or g after it, and at least 64k".to_owned();
    let refused = || ProgramError::RegistryFlag { flag, value: text.to_owned(), problem: problem() };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(refused()),
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    size.filter(|size| *size >= LEAST).map(Some).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (text, expected) in [
            ("", None),
            ("65536", Some(64 << 10)),
            ("80k", Some(80 << 10)),
            ("50M", Some(50 << 20)),
            ("2GiB", Some(2 << 30)),
        ] {
            assert_eq!(read("--x", text).unwrap(), expected, "{text}");
        }
        for text in ["0", "1", "63k", "m", "-1", "1.5m", "1t", "5 m", "99999999999g", "\u{663}"] {
            assert!(read("--x", text).unwrap_err().to_string().contains(&format!("{text:?}")), "{text}");
        }
    }
}
