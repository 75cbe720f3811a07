//! OCI image layouts, as a directory and as a tar (OCI image spec, image-layout.md).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use zuwai_layer::Digest;

use super::tar::TarWriter;
use super::{append_blob, open_blob};
use crate::config::{CONFIG_LIMIT, ImageConfig};
use crate::descriptor::Descriptor;
use crate::error::{FormatError, IoContext as _, OciError};
use crate::go_json;
use crate::image::Image;
use crate::manifest::{Document, Index, MANIFEST_LIMIT};
use crate::media_type::Family;
use crate::package::Package;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{LAYOUT_FILE, Store, read_limited};

/// The tag, as tools that take `layout:tag` look for it.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole name, as containerd and docker look for it.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// Writes an image into an OCI layout directory, whose index then holds this image alone, as kaniko's
/// `--oci-layout-path` does. Blobs are hard-linked from the store where that is possible, else copied; each appears
/// whole, and the index last. Each name makes an entry with its tag in `org.opencontainers.image.ref.name`.
pub fn write_oci_layout(
    directory: &Path,
    image: &Image,
    store: &Store,
    names: &[Reference],
) -> Result<(), OciError> {
    image.save(store)?;
    let layout = put_blobs(directory, &Package::of(image)?, store)?;
    layout.replace_file("index.json", &index_bytes(entries(image_entry(image), names))?)
}

/// Adds an image to an OCI layout directory, replacing entries of the same names and of the same image without a name.
pub fn add_to_oci_layout(
    directory: &Path,
    image: &Image,
    store: &Store,
    names: &[Reference],
) -> Result<(), OciError> {
    image.save(store)?;
    let layout = put_blobs(directory, &Package::of(image)?, store)?;
    add_entries(&layout, entries(image_entry(image), names))
}

/// As [`add_to_oci_layout`], for a package whose blobs are in the store. Tags make entries without a whole name.
pub fn add_package_to_oci_layout(
    directory: &Path,
    package: &Package,
    store: &Store,
    names: &[Reference],
    tags: &[String],
) -> Result<(), OciError> {
    let layout = put_blobs(directory, package, store)?;
    add_entries(&layout, tagged(package_entry(package, store), names, tags))
}

/// Writes an OCI layout as one tar archive, with the entries that [`write_oci_layout`] makes.
pub fn write_oci_archive(
    out: impl Write,
    image: &Image,
    store: &Store,
    names: &[Reference],
) -> Result<(), OciError> {
    image.save(store)?;
    write_archive(out, &Package::of(image)?, store, entries(image_entry(image), names))
}

/// As [`write_oci_archive`], for a package whose blobs are in the store.
pub fn write_package_as_oci_archive(
    out: impl Write,
    package: &Package,
    store: &Store,
    names: &[Reference],
    tags: &[String],
) -> Result<(), OciError> {
    write_archive(out, package, store, tagged(package_entry(package, store), names, tags))
}

fn write_archive(
    out: impl Write,
    package: &Package,
    store: &Store,
    entries: Vec<Descriptor>,
) -> Result<(), OciError> {
    let mut archive = TarWriter::new(out, "OCI archive");
    archive.bytes("oci-layout", LAYOUT_FILE)?;
    archive.bytes("index.json", &index_bytes(entries)?)?;
    archive.directory("blobs")?;
    archive.directory("blobs/sha256")?;
    let name = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let mut seen = BTreeSet::new();
    for document in [package.top()].into_iter().chain(package.below()) {
        if seen.insert(document.digest) {
            archive.bytes(&name(&document.digest), &document.bytes)?;
        }
    }
    for blob in needed_blobs(package, store) {
        if seen.insert(blob.digest) {
            append_blob(&mut archive, &name(&blob.digest), store, blob)?;
        }
    }
    archive.finish()
}

fn add_entries(layout: &Store, added: Vec<Descriptor>) -> Result<(), OciError> {
    let path = layout.directory().join("index.json");
    let mut index = match read_limited(&path, MANIFEST_LIMIT) {
        Ok(bytes) => Index::parse(&bytes)?,
        Err(OciError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Index::new(Family::Oci, Vec::new())
        }
        Err(error) => return Err(error),
    };
    let name_of = |entry: &Descriptor| match entry.annotations.get(IMAGE_NAME) {
        Some(name) => Some(name.clone()),
        None => entry.annotations.get(REF_NAME).cloned(),
    };
    index.manifests.retain(|old| {
        !added.iter().any(|new| match (name_of(old), name_of(new)) {
            (None, _) => old.digest == new.digest,
            (old, new) => old == new,
        })
    });
    index.manifests.extend(added);
    let json = |source| FormatError::Json { document: "index", source };
    layout.replace_file("index.json", &go_json::to_vec(&index).map_err(json)?)
}

