//! The name of an image: registry, repository, tag and digest.
//!
//! The grammar is that of distribution's reference package; the spelling of the full name is go-containerregistry's,
//! which kaniko logs: `ubuntu` is `index.docker.io/library/ubuntu:latest`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use zuwai_layer::Digest;

use crate::place::Place;

/// The registry that names without a host belong to.
pub const DOCKER_HUB: &str = "index.docker.io";
/// The host where Docker Hub has its interface.
pub(crate) const DOCKER_HUB_API: &str = "registry-1.docker.io";
/// The tag that a name without tag and digest has.
pub const DEFAULT_TAG: &str = "latest";
/// Longest repository name a registry takes.
const REPOSITORY_LIMIT: usize = 255;

/// A checked image reference. Registry and repository are normalised; a tag, a digest or both may follow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid image reference {text:?}: {problem}")]
pub struct ReferenceError {
    /// The text, without what is before an `@` that begins no digest.
    pub text: String,
    /// What is wrong with it.
    pub problem: ReferenceProblem,
}

/// What is wrong with an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceProblem {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// It has a scheme.
    #[error("it starts with a scheme, write the name without {0:?}")]
    Scheme(String),
    /// It has a user before the host.
    #[error("it names a user, write the name without what is before the @, and log in to the registry")]
    User,
    /// The host is malformed.
    #[error("registry {0:?} is not a host name with an optional port")]
    Registry(String),
    /// The repository holds capital letters.
    #[error("repository {0:?} must be lower case")]
    Capitals(String),
    /// The repository is malformed.
    #[error(
        "repository {0:?} must be components of letters, digits and single separators (. _ __ -), divided by /"
    )]
    Repository(String),
    /// The repository is longer than registries take.
    #[error("repository name is {0} characters long, at most 255 are allowed")]
    TooLong(usize),
    /// The tag is malformed.
    #[error("tag {0:?} must be 1 to 128 letters, digits, _ . and -, not starting with . or -")]
    Tag(String),
    /// The digest is malformed.
    #[error("{0}")]
    Digest(zuwai_layer::digest::DigestError),
}

