//! Standard output and error. The only place that writes results, help and the last error.

use std::io::Write as _;

/// Writes to standard output. A reader that went away is no error.
pub fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// As [`print`], for what may be no text.
pub fn print_bytes(bytes: &[u8]) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(bytes).and_then(|()| output.flush());
}

/// Writes to standard error.
pub fn print_error(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// What `--version` says.
pub fn version() -> String {
    format!("zuwai {}\n", env!("CARGO_PKG_VERSION"))
}
