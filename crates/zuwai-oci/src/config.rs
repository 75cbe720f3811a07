//! The image config: what runs, and how the image came to be (OCI image spec config.md, moby's docker-image-spec).
//!
//! The bytes are those BuildKit writes: top-level keys sorted (its exporter goes through a Go map), the keys of
//! `config` and `history` in the order of Go's structs, empty fields left out, Go's escapes. Fields that this crate
//! does not know are kept where they stood.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use zuwai_layer::Digest;

use crate::error::FormatError;
use crate::go_json::{self, is_false, is_zero, null_is_empty};
use crate::platform::Platform;

/// Largest image config that is read.
pub const CONFIG_LIMIT: u64 = 8 << 20;

/// An image config.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The processor architecture.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub architecture: String,
    /// Who made the image.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub author: String,
    /// How containers of the image run.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub config: ContainerConfig,
    /// When the image was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Created>,
    /// The steps that made the image, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub history: Vec<History>,
    /// The operating system.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub os: String,
    /// Features of the operating system that the image needs.
    #[serde(
        default,
        rename = "os.features",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub os_features: Vec<String>,
    /// The version of the operating system.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub os_version: String,
    /// The layers, uncompressed.
    #[serde(default)]
    pub rootfs: RootFs,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub variant: String,
    /// Every other field.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How containers of an image run.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `user[:group]`, by name or number.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub user: String,
    /// `port/protocol`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`, in the order they were set.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    /// The program and the arguments that always come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    /// The default arguments, or the program where there is no entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    /// Paths that are volumes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that ends a container.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub stop_signal: String,
    /// Windows: the command line is escaped already.
    #[serde(default, skip_serializing_if = "is_false", deserialize_with = "null_is_empty")]
    pub args_escaped: bool,
    /// How to ask a container whether it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds that start from this image.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub on_build: Vec<String>,
    /// The shell of the shell form.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub shell: Vec<String>,
    /// Every other field.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Go's `struct{}`: the value of a set's entry, written `{}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Empty {}

impl<'de> Deserialize<'de> for Empty {
    // Any object or null is taken, and its fields dropped, as Go does.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<Map<String, Value>>::deserialize(deserializer)?;
        Ok(Self {})
    }
}

/// A health check. Times are in nanoseconds; 0 means the default.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `NONE`, `CMD` and words, or `CMD-SHELL` and a line.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_is_empty")]
    pub interval: i64,
    /// Time a check may take.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_is_empty")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_is_empty")]
    pub start_period: i64,
    /// Time between checks while starting.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_is_empty")]
    pub start_interval: i64,
    /// Failures in a row that count as ill.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_is_empty")]
    pub retries: i64,
    /// Every other field.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One step of an image's history.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// When the step was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Created>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub created_by: String,
    /// Who made the step.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub author: String,
    /// A remark; BuildKit writes `buildkit.dockerfile.v0`.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "is_false", deserialize_with = "null_is_empty")]
    pub empty_layer: bool,
    /// Every other field.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The layers of an image by their diff IDs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers")]
    pub kind: String,
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<Digest>,
}

fn layers() -> String {
    "layers".to_owned()
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: layers(), diff_ids: Vec::new() }
    }
}

/// A moment as RFC 3339 writes it, kept as it was written, offset included.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Created(String);

impl Created {
    /// This moment in UTC, as Go's `time.Time` is written: fraction without trailing zeros.
    pub fn at(moment: Timestamp) -> Self {
        Self(moment.to_string())
    }

    /// Takes an RFC 3339 text.
    pub fn parse(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<Timestamp>()?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The moment.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.0.parse().ok()
    }
}

impl fmt::Debug for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Created {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Fields that tools wrote about the container or the tool that made an image; BuildKit does not hand them on.
const LEFTOVERS: [&str; 8] = [
    "container",
    "container_config",
    "docker_version",
    "id",
    "moby.buildkit.buildinfo.v1",
    "moby.buildkit.cache.v0",
    "parent",
    "throwaway",
];

/// The same inside `config`: the old Docker builder wrote its whole container there.
const CONTAINER_LEFTOVERS: [&str; 18] = [
    "AttachStderr",
    "AttachStdin",
    "AttachStdout",
    "CpuSet",
    "CpuShares",
    "Domainname",
    "Hostname",
    "Image",
    "MacAddress",
    "Memory",
    "MemorySwap",
    "NetworkDisabled",
    "OpenStdin",
    "PortSpecs",
    "StdinOnce",
    "StopTimeout",
    "Tty",
    "VolumeDriver",
];

impl ImageConfig {
    /// The config of an image made from nothing.
    pub fn empty(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            os_version: platform.os_version.clone(),
            os_features: platform.os_features.clone(),
            variant: platform.variant.clone(),
            ..Self::default()
        }
    }

