//! What the user named as context.

use std::path::PathBuf;

use crate::error::ContextError;

/// A build context by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A local directory: a path, or `dir://PATH`.
    Directory(PathBuf),
}

/// Kinds that are known and not done yet, by what stands before `://`.
const LATER: &[(&str, &str)] = &[
    ("tar", "tar archive"),
    ("gs", "Google Cloud Storage"),
    ("s3", "S3"),
    ("git", "git"),
    ("ssh", "git"),
    ("http", "HTTP"),
    ("https", "HTTPS"),
];

impl Location {
    /// Reads what `--context` takes.
    ///
    /// # Errors
    /// When the kind is not known, or not supported yet; the message names it.
    pub fn parse(text: &str) -> Result<Self, ContextError> {
        let not_supported =
            |scheme| Err(ContextError::NotSupported { location: without_credentials(text), scheme });
        if text == "-" {
            return not_supported("standard input");
        }
        if text.starts_with("git@") && text.contains(':') {
            return not_supported("git");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Directory(PathBuf::from(text)));
        };
        if scheme == "dir" {
            return Ok(Self::Directory(PathBuf::from(rest)));
        }
        if scheme == "tar" && rest == "stdin" {
            return not_supported("standard input");
        }
        if scheme == "https" {
            let host = rest.split(['/', '?']).next().unwrap_or_default();
            if host.ends_with(".blob.core.windows.net") {
                return not_supported("Azure Blob Storage");
            }
            if rest.split(['#', '?']).next().is_some_and(|path| path.ends_with(".git")) {
                return not_supported("git");
            }
        }
        match LATER.iter().find(|(known, _)| *known == scheme) {
            Some((_, name)) => not_supported(name),
            None => Err(ContextError::UnknownScheme {
                location: without_credentials(text),
                scheme: scheme.to_owned(),
            }),
        }
    }
}

/// The text without a password or token before an `@`, nor a signature in a query.
fn without_credentials(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let rest = rest.split('?').next().unwrap_or_default();
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rfind('@').filter(|_| !scheme.is_empty()).map_or(0, |at| at + 1);
    if scheme.is_empty() { rest.to_owned() } else { format!("{scheme}://{}", &rest[host..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_dir_are_directories() {
        for (text, path) in
            [(".", "."), ("/workspace", "/workspace"), ("dir:///workspace/a", "/workspace/a"), ("a:b", "a:b")]
        {
            assert_eq!(Location::parse(text).unwrap(), Location::Directory(PathBuf::from(path)), "{text}");
        }
    }

    #[test]
    fn other_kinds_are_told_by_name() {
        for (text, kind) in [
            ("tar:///a.tar.gz", "tar archive"),
            ("tar://stdin", "standard input"),
            ("-", "standard input"),
            ("gs://bucket/a.tar.gz", "Google Cloud Storage"),
            ("s3://bucket/a.tar.gz", "S3"),
            ("https://account.blob.core.windows.net/c/a.tar.gz", "Azure Blob Storage"),
            ("https://example.com/a/b.git#main", "git"),
            ("git://github.com/a/b#refs/heads/c", "git"),
            ("git@github.com:a/b.git", "git"),
            ("https://example.com/a.tar.gz", "HTTPS"),
            ("http://example.com/a.tar.gz", "HTTP"),
        ] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{kind} contexts are not supported yet")), "{text}: {error}");
        }
        let error = Location::parse("ftp://host/a").unwrap_err().to_string();
        assert_eq!(error, "build context \"ftp://host/a\": unknown scheme \"ftp\"");
    }

    #[test]
    fn errors_hold_no_credentials() {
        for text in [
            "git://user:hunter2@host/a.git",
            "https://hunter2@host/a/b.git",
            "https://a.blob.core.windows.net/c/d?sig=hunter2",
        ] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
