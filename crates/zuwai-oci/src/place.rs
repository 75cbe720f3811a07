//! A registry, or a part of one, where images of another registry are.

use std::fmt;

use crate::reference::{ReferenceProblem, is_component, is_registry, known_registry, without_user};

/// A registry, or a part of one: `HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    registry: String,
    /// Without slashes around it; empty for the whole registry.
    path: String,
}

impl Place {
    /// Parses a place as a user writes it. The first part is always a host, whether it looks like one or not.
    ///
    /// # Errors
    /// When it is not a place; a scheme before it is refused, as in kaniko.
    pub fn parse(text: &str) -> Result<Self, ReferenceProblem> {
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(ReferenceProblem::Scheme(format!("{scheme}://")));
        }
        if without_user(text) != text {
            return Err(ReferenceProblem::User);
        }
        let trimmed = text.trim_end_matches('/');
        if trimmed.is_empty() {
            return Err(ReferenceProblem::Empty);
        }
        let (registry, path) = trimmed.split_once('/').unwrap_or((trimmed, ""));
        if !is_registry(registry) {
            return Err(ReferenceProblem::Registry(registry.to_owned()));
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceProblem::Capitals(path.to_owned()));
        }
        if !path.is_empty() && !path.split('/').all(is_component) {
            return Err(ReferenceProblem::Repository(path.to_owned()));
        }
        Ok(Self { registry: known_registry(registry).to_owned(), path: path.to_owned() })
    }

    /// The registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path before every repository there; empty for the whole registry.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.registry),
            path => write!(f, "{}/{path}", self.registry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Reference;

    #[test]
    fn an_image_is_found_below_the_path() {
        for (place, image, expected) in [
            ("mirror.example", "ubuntu:24.04", "mirror.example/library/ubuntu:24.04"),
            ("mirror.example/", "me/x", "mirror.example/me/x:latest"),
            ("127.0.0.1:5000/hub/proxy", "ubuntu", "127.0.0.1:5000/hub/proxy/library/ubuntu:latest"),
            ("mirror", "ghcr.io/a/b", "mirror/a/b:latest"),
            ("[::1]:5000/x", "ghcr.io/a/b", "[::1]:5000/x/a/b:latest"),
            ("docker.io/me", "quay.io/a/b", "index.docker.io/me/a/b:latest"),
        ] {
            let moved = Reference::parse(image).unwrap().at(&Place::parse(place).unwrap()).unwrap();
            assert_eq!(moved.to_string(), expected, "{place} {image}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_reason() {
        for (text, expected) in [
            ("", "empty"),
            ("/", "empty"),
            ("https://mirror.example", "scheme"),
            ("mirror.example/Hub", "lower case"),
            ("mirror.example//x", "components"),
            ("mirror.example:port", "host name"),
            ("a b", "host name"),
            ("mirror.example/x:1", "components"),
        ] {
            let message = Place::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_name_that_becomes_too_long_is_refused() {
        let place = Place::parse(&format!("m.example/{}", "a".repeat(250))).unwrap();
        assert!(Reference::parse("ubuntu").unwrap().at(&place).is_err());
    }
}