    /// Reads and checks a config: it must be an object whose root file system is of layers.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let config: Self = serde_json::from_slice(bytes)
            .map_err(|source| FormatError::Json { document: "image config", source })?;
        if config.rootfs.kind != "layers" {
            return Err(FormatError::RootFsKind(config.rootfs.kind));
        }
        Ok(config)
    }

    /// The config's bytes, whose digest is the image ID.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let json = |source| FormatError::Json { document: "image config", source };
        let Value::Object(mut fields) = serde_json::to_value(self).map_err(json)? else {
            return Err(FormatError::NotAnObject("image config"));
        };
        fields.sort_keys();
        go_json::to_vec(&fields).map_err(json)
    }

    /// The platform the image is for.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
        }
    }

    /// Removes what other tools noted about themselves and their containers, and what a new image must not inherit.
    pub fn drop_leftovers(&mut self) {
        self.other.retain(|field, _| !LEFTOVERS.contains(&field.as_str()));
        self.config.other.retain(|field, _| !CONTAINER_LEFTOVERS.contains(&field.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by BuildKit (Docker Engine 28.5, `docker buildx build` of a Dockerfile with every metadata instruction), unchanged.
    const BUILDKIT: &str = include_str!("../tests/data/buildkit-config.json");

    #[test]
    fn what_buildkit_wrote_is_written_again_byte_for_byte() {
        let text = BUILDKIT.trim_end();
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(config.to_bytes().unwrap()).unwrap(), text);
        assert!(
            config.other.is_empty() && config.config.other.is_empty(),
            "every field is known: {config:?}"
        );
        assert_eq!(config.platform().to_string(), "linux/amd64");
        assert_eq!(config.config.env[2], "B=x<y&z");
    }

    #[test]
    fn a_config_made_here_has_buildkits_order_and_leaves_out_what_is_empty() {
        let mut config = ImageConfig::empty(&"linux/arm/v7".parse().unwrap());
        let moment: Timestamp = "2026-01-02T03:04:05.678900000Z".parse().unwrap();
        config.created = Some(Created::at(moment));
        config.config.env = vec!["A=<b>".to_owned()];
        config.config.labels.insert("z".to_owned(), String::new());
        config.config.labels.insert("a".to_owned(), "1".to_owned());
        config.config.volumes.insert("/v".to_owned(), Empty {});
        config.config.healthcheck =
            Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() });
        config.history.push(History { created_by: "x".to_owned(), empty_layer: true, ..History::default() });
        config.other.insert("custom".to_owned(), Value::from(1));
        let expected = concat!(
            r#"{"architecture":"arm","config":{"Env":["A=\u003cb\u003e"],"Volumes":{"/v":{}},"Labels":{"a":"1","z":""},"#,
            r#""Healthcheck":{"Test":["NONE"]}},"created":"2026-01-02T03:04:05.6789Z","custom":1,"#,
            r#""history":[{"created_by":"x","empty_layer":true}],"os":"linux","#,
            r#""rootfs":{"type":"layers","diff_ids":[]},"variant":"v7"}"#
        );
        assert_eq!(String::from_utf8(config.to_bytes().unwrap()).unwrap(), expected);
    }

    #[test]
    fn nulls_and_leftovers_of_the_old_docker_builder_are_understood() {
        let text = r#"{"architecture":"amd64","config":{"Hostname":"x","Env":null,"Cmd":null,"Image":"sha256:1",
            "Volumes":null,"ExposedPorts":{"80/tcp":null},"Entrypoint":null,"OnBuild":null,"Labels":null,"Mine":[1]},
            "container":"abc","container_config":{"Cmd":["x"]},"created":"2020-01-01T01:00:00+01:00",
            "docker_version":"20.10","history":null,"os":"linux","rootfs":{"type":"layers","diff_ids":null},"x":2}"#;
        let mut config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.config.exposed_ports.len(), 1);
        config.drop_leftovers();
        let expected = concat!(
            r#"{"architecture":"amd64","config":{"ExposedPorts":{"80/tcp":{}},"Mine":[1]},"#,
            r#""created":"2020-01-01T01:00:00+01:00","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"x":2}"#
        );
        assert_eq!(String::from_utf8(config.to_bytes().unwrap()).unwrap(), expected);
    }

    #[test]
    fn malformed_configs_are_refused() {
        for text in [
            "",
            "[]",
            "null",
            r#"{"rootfs":{"type":"squashfs"}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":["sha256:1"]}}"#,
            r#"{"created":"yesterday"}"#,
            r#"{"config":{"Env":"A=1"}}"#,
            r#"{"config":{"Volumes":{"/v":1}}}"#,
            r#"{"history":[1]}"#,
        ] {
            assert!(ImageConfig::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
