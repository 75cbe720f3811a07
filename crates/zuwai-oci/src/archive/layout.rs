//! OCI image layouts, as a directory and as a tar (OCI image spec, image-layout.md).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::tar::TarWriter;
use super::{append_blob, open_blob};
use crate::descriptor::Descriptor;
use crate::error::{FormatError, IoContext as _, OciError};
use crate::go_json;
use crate::image::Image;
use crate::manifest::{Index, MANIFEST_LIMIT};
use crate::media_type::Family;
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
    let layout = put_blobs(directory, image, store)?;
    layout.replace_file("index.json", &index_bytes(entries(image, names))?)
}

/// Adds an image to an OCI layout directory, replacing entries of the same names and of the same image without a name.
pub fn add_to_oci_layout(
    directory: &Path,
    image: &Image,
    store: &Store,
    names: &[Reference],
) -> Result<(), OciError> {
    let layout = put_blobs(directory, image, store)?;
    let path = directory.join("index.json");
    let mut index = match read_limited(&path, MANIFEST_LIMIT) {
        Ok(bytes) => Index::parse(&bytes)?,
        Err(OciError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Index::new(Family::Oci, Vec::new())
        }
        Err(error) => return Err(error),
    };
    let added = entries(image, names);
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

/// Writes an OCI layout as one tar archive, with the entries that [`write_oci_layout`] makes.
pub fn write_oci_archive(
    out: impl Write,
    image: &Image,
    store: &Store,
    names: &[Reference],
) -> Result<(), OciError> {
    let mut archive = TarWriter::new(out, "OCI archive");
    archive.bytes("oci-layout", LAYOUT_FILE)?;
    archive.bytes("index.json", &index_bytes(entries(image, names))?)?;
    archive.directory("blobs")?;
    archive.directory("blobs/sha256")?;
    let name = |blob: &Descriptor| format!("blobs/sha256/{}", blob.digest.hex());
    archive.bytes(&name(&image.descriptor()), image.manifest_bytes())?;
    archive.bytes(&name(&image.manifest().config), image.config_bytes())?;
    let mut seen = BTreeSet::from([image.digest(), image.config_digest()]);
    for layer in image.layers() {
        if seen.insert(layer.digest) {
            append_blob(&mut archive, &name(layer), store, layer)?;
        }
    }
    archive.finish()
}

/// Makes a layout that has the image's blobs.
fn put_blobs(directory: &Path, image: &Image, store: &Store) -> Result<Store, OciError> {
    // Every layer is looked for first, so that a layout is not begun that cannot be ended.
    for layer in image.layers() {
        open_blob(store, layer)?;
    }
    let layout = Store::create(directory)?;
    for layer in image.layers() {
        if layout.size(&layer.digest) != Some(layer.size) {
            link_or_copy(&layout, store, layer)?;
        }
    }
    image.save(&layout)?;
    layout.remove_ingest();
    Ok(layout)
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

/// One entry a name, or one without a name.
fn entries(image: &Image, names: &[Reference]) -> Vec<Descriptor> {
    let plain = || {
        let platform = image.config().platform();
        Descriptor {
            platform: Some(platform).filter(|platform| !platform.os.is_empty()),
            ..image.descriptor()
        }
    };
    let named = |name: &Reference| {
        let mut entry = plain();
        entry.annotations.insert(IMAGE_NAME.to_owned(), name.canonical());
        if let Some(tag) = name.tag() {
            entry.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        }
        entry
    };
    let unique: BTreeSet<&Reference> = names.iter().collect();
    match unique.is_empty() {
        true => vec![plain()],
        false => unique.into_iter().map(named).collect(),
    }
}

fn index_bytes(manifests: Vec<Descriptor>) -> Result<Vec<u8>, OciError> {
    let index = Index::new(Family::Oci, manifests);
    Ok(go_json::to_vec(&index).map_err(|source| FormatError::Json { document: "index", source })?)
}
