//! Git repositories as sources are written (BuildKit's `ADD`, and its forms of URL fragment and query).

use url::form_urlencoded;

use crate::remote::git::remote::GitRemote;
use crate::remote::location::percent_decoded;

/// A place in a git repository: where it is, which of its commits, and which directory of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    pub(crate) remote: GitRemote,
    pub(crate) reference: Option<String>,
    pub(crate) subdirectory: String,
    checksum: Option<String>,
    keep_git_dir: Option<bool>,
    submodules: Option<bool>,
}

/// Why a text that names a git repository cannot be understood; mostly in BuildKit's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GitSourceError {
    /// There is no host, or one that could be taken for a flag.
    #[error("it names no host")]
    Host,
    /// There is no path.
    #[error("it names no repository")]
    Path,
    /// The port is not one.
    #[error("invalid port {0:?}")]
    Port(String),
    /// A reference that git would not take.
    #[error("invalid git ref {0:?}")]
    Reference(String),
    /// A key of the query that is not known.
    #[error("unexpected query {0:?}")]
    UnexpectedQuery(String),
    /// A key without a value.
    #[error("query {0:?} has no value")]
    NoValue(String),
    /// A key that is there twice.
    #[error("query {0:?} has multiple values")]
    MultipleValues(String),
    /// A key with a value that it cannot have.
    #[error("invalid {key} value: {value:?}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was given.
        value: String,
    },
    /// Two references that differ.
    #[error("ref conflicts: {0:?} vs {1:?}")]
    ReferenceConflict(String, String),
    /// A branch and a tag.
    #[error("branch conflicts with tag")]
    BranchAndTag,
    /// Two directories that differ.
    #[error("subdir conflicts: {0:?} vs {1:?}")]
    SubdirectoryConflict(String, String),
    /// Two checksums that differ.
    #[error("checksum conflicts: {0:?} vs {1:?}")]
    ChecksumConflict(String, String),
}

