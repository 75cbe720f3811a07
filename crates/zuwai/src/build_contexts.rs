//! `--build-context NAME=PLACE`: what stands in place of images and stages, with buildx's kinds of places.

use std::io;
use std::path::{Path, PathBuf};

use zuwai_build::named_context::{NamedContext, NamedContexts};
use zuwai_build::plan::ImageSource;
use zuwai_context::remote::{RemoteError, RemoteSource};
use zuwai_layer::digest::DigestError;
use zuwai_oci::OciError;
use zuwai_oci::archive::LayoutReference;
use zuwai_oci::reference::{Reference, ReferenceError};

const IMAGE: &str = "docker-image://";
const LAYOUT: &str = "oci-layout://";
const BAKE_TARGET: &str = "target:";
/// The image that has nothing in it.
const SCRATCH: &str = "scratch";

/// A `--build-context` that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("invalid value for --build-context {name:?}")]
pub struct BuildContextError {
    /// The name, or all of the value if it has none. The place may hold credentials.
    pub name: String,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a `--build-context`.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No `=`.
    #[error("it has no place: write NAME=PLACE")]
    NoPlace,
    /// A name that no image could have.
    #[error("its name is not one that a Dockerfile can use")]
    Name(#[source] ReferenceError),
    /// `target:`
    #[error("target:{0} is a target of a bake file, which a single build does not have")]
    BakeTarget(String),
    /// An unknown kind of place.
    #[error(
        "{0}:// is no kind of context; there are directories, docker-image://, oci-layout://, http://, https:// and git repositories"
    )]
    Scheme(String),
    /// A directory that is not there or cannot be read.
    #[error("cannot use the directory {path}", path = path.display())]
    Directory {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// What follows `docker-image://` is no image.
    #[error("no image has this name")]
    Image(#[source] ReferenceError),
    /// What follows `@` in an `oci-layout://` is no digest.
    #[error("what follows @ is no digest")]
    Digest(#[source] DigestError),
    /// The layout cannot be read, or has no such tag.
    #[error(transparent)]
    Layout(Box<OciError>),
    /// What looks like an address is none.
    #[error(transparent)]
    Remote(Box<RemoteError>),
}

impl BuildContextError {
    /// Whether the value is wrong in itself, whatever is on the disk.
    pub fn is_about_typing(&self) -> bool {
        !matches!(self.problem, Problem::Directory { .. } | Problem::Layout(_))
    }
}

/// The named contexts that the values of the flag give. Local places must be there; nothing is fetched.
///
/// # Errors
/// When a value is wrong, or what it names is not there.
pub fn read(values: &[String]) -> Result<NamedContexts, BuildContextError> {
    let mut contexts = NamedContexts::default();
    // An empty value is none, as with buildx.
    for value in values.iter().filter(|value| !value.is_empty()) {
        let (name, place) = value.split_once('=').unwrap_or((value, ""));
        let wrong = |problem| BuildContextError { name: name.to_owned(), problem };
        let context = context(place).map_err(wrong)?;
        contexts.insert(name, context).map_err(|error| wrong(Problem::Name(error)))?;
    }
    Ok(contexts)
}

fn context(place: &str) -> Result<NamedContext, Problem> {
    if place.is_empty() {
        return Err(Problem::NoPlace);
    }
    if let Some(image) = place.strip_prefix(IMAGE) {
        if image == SCRATCH {
            return Ok(NamedContext::Scratch);
        }
        let reference = Reference::parse(image).map_err(Problem::Image)?;
        return Ok(NamedContext::Image(Box::new(ImageSource::Registry(reference))));
    }
    if let Some(layout) = place.strip_prefix(LAYOUT) {
        return Ok(NamedContext::Image(Box::new(ImageSource::Layout(self::layout(layout)?))));
    }
    if let Some(target) = place.strip_prefix(BAKE_TARGET) {
        return Err(Problem::BakeTarget(target.to_owned()));
    }
    if !Path::new(place).is_dir() {
        if let Some(remote) = RemoteSource::parse(place) {
            return remote.map(NamedContext::Remote).map_err(|error| Problem::Remote(Box::new(error)));
        }
        if let Some((scheme, _)) = place.split_once("://") {
            return Err(Problem::Scheme(scheme.to_owned()));
        }
    }
    directory(Path::new(place)).map(NamedContext::Directory)
}

/// A layout whose directory is there and has the tag.
fn layout(text: &str) -> Result<LayoutReference, Problem> {
    let layout = LayoutReference::parse(text).map_err(Problem::Digest)?;
    let place = directory(&layout.directory)?;
    let layout = layout.in_directory(&place);
    layout.find().map_err(|error| Problem::Layout(Box::new(error)))?;
    Ok(layout)
}

/// A directory as it is from the working directory of now, which building in place may move.
fn directory(path: &Path) -> Result<PathBuf, Problem> {
    let failed = |source| Problem::Directory { path: path.to_owned(), source };
    let absolute = path.canonicalize().map_err(failed)?;
    match absolute.is_dir() {
        true => Ok(absolute),
        false => Err(failed(io::ErrorKind::NotADirectory.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(value: &str) -> Result<NamedContexts, BuildContextError> {
        read(&[value.to_owned()])
    }

    #[test]
    fn places_are_told_apart_by_their_form() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().canonicalize().unwrap();
        std::fs::write(
            place.join("index.json"),
            format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{}","size":2}}]}}"#, "a".repeat(64)),
        )
        .unwrap();
        let shown = place.display();
        for (value, expected) in [
            (format!("x={shown}"), NamedContext::Directory(place.clone())),
            (format!("x={shown}/."), NamedContext::Directory(place.clone())),
            ("x=docker-image://scratch".to_owned(), NamedContext::Scratch),
            (
                "x=docker-image://alpine:1".to_owned(),
                NamedContext::Image(Box::new(ImageSource::Registry(Reference::parse("alpine:1").unwrap()))),
            ),
            (
                format!("x=oci-layout://{shown}:t"),
                NamedContext::Image(Box::new(ImageSource::Layout(LayoutReference {
                    directory: place.clone(),
                    tag: "t".to_owned(),
                    digest: None,
                }))),
            ),
        ] {
            assert_eq!(read_one(&value).unwrap().find("x"), Some(("x", &expected)), "{value}");
        }
        for value in ["x=https://h.io/a.tar.gz", "x=https://h.io/a.git#main:sub", "x=git@h.io:a/b.git"] {
            let contexts = read_one(value).unwrap();
            assert!(matches!(contexts.find("x"), Some((_, NamedContext::Remote(_)))), "{value}");
        }
        assert_eq!(read_one("").unwrap(), NamedContexts::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_the_flag() {
        for (value, expected) in [
            ("x", "it has no place"),
            ("x=", "it has no place"),
            ("=.", "not one that a Dockerfile can use"),
            ("X=.", "not one that a Dockerfile can use"),
            ("x y=.", "not one that a Dockerfile can use"),
            ("x=target:other", "target:other is a target of a bake file"),
            ("x=ftp://h/a", "ftp:// is no kind of context"),
            ("x=dir://.", "dir:// is no kind of context"),
            ("x=missing", "cannot use the directory missing"),
            ("x=Cargo.toml", "cannot use the directory Cargo.toml"),
            ("x=docker-image://", "no image has this name"),
            ("x=docker-image://A/B", "no image has this name"),
            ("x=oci-layout://missing:a", "cannot use the directory missing"),
            ("x=oci-layout://src@sha256:11", "what follows @ is no digest"),
            ("x=oci-layout://src", "src/index.json"),
        ] {
            let error = read_one(value).unwrap_err();
            let name = value.split('=').next().unwrap();
            assert_eq!(error.to_string(), format!("invalid value for --build-context {name:?}"));
            let problem = error.problem.to_string();
            assert!(problem.contains(expected), "{value}: {problem}");
        }
    }
}
