//! Which hosts are Google's registries.

/// Whether a registry is one of Google's, to the letter: Container Registry or Artifact Registry for images. The other
/// hosts of `google.Keychain` (go-containerregistry) keep no images.
pub(super) fn is_google(registry: &str) -> bool {
    if registry == "gcr.io" || registry == "docker.pkg.dev" {
        return true;
    }
    let label = registry.strip_suffix(".gcr.io");
    let label =
        label.or_else(|| registry.strip_suffix(".pkg.dev").filter(|label| label.ends_with("-docker")));
    label.is_some_and(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn googles_registries_are_told_from_lookalikes() {
        for (registry, expected) in [
            ("gcr.io", true),
            ("eu.gcr.io", true),
            ("mirror.gcr.io", true),
            ("europe-west1-docker.pkg.dev", true),
            ("us-docker.pkg.dev", true),
            ("docker.pkg.dev", true),
            ("gcr.io:443", false),
            ("eu.gcr.io.evil.example", false),
            ("evilgcr.io", false),
            ("x.y.gcr.io", false),
            (".gcr.io", false),
            ("pkg.dev", false),
            ("europe-west1-npm.pkg.dev", false),
            ("europe-west1-docker.pkg.dev.evil.example", false),
            ("europe-west1-docker.evilpkg.dev", false),
            ("x.us-docker.pkg.dev", false),
            ("us-docker-pkg.dev", false),
            ("google.com", false),
            ("", false),
        ] {
            assert_eq!(is_google(registry), expected, "{registry}");
        }
    }
}
