//! Images in OCI layouts on disk as build contexts name them: by directory, tag and digest, in buildx's way.

use std::fmt;
use std::path::{Path, PathBuf};

use zuwai_layer::Digest;

use super::layout_error::LayoutError;
use super::layout_source::{Layout, find_tag, tag_of};
use crate::config::CONFIG_LIMIT;
use crate::descriptor::Descriptor;
use crate::error::{FormatError, OciError};
use crate::image::Image;
use crate::manifest::Document;
use crate::media_type::MediaType;
use crate::platform::Platform;
use crate::reference::DEFAULT_TAG;
use crate::store::Store;

/// An image in an OCI layout on disk: what `oci-layout://DIRECTORY[:TAG][@DIGEST]` names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutReference {
    /// The layout's directory.
    pub directory: PathBuf,
    /// The tag; it means nothing beside a digest.
    pub tag: String,
    /// The digest of a manifest or index among the layout's blobs.
    pub digest: Option<Digest>,
}

impl LayoutReference {
    /// Reads `DIRECTORY[:TAG][@DIGEST]`, as buildx does: what follows the first `@` is the digest, what follows the first
    /// colon before it is the tag, `latest` if there is none.
    ///
    /// # Errors
    /// When the digest is none.
    pub fn parse(text: &str) -> Result<Self, zuwai_layer::digest::DigestError> {
        let (place, digest) = match text.split_once('@') {
            Some((place, digest)) => (place, Some(digest.parse()?)),
            None => (text, None),
        };
        let (directory, tag) = place.split_once(':').unwrap_or((place, DEFAULT_TAG));
        Ok(Self { directory: PathBuf::from(directory), tag: tag.to_owned(), digest })
    }

    /// The digest that this means: its own, or the one that the layout's index has for its tag. A layout with one image
    /// has it under every tag, as buildx takes it.
    ///
    /// # Errors
    /// When the index cannot be read or has no such tag.
    pub fn find(&self) -> Result<Digest, OciError> {
        if let Some(digest) = self.digest {
            return Ok(digest);
        }
        let layout = self.layout();
        let index = layout.index()?;
        match (find_tag(&index, &self.tag), index.manifests.as_slice()) {
            (Some(entry), _) | (None, [entry]) => Ok(entry.digest),
            (None, entries) => {
                let known = entries.iter().filter_map(tag_of).collect();
                Err(layout.error(LayoutError::Tag { tag: self.tag.clone(), known }))
            }
        }
    }

    /// Finds the image for a platform: through indexes to the manifest and its config, all checked. No layer is read. An
    /// image that stands alone is taken whatever its platform is.
    ///
    /// # Errors
    /// When a document is missing, damaged or no image's, or no image of an index suits.
    pub fn resolve(&self, platform: &Platform) -> Result<Image, OciError> {
        let layout = self.layout();
        let found = layout.select(self.find()?, None, platform)?;
        let digest = found.digest;
        let wrong = |source| layout.error(LayoutError::Document { digest, source });
        let Document::Manifest(manifest) = &found.document else {
            return Err(wrong(FormatError::Unsupported(found.media_type.to_string())));
        };
        let config = &manifest.config;
        if !matches!(config.media_type, MediaType::OciConfig | MediaType::DockerConfig) {
            return Err(wrong(FormatError::Unsupported(config.media_type.to_string())));
        }
        let config = layout.document(&config.digest, Some(config.size), CONFIG_LIMIT)?;
        Image::from_bytes(found.media_type, found.bytes, config).map_err(wrong)
    }

    /// Copies a blob into a store, unless that has it: as a stream, and only if it is what its descriptor says.
    ///
    /// # Errors
    /// When the blob is missing, damaged, or cannot be copied.
    pub fn fetch_blob(&self, blob: &Descriptor, store: &Store) -> Result<(), OciError> {
        self.layout().fetch_blob(blob, store)
    }

    fn layout(&self) -> Layout {
        Layout::directory(&self.directory)
    }