impl GitSource {
    /// Reads a source that may be a git repository; `None` if it is something else. An `http` or `https` address is
    /// one if its path ends in `.git`; `git`, `ssh` and `user@host:path` always are.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, GitSourceError>> {
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        let (address, query) = match rest.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (rest, None),
        };
        let remote = GitRemote::parse(address)?;
        if matches!(&remote, Ok(GitRemote::Web(url)) if !percent_decoded(url.path()).ends_with(b".git")) {
            return None;
        }
        Some(remote.and_then(|remote| Self::with(remote, fragment, query)))
    }

    fn with(remote: GitRemote, fragment: Option<&str>, query: Option<&str>) -> Result<Self, GitSourceError> {
        let fragment = String::from_utf8_lossy(&percent_decoded(fragment.unwrap_or_default())).into_owned();
        let (reference, subdirectory) = fragment.split_once(':').unwrap_or((&fragment, ""));
        let mut source = Self {
            remote,
            reference: Some(reference.to_owned()).filter(|reference| !reference.is_empty()),
            subdirectory: subdirectory.to_owned(),
            checksum: None,
            keep_git_dir: None,
            submodules: None,
        };
        source.read_query(query.unwrap_or_default())?;
        if let Some(reference) = &source.reference {
            check_reference(reference)?;
        }
        Ok(source)
    }

    fn read_query(&mut self, query: &str) -> Result<(), GitSourceError> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let (mut tag, mut branch) = (None, None);
        for (index, (key, value)) in pairs.iter().enumerate() {
            if pairs[..index].iter().any(|(earlier, _)| earlier == key) {
                return Err(GitSourceError::MultipleValues(key.clone()));
            }
            if value.is_empty() && !matches!(key.as_str(), "keep-git-dir" | "submodules") {
                return Err(GitSourceError::NoValue(key.clone()));
            }
            match key.as_str() {
                "ref" => self.set_reference(value)?,
                "tag" => tag = Some(format!("refs/tags/{value}")),
                "branch" => branch = Some(format!("refs/heads/{value}")),
                "subdir" => self.set_subdirectory(value)?,
                "checksum" | "commit" => self.set_checksum(value)?,
                "keep-git-dir" => self.keep_git_dir = Some(boolean("keep-git-dir", value)?),
                "submodules" => self.submodules = Some(boolean("submodules", value)?),
                _ => return Err(GitSourceError::UnexpectedQuery(key.clone())),
            }
        }
        match (tag, branch) {
            (Some(_), Some(_)) => Err(GitSourceError::BranchAndTag),
            (Some(name), None) | (None, Some(name)) => self.set_reference(&name),
            (None, None) => Ok(()),
        }
    }

    fn set_reference(&mut self, value: &str) -> Result<(), GitSourceError> {
        match &self.reference {
            Some(before) if before != value => {
                Err(GitSourceError::ReferenceConflict(before.clone(), value.to_owned()))
            }
            _ => {
                self.reference = Some(value.to_owned());
                Ok(())
            }
        }
    }

    fn set_subdirectory(&mut self, value: &str) -> Result<(), GitSourceError> {
        if !self.subdirectory.is_empty() && self.subdirectory != value {
            let before = self.subdirectory.clone();
            return Err(GitSourceError::SubdirectoryConflict(before, value.to_owned()));
        }
        self.subdirectory = value.to_owned();
        Ok(())
    }

    fn set_checksum(&mut self, value: &str) -> Result<(), GitSourceError> {
        // `commit` and `checksum` may both be there: the longer one says more, if they agree.
        let before = self.checksum.clone().unwrap_or_default();
        let (short, long) =
            if before.len() < value.len() { (before.as_str(), value) } else { (value, before.as_str()) };
        if !long.starts_with(short) {
            return Err(GitSourceError::ChecksumConflict(before, value.to_owned()));
        }
        self.checksum = Some(long.to_owned());
        Ok(())
    }

    /// Branch, tag, full name of a reference or commit, if one is named.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// The directory of the repository that is the source; empty if it is all of it.
    pub fn subdirectory(&self) -> &str {
        &self.subdirectory
    }

    /// The commit, or its first digits, that the query demands.
    pub fn checksum(&self) -> Option<&str> {
        self.checksum.as_deref()
    }

    /// What the query says about the `.git` directory.
    pub fn keep_git_dir(&self) -> Option<bool> {
        self.keep_git_dir
    }

    /// What the query says about submodules; they are fetched if it says nothing.
    pub fn submodules(&self) -> Option<bool> {
        self.submodules
    }

    /// Host, with its port if one is named: the end of a secret's name (`GIT_AUTH_TOKEN.<host>`,
    /// `GIT_AUTH_HEADER.<host>`).
    pub fn host(&self) -> String {
        self.remote.host()
    }

    /// Whether it is reached over ssh, which needs an agent.
    pub fn is_ssh(&self) -> bool {
        matches!(self.remote, GitRemote::Ssh { .. })
    }

    /// Scheme, host, port and path, for messages.
    pub fn location(&self) -> String {
        self.remote.location()
    }
}

/// Nothing that could be taken for a flag, or end a line of git's protocol.
fn check_reference(reference: &str) -> Result<(), GitSourceError> {
    if reference.starts_with('-') || reference.chars().any(char::is_control) {
        return Err(GitSourceError::Reference(reference.to_owned()));
    }
    Ok(())
}