impl Reference {
    /// Parses a name as a user writes it. Without tag and digest, the tag is `latest`.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        Self::parse_parts(text)
            .map_err(|problem| ReferenceError { text: without_user(text).into_owned(), problem })
    }

    fn parse_parts(text: &str) -> Result<Self, ReferenceProblem> {
        if text.is_empty() {
            return Err(ReferenceProblem::Empty);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(ReferenceProblem::Scheme(format!("{scheme}://")));
        }
        if without_user(text) != text {
            return Err(ReferenceProblem::User);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse().map_err(ReferenceProblem::Digest)?)),
            None => (text, None),
        };
        // A colon after the last slash divides off the tag; an earlier one is a port.
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[last..].find(':') {
            Some(colon) => (&name[..last + colon], Some(&name[last + colon + 1..])),
            None => (name, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceProblem::Tag(tag.to_owned()));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if is_registry_like(first) => (first, rest),
            _ => (DOCKER_HUB, name),
        };
        let (registry, repository) = normalise(registry, repository)?;
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self { registry, repository, tag, digest })
    }

    /// Parses a name that must have no digest and whose tag, if any, is kept as absent: for repositories such as a cache's.
    pub fn parse_repository(text: &str) -> Result<Self, ReferenceError> {
        let fail = |problem| ReferenceError { text: without_user(text).into_owned(), problem };
        let reference = Self::parse(text)?;
        let last = text.rfind('/').map_or(0, |slash| slash + 1);
        if text[last..].contains([':', '@']) {
            return Err(fail(ReferenceProblem::Repository(text[last..].to_owned())));
        }
        Ok(reference)
    }

    /// The registry: `index.docker.io`, or a host with an optional port, as written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository inside the registry, such as `library/ubuntu`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if the reference has one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the reference has one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry for: the digest if there is one, else the tag.
    pub fn identifier(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The registry and repository alone: `index.docker.io/library/ubuntu`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            let problem = ReferenceProblem::Tag(tag.to_owned());
            return Err(ReferenceError { text: format!("{}:{tag}", self.name()), problem });
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository with this digest and no tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository, tag and this digest beside it.
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The same image at another place: the place's path, then the whole repository (kaniko's `--registry-map`).
    ///
    /// # Errors
    /// When the repository's name becomes longer than registries take.
    pub fn at(&self, place: &Place) -> Result<Self, ReferenceProblem> {
        let repository = match place.path() {
            "" => self.repository.clone(),
            path => format!("{path}/{}", self.repository),
        };
        if repository.len() > REPOSITORY_LIMIT {
            return Err(ReferenceProblem::TooLong(repository.len()));
        }
        Ok(Self { registry: place.registry().to_owned(), repository, ..self.clone() })
    }

    /// The name as docker shows it: without Docker Hub's host and `library/`, with tag and digest.
    pub fn familiar(&self) -> String {
        self.spelled(&self.familiar_name())
    }

    /// The name as docker writes it into archives and BuildKit into annotations: `docker.io/library/ubuntu:latest`.
    pub fn canonical(&self) -> String {
        match self.registry.as_str() {
            DOCKER_HUB => self.spelled(&format!("docker.io/{}", self.repository)),
            _ => self.to_string(),
        }
    }

    /// Registry and repository as docker shows them.
    pub fn familiar_name(&self) -> String {
        match self.registry.as_str() {
            DOCKER_HUB => self.repository.strip_prefix("library/").unwrap_or(&self.repository).to_owned(),
            _ => self.name(),
        }
    }

    fn spelled(&self, name: &str) -> String {
        let mut text = name.to_owned();
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelled(&self.name()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// The name that a registry has in references: Docker Hub goes by several.
pub(crate) fn known_registry(registry: &str) -> &str {
    match registry {
        "docker.io" | DOCKER_HUB_API | "registry.hub.docker.com" => DOCKER_HUB,
        other => other,
    }
}

/// Whether the first component of a name is a host: it has a dot or a port, is `localhost`, an IPv6 address, or holds
/// capitals, which a repository may not.
fn is_registry_like(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':', '['])
        || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn normalise(registry: &str, repository: &str) -> Result<(String, String), ReferenceProblem> {
    if !is_registry(registry) {
        return Err(ReferenceProblem::Registry(registry.to_owned()));
    }
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ReferenceProblem::Capitals(repository.to_owned()));
    }
    if !repository.split('/').all(is_component) {
        return Err(ReferenceProblem::Repository(repository.to_owned()));
    }
    if repository.len() > REPOSITORY_LIMIT {
        return Err(ReferenceProblem::TooLong(repository.len()));
    }
    let hub = registry == DOCKER_HUB || registry == "docker.io";
    Ok(match hub {
        true if repository.contains('/') => (DOCKER_HUB.to_owned(), repository.to_owned()),
        true => (DOCKER_HUB.to_owned(), format!("library/{repository}")),
        false => (registry.to_owned(), repository.to_owned()),
    })
}

/// Whether this is a host name, an IPv4 address or a bracketed IPv6 address, with an optional port.
pub(crate) fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) => match port.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    let host_fits = match registry.starts_with('[') {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => host.len() <= 253 && host.split('.').all(is_label),
    };
    host_fits && port.is_none_or(|port| !port.starts_with('+') && port.parse::<u16>().is_ok())
}

