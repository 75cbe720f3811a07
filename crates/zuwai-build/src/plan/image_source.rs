//! Where an image is.

use std::fmt;

use zuwai_oci::archive::LayoutReference;
use zuwai_oci::reference::Reference;

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageSource {
    /// In a registry.
    Registry(Reference),
    /// In an OCI layout on disk, which a named context leads to.
    Layout(LayoutReference),
}

impl ImageSource {
    /// What a user calls it: the image's short name, or the layout's place.
    pub fn familiar(&self) -> String {
        match self {
            Self::Registry(reference) => reference.familiar(),
            Self::Layout(layout) => layout.to_string(),
        }
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "{reference}"),
            Self::Layout(layout) => write!(f, "{layout}"),
        }
    }
}