/// Go's words for true and false; nothing at all means true.
fn boolean(key: &'static str, value: &str) -> Result<bool, GitSourceError> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(GitSourceError::Value { key, value: value.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> GitSource {
        GitSource::parse(text).unwrap().unwrap()
    }

    #[test]
    fn buildkit_decides_what_is_a_repository() {
        for (text, location) in [
            ("https://h/x.git", Some("https://h/x.git")),
            ("http://h:80/x.git#main:dir", Some("http://h/x.git")),
            ("HTTPS://h/x.git", Some("https://h/x.git")),
            ("https://h/.git", Some("https://h/.git")),
            ("https://h/x%2egit", Some("https://h/x%2egit")),
            ("https://me:secret@h/x.git?ref=main", Some("https://h/x.git")),
            ("git://h/x", Some("git://h/x")),
            ("git://h:123/x?ref=main", Some("git://h:123/x")),
            ("ssh://git@h:22/x.git", Some("ssh://h:22/x.git")),
            ("ssh://h/x", Some("ssh://h/x")),
            ("git@h:x.git", Some("ssh://h/x.git")),
            ("user@h:x/y#main", Some("ssh://h/x/y")),
            ("git@h:123/x.git", Some("ssh://h/123/x.git")),
            ("https://h/x.git/", None),
            ("https://h/x.git/y", None),
            ("https://h/x", None),
            ("h:x.git", None),
            ("user@h/x.git", None),
            ("github.com/a/b.git", None),
            ("./git@h:x.git", None),
            ("ftp://h/x.git", None),
            ("git+ssh://h/x.git", None),
            ("file:///x.git", None),
            ("a b@h:x", None),
        ] {
            let parsed = GitSource::parse(text);
            assert_eq!(parsed.map(|source| source.unwrap().location()).as_deref(), location, "{text}");
        }
    }

    #[test]
    fn fragments_and_queries_name_what_is_wanted() {
        for (text, reference, subdirectory) in [
            ("https://h/x.git", None, ""),
            ("https://h/x.git#", None, ""),
            ("https://h/x.git#:", None, ""),
            ("https://h/x.git#main", Some("main"), ""),
            ("https://h/x.git#:dir", None, "dir"),
            ("https://h/x.git#ma%69n:a/b", Some("main"), "a/b"),
            ("https://h/x.git#a#b", Some("a#b"), ""),
            ("https://h/x.git#main?x", Some("main?x"), ""),
            ("https://h/x.git?ref=main", Some("main"), ""),
            ("https://h/x.git?ref=main#main", Some("main"), ""),
            ("https://h/x.git?branch=b", Some("refs/heads/b"), ""),
            ("https://h/x.git?tag=t&subdir=dir", Some("refs/tags/t"), "dir"),
            ("https://h/x.git?subdir=dir#main", Some("main"), "dir"),
            ("https://h/x.git?checksum=ab", None, ""),
            ("git@h:x.git?ref=main", Some("main"), ""),
        ] {
            let source = parse(text);
            assert_eq!((source.reference(), source.subdirectory()), (reference, subdirectory), "{text}");
        }
        let source = parse("https://h/x.git?keep-git-dir&submodules=false&commit=abcd&checksum=ab");
        assert_eq!((source.keep_git_dir(), source.submodules()), (Some(true), Some(false)));
        assert_eq!(source.checksum(), Some("abcd"));
    }

    #[test]
    fn what_cannot_be_is_told_in_buildkits_words() {
        for (text, message) in [
            ("https://h/x.git?a=b", "unexpected query \"a\""),
            ("git@h:x.git?a=b", "unexpected query \"a\""),
            ("https://h/x.git?ref=", "query \"ref\" has no value"),
            ("https://h/x.git?ref", "query \"ref\" has no value"),
            ("https://h/x.git?ref=a&ref=a", "query \"ref\" has multiple values"),
            ("https://h/x.git?ref=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("https://h/x.git?ref=a&tag=b", "ref conflicts: \"a\" vs \"refs/tags/b\""),
            ("https://h/x.git?tag=a&branch=b", "branch conflicts with tag"),
            ("https://h/x.git?subdir=a#main:b", "subdir conflicts: \"b\" vs \"a\""),
            ("https://h/x.git?keep-git-dir=x", "invalid keep-git-dir value: \"x\""),
            ("https://h/x.git?submodules=no", "invalid submodules value: \"no\""),
            ("https://h/x.git?commit=ab&checksum=cd", "checksum conflicts: \"ab\" vs \"cd\""),
            ("https://h/x.git#-upload", "invalid git ref \"-upload\""),
            ("https://h/x.git#a%0ab", "invalid git ref \"a\\nb\""),
            ("ssh://-oProxyCommand=x/y.git", "it names no host"),
            ("git@-oProxyCommand=x:y", "it names no host"),
            ("git://", "it names no host"),
            ("git://h", "it names no repository"),
            ("git://h:x/y", "invalid port \"x\""),
        ] {
            assert_eq!(GitSource::parse(text).unwrap().unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn secrets_are_named_by_host_and_port() {
        for (text, host) in
            [("https://me@h:8443/x.git", "h:8443"), ("https://h/x.git", "h"), ("git@h:x.git", "h")]
        {
            assert_eq!(parse(text).host(), host);
            assert!(!format!("{:?}", parse("https://me:hunter2@h/x.git")).contains("hunter2"));
        }
    }
}
