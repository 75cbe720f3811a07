//! Where images are, as users of skopeo and crane write it: `docker://NAME` or the name alone, `oci:DIRECTORY[:TAG]`,
//! `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME]`, or a path.

use std::path::Path;

use zuwai_build::request::Outputs;
use zuwai_build::transfer::source::{Source, Which};
use zuwai_oci::reference::Reference;

use crate::building;
use crate::error::ProgramError;
use crate::source::absolute;

/// What other tools know, and what is to be typed in its place.
const OTHERS: [(&str, &str); 4] = [
    ("dir:", "oci:"),
    ("docker-daemon:", "the archive of 'docker save'"),
    ("containers-storage:", "the archive of 'podman save'"),
    ("oci-dir:", "oci:"),
];

/// A source, of which a word without a prefix is a path: that of `push`.
///
/// # Errors
/// When it cannot be one.
pub fn file_source(text: &str) -> Result<Source, ProgramError> {
    match prefixed(text)? {
        Some(source) => Ok(source),
        None if text == "-" => Ok(Source::Path("/dev/stdin".into())),
        None => Ok(Source::Path(absolute(text))),
    }
}

/// A source, of which a word without a prefix is an image's name, unless it begins as a path does or names a file.
///
/// # Errors
/// When it cannot be one.
pub fn source(text: &str) -> Result<Source, ProgramError> {
    if let Some(source) = prefixed(text)? {
        return Ok(source);
    }
    if is_path(text) || Path::new(text).is_file() {
        return Ok(Source::Path(absolute(text)));
    }
    name(text).map(Source::Registry)
}

/// Adds a destination to what is written. `from` is where the image comes from, whose name it has in archives and layouts
/// where no other is given.
///
/// # Errors
/// When it cannot be one.
pub fn add_destination(text: &str, from: &Source, outputs: &mut Outputs) -> Result<(), ProgramError> {
    let same_name = |outputs: &mut Outputs| {
        if let Source::Registry(reference) = from
            && reference.tag().is_some()
        {
            outputs.names.push(without_digest(reference));
        }
    };
    let place = match prefixed(text)? {
        None if is_path(text) => {
            return Err(ProgramError::Place {
                text: text.to_owned(),
                problem: "is a path; say what is to be written there with oci:, oci-archive: or docker-archive: before it",
            });
        }
        None => Source::Registry(name(text)?),
        Some(place) => place,
    };
    let tag = |which: Which| match which {
        Which::Only => Ok(None),
        Which::Tag(tag) => Ok(Some(tag)),
        Which::Digest(_) => {
            let problem = "has a digest, which is that of the image that is written";
            Err(ProgramError::Place { text: text.to_owned(), problem })
        }
    };
    let tag = match place {
        Source::Registry(_) => {
            outputs.push.push(building::name_for("DESTINATION", text.trim_start_matches("docker://"))?);
            return Ok(());
        }
        Source::Layout { directory, which } => {
            outputs.oci_layout = Some(directory);
            tag(which)?
        }
        Source::OciArchive { file, which } => {
            outputs.oci_archive = Some(file);
            tag(which)?
        }
        Source::DockerArchive { file, name } => {
            outputs.docker_archive = Some(file);
            match name {
                Some(name) => outputs.names.push(building::name_for("DESTINATION", &name)?),
                None => same_name(outputs),
            }
            return Ok(());
        }
        Source::Path(_) => return Ok(()),
    };
    match tag {
        // A whole name may stand in the tag's place.
        Some(tag) if tag.contains([':', '/']) => outputs.names.push(building::name_for("DESTINATION", &tag)?),
        Some(tag) => outputs.tags.push(tag),
        None => same_name(outputs),
    }
    Ok(())
}

/// The name that an image which was asked for by name and digest has afterwards.
pub fn without_digest(reference: &Reference) -> Reference {
    reference.tag().and_then(|tag| reference.with_tag(tag).ok()).unwrap_or_else(|| reference.clone())
}

fn name(text: &str) -> Result<Reference, ProgramError> {
    Reference::parse(text).map_err(|source| ProgramError::Reference { flag: "the image", source })
}

fn is_path(text: &str) -> bool {
    text.starts_with(['/', '.'])
}

