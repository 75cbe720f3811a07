//! An image on disk: an OCI layout, or skopeo's `dir:` format.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::archive::{self, Entry, hex};
use crate::command::program;

/// An image: its manifest, its config, and where its layers are.
#[derive(Debug, Clone)]
pub struct Image {
    /// The manifest.
    pub manifest: Value,
    /// The config.
    pub config: Value,
    /// The layers, lowest first.
    pub layers: Vec<LayerBlob>,
}

/// A layer's blob on disk.
#[derive(Debug, Clone)]
pub struct LayerBlob {
    /// The file.
    pub file: PathBuf,
    /// The digest that the manifest gives.
    pub digest: String,
    /// The media type that the manifest gives.
    pub media_type: String,
}

impl Image {
    /// The one image of an OCI layout (or the first, where an index has one for each platform).
    ///
    /// # Panics
    /// If it is not a layout.
    #[must_use]
    pub fn layout(dir: &Path) -> Self {
        let blob = |digest: &str| dir.join("blobs").join(digest.replacen(':', "/", 1));
        let mut document = json(&dir.join("index.json"));
        while let Some(first) = document["manifests"].get(0) {
            document = json(&blob(first["digest"].as_str().unwrap()));
        }
        Self::from(document, blob)
    }

    /// The image that `skopeo copy ... dir:DIR` wrote, which keeps every byte of manifest and config.
    ///
    /// # Panics
    /// If it is not such a folder.
    #[must_use]
    pub fn skopeo(dir: &Path) -> Self {
        Self::from(json(&dir.join("manifest.json")), |digest| dir.join(digest.split_once(':').unwrap().1))
    }

    fn from(manifest: Value, blob: impl Fn(&str) -> PathBuf) -> Self {
        let config = json(&blob(manifest["config"]["digest"].as_str().expect("a manifest with a config")));
        // An image without layers may have null there.
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        let layers = layers
            .iter()
            .map(|layer| {
                let digest = layer["digest"].as_str().unwrap().to_owned();
                let media_type = layer["mediaType"].as_str().unwrap_or_default().to_owned();
                LayerBlob { file: blob(&digest), digest, media_type }
            })
            .collect();
        Self { manifest, config, layers }
    }

    /// Makes each layer's file one with that of the same digest in `pool`, so that many images of one base take its space once.
    ///
    /// # Panics
    /// If something cannot be linked, as across file systems.
    pub fn share_blobs(&self, pool: &Path) {
        std::fs::create_dir_all(pool).unwrap();
        for layer in &self.layers {
            let pooled = pool.join(&layer.digest);
            if std::fs::hard_link(&layer.file, &pooled).is_err() {
                std::fs::remove_file(&layer.file).unwrap();
                std::fs::hard_link(&pooled, &layer.file).unwrap();
            }
        }
    }

    /// What is wrong with the image by itself: digests that do not fit, and layers against the law that Zuwai's layers keep
    /// (one entry a path, clean relative names, parents first, a hard link's target earlier in the same layer, no entry
    /// beside its own whiteout, whole seconds). The first `base` layers, somebody else's, are looked at for digests only.
    #[must_use]
    pub fn problems(&self, base: usize) -> Vec<String> {
        let mut problems = Vec::new();
        let diff_ids = self.config["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
        if diff_ids.len() != self.layers.len() {
            problems.push(format!("{} diff IDs for {} layers", diff_ids.len(), self.layers.len()));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let (size, digest) = layer.measured();
            if digest != layer.digest {
                problems.push(format!("layer {index} is {digest}, the manifest says {}", layer.digest));
            }
            let stated = &self.manifest["layers"][index]["size"];
            if stated.as_u64() != Some(size) {
                problems.push(format!("layer {index} has {size} bytes, the manifest says {stated}"));
            }
            if let Some(stated) = diff_ids.get(index).and_then(Value::as_str) {
                let real = layer.diff_id();
                if real != stated {
                    problems.push(format!("layer {index} unpacks to {real}, the config says {stated}"));
                }
            }
            if index >= base {
                problems.extend(
                    law(&layer.entries()).into_iter().map(|problem| format!("layer {index}: {problem}")),
                );
            }
        }
        let history = self.config["history"].as_array().cloned().unwrap_or_default();
        let filled = history.iter().filter(|row| row["empty_layer"] != Value::Bool(true)).count();
        if !history.is_empty() && filled != self.layers.len() {
            problems.push(format!("{filled} history rows with a layer for {} layers", self.layers.len()));
        }
        problems
    }
}

impl LayerBlob {
    /// The layer as an uncompressed tar stream.
    #[must_use]
    pub fn open(&self) -> Box<dyn Read> {
        let mut file =
            File::open(&self.file).unwrap_or_else(|error| panic!("{}: {error}", self.file.display()));
        let mut magic = [0; 4];
        file.read_exact(&mut magic).unwrap();
        let file = File::open(&self.file).unwrap();
        match magic {
            [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(std::io::BufReader::new(file))),
            [0x28, 0xb5, 0x2f, 0xfd] => {
                let mut child =
                    program("zstd").arg("-dc").stdin(file).stdout(Stdio::piped()).spawn().unwrap();
                let stdout = child.stdout.take().unwrap();
                Box::new(Zstd { child, stdout })
            }
            _ => Box::new(std::io::BufReader::new(file)),
        }
    }

