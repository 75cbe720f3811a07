//! A small real image, made here.

use std::collections::BTreeMap;

use zuwai_layer::{Compression, Entry, EntryKind, ImagePath, LayerBuilder, Level};
use zuwai_oci::registry::RetryPolicy;
use zuwai_oci::{
    Descriptor, Family, Image, ImageConfig, MediaType, Reference, Registry, RegistryOptions, Store,
};

/// A store in a folder of its own, and an image in it.
pub struct Sample {
    pub store: Store,
    pub image: Image,
    _directory: tempfile::TempDir,
}

/// An empty store that is removed when the folder is dropped.
pub fn empty_store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(directory.path().join("store")).unwrap();
    (directory, store)
}

/// An image of two gzip layers with one file each; `label` makes its config differ from others.
pub fn image(family: Family, label: &str) -> Sample {
    image_with(family, label, 300_000)
}

/// The same, with a second layer of so many bytes.
pub fn image_with(family: Family, label: &str, length: usize) -> Sample {
    let (directory, store) = empty_store();
    let mut config = ImageConfig::empty(&"linux/amd64".parse().unwrap());
    config.config.labels.insert("label".to_owned(), label.to_owned());
    config.config.cmd = vec!["/first".to_owned()];
    let mut layers = Vec::new();
    for (name, content) in [("first", vec![b'a'; 10]), ("second", noise(length))] {
        let sink = store.stage().unwrap();
        let mut builder = LayerBuilder::new(sink, Compression::Gzip, Level::default(), 1);
        let entry = Entry {
            path: ImagePath::new(name).unwrap(),
            kind: EntryKind::File { size: content.len() as u64 },
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: BTreeMap::new(),
        };
        builder.entry(&entry, &content[..]).unwrap();
        let (staged, summary) = builder.finish().unwrap();
        staged.persist(&summary.digest).unwrap();
        config.rootfs.diff_ids.push(summary.diff_id);
        layers.push(Descriptor::new(MediaType::OciLayerGzip, summary.digest, summary.size));
    }
    let image = Image::assemble(family, config, &layers, BTreeMap::new()).unwrap();
    image.save(&store).unwrap();
    Sample { store, image, _directory: directory }
}

/// Bytes that do not compress, the same every time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A client that does not wait long between attempts.
pub fn client() -> Registry {
    Registry::new(RegistryOptions { retry: impatient(), ..RegistryOptions::default() }).unwrap()
}

pub fn impatient() -> RetryPolicy {
    RetryPolicy { first_delay: std::time::Duration::from_millis(5), ..RetryPolicy::default() }
}

pub fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}