/// Makes a layout that has the package's documents and blobs.
fn put_blobs(directory: &Path, package: &Package, store: &Store) -> Result<Store, OciError> {
    let blobs = needed_blobs(package, store);
    // Every blob is looked for first, so that a layout is not begun that cannot be ended.
    for blob in &blobs {
        open_blob(store, blob)?;
    }
    let layout = Store::create(directory)?;
    for blob in &blobs {
        if layout.size(&blob.digest) != Some(blob.size) {
            link_or_copy(&layout, store, blob)?;
        }
    }
    for document in package.documents() {
        layout.put_bytes(&document.bytes)?;
    }
    layout.remove_ingest();
    Ok(layout)
}

/// The blobs that belong into a layout: all, and of layers that may not be redistributed those that are there.
fn needed_blobs<'p>(package: &'p Package, store: &Store) -> Vec<&'p Descriptor> {
    let foreign = package
        .manifests()
        .flat_map(|manifest| &manifest.layers)
        .filter(|layer| layer.media_type.is_foreign_layer() && store.contains(&layer.digest));
    foreign.chain(package.blobs()).collect()
}

fn link_or_copy(layout: &Store, store: &Store, blob: &Descriptor) -> Result<(), OciError> {
    let (from, to) = (store.blob_path(&blob.digest), layout.blob_path(&blob.digest));
    // A blob of the wrong length is in the way of a link, but not of the copy's rename.
    if fs::hard_link(&from, &to).is_ok() {
        return Ok(());
    }
    let mut staged = layout.stage()?;
    let mut file = open_blob(store, blob)?;
    io::copy(&mut file, &mut staged).at("write", staged.path())?;
    staged.persist(&blob.digest)
}

/// What the layout's index says of an image, but for its name.
fn image_entry(image: &Image) -> Descriptor {
    Descriptor { platform: known(image.config().platform()), ..image.descriptor() }
}

/// As [`image_entry`], for a package: an index has no platform, and what is no image has none.
fn package_entry(package: &Package, store: &Store) -> Descriptor {
    let top = package.top();
    let platform = match &top.document {
        Document::Manifest(manifest) => store.read_small(&manifest.config.digest, CONFIG_LIMIT).ok(),
        Document::Index(_) => None,
    };
    let platform = platform.and_then(|config| ImageConfig::parse(&config).ok());
    let platform = platform.and_then(|config| known(config.platform()));
    Descriptor { platform, ..top.descriptor() }
}

fn known(platform: Platform) -> Option<Platform> {
    Some(platform).filter(|platform| !platform.os.is_empty())
}

/// One entry a name, or one without a name.
fn entries(plain: Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    let named = |name: &Reference| {
        let mut entry = plain.clone();
        entry.annotations.insert(IMAGE_NAME.to_owned(), name.canonical());
        if let Some(tag) = name.tag() {
            entry.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        }
        entry
    };
    let unique: BTreeSet<&Reference> = names.iter().collect();
    match unique.is_empty() {
        true => vec![plain],
        false => unique.into_iter().map(named).collect(),
    }
}

/// As [`entries`], and one for each tag that is not part of a name.
fn tagged(plain: Descriptor, names: &[Reference], tags: &[String]) -> Vec<Descriptor> {
    let with_tag = |tag: &String| {
        let mut entry = plain.clone();
        entry.annotations.insert(REF_NAME.to_owned(), tag.clone());
        entry
    };
    let tagged: Vec<Descriptor> = tags.iter().map(with_tag).collect();
    let named = if names.is_empty() && !tagged.is_empty() { Vec::new() } else { entries(plain, names) };
    named.into_iter().chain(tagged).collect()
}

fn index_bytes(manifests: Vec<Descriptor>) -> Result<Vec<u8>, OciError> {
    let index = Index::new(Family::Oci, manifests);
    Ok(go_json::to_vec(&index).map_err(|source| FormatError::Json { document: "index", source })?)
}