    /// All its entries. Read once for each digest.
    #[must_use]
    pub fn entries(&self) -> Arc<Vec<Entry>> {
        static READ: Mutex<Option<HashMap<String, Arc<Vec<Entry>>>>> = Mutex::new(None);
        let known = READ.lock().unwrap().get_or_insert_default().get(&self.digest).cloned();
        known.unwrap_or_else(|| {
            let entries = Arc::new(archive::read(self.open()));
            READ.lock().unwrap().get_or_insert_default().insert(self.digest.clone(), Arc::clone(&entries));
            entries
        })
    }

    /// Digest of the uncompressed stream.
    #[must_use]
    pub fn diff_id(&self) -> String {
        measure(self.open()).1
    }

    /// Size and digest of the blob.
    #[must_use]
    pub fn measured(&self) -> (u64, String) {
        measure(File::open(&self.file).unwrap())
    }
}

/// What `zstd -dc` prints.
struct Zstd {
    child: Child,
    stdout: ChildStdout,
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stdout.read(buffer)
    }
}

impl Drop for Zstd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Against the law of layers.
fn law(entries: &[Entry]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen: Vec<&[u8]> = Vec::new();
    let show = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let mut known = std::collections::BTreeSet::new();
    for entry in entries {
        let path = entry.path.as_slice();
        let name = show(&entry.name);
        if name.starts_with('/')
            || name.starts_with("./")
            || name.split('/').any(|part| part == "..")
            || name.contains("//")
        {
            problems.push(format!("{name} is not a clean relative name"));
        }
        if !known.insert(path) {
            problems.push(format!("{name} is there twice"));
        }
        if let archive::Kind::Link(target) = &entry.kind
            && !known.contains(target.as_slice())
        {
            problems.push(format!(
                "{name} is a hard link to {}, which is not earlier in the layer",
                show(target)
            ));
        }
        let (parent, last) = path
            .iter()
            .rposition(|&b| b == b'/')
            .map_or((&b""[..], path), |at| (&path[..at], &path[at + 1..]));
        if let Some(removed) = last.strip_prefix(b".wh.")
            && last != b".wh..wh..opq"
        {
            let removed = if parent.is_empty() { removed.to_vec() } else { [parent, b"/", removed].concat() };
            if known.contains(removed.as_slice()) {
                problems.push(format!("{name} beside the entry it removes"));
            }
        }
        if !parent.is_empty() && !known.contains(parent) {
            seen.push(parent);
        }
        if entry.pax.iter().any(|key| key == "mtime" || key == "atime" || key == "ctime") {
            problems.push(format!("{name} has a time finer than seconds"));
        }
    }
    for parent in seen {
        if known.contains(parent) {
            problems.push(format!("{} comes after something in it", show(parent)));
        }
    }
    problems
}

fn measure(mut stream: impl Read) -> (u64, String) {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let read = stream.read(&mut buffer).unwrap();
        if read == 0 {
            return (size, format!("sha256:{}", hex(&hasher.finalize())));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

fn json(file: &Path) -> Value {
    let text = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
