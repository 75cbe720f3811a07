//! Operating system and processor of an image, as containerd's platforms package has them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform: `linux/amd64`, `linux/arm/v7`. Field order is that of the OCI image index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture, a GOARCH value.
    #[serde(default)]
    pub architecture: String,
    /// The operating system, a GOOS value.
    #[serde(default)]
    pub os: String,
    /// The version of the operating system; Windows images have one.
    #[serde(default, rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features of the operating system the image needs.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The variant of the architecture, such as `v7`; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}, expected os/architecture or os/architecture/variant, such as linux/arm64")]
pub struct PlatformError(pub String);

impl Platform {
    /// A platform of these parts, normalised.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = normalise_architecture(architecture, variant);
        Self {
            os: normalise_os(os),
            architecture,
            variant,
            os_version: String::new(),
            os_features: Vec::new(),
        }
    }

    /// The platform this binary was compiled for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "aarch64" => ("arm64", ""),
            "x86" => ("386", ""),
            "arm" => ("arm", "v7"),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", ""),
            "powerpc64" => ("ppc64", ""),
            "loongarch64" => ("loong64", ""),
            other => (other, ""),
        };
        Self::new(std::env::consts::OS, architecture, variant)
    }

    /// Parses `os/architecture[/variant]`, or one word that names an operating system or an architecture, the other
    /// part being the host's.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let fail = || PlatformError(text.to_owned());
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        // An operating system may carry its version: windows(10.0.17763)/amd64.
        let (system, rest) = text.split_once('/').map_or((text, None), |(system, rest)| (system, Some(rest)));
        let (system, version) = match system.strip_suffix(')').and_then(|system| system.split_once('(')) {
            Some((system, version)) => (system, version),
            None => (system, ""),
        };
        let mut parts = vec![system];
        parts.extend(rest.into_iter().flat_map(|rest| rest.split('/')));
        if !parts.iter().all(|part| !part.is_empty() && part.bytes().all(fits)) {
            return Err(fail());
        }
        let host = Self::host();
        let mut platform = match parts[..] {
            [word] if is_known_os(&normalise_os(word)) => Self { os: normalise_os(word), ..host },
            [word] => {
                let (architecture, variant) = normalise_architecture(word, "");
                match is_known_architecture(&architecture) {
                    true => Self { architecture, variant, ..host },
                    false => return Err(fail()),
                }
            }
            [os, architecture] => Self::new(os, architecture, ""),
            [os, architecture, variant] => Self::new(os, architecture, variant),
            _ => return Err(fail()),
        };
        platform.os_version = version.to_owned();
        Ok(platform)
    }

    /// The same platform with the spellings of containerd's Normalize: `x86_64` is `amd64`, `arm64/v8` is `arm64`.
    pub fn normalised(&self) -> Self {
        let (architecture, variant) = normalise_architecture(&self.architecture, &self.variant);
        Self { os: normalise_os(&self.os), architecture, variant, ..self.clone() }
    }

    /// The platforms that can stand in for this one, best first: itself, then lesser variants of its architecture
    /// (containerd's `platforms.Only`).
    pub fn preference(&self) -> Vec<Self> {
        let wanted = self.normalised();
        let mut all = vec![wanted.clone()];
        let mut also = |architecture: &str, variant: &str| {
            let platform =
                Self { architecture: architecture.to_owned(), variant: variant.to_owned(), ..wanted.clone() };
            if !all.contains(&platform) {
                all.push(platform);
            }
        };
        match (wanted.architecture.as_str(), wanted.variant.as_str()) {
            ("amd64", variant) => {
                for lesser in (1..version_of(variant).unwrap_or(1)).rev() {
                    also("amd64", &if lesser > 1 { format!("v{lesser}") } else { String::new() });
                }
                also("386", "");
            }
            ("arm", variant) => {
                for lesser in (5..version_of(variant).unwrap_or(7)).rev() {
                    also("arm", &format!("v{lesser}"));
                }
            }
            ("arm64", variant) => {
                if version_of(variant).is_some_and(|version| version > 8) {
                    also("arm64", "");
                }
                for lesser in (5..=8).rev() {
                    also("arm", &format!("v{lesser}"));
                }
            }
            _ => {}
        }
        all
    }

    /// How well an image of this platform suits one who wants `wanted`: 0 is the best, `None` not at all.
    pub fn rank_for(&self, wanted: &Self) -> Option<usize> {
        let offered = self.normalised();
        wanted.preference().iter().position(|candidate| {
            candidate.os == offered.os
                && candidate.architecture == offered.architecture
                && candidate.variant == offered.variant
                && (candidate.os_version.is_empty() || candidate.os_version == offered.os_version)
        })
    }
}

impl Default for Platform {
    /// The host's platform.
    fn default() -> Self {
        Self::host()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if !self.os_version.is_empty() {
            write!(f, "({})", self.os_version)?;
        }
        write!(f, "/{}", self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Self::parse(text)
    }
}

/// The number in a variant such as `v7`.
fn version_of(variant: &str) -> Option<u32> {
    variant.strip_prefix('v').and_then(|number| number.parse().ok())
}

fn normalise_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "" => std::env::consts::OS.to_owned(),
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn normalise_architecture(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

fn is_known_os(os: &str) -> bool {
    matches!(
        os,
        "aix"
            | "android"
            | "darwin"
            | "dragonfly"
            | "freebsd"
            | "illumos"
            | "ios"
            | "js"
            | "linux"
            | "netbsd"
            | "openbsd"
            | "plan9"
            | "solaris"
            | "wasip1"
            | "windows"
            | "zos"
    )
}

fn is_known_architecture(architecture: &str) -> bool {
    matches!(
        architecture,
        "386"
            | "amd64"
            | "arm"
            | "arm64"
            | "loong64"
            | "mips"
            | "mipsle"
            | "mips64"
            | "mips64le"
            | "ppc64"
            | "ppc64le"
            | "riscv64"
            | "s390x"
            | "sparc64"
            | "wasm"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_normalised_as_containerd_does() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v2", "linux/amd64/v2"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/mips64p32/x", "linux/mips64p32/x"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
        ] {
            let platform = Platform::parse(text).unwrap();
            assert_eq!(platform.to_string(), expected);
            assert_eq!(platform.normalised(), platform);
        }
        assert_eq!(Platform::parse("arm64").unwrap().to_string(), format!("{}/arm64", std::env::consts::OS));
        assert_eq!(Platform::parse("linux").unwrap().architecture, Platform::host().architecture);
    }

    #[test]
    fn malformed_platforms_are_refused() {
        for text in ["", "/", "linux/", "a/b/c/d", "linux/amd 64", "linux//v7", "nonsense"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lesser_variants_stand_in_but_greater_ones_do_not() {
        let rank = |offered: &str, wanted: &str| {
            Platform::parse(offered).unwrap().rank_for(&Platform::parse(wanted).unwrap())
        };
        assert_eq!(rank("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(rank("linux/amd64", "linux/amd64/v3"), Some(2));
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), None);
        assert_eq!(rank("linux/arm/v6", "linux/arm/v7"), Some(1));
        assert_eq!(rank("linux/arm/v7", "linux/arm64"), Some(2));
        assert_eq!(rank("linux/386", "linux/amd64"), Some(1));
        assert_eq!(rank("windows/amd64", "linux/amd64"), None);
    }
}
