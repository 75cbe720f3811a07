//! The media types of image documents and layers, OCI's and Docker's.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The two families of media types. An image is of one family throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Family {
    /// `application/vnd.oci.*`
    #[default]
    Oci,
    /// `application/vnd.docker.*`, schema 2
    Docker,
}

macro_rules! media_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A media type; those that this crate knows have a variant each.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MediaType {
            $($(#[$doc])* $name,)*
            /// Anything else, kept as it was written.
            Other(String),
        }

        impl MediaType {
            /// The text of the media type.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for MediaType {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

media_types! {
    /// OCI image index.
    OciIndex = "application/vnd.oci.image.index.v1+json",
    /// OCI image manifest.
    OciManifest = "application/vnd.oci.image.manifest.v1+json",
    /// OCI image config.
    OciConfig = "application/vnd.oci.image.config.v1+json",
    /// OCI layer, not compressed.
    OciLayer = "application/vnd.oci.image.layer.v1.tar",
    /// OCI layer, gzip.
    OciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip",
    /// OCI layer, zstd.
    OciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd",
    /// OCI layer that may not be redistributed, not compressed.
    OciForeignLayer = "application/vnd.oci.image.layer.nondistributable.v1.tar",
    /// OCI layer that may not be redistributed, gzip.
    OciForeignLayerGzip = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    /// OCI layer that may not be redistributed, zstd.
    OciForeignLayerZstd = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    /// Docker manifest list.
    DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json",
    /// Docker manifest, schema 2.
    DockerManifest = "application/vnd.docker.distribution.manifest.v2+json",
    /// Docker image config.
    DockerConfig = "application/vnd.docker.container.image.v1+json",
    /// Docker layer, not compressed.
    DockerLayer = "application/vnd.docker.image.rootfs.diff.tar",
    /// Docker layer, gzip.
    DockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip",
    /// Docker layer, zstd; written by some tools, refused by others.
    DockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd",
    /// Docker layer that may not be redistributed, gzip.
    DockerForeignLayerGzip = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    /// Docker manifest, schema 1, signed: refused.
    DockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws",
    /// Docker manifest, schema 1: refused.
    DockerSchema1 = "application/vnd.docker.distribution.manifest.v1+json",
}

impl MediaType {
    /// Whether this names a list of manifests.
    pub fn is_index(&self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerManifestList)
    }

    /// Whether this names an image manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::OciManifest | Self::DockerManifest)
    }

    /// Whether this names a layer that registries do not store.
    pub fn is_foreign_layer(&self) -> bool {
        matches!(
            self,
            Self::OciForeignLayer
                | Self::OciForeignLayerGzip
                | Self::OciForeignLayerZstd
                | Self::DockerForeignLayerGzip
        )
    }

    /// The family, if the type belongs to one.
    pub fn family(&self) -> Option<Family> {
        let text = self.as_str();
        match () {
            () if text.starts_with("application/vnd.oci.") => Some(Family::Oci),
            () if text.starts_with("application/vnd.docker.") => Some(Family::Docker),
            () => None,
        }
    }

    /// The same kind of document or layer in the other family's words; what has no counterpart stays as it is.
    pub fn in_family(&self, family: Family) -> Self {
        match (family, self) {
            (Family::Oci, Self::DockerManifestList) => Self::OciIndex,
            (Family::Oci, Self::DockerManifest) => Self::OciManifest,
            (Family::Oci, Self::DockerConfig) => Self::OciConfig,
            (Family::Oci, Self::DockerLayer) => Self::OciLayer,
            (Family::Oci, Self::DockerLayerGzip) => Self::OciLayerGzip,
            (Family::Oci, Self::DockerLayerZstd) => Self::OciLayerZstd,
            (Family::Oci, Self::DockerForeignLayerGzip) => Self::OciForeignLayerGzip,
            (Family::Docker, Self::OciIndex) => Self::DockerManifestList,
            (Family::Docker, Self::OciManifest) => Self::DockerManifest,
            (Family::Docker, Self::OciConfig) => Self::DockerConfig,
            (Family::Docker, Self::OciLayer) => Self::DockerLayer,
            (Family::Docker, Self::OciLayerGzip) => Self::DockerLayerGzip,
            (Family::Docker, Self::OciLayerZstd) => Self::DockerLayerZstd,
            (Family::Docker, Self::OciForeignLayerGzip) => Self::DockerForeignLayerGzip,
            (_, same) => same.clone(),
        }
    }
}

impl Family {
    /// The family's manifest.
    pub fn manifest(self) -> MediaType {
        MediaType::OciManifest.in_family(self)
    }

    /// The family's index.
    pub fn index(self) -> MediaType {
        MediaType::OciIndex.in_family(self)
    }

    /// The family's image config.
    pub fn config(self) -> MediaType {
        MediaType::OciConfig.in_family(self)
    }

    /// The family's layer, not compressed.
    pub fn layer(self) -> MediaType {
        MediaType::OciLayer.in_family(self)
    }

    /// The family's gzip layer.
    pub fn layer_gzip(self) -> MediaType {
        MediaType::OciLayerGzip.in_family(self)
    }

    /// The family's zstd layer.
    pub fn layer_zstd(self) -> MediaType {
        MediaType::OciLayerZstd.in_family(self)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oci => "oci",
            Self::Docker => "docker",
        })
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_translate_into_each_other_and_keep_what_they_do_not_know() {
        let own =
            [Family::Oci.manifest(), Family::Oci.index(), Family::Oci.config(), Family::Oci.layer_gzip()];
        for media_type in own {
            let docker = media_type.in_family(Family::Docker);
            assert_eq!(docker.family(), Some(Family::Docker), "{media_type}");
            assert_eq!(docker.in_family(Family::Oci), media_type);
        }
        let other = MediaType::from("application/x");
        assert_eq!((other.in_family(Family::Docker), other.family()), (other.clone(), None));
    }
}
