//! Images at rest and in transit.
//!
//! This crate knows what an image is (references, platforms, descriptors, manifests, configs), keeps images on disk in
//! a content-addressed store, fetches them from registries and sends them there, and writes them as archives. What
//! comes from a registry or a file is hostile until its size, form and digest were checked. The crate never looks
//! inside a layer, never holds a blob in memory, and reads neither the environment nor the clock: options come from
//! the caller.
//!
//! In reading order:
//! - [`reference`]: the name of an image; [`place`]: where images of another registry are.
//! - [`platform`]: operating system and processor, and which of an index's images suits.
//! - [`media_type`], [`descriptor`], [`manifest`], [`config`]: the documents of an image.
//! - [`go_json`]: JSON as Go writes it, which decides digests.
//! - [`image`]: a finished image, ready to be stored or pushed.
//! - [`package`]: a manifest, or an index with every manifest below it, ready to be copied byte by byte.
//! - [`store`]: the content-addressed store, an OCI layout on disk.
//! - [`secret`], [`credentials`]: who we are to a registry.
//! - [`registry`]: the conversation with registries: resolving, pulling, pushing.
//! - [`archive`]: docker archives, OCI layouts and OCI archives.
//! - [`error`]: what goes wrong, and what the user can do about it.

pub mod archive;
pub mod config;
pub mod credentials;
pub mod descriptor;
pub mod error;
pub mod go_json;
pub mod image;
pub mod manifest;
pub mod media_type;
pub mod package;
pub mod place;
pub mod platform;
pub mod reference;
pub mod registry;
pub mod secret;
pub mod store;

pub use config::ImageConfig;
pub use descriptor::Descriptor;
pub use error::OciError;
pub use image::Image;
pub use manifest::{Index, Manifest, RawManifest};
pub use media_type::{Family, MediaType};
pub use package::Package;
pub use platform::Platform;
pub use reference::Reference;
pub use registry::{Download, Registry, RegistryOptions, ResolvedImage};
pub use secret::Secret;
pub use store::Store;
pub use zuwai_layer::Digest;
