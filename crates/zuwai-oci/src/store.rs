//! The content-addressed store: an OCI image layout on disk (OCI image spec, image-layout.md).
//!
//! A blob appears under its digest by a rename once it is whole, so that a reader never sees a part of one and two
//! writers of the same blob do no harm. Nothing is synced: what a crash leaves behind is found by its digest to be
//! wrong or is a temporary file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use zuwai_layer::Digest;
use zuwai_layer::digest::Digester;

use crate::error::{IoContext as _, OciError};

/// The contents of an OCI layout's `oci-layout` file.
pub(crate) const LAYOUT_FILE: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";

/// The directory of temporary files.
const INGEST: &str = "ingest";

/// A content-addressed store. Cheap to clone; clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Tells apart temporary files of one process.
    next: AtomicU64,
    closed: AtomicBool,
}

/// Digest and length of a blob that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// The digest.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
}

impl Store {
    /// Opens a store in this directory, making it if it is not there.
    pub fn create(directory: impl Into<PathBuf>) -> Result<Self, OciError> {
        let directory = directory.into();
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).at("create", &blobs)?;
        let store = Self {
            inner: Arc::new(Inner { directory, next: AtomicU64::new(0), closed: AtomicBool::new(false) }),
        };
        let marker = store.directory().join("oci-layout");
        if !marker.exists() {
            store.replace_file("oci-layout", LAYOUT_FILE)?;
        }
        Ok(store)
    }

    /// Opens a store that must be there already.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, OciError> {
        let directory = directory.into();
        let marker = directory.join("oci-layout");
        fs::metadata(&marker).at("read", &marker)?;
        Self::create(directory)
    }

    /// The store's directory.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Where a blob is, or will be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory().join("blobs/sha256").join(digest.hex())
    }

    /// Whether a blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.size(digest).is_some()
    }

    /// The length of a blob that is there.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.blob_path(digest)).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
    }

    /// Opens a blob for reading.
    pub fn reader(&self, digest: &Digest) -> Result<File, OciError> {
        let path = self.blob_path(digest);
        File::open(&path).at("open", &path)
    }

    /// Reads a small blob whole: a manifest or a config. A longer one than `limit` is an error.
    pub fn read_small(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, OciError> {
        read_limited(&self.blob_path(digest), limit)
    }

    /// Starts writing a blob whose digest is computed on the way.
    pub fn writer(&self) -> Result<BlobWriter, OciError> {
        Ok(BlobWriter { staged: self.stage()?, digester: Digester::default() })
    }

    /// Starts writing a blob whose digest the caller computes, as a layer's builder does.
    pub fn stage(&self) -> Result<StagedBlob, OciError> {
        let ingest = self.directory().join(INGEST);
        loop {
            fs::create_dir_all(&ingest).at("create", &ingest)?;
            let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
            let path = ingest.join(format!("{}-{number}", std::process::id()));
            // Containers that share a store may share a process id too: never take another's file. And who finishes
            // a layout removes this directory when it is empty.
            match File::create_new(&path) {
                Ok(file) => return Ok(StagedBlob { store: self.clone(), file, path, kept: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("create", &path),
            }
        }
    }

    /// Takes nothing more: whoever is writing a blob or reading one that is being downloaded gets an error. For a program
    /// that was told to end, whose other threads are in the midst of their work.
    pub fn close(&self) {
        self.inner.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn check_open(&self) -> io::Result<()> {
        if self.inner.closed.load(Ordering::Relaxed) {
            return Err(io::Error::other("the build is being stopped"));
        }
        Ok(())
    }

    /// Stores a small document.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<StoredBlob, OciError> {
        let digest = Digest::of(bytes);
        let size = bytes.len() as u64;
        if self.size(&digest) != Some(size) {
            let mut staged = self.stage()?;
            staged.file.write_all(bytes).at("write", &staged.path)?;
            staged.persist(&digest)?;
        }
        Ok(StoredBlob { digest, size })
    }

    /// Removes the directory of temporary files if nothing is being written: a layout for others has no such thing.
    pub(crate) fn remove_ingest(&self) {
        let _ = fs::remove_dir(self.directory().join(INGEST));
    }

    /// Writes a small file of the layout (`index.json`, `oci-layout`) by a temporary file and a rename.
    pub(crate) fn replace_file(&self, name: &str, bytes: &[u8]) -> Result<(), OciError> {
        let mut staged = self.stage()?;
        staged.file.write_all(bytes).at("write", &staged.path)?;
        staged.move_to(&self.directory().join(name))?;
        self.remove_ingest();
        Ok(())
    }
}

/// A blob being written; dropped before it is persisted, it leaves nothing behind.
#[derive(Debug)]
pub struct StagedBlob {
    store: Store,
    file: File,
    path: PathBuf,
    kept: bool,
}

impl StagedBlob {
    /// The temporary file, for readers that follow the writing.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the blob its name. The caller answers for the digest.
    pub fn persist(self, digest: &Digest) -> Result<(), OciError> {
        let path = self.store.blob_path(digest);
        self.move_to(&path)
    }

    fn move_to(mut self, path: &Path) -> Result<(), OciError> {
        fs::rename(&self.path, path).at("create", path)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for StagedBlob {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing depends on a temporary file being gone.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Write for StagedBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.store.check_open()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A blob being written and hashed.
pub struct BlobWriter {
    staged: StagedBlob,
    digester: Digester,
}

impl BlobWriter {
    /// The temporary file, for readers that follow the writing.
    pub fn path(&self) -> &Path {
        self.staged.path()
    }

    /// Puts the blob into the store under the digest of what was written; if one is expected, it must be that.
    pub fn commit(self, expected: Option<&Digest>) -> Result<StoredBlob, OciError> {
        let (digest, size) = self.digester.finish();
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(OciError::StoredDigest {
                path: self.staged.path.clone(),
                expected: *expected,
                actual: digest,
            });
        }
        self.staged.persist(&digest)?;
        Ok(StoredBlob { digest, size })
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.staged.write(bytes)?;
        self.digester.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.staged.flush()
    }
}

/// Reads a whole file that must not be longer than `limit`.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, OciError> {
    let file = File::open(path).at("open", path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 > limit {
        return Err(OciError::FileTooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(directory.path().join("store")).unwrap();
        (directory, store)
    }

    fn temporary_files(store: &Store) -> usize {
        fs::read_dir(store.directory().join(INGEST)).map_or(0, Iterator::count)
    }

    #[test]
    fn a_blob_appears_only_when_it_is_committed() {
        let (_directory, store) = store();
        let digest = Digest::of(b"hello");
        let mut writer = store.writer().unwrap();
        writer.write_all(b"hello").unwrap();
        assert!(!store.contains(&digest));
        assert_eq!(writer.commit(Some(&digest)).unwrap(), StoredBlob { digest, size: 5 });
        assert_eq!(store.read_small(&digest, 5).unwrap(), b"hello");
        assert_eq!(temporary_files(&store), 0);
    }

    #[test]
    fn a_blob_that_is_not_the_expected_one_leaves_nothing() {
        let (_directory, store) = store();
        let mut writer = store.writer().unwrap();
        writer.write_all(b"other").unwrap();
        let error = writer.commit(Some(&Digest::of(b"hello"))).unwrap_err();
        assert!(matches!(error, OciError::StoredDigest { .. }), "{error}");
        drop(store.stage().unwrap());
        assert!(!store.contains(&Digest::of(b"other")) && !store.contains(&Digest::of(b"hello")));
        assert_eq!(temporary_files(&store), 0);
    }

    #[test]
    fn a_small_read_has_a_limit() {
        let (_directory, store) = store();
        let StoredBlob { digest, .. } = store.put_bytes(b"hello").unwrap();
        assert!(matches!(store.read_small(&digest, 4), Err(OciError::FileTooLarge { limit: 4, .. })));
        let missing = store.read_small(&Digest::of(b""), 4).unwrap_err().to_string();
        assert!(missing.contains(&Digest::of(b"").hex()), "{missing}");
    }

    #[test]
    fn only_a_layout_is_opened() {
        let (directory, store) = store();
        assert!(Store::open(store.directory()).is_ok());
        assert!(Store::open(directory.path().join("nothing")).is_err());
    }
}
