//! What a check may know of a build. All of it may be left out.

use std::collections::BTreeMap;
use std::fmt;

/// A build as the checks see it.
pub struct Inputs<'a> {
    /// Build arguments, by name.
    pub build_args: BTreeMap<String, String>,
    /// The platform arguments (`BUILDPLATFORM`, `TARGETARCH`, ...) by name, before build arguments. Those that are missing
    /// count as linux/amd64's.
    pub platform_args: BTreeMap<String, String>,
    /// The stage that is built.
    pub target: Option<&'a str>,
    /// Without a target all stages are looked at, as `docker build --check` does; a build looks at those that the last
    /// stage needs.
    pub all_stages: bool,
    /// What is known of the base images, by the number of the stage whose FROM names them.
    pub bases: BTreeMap<usize, BaseImage>,
    /// Whether a path of the context is left out by the ignore file; the path is relative and clean.
    pub is_ignored: Option<&'a dyn Fn(&str) -> bool>,
    /// Whether a text is the name of an image.
    pub is_image_name: &'a dyn Fn(&str) -> bool,
    /// Operating system and architecture of a platform, in the spelling that images have them.
    pub platform_parts: &'a dyn Fn(&str) -> Option<(String, String)>,
}

/// What is known of a base image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseImage {
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// It has a SHELL of its own.
    pub has_shell: bool,
    /// It is not of the platform that was asked for.
    pub platform_mismatch: Option<PlatformMismatch>,
}

/// A base image of another platform than the stage's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformMismatch {
    /// The image's.
    pub found: String,
    /// The stage's.
    pub expected: String,
}

impl Default for Inputs<'_> {
    fn default() -> Self {
        Inputs {
            build_args: BTreeMap::new(),
            platform_args: BTreeMap::new(),
            target: None,
            all_stages: true,
            bases: BTreeMap::new(),
            is_ignored: None,
            is_image_name: &|name| !name.is_empty(),
            platform_parts: &|text| {
                let (os, architecture) = text.split_once('/')?;
                Some((os.to_owned(), architecture.split('/').next().unwrap_or_default().to_owned()))
            },
        }
    }
}

impl fmt::Debug for Inputs<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Inputs")
            .field("build_args", &self.build_args)
            .field("platform_args", &self.platform_args)
            .field("target", &self.target)
            .field("all_stages", &self.all_stages)
            .field("bases", &self.bases)
            .finish_non_exhaustive()
    }
}