fn is_label(label: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty() && label.bytes().all(fits) && !label.starts_with('-') && !label.ends_with('-')
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
pub(crate) fn is_component(component: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = component.as_bytes();
    loop {
        let letters = rest.iter().take_while(|byte| is_letter(byte)).count();
        if letters == 0 {
            return false;
        }
        rest = &rest[letters..];
        if rest.is_empty() {
            return true;
        }
        let separators = rest.iter().take_while(|byte| !is_letter(byte)).count();
        match &rest[..separators] {
            b"." | b"_" | b"__" => {}
            dashes if dashes.iter().all(|byte| *byte == b'-') => {}
            _ => return false,
        }
        rest = &rest[separators..];
    }
}

/// A text that should be an image's name or a place, without the user and the password that somebody wrote before the
/// host as in a URL. What follows an `@` may also be a digest.
pub fn without_user(text: &str) -> Cow<'_, str> {
    let start = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(start);
    let is_digest =
        |tail: &str| ["sha", "md5", "blake"].iter().any(|name| tail.starts_with(name)) && !tail.contains('/');
    let end = rest.rfind('@').filter(|at| is_digest(&rest[at + 1..])).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) if rest[..at].contains(':') || rest[at..].contains('/') => {
            Cow::Owned(format!("{scheme}{}", &rest[at + 1..]))
        }
        _ => Cow::Borrowed(text),
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&tag.len()) && tag.bytes().all(fits) && !tag.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn names_are_normalised_as_docker_does() {
        let digest = format!("sha256:{HEX}");
        for (text, full, familiar) in [
            ("ubuntu", "index.docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("ubuntu:24.04", "index.docker.io/library/ubuntu:24.04", "ubuntu:24.04"),
            ("docker.io/ubuntu", "index.docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("docker.io/library/ubuntu", "index.docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("index.docker.io/me/x", "index.docker.io/me/x:latest", "me/x:latest"),
            ("me/x", "index.docker.io/me/x:latest", "me/x:latest"),
            ("ghcr.io/a/b/c:d", "ghcr.io/a/b/c:d", "ghcr.io/a/b/c:d"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("host:5000/x", "host:5000/x:latest", "host:5000/x:latest"),
            ("HOST/x:Y", "HOST/x:Y", "HOST/x:Y"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("a/b--c__d.e/f", "index.docker.io/a/b--c__d.e/f:latest", "a/b--c__d.e/f:latest"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!((reference.to_string().as_str(), reference.familiar().as_str()), (full, familiar));
        }
        let pinned = Reference::parse(&format!("ubuntu:1@{digest}")).unwrap();
        assert_eq!(pinned.to_string(), format!("index.docker.io/library/ubuntu:1@{digest}"));
        assert_eq!(pinned.identifier(), digest);
        assert_eq!(pinned.canonical(), format!("docker.io/library/ubuntu:1@{digest}"));
        let by_digest = Reference::parse(&format!("h.io/x@{digest}")).unwrap();
        assert_eq!((by_digest.tag(), by_digest.to_string()), (None, format!("h.io/x@{digest}")));
        assert_eq!(by_digest.with_tag("t").unwrap().to_string(), "h.io/x:t");
    }

    #[test]
    fn malformed_names_are_refused_with_the_reason() {
        let long = "a/".repeat(128) + "a";
        let long_tag = "a:".to_owned() + &"b".repeat(129);
        for (text, expected) in [
            ("", "empty"),
            ("https://ghcr.io/x", "scheme"),
            ("Ubuntu", "lower case"),
            ("me/App", "lower case"),
            ("x:", "tag \"\""),
            ("x:-a", "tag \"-a\""),
            ("x:a b", "tag \"a b\""),
            (long_tag.as_str(), "1 to 128"),
            ("x@sha256:12", "64 lower-case"),
            ("x@md5:12", "not supported"),
            ("/x", "repository \"/x\""),
            ("x/", "repository"),
            ("a//b", "repository"),
            ("a/_b", "repository"),
            ("a/b_", "repository"),
            ("a___b", "repository"),
            ("a..b/c", "registry \"a..b\""),
            ("host:port/x", "registry \"host:port\""),
            ("host:70000/x", "registry"),
            ("[::g]/x", "registry"),
            ("../x", "registry"),
            ("-a.b/x", "registry"),
            (long.as_str(), "257 characters"),
            ("x y", "repository"),
            ("a.b/x\u{0}", "repository"),
            ("é", "repository"),
        ] {
            let message = Reference::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_password_before_the_host_is_not_told() {
        let pinned = format!("me:hunter2@h.io/x@sha256:{HEX}");
        for text in [
            "me:hunter2@h.io/x:1",
            "hunter2@h.io/x",
            "me:hunter2@h:5000",
            "https://me:hunter2@h.io/x:1",
            "https://me:hunter2@h.io/x@sha256:12",
            "me:h@hunter2/h@h.io/x",
            pinned.as_str(),
        ] {
            let error = Reference::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
            assert!(text.contains("://") || error.problem == ReferenceProblem::User, "{error:?}");
            assert!(!Reference::parse_repository(text).unwrap_err().to_string().contains("hunter2"));
            assert!(!Place::parse(text).unwrap_err().to_string().contains("hunter2"));
        }
        for text in ["x@sha256:12", "x:1@md5:12", "x@latest", "https://h.io/x@sha256:12"] {
            assert_eq!(without_user(text), text);
        }
    }

    #[test]
    fn a_repository_has_neither_tag_nor_digest() {
        assert_eq!(Reference::parse_repository("h:5000/cache").unwrap().name(), "h:5000/cache");
        for text in ["h:5000/cache:1", &format!("cache@sha256:{HEX}")] {
            assert!(Reference::parse_repository(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_parsed_name_parses_again_to_itself(text in r"([a-zA-Z0-9.:\[\]-]{1,12}/)?[a-z0-9._/-]{1,20}(:[\w.-]{1,9})?") {
            if let Ok(reference) = Reference::parse(&text) {
                proptest::prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference.clone());
                proptest::prop_assert_eq!(Reference::parse(&reference.canonical()).unwrap(), reference);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = Reference::parse(&text);
        }
    }
}
