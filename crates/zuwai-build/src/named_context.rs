//! Named contexts: what `--build-context NAME=PLACE` puts in place of images and stages.
//!
//! A name stands for itself in `FROM`, `COPY --from` and `from=` of a mount, and replaces a stage of that name. Names
//! are compared as BuildKit compares them, which is as image references without the tag `latest`: `alpine`,
//! `alpine:latest` and `docker.io/library/alpine` are the same, `alpine:3.22` is another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zuwai_context::remote::RemoteSource;
use zuwai_oci::reference::{DEFAULT_TAG, Reference, ReferenceError};

use crate::plan::ImageSource;

/// The one name that no context can have: `FROM scratch` is always what it is.
const SCRATCH: &str = "scratch";

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// The files of a directory, without what its `.dockerignore` excludes.
    Directory(PathBuf),
    /// The one file that an address leads to, or a checkout of a repository.
    Remote(RemoteSource),
    /// An image.
    Image(Box<ImageSource>),
    /// Nothing: `docker-image://scratch`.
    Scratch,
}

/// The named contexts of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedContexts(BTreeMap<String, NamedContext>);

impl NamedContexts {
    /// Gives a name to a context; it counts in place of an earlier one of the same name.
    ///
    /// # Errors
    /// When the name is none that an image could have.
    pub fn insert(&mut self, name: &str, context: NamedContext) -> Result<(), ReferenceError> {
        self.0.insert(normalised(name)?, context);
        Ok(())
    }

    /// The context that a name in a Dockerfile stands for, with the name that it was given.
    pub fn find(&self, name: &str) -> Option<(&str, &NamedContext)> {
        if name.eq_ignore_ascii_case(SCRATCH) {
            return None;
        }
        // A name that no image could have is no context's either.
        let (name, context) = self.0.get_key_value(&normalised(name).ok()?)?;
        Some((name, context))
    }

    /// Every directory on disk that a context is in, which a build must leave alone.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        self.0.values().filter_map(|context| match context {
            NamedContext::Directory(directory) => Some(directory.as_path()),
            NamedContext::Image(image) => match &**image {
                ImageSource::Layout(layout) => Some(layout.directory.as_path()),
                ImageSource::Registry(_) => None,
            },
            NamedContext::Remote(_) | NamedContext::Scratch => None,
        })
    }
}

fn normalised(name: &str) -> Result<String, ReferenceError> {
    let familiar = Reference::parse(name)?.familiar();
    Ok(match familiar.strip_suffix(DEFAULT_TAG).and_then(|rest| rest.strip_suffix(':')) {
        Some(untagged) => untagged.to_owned(),
        None => familiar,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_images() {
        let mut contexts = NamedContexts::default();
        for (name, directory) in
            [("docker.io/library/a:latest", "/a"), ("b:1", "/b1"), ("h.io:5000/c", "/c"), ("scratch", "/s")]
        {
            contexts.insert(name, NamedContext::Directory(directory.into())).unwrap();
        }
        let found = |name: &str| match contexts.find(name)?.1 {
            NamedContext::Directory(directory) => Some(directory.as_path()),
            _ => None,
        };
        for (name, directory) in [
            ("a", Some("/a")),
            ("a:latest", Some("/a")),
            ("docker.io/a", Some("/a")),
            ("a:1", None),
            ("A", None),
            ("b", None),
            ("b:1", Some("/b1")),
            ("library/b:1", Some("/b1")),
            ("h.io:5000/c", Some("/c")),
            ("h.io:5000/c:latest", Some("/c")),
            ("h.io/c", None),
            ("scratch", None),
            ("", None),
        ] {
            assert_eq!(found(name), directory.map(Path::new), "{name}");
        }
    }

    #[test]
    fn the_later_of_two_counts() {
        let mut contexts = NamedContexts::default();
        contexts.insert("a", NamedContext::Directory("/one".into())).unwrap();
        contexts.insert("a:latest", NamedContext::Scratch).unwrap();
        assert_eq!(contexts.find("a"), Some(("a", &NamedContext::Scratch)));
        assert_eq!(contexts.places().count(), 0);
    }

    #[test]
    fn a_name_that_no_image_could_have_is_refused() {
        for name in ["", "A", "a b", "a:"] {
            assert!(NamedContexts::default().insert(name, NamedContext::Scratch).is_err(), "{name}");
        }
    }
}
