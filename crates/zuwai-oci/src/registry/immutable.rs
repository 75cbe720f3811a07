//! Which refusals mean that a tag exists and may not be moved (`--push-ignore-immutable-tag-errors`).
//!
//! The distribution spec has no code for it, so that every registry says it in its own way, and some say it in words alone.
//! What they answer is kept in `tests/data/exchanges`. A refusal that could mean something else is not taken for it.

use crate::error::{Answer, OciError, RegistryMessage};

/// How a registry says it: all of `words`, in lower case, are in the message.
struct Saying {
    statuses: &'static [u16],
    /// The code; empty for any.
    code: &'static str,
    words: &'static [&'static str],
}

const SAYINGS: [Saying; 6] = [
    // Amazon ECR. The end of the sentence has changed, and a long repository's name hides it.
    Saying { statuses: &[400], code: "TAG_INVALID", words: &["image tag", "already exists"] },
    // Google Artifact Registry.
    Saying { statuses: &[400, 403, 409], code: "", words: &["enabled tag immutability"] },
    // Harbor.
    Saying { statuses: &[412], code: "PRECONDITION", words: &["configured as immutable"] },
    // Azure Container Registry: a locked tag, manifest or repository. It says the same of registries that it has closed, but
    // those take no blobs either.
    Saying {
        statuses: &[405],
        code: "UNSUPPORTED",
        words: &["operation is disallowed on this registry, repository or image"],
    },
    // Artifactory: who may not delete may push a tag once.
    Saying { statuses: &[403], code: "", words: &["overwrite", "needs delete permission"] },
    // Nexus, with a deployment policy that disables redeploying.
    Saying { statuses: &[400], code: "", words: &["repository does not allow updating assets"] },
];

/// Statuses of refusals that may concern a tag.
const STATUSES: [u16; 5] = [400, 403, 405, 409, 412];

impl OciError {
    /// Whether a registry refuses a tag because the tag exists and may not be moved.
    pub fn is_immutable_tag(&self) -> bool {
        match self.root() {
            Self::Refused { answer, .. } | Self::Denied { answer, .. } => says_immutable(answer),
            _ => false,
        }
    }
}

fn says_immutable(answer: &Answer) -> bool {
    answer.messages.iter().any(|message| {
        let text = message.message.to_lowercase();
        SAYINGS.iter().any(|saying| saying.fits(answer.status, message, &text))
            || (STATUSES.contains(&answer.status) && names_immutable_tag(&text))
    })
}

impl Saying {
    fn fits(&self, status: u16, message: &RegistryMessage, text: &str) -> bool {
        self.statuses.contains(&status)
            && (self.code.is_empty() || self.code == message.code)
            && self.words.iter().all(|words| text.contains(words))
    }
}

/// Whether a text speaks of a tag and of immutable, as whole words: what registries say that are not known here.
fn names_immutable_tag(text: &str) -> bool {
    let has = |wanted: &[&str]| {
        text.split(|letter: char| !letter.is_alphanumeric()).any(|word| wanted.contains(&word))
    };
    has(&["tag", "tags"]) && has(&["immutable"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mean_something_else_is_not_taken_for_it() {
        let long = "The image tag '1' already exists in the 'a-very-long-name";
        let locked = "The operation is disallowed on this registry, repository or image.";
        for (status, code, message, expected) in [
            (400, "TAG_INVALID", long, true),
            (400, "TAG_INVALID", "manifest tag did not match URI", false),
            (400, "MANIFEST_INVALID", "Tag v1 is immutable", true),
            (409, "", "tags of this repository are immutable", true),
            (403, "DENIED", "requested access to the resource is denied", false),
            (403, "DENIED", "staging storage is immutable", false),
            (403, "DENIED", "", false),
            (404, "NAME_UNKNOWN", "no tag immutable", false),
            (405, "UNSUPPORTED", locked, true),
            (405, "UNSUPPORTED", "The operation is unsupported.", false),
            (403, "DENIED", locked, false),
            (412, "PRECONDITION", "project is read only", false),
            (500, "UNKNOWN", "the tag is immutable", false),
        ] {
            let message = RegistryMessage { code: code.to_owned(), message: message.to_owned() };
            let answer = Answer { status, messages: vec![message], ..Answer::default() };
            assert_eq!(says_immutable(&answer), expected, "{answer}");
        }
    }
}