    /// The same in another directory.
    #[must_use]
    pub fn in_directory(self, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), ..self }
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci-layout://{}", self.directory.display())?;
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => write!(f, ":{}", self.tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use super::*;
    use crate::archive::{add_to_oci_layout, write_oci_layout};
    use crate::config::ImageConfig;
    use crate::go_json;
    use crate::manifest::Index;
    use crate::media_type::Family;
    use crate::reference::Reference;

    /// A layout beside a store, with an image of one layer for each platform and tag.
    fn layout(images: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf, Store, Vec<Image>) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(directory.path().join("store")).unwrap();
        let place = directory.path().join("layout");
        let mut made = Vec::new();
        for (platform, tag) in images {
            let content = format!("the layer for {platform}").into_bytes();
            store.put_bytes(&content).unwrap();
            let mut config = ImageConfig::empty(&platform.parse().unwrap());
            config.rootfs.diff_ids = vec![Digest::of(&content)];
            let layer = Descriptor::of(MediaType::OciLayer, &content);
            let image = Image::assemble(Family::Oci, config, &[layer], BTreeMap::new()).unwrap();
            let names: Vec<_> =
                [tag].iter().map(|tag| Reference::parse(&format!("x:{tag}")).unwrap()).collect();
            match made.is_empty() {
                true => write_oci_layout(&place, &image, &store, &names).unwrap(),
                false => add_to_oci_layout(&place, &image, &store, &names).unwrap(),
            }
            made.push(image);
        }
        let fresh = Store::create(directory.path().join("fresh")).unwrap();
        (directory, place, fresh, made)
    }

    fn platform() -> Platform {
        "linux/amd64".parse().unwrap()
    }

    /// An error with its causes.
    fn message(error: &OciError) -> String {
        let mut text = error.to_string();
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            text.push_str(&format!(": {cause}"));
            next = cause.source();
        }
        text
    }

    #[test]
    fn tag_and_digest_are_read_as_buildx_does() {
        let digest = Digest::of(b"");
        for (text, directory, tag, has_digest) in [
            ("/a/b", "/a/b", "latest", false),
            ("/a/b:1.2", "/a/b", "1.2", false),
            ("a:x:y", "a", "x:y", false),
            (&format!("/a@{digest}"), "/a", "latest", true),
            (&format!("/a:t@{digest}"), "/a", "t", true),
        ] {
            let parsed = LayoutReference::parse(text).unwrap();
            let found = (parsed.directory.to_str().unwrap(), parsed.tag.as_str(), parsed.digest.is_some());
            assert_eq!(found, (directory, tag, has_digest), "{text}");
        }
        assert!(LayoutReference::parse("/a@sha256:11").is_err());
    }

    #[test]
    fn an_image_is_found_by_tag_by_digest_or_alone() {
        let (_directory, place, _, images) = layout(&[("linux/amd64", "one"), ("linux/arm64", "two")]);
        let find = |text: &str| LayoutReference::parse(text).unwrap().in_directory(&place).find();
        assert_eq!(find("x:one").unwrap(), images[0].digest());
        assert_eq!(find("x:two").unwrap(), images[1].digest());
        assert_eq!(find("x:docker.io/library/x:two").unwrap(), images[1].digest());
        assert_eq!(find(&format!("x@{}", images[1].digest())).unwrap(), images[1].digest());
        let text = message(&find("x").unwrap_err());
        assert!(
            text.contains("layout") && text.ends_with("no image is tagged \"latest\" (it has: one, two)"),
            "{text}"
        );

        let (_directory, place, _, images) = layout(&[("linux/amd64", "one")]);
        let alone = LayoutReference::parse("x:other").unwrap().in_directory(&place);
        assert_eq!(alone.resolve(&platform()).unwrap(), images[0]);
    }

    #[test]
    fn an_index_gives_the_image_for_the_platform() {
        let (_directory, place, _, images) = layout(&[("linux/arm64", "a"), ("linux/amd64", "b")]);
        let blobs = Store::create(&place).unwrap();
        let with_platform =
            |image: &Image| Descriptor { platform: Some(image.config().platform()), ..image.descriptor() };
        let index = Index::new(Family::Oci, images.iter().map(with_platform).collect()).to_bytes().unwrap();
        let top = Descriptor::of(MediaType::OciIndex, &index);
        blobs.put_bytes(&index).unwrap();
        let outer = Index::new(Family::Oci, vec![top]);
        std::fs::write(place.join("index.json"), go_json::to_vec(&outer).unwrap()).unwrap();
        let reference = LayoutReference::parse("x").unwrap().in_directory(&place);
        assert_eq!(reference.resolve(&platform()).unwrap(), images[1]);
        let text = message(&reference.resolve(&"linux/s390x".parse().unwrap()).unwrap_err());
        assert!(text.contains("for platform linux/s390x (it has: linux/arm64, linux/amd64)"), "{text}");
    }

    #[test]
    fn layers_are_copied_with_their_bytes() {
        let (_directory, place, store, images) = layout(&[("linux/amd64", "one")]);
        let reference = LayoutReference::parse("x").unwrap().in_directory(&place);
        let layer = &images[0].layers()[0];
        reference.fetch_blob(layer, &store).unwrap();
        assert_eq!(store.read_small(&layer.digest, 100).unwrap(), b"the layer for linux/amd64");
    }

    #[test]
    fn a_layout_that_is_not_whole_is_refused_with_path_and_digest() {
        type Harm = fn(&Path, &Image);
        let harms: [(Harm, &str); 7] = [
            (|place, _| std::fs::remove_file(place.join("index.json")).unwrap(), "index.json"),
            (|place, _| std::fs::write(place.join("index.json"), "{}").unwrap(), "its index cannot be used"),
            (|place, image| remove(place, image.digest()), "is missing"),
            (|place, image| remove(place, image.config_digest()), "is missing"),
            (|place, image| append(place, image.config_digest()), "bytes long"),
            (|place, image| append(place, image.layers()[0].digest), "bytes long"),
            (|place, image| change(place, image.layers()[0].digest), "has digest sha256:"),
        ];
        for (harm, expected) in harms {
            let (_directory, place, store, images) = layout(&[("linux/amd64", "one")]);
            harm(&place, &images[0]);
            let reference = LayoutReference::parse("x").unwrap().in_directory(&place);
            let result = reference
                .resolve(&platform())
                .and_then(|image| reference.fetch_blob(&image.layers()[0], &store));
            let text = message(&result.unwrap_err());
            assert!(text.contains(expected) && text.contains("/layout"), "{expected}: {text}");
            assert!(!store.contains(&images[0].layers()[0].digest));
        }
    }

    fn path(place: &Path, digest: Digest) -> PathBuf {
        place.join("blobs/sha256").join(digest.hex())
    }

    fn remove(place: &Path, digest: Digest) {
        std::fs::remove_file(path(place, digest)).unwrap();
    }

    // Of the same length. The blob may be a hard link of the store's, so it is made anew.
    fn change(place: &Path, digest: Digest) {
        remove(place, digest);
        std::fs::write(path(place, digest), "the layer for linux/386!!").unwrap();
    }

    fn append(place: &Path, digest: Digest) {
        let mut file = std::fs::OpenOptions::new().append(true).open(path(place, digest)).unwrap();
        file.write_all(b" ").unwrap();
    }
}
