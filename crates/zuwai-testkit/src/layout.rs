//! Writes an OCI layout of tar files, for base images that are made here.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::archive::hex;

/// Writes an image of these uncompressed tar files, lowest first, as `dir` with the tag `latest`. `config` is the whole config
/// but for `rootfs`, which is added.
///
/// # Panics
/// If something cannot be written.
pub fn write(dir: &Path, layers: &[PathBuf], mut config: Value) {
    std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
    for layer in layers {
        let (descriptor, diff_id) = add_layer(dir, layer);
        descriptors.push(descriptor);
        diff_ids.push(diff_id);
    }
    config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
    let config = add_document(dir, &config, "application/vnd.oci.image.config.v1+json");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": descriptors,
    });
    let mut manifest = add_document(dir, &manifest, "application/vnd.oci.image.manifest.v1+json");
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn add_document(dir: &Path, document: &Value, media_type: &str) -> Value {
    let bytes = document.to_string().into_bytes();
    let digest = hex(&Sha256::digest(&bytes));
    std::fs::write(dir.join("blobs/sha256").join(&digest), &bytes).unwrap();
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
}

fn add_layer(dir: &Path, layer: &Path) -> (Value, String) {
    let unfinished = dir.join("blobs/unfinished");
    let mut tar =
        BufReader::new(File::open(layer).unwrap_or_else(|error| panic!("{}: {error}", layer.display())));
    let mut gzip = flate2::write::GzEncoder::new(
        Hashing::new(File::create(&unfinished).unwrap()),
        flate2::Compression::fast(),
    );
    let mut content = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = tar.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        content.update(&buffer[..read]);
        gzip.write_all(&buffer[..read]).unwrap();
    }
    let Hashing { hasher, size, .. } = gzip.finish().unwrap();
    let digest = hex(&hasher.finalize());
    std::fs::rename(&unfinished, dir.join("blobs/sha256").join(&digest)).unwrap();
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    let descriptor = json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size});
    (descriptor, format!("sha256:{}", hex(&content.finalize())))
}

struct Hashing {
    file: File,
    hasher: Sha256,
    size: u64,
}

impl Hashing {
    fn new(file: File) -> Self {
        Self { file, hasher: Sha256::new(), size: 0 }
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
