//! Build arguments that speak to the builder, whether the Dockerfile declares them or not.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::error::BuildError;

const EPOCH: &str = "SOURCE_DATE_EPOCH";
const CACHE_NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";
const HOSTNAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";

/// What they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuilderArgs {
    /// `SOURCE_DATE_EPOCH`: the time of the image and its history, in seconds since 1970.
    pub source_date_epoch: Option<i64>,
    /// `BUILDKIT_CACHE_MOUNT_NS`: ids of cache mounts in one namespace are not those in another.
    pub cache_mount_namespace: String,
    /// `BUILDKIT_SANDBOX_HOSTNAME`: the name of the host that commands see.
    pub sandbox_hostname: Option<String>,
}

impl BuilderArgs {
    /// Reads them.
    ///
    /// # Errors
    /// When one is not what it must be.
    pub fn read(build_args: &BTreeMap<String, String>) -> Result<Self, BuildError> {
        let given = |name: &str| build_args.get(name).filter(|value| !value.is_empty());
        let invalid =
            |name, value: &str, expected| BuildError::BuilderArg { name, value: value.to_owned(), expected };
        let source_date_epoch = given(EPOCH)
            .map(|text| {
                let seconds = text.parse().ok().filter(|seconds| Timestamp::from_second(*seconds).is_ok());
                seconds.ok_or_else(|| invalid(EPOCH, text, "a whole number of seconds since 1970"))
            })
            .transpose()?;
        let sandbox_hostname = given(HOSTNAME).cloned();
        if let Some(text) = sandbox_hostname.as_ref().filter(|text| !is_hostname(text)) {
            return Err(invalid(HOSTNAME, text, "letters, digits, hyphens and dots, at most 64"));
        }
        let cache_mount_namespace = given(CACHE_NAMESPACE).cloned().unwrap_or_default();
        Ok(Self { source_date_epoch, cache_mount_namespace, sandbox_hostname })
    }
}

/// What Linux takes as the name of a host (`HOST_NAME_MAX`), and a line of `/etc/hosts` can hold.
fn is_hostname(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    text.len() <= 64 && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<BuilderArgs, String> {
        BuilderArgs::read(&[(name.to_owned(), value.to_owned())].into()).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_checked() {
        assert_eq!(read("SOURCE_DATE_EPOCH", "12").unwrap().source_date_epoch, Some(12));
        assert_eq!(read("SOURCE_DATE_EPOCH", "").unwrap().source_date_epoch, None);
        assert_eq!(read("BUILDKIT_CACHE_MOUNT_NS", "n").unwrap().cache_mount_namespace, "n");
        let hostname = read("BUILDKIT_SANDBOX_HOSTNAME", "builder.local").unwrap().sandbox_hostname;
        assert_eq!(hostname.as_deref(), Some("builder.local"));
        for (name, value) in [
            ("SOURCE_DATE_EPOCH", "now"),
            ("SOURCE_DATE_EPOCH", "9999999999999"),
            ("BUILDKIT_SANDBOX_HOSTNAME", "a b"),
        ] {
            let error = read(name, value).unwrap_err();
            assert!(error.starts_with(&format!("invalid {name}: {value:?}")), "{error}");
        }
    }
}