/// What a text with a known prefix means.
fn prefixed(text: &str) -> Result<Option<Source>, ProgramError> {
    for (prefix, instead) in OTHERS {
        if text.starts_with(prefix) {
            return Err(ProgramError::NotSupported(format!("{prefix} (take {instead})")));
        }
    }
    let wrong = |problem| ProgramError::Place { text: text.to_owned(), problem };
    if let Some(rest) = text.strip_prefix("docker://") {
        return name(rest).map(|name| Some(Source::Registry(name)));
    }
    let Some((prefix @ ("oci" | "oci-layout" | "oci-archive" | "docker-archive"), rest)) =
        text.split_once(':')
    else {
        return Ok(None);
    };
    // Both spellings of a layout are in use: oci:DIRECTORY and oci-layout://DIRECTORY.
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    if prefix == "docker-archive" {
        let (file, name) = match rest.split_once(':') {
            Some((file, name)) => (file, Some(name.to_owned())),
            None => (rest, None),
        };
        return match file {
            "" => Err(wrong("lacks the file's name")),
            file => Ok(Some(Source::DockerArchive { file: absolute(file), name })),
        };
    }
    let (path, which) = match rest.split_once('@') {
        Some((path, digest)) => {
            let digest = digest.parse().map_err(|_| wrong("has no digest after the @"))?;
            (path.split(':').next().unwrap_or_default(), Which::Digest(digest))
        }
        None => match rest.split_once(':') {
            Some((_, "")) => return Err(wrong("lacks the tag after the colon")),
            Some((path, tag)) => (path, Which::Tag(tag.to_owned())),
            None => (rest, Which::Only),
        },
    };
    match (path, prefix) {
        ("", _) => Err(wrong("lacks the path")),
        (path, "oci-archive") => Ok(Some(Source::OciArchive { file: absolute(path), which })),
        (path, _) => Ok(Some(Source::Layout { directory: absolute(path), which })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn places_are_skopeos() {
        let tag = |tag: &str| Which::Tag(tag.to_owned());
        let layout = |which| Source::Layout { directory: "/a".into(), which };
        let registry = |name: &str| Source::Registry(Reference::parse(name).unwrap());
        for (text, expected) in [
            ("docker://busybox", registry("busybox")),
            ("localhost:5000/a:1", registry("localhost:5000/a:1")),
            ("oci:/a", layout(Which::Only)),
            ("oci:/a:1.2", layout(tag("1.2"))),
            ("oci:/a:h.io/x:1", layout(tag("h.io/x:1"))),
            ("oci-layout:///a:t", layout(tag("t"))),
            (&format!("oci:/a@{DIGEST}"), layout(Which::Digest(DIGEST.parse().unwrap()))),
            ("oci-archive:/a.tar", Source::OciArchive { file: "/a.tar".into(), which: Which::Only }),
            ("docker-archive:/a.tar", Source::DockerArchive { file: "/a.tar".into(), name: None }),
            (
                "docker-archive:/a.tar:x:1",
                Source::DockerArchive { file: "/a.tar".into(), name: Some("x:1".into()) },
            ),
            ("/a/b.tar", Source::Path("/a/b.tar".into())),
        ] {
            assert_eq!(source(text).unwrap(), expected, "{text}");
        }
        assert_eq!(source("./x").unwrap(), Source::Path(absolute("./x")));
        assert_eq!(file_source("x").unwrap(), Source::Path(absolute("x")));
        assert_eq!(file_source("-").unwrap(), Source::Path("/dev/stdin".into()));
    }

    #[test]
    fn what_is_no_place_is_said() {
        for (text, expected) in [
            ("dir:/a", "dir: (take oci:) is not supported"),
            ("docker-daemon:x:1", "docker save"),
            ("oci:", "lacks the path"),
            ("oci:/a:", "lacks the tag"),
            ("oci:/a@sha256:11", "no digest after the @"),
            ("docker-archive::x", "lacks the file's name"),
            ("Not A Name", "invalid image name"),
        ] {
            let error = source(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let mut outputs = Outputs::default();
        let from = source("busybox").unwrap();
        for text in ["/a/b", &format!("oci:/a@{DIGEST}"), &format!("busybox@{DIGEST}")] {
            assert!(add_destination(text, &from, &mut outputs).is_err(), "{text}");
        }
    }

    #[test]
    fn a_destination_without_a_name_keeps_the_sources() {
        let from = source("h.io/x:1").unwrap();
        for (text, names, tags) in [
            ("oci:/a", &["h.io/x:1"][..], &[][..]),
            ("oci:/a:t", &[], &["t"]),
            ("oci-archive:/a:docker.io/x/y:2", &["x/y:2"], &[]),
            ("docker-archive:/a", &["h.io/x:1"], &[]),
            ("docker-archive:/a:z", &["z:latest"], &[]),
        ] {
            let mut outputs = Outputs::default();
            add_destination(text, &from, &mut outputs).unwrap();
            let found: Vec<String> = outputs.names.iter().map(Reference::familiar).collect();
            assert_eq!(
                (found.as_slice(), outputs.tags.as_slice()),
                (
                    &names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()[..],
                    &tags.iter().map(|t: &&str| (*t).to_owned()).collect::<Vec<_>>()[..]
                ),
                "{text}"
            );
        }
    }
}
