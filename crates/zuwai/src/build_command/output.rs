//! `-o`: where docker's users say that the image goes.

use std::path::PathBuf;

use crate::error::ProgramError;
use crate::flag_value::parse_bool;
use crate::source::absolute;

/// One place for the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// An OCI layout in a tar file.
    OciArchive(PathBuf),
    /// An OCI layout in a directory.
    OciLayout(PathBuf),
    /// A docker archive.
    DockerArchive(PathBuf),
    /// The registries of the image's names.
    Registry,
}

/// An `-o` as it was typed, and the names it gives the image besides those of `-t`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedOutput {
    /// The place.
    pub output: Output,
    /// `name=`.
    pub names: Vec<String>,
}

/// Reads one `-o`: `type=T,key=value,...`.
///
/// # Errors
/// When a key or value is wrong, or asks for what is not done yet.
pub fn parse(text: &str) -> Result<ParsedOutput, ProgramError> {
    let wrong = |reason: &str| ProgramError::Output { value: text.to_owned(), reason: reason.to_owned() };
    let later = |what: String| ProgramError::NotSupported(format!("-o {what}"));
    if !text.contains('=') {
        return Err(later("DIRECTORY (type=local)".to_owned()));
    }
    let (mut kind, mut dest, mut names, mut tar, mut push) = ("", None, Vec::new(), true, None);
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        let truth = || {
            parse_bool(value).ok_or_else(|| ProgramError::Output {
                value: text.to_owned(),
                reason: format!("{key} is true or false, not {value:?}"),
            })
        };
        match key {
            "type" => kind = value,
            "dest" => dest = Some(value),
            "name" => names.push(value.to_owned()),
            "tar" => tar = truth()?,
            "push" => push = Some(truth()?),
            // The layers and documents are OCI's as it is.
            "oci-mediatypes" if truth()? => {}
            "compression" | "compression-level" => {
                return Err(later(format!("{key}=... (there is --{key})")));
            }
            _ => return Err(later(format!("{key}=..."))),
        }
    }
    let file = |what: &str| match dest {
        None | Some("") => Err(wrong(&format!("{what} needs dest=FILE"))),
        Some("-") => Err(later("dest=-".to_owned())),
        Some(path) => Ok(absolute(path)),
    };
    let output = match kind {
        "oci" if tar => Output::OciArchive(file("type=oci")?),
        "oci" => Output::OciLayout(file("type=oci")?),
        "docker" => Output::DockerArchive(file("type=docker")?),
        "registry" if push != Some(false) => Output::Registry,
        "image" if push == Some(true) => Output::Registry,
        "image" | "registry" => return Err(wrong("without push=true it is for a daemon, and there is none")),
        "" => return Err(wrong("type is missing")),
        other => return Err(later(format!("type={other}"))),
    };
    Ok(ParsedOutput { output, names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_dockers() {
        for (text, expected) in [
            ("type=oci,dest=x.tar", Output::OciArchive(absolute("x.tar"))),
            ("type=oci,dest=dir,tar=false", Output::OciLayout(absolute("dir"))),
            ("dest=x.tar,type=docker", Output::DockerArchive(absolute("x.tar"))),
            ("type=registry", Output::Registry),
            ("type=image,push=true", Output::Registry),
            ("type=image,push,oci-mediatypes=true", Output::Registry),
        ] {
            assert_eq!(parse(text).unwrap().output, expected, "{text}");
        }
        assert_eq!(parse("type=image,name=a:1,push=true").unwrap().names, ["a:1"]);
    }

    #[test]
    fn what_is_wrong_or_not_done_is_said() {
        for (text, expected) in [
            ("out", "-o DIRECTORY (type=local) is not supported yet"),
            ("type=local,dest=out", "-o type=local is not supported yet"),
            ("type=oci", "type=oci needs dest=FILE"),
            ("type=docker", "type=docker needs dest=FILE"),
            ("type=oci,dest=-", "-o dest=- is not supported yet"),
            ("type=image", "there is none"),
            ("type=oci,dest=x,tar=maybe", "tar is true or false, not \"maybe\""),
            ("type=oci,dest=x,rewrite-timestamp=true", "-o rewrite-timestamp=... is not supported yet"),
            ("type=oci,dest=x,oci-mediatypes=false", "-o oci-mediatypes=... is not supported yet"),
            ("dest=x", "type is missing"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
