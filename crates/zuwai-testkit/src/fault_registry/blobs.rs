//! What the registry holds: blobs and uploads in files, manifests and tags in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::archive::hex;

/// A manifest's media type and bytes.
pub(super) type Manifest = (String, Vec<u8>);

/// Blobs and uploads in a folder that is removed with it.
#[derive(Debug)]
pub(super) struct Blobs {
    dir: TempDir,
    contents: Mutex<Contents>,
    uploads: AtomicU64,
}

#[derive(Debug, Default)]
struct Contents {
    /// Repositories and digests.
    blobs: BTreeSet<(String, String)>,
    /// By repository and digest.
    manifests: BTreeMap<(String, String), Manifest>,
    /// Digests by repository and tag.
    tags: BTreeMap<(String, String), String>,
}

impl Blobs {
    pub(super) fn new() -> Self {
        let dir = crate::cache::scratch("fault-registry");
        for folder in ["blobs", "uploads"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Self { dir, contents: Mutex::default(), uploads: AtomicU64::new(0) }
    }

    /// The file of a blob, whoever has it; a digest is part of a path only if it is one.
    pub(super) fn file(&self, digest: &str) -> Option<PathBuf> {
        let hex = digest.strip_prefix("sha256:")?;
        let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| self.dir.path().join("blobs").join(hex))
    }

    /// The file of a blob of a repository.
    pub(super) fn find(&self, repository: &str, digest: &str) -> Option<PathBuf> {
        let key = (repository.to_owned(), digest.to_owned());
        self.contents.lock().unwrap().blobs.contains(&key).then(|| self.file(digest)).flatten()
    }

    /// The digests of a repository's blobs.
    pub(super) fn of(&self, repository: &str) -> BTreeSet<String> {
        let contents = self.contents.lock().unwrap();
        let own = contents.blobs.iter().filter(|(name, _)| name == repository);
        own.map(|(_, digest)| digest.clone()).collect()
    }

    /// Makes a blob part of a repository as well; `false` if the other one does not have it.
    pub(super) fn mount(&self, from: &str, to: &str, digest: &str) -> bool {
        let found = self.find(from, digest).is_some();
        if found {
            self.contents.lock().unwrap().blobs.insert((to.to_owned(), digest.to_owned()));
        }
        found
    }

    /// Begins an upload.
    pub(super) fn begin(&self) -> String {
        let id = format!("upload-{}", self.uploads.fetch_add(1, Ordering::Relaxed) + 1);
        File::create(self.dir.path().join("uploads").join(&id)).unwrap();
        id
    }

    /// The file of an upload that was begun and not ended.
    pub(super) fn upload(&self, id: &str) -> Option<PathBuf> {
        let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let file = self.dir.path().join("uploads").join(id);
        (plain && file.is_file()).then_some(file)
    }

    /// Ends an upload: its file becomes a blob, or is removed if its digest is another.
    pub(super) fn commit(&self, repository: &str, upload: &Path, digest: &str) -> io::Result<bool> {
        let right = digest_of(upload)? == digest;
        match self.file(digest).filter(|_| right) {
            Some(file) => std::fs::rename(upload, file)?,
            None => std::fs::remove_file(upload)?,
        }
        if right {
            self.contents.lock().unwrap().blobs.insert((repository.to_owned(), digest.to_owned()));
        }
        Ok(right)
    }

    /// What a manifest names and the repository lacks.
    pub(super) fn missing(&self, repository: &str, manifest: &[u8]) -> Vec<String> {
        let document: serde_json::Value = serde_json::from_slice(manifest).unwrap_or_default();
        let digest = |of: &serde_json::Value| of["digest"].as_str().map(str::to_owned);
        let list = |field: &str| document[field].as_array().cloned().unwrap_or_default();
        let foreign = |layer: &serde_json::Value| layer["urls"].is_array();
        let layers = list("layers").into_iter().filter(|layer| !foreign(layer));
        let blobs = layers.chain([document["config"].clone()]);
        let contents = self.contents.lock().unwrap();
        let lacks_blob = |digest: &String| !contents.blobs.contains(&(repository.to_owned(), digest.clone()));
        let lacks_manifest =
            |digest: &String| !contents.manifests.contains_key(&(repository.to_owned(), digest.clone()));
        let mut missing: Vec<_> = blobs.filter_map(|blob| digest(&blob)).filter(lacks_blob).collect();
        missing.extend(list("manifests").iter().filter_map(digest).filter(lacks_manifest));
        missing
    }

    /// Keeps a manifest, under a tag or under its digest alone.
    pub(super) fn put_manifest(&self, repository: &str, tag: Option<&str>, manifest: Manifest) -> String {
        let digest = sha256(&manifest.1);
        let mut contents = self.contents.lock().unwrap();
        if let Some(tag) = tag {
            contents.tags.insert((repository.to_owned(), tag.to_owned()), digest.clone());
        }
        contents.manifests.insert((repository.to_owned(), digest.clone()), manifest);
        digest
    }

    /// A manifest by tag or digest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Manifest)> {
        let contents = self.contents.lock().unwrap();
        let key = (repository.to_owned(), reference.to_owned());
        let digest = contents.tags.get(&key).cloned().unwrap_or(key.1);
        let found = contents.manifests.get(&(key.0, digest.clone())).cloned();
        found.map(|manifest| (digest, manifest))
    }

    /// A repository's tags.
    pub(super) fn tags(&self, repository: &str) -> Vec<String> {
        let contents = self.contents.lock().unwrap();
        let own = contents.tags.keys().filter(|(name, _)| name == repository);
        own.map(|(_, tag)| tag.clone()).collect()
    }
}

/// Appends to an upload what comes, up to `keep` bytes of it; the rest is read and forgotten. Bytes that came before
/// the peer broke off are kept.
pub(super) fn append(upload: &Path, mut body: &mut dyn Read, keep: u64) -> io::Result<u64> {
    let mut file = OpenOptions::new().append(true).open(upload)?;
    let kept = io::copy(&mut (&mut body).take(keep), &mut file)?;
    Ok(kept + io::copy(&mut body, &mut io::sink())?)
}

/// The digest of a file, read in pieces.
pub(super) fn digest_of(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(format!("sha256:{}", hex(&hash.finalize()))),
            read => hash.update(&piece[..read]),
        }
    }
}

/// The digest of bytes.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}
