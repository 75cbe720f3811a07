//! Which commit a reference stands for.

use gix_hash::ObjectId;
use gix_protocol::handshake::Ref;
use gix_protocol::ls_refs::RefPrefixes;
use gix_protocol::{Handshake, LsRefsCommand};
use gix_transport::client::blocking_io::Transport;

use crate::remote::error::RemoteError;
use crate::remote::git::connection::Wire;
use crate::remote::git::pack::agent;
use crate::remote::git::remote::GitRemote;

/// What of a repository is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Its default branch.
    Default,
    /// A commit.
    Commit(ObjectId),
    /// A branch, a tag, or a reference by its full name.
    Name(String),
}

impl Wanted {
    /// As BuildKit reads a reference: 40 lower-case hexadecimal digits are a commit.
    pub(super) fn of(reference: Option<&str>) -> Self {
        let Some(name) = reference else { return Self::Default };
        let lower = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match ObjectId::from_hex(name.as_bytes()) {
            Ok(commit) if lower => Self::Commit(commit),
            _ => Self::Name(name.to_owned()),
        }
    }

    /// The references that may be meant, the best first: branches before others before tags, as BuildKit has it.
    fn candidates(&self) -> Vec<String> {
        match self {
            Self::Default => vec!["HEAD".to_owned()],
            Self::Commit(_) => Vec::new(),
            Self::Name(name) => ["refs/heads/", "refs/", "refs/tags/"]
                .iter()
                .map(|prefix| format!("{prefix}{}", name.strip_prefix(prefix).unwrap_or(name)))
                .collect(),
        }
    }
}

/// What a reference was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The object that it names: a commit or an annotated tag.
    pub(super) object: ObjectId,
    /// Its full name; none for a commit.
    pub(super) name: Option<String>,
}

/// Asks the server for what is wanted.
pub(super) fn find(
    wire: &mut Wire<'_>,
    handshake: &mut Handshake,
    remote: &GitRemote,
    wanted: &Wanted,
) -> Result<Found, RemoteError> {
    if let Wanted::Commit(commit) = wanted {
        return Ok(Found { object: *commit, name: None });
    }
    let candidates = wanted.candidates();
    let references = match handshake.refs.take() {
        Some(references) => references,
        None => list(&mut wire.transport, handshake, &candidates)
            .map_err(|error| wire.error(remote, "cannot list its references", error))?,
    };
    let found =
        candidates.iter().find_map(|name| references.iter().find_map(|reference| named(reference, name)));
    found.ok_or_else(|| match wanted {
        Wanted::Name(name) => {
            RemoteError::NoReference { location: remote.location(), reference: name.clone() }
        }
        Wanted::Default | Wanted::Commit(_) => RemoteError::Empty { location: remote.location() },
    })
}

fn list(
    transport: &mut dyn Transport,
    handshake: &Handshake,
    candidates: &[String],
) -> gix_error::Result<Vec<Ref>> {
    let mut prefixes = RefPrefixes::new();
    prefixes.extend(candidates.iter().map(|name| name.as_str().into()));
    let command = LsRefsCommand::new(Some(prefixes), &handshake.capabilities, agent());
    command.invoke_blocking(transport, &mut gix_utils::progress::Discard, false)
}

/// What a reference of the server's is, if it has this name.
fn named(reference: &Ref, wanted: &str) -> Option<Found> {
    let (name, object, target) = match reference {
        Ref::Peeled { full_ref_name, tag, .. } => (full_ref_name, tag, None),
        Ref::Direct { full_ref_name, object } => (full_ref_name, object, None),
        Ref::Symbolic { full_ref_name, target, tag, object } => {
            (full_ref_name, tag.as_ref().unwrap_or(object), Some(target))
        }
        Ref::Unborn { .. } => return None,
    };
    // A symbolic reference, as HEAD is one, stands for the branch that it names.
    let branch = target.unwrap_or(name).to_string();
    (name == wanted).then(|| Found { object: *object, name: Some(branch).filter(|name| name != "HEAD") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_a_branch_a_tag_or_a_full_name() {
        for (name, candidates) in [
            ("main", ["refs/heads/main", "refs/main", "refs/tags/main"]),
            ("refs/tags/v1", ["refs/heads/refs/tags/v1", "refs/tags/v1", "refs/tags/v1"]),
            ("heads/a/b", ["refs/heads/heads/a/b", "refs/heads/a/b", "refs/tags/heads/a/b"]),
        ] {
            assert_eq!(Wanted::of(Some(name)).candidates(), candidates);
        }
        let digits = "b7d5f0a981c00ae15788aca33415611a759e1dab";
        assert!(matches!(Wanted::of(Some(digits)), Wanted::Commit(_)));
        assert!(matches!(Wanted::of(Some(&digits.to_uppercase())), Wanted::Name(_)));
        assert!(matches!(Wanted::of(Some(&digits[..7])), Wanted::Name(_)));
        assert_eq!(Wanted::of(None), Wanted::Default);
    }
}
