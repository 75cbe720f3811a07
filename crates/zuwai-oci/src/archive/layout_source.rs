//! OCI layouts that are read: a directory, or a tar of one (OCI image spec, image-layout.md). Each document and blob is
//! checked by length and digest before it is used. Nothing is written to a layout.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zuwai_layer::Digest;
use zuwai_layer::digest::DigestWriter;

use super::archive_error::ArchiveError;
use super::archive_file::ArchiveFile;
use super::layout::{IMAGE_NAME, REF_NAME};
use super::layout_error::LayoutError;
use crate::descriptor::Descriptor;
use crate::error::{IoContext as _, OciError};
use crate::manifest::{Document, Index, MANIFEST_LIMIT, RawManifest};
use crate::media_type::MediaType;
use crate::package::{Gathering, Package};
use crate::platform::Platform;
use crate::store::{Store, read_limited};

/// An index may name an index, but not without end.
const DEPTH_LIMIT: usize = 4;

/// An OCI layout.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    files: Files,
}

#[derive(Debug)]
enum Files {
    Directory,
    Archive(ArchiveFile),
}

impl Layout {
    /// The layout in a directory.
    pub fn directory(path: &Path) -> Self {
        Self { path: path.to_owned(), files: Files::Directory }
    }

    /// The layout in a tar.
    pub fn archive(archive: ArchiveFile) -> Self {
        Self { path: archive.path().to_owned(), files: Files::Archive(archive) }
    }

    /// Where it is: the directory or the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The layout's own index, which names what is in it.
    ///
    /// # Errors
    /// When it cannot be read or is malformed.
    pub fn index(&self) -> Result<Index, OciError> {
        let bytes = match &self.files {
            Files::Directory => read_limited(&self.path.join("index.json"), MANIFEST_LIMIT)?,
            Files::Archive(archive) => archive.document("index.json", MANIFEST_LIMIT)?,
        };
        Index::parse(&bytes).map_err(|source| self.error(LayoutError::Index(source)))
    }

    /// The entry of the layout's index that has this tag, or without a tag, the only one.
    ///
    /// # Errors
    /// When there is none, or several that are not the same.
    pub fn entry(&self, tag: Option<&str>) -> Result<Descriptor, OciError> {
        let index = self.index()?;
        let known = || index.manifests.iter().filter_map(tag_of).collect();
        let found = match tag {
            Some(tag) => find_tag(&index, tag),
            None => match index.manifests.split_first() {
                Some((first, rest)) if rest.iter().all(|entry| entry.digest == first.digest) => Some(first),
                _ => return Err(self.error(LayoutError::Several { known: known() })),
            },
        };
        found.cloned().ok_or_else(|| {
            self.error(LayoutError::Tag { tag: tag.unwrap_or_default().to_owned(), known: known() })
        })
    }

    /// The whole names that the layout's index gives this digest, as containerd, docker and podman write them.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn names(&self, digest: &Digest) -> Result<Vec<String>, OciError> {
        let mut names: Vec<String> = Vec::new();
        for entry in self.index()?.manifests.iter().filter(|entry| entry.digest == *digest) {
            // A tag alone is no name.
            let whole = |name: &&String| name.contains([':', '/']);
            let name = entry.annotations.get(IMAGE_NAME).or(entry.annotations.get(REF_NAME).filter(whole));
            if let Some(name) = name.filter(|name| !names.contains(name)) {
                names.push(name.clone());
            }
        }
        Ok(names)
    }

    /// What an entry names, with every document below it; with a platform, the one image of an index that suits it.
    ///
    /// # Errors
    /// When a document is missing, damaged or malformed, or no image suits.
    pub fn package(&self, entry: &Descriptor, platform: Option<&Platform>) -> Result<Package, OciError> {
        let top = self.document_of(entry, platform)?;
        if platform.is_some() {
            return Ok(Package::single(top));
        }
        let wrong = |source| self.error(LayoutError::Document { digest: entry.digest, source });
        let mut gathering = Gathering::new(top);
        while let Some(wanted) = gathering.wanted().map_err(wrong)? {
            gathering.add(self.manifest(&wanted.digest, Some(wanted.size), Some(&wanted.media_type))?);
        }
        gathering.finish().ok_or_else(|| self.error(LayoutError::Missing { digest: entry.digest }))
    }

    /// The manifest or index that an entry names; with a platform, the manifest of an index that suits it.
    ///
    /// # Errors
    /// As [`Layout::package`].
    pub fn document_of(
        &self,
        entry: &Descriptor,
        platform: Option<&Platform>,
    ) -> Result<RawManifest, OciError> {
        match platform {
            Some(platform) => self.select(entry.digest, Some(entry.size), platform),
            None => self.manifest(&entry.digest, Some(entry.size), Some(&entry.media_type)),
        }
    }

    /// The descriptor of a document that is among the blobs, whether the layout's index names it or not.
    ///
    /// # Errors
    /// When it is missing, damaged, or neither manifest nor index.
    pub fn described(&self, digest: &Digest) -> Result<Descriptor, OciError> {
        Ok(self.manifest(digest, None, None)?.descriptor())
    }

    /// Whether a blob is there, of whatever length.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        match &self.files {
            Files::Directory => self.blob_path(digest).is_file(),
            Files::Archive(archive) => archive.contains(&blob_name(digest)),
        }
    }

    /// Finds the manifest for a platform, through indexes. One that stands alone is taken whatever its platform is.
    pub(super) fn select(
        &self,
        mut digest: Digest,
        mut size: Option<u64>,
        platform: &Platform,
    ) -> Result<RawManifest, OciError> {
        for _ in 0..DEPTH_LIMIT {
            let found = self.manifest(&digest, size, None)?;
            let Document::Index(index) = &found.document else { return Ok(found) };
            let Some(chosen) = index.select(platform) else {
                let (wanted, available) = (Box::new(platform.clone()), index.platforms());
                return Err(self.error(LayoutError::Platform { digest, wanted, available }));
            };
            (digest, size) = (chosen.digest, Some(chosen.size));
        }
        Err(self.error(LayoutError::Depth { digest, limit: DEPTH_LIMIT }))
    }

    fn manifest(
        &self,
        digest: &Digest,
        size: Option<u64>,
        claimed: Option<&MediaType>,
    ) -> Result<RawManifest, OciError> {
        let bytes = self.document(digest, size, MANIFEST_LIMIT)?;
        RawManifest::parse(bytes, claimed)
            .map_err(|source| self.error(LayoutError::Document { digest: *digest, source }))
    }

    /// A small blob, whole and checked.
    ///
    /// # Errors
    /// When it is missing, damaged, or longer than `limit` bytes.
    pub fn document(&self, digest: &Digest, size: Option<u64>, limit: u64) -> Result<Vec<u8>, OciError> {
        let bytes = match &self.files {
            Files::Directory => {
                read_limited(&self.blob_path(digest), limit).map_err(|error| self.missing(digest, error))?
            }
            Files::Archive(archive) => {
                archive.document(&blob_name(digest), limit).map_err(|error| self.missing(digest, error))?
            }
        };
        if let Some(size) = size {
            self.check_length(digest, size, bytes.len() as u64)?;
        }
        let actual = Digest::of(&bytes);
        match actual == *digest {
            true => Ok(bytes),
            false => Err(self.damaged(*digest, actual)),
        }
    }

    /// Copies a blob into a store, unless that has it: as a stream, and only if it is what its descriptor says.
    ///
    /// # Errors
    /// When the blob is missing, damaged, or cannot be copied.
    pub fn fetch_blob(&self, blob: &Descriptor, store: &Store) -> Result<(), OciError> {
        if store.size(&blob.digest) == Some(blob.size) {
            return Ok(());
        }
        let mut content = self.open_blob(blob)?;
        let mut writer = store.writer()?;
        let staged = writer.path().to_owned();
        io::copy(&mut content, &mut writer).at("copy a layer to", &staged)?;
        writer.commit(Some(&blob.digest)).map(drop).map_err(|error| match error {
            OciError::StoredDigest { expected, actual, .. } => self.damaged(expected, actual),
            error => error,
        })
    }

    /// Reads a blob to its end and checks that it is what its descriptor says.
    ///
    /// # Errors
    /// When the blob is missing or damaged.
    pub fn check_blob(&self, blob: &Descriptor) -> Result<(), OciError> {
        let mut content = self.open_blob(blob)?;
        let mut digest = DigestWriter::new(io::sink());
        io::copy(&mut content, &mut digest).at("read", &self.blob_path(&blob.digest))?;
        let (_, actual, _) = digest.finish();
        match actual == blob.digest {
            true => Ok(()),
            false => Err(self.damaged(blob.digest, actual)),
        }
    }

    /// A blob of the right length. A file that grows meanwhile ends where its descriptor says; its digest tells.
    fn open_blob(&self, blob: &Descriptor) -> Result<Box<dyn Read>, OciError> {
        let missing = |error| self.missing(&blob.digest, error);
        let (content, length): (Box<dyn Read>, u64) = match &self.files {
            Files::Directory => {
                let path = self.blob_path(&blob.digest);
                let file = File::open(&path).at("open", &path).map_err(missing)?;
                let length = file.metadata().at("read", &path)?.len();
                (Box::new(file), length)
            }
            Files::Archive(archive) => {
                let (section, length) = archive.file(&blob_name(&blob.digest)).map_err(missing)?;
                (Box::new(section), length)
            }
        };
        self.check_length(&blob.digest, blob.size, length)?;
        Ok(Box::new(content.take(blob.size)))
    }

    /// The error of opening a blob, in the layout's words if the blob is not there.
    fn missing(&self, digest: &Digest, error: OciError) -> OciError {
        match error {
            OciError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                self.error(LayoutError::Missing { digest: *digest })
            }
            OciError::ReadArchive { source, .. } if matches!(*source, ArchiveError::Missing { .. }) => {
                self.error(LayoutError::Missing { digest: *digest })
            }
            error => error,
        }
    }

    fn check_length(&self, digest: &Digest, expected: u64, actual: u64) -> Result<(), OciError> {
        match expected == actual {
            true => Ok(()),
            false => Err(self.error(LayoutError::Length { digest: *digest, expected, actual })),
        }
    }

    fn damaged(&self, expected: Digest, actual: Digest) -> OciError {
        self.error(LayoutError::Damaged { path: self.blob_path(&expected), expected, actual })
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join(blob_name(digest))
    }

    pub(super) fn error(&self, source: LayoutError) -> OciError {
        OciError::Layout { directory: self.path.clone(), source: Box::new(source) }
    }
}

/// A blob's place in a layout.
fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// What an entry of a layout's index is called there.
pub(super) fn tag_of(entry: &Descriptor) -> Option<String> {
    entry.annotations.get(REF_NAME).cloned()
}

/// The entry with a tag; one may be a whole name too.
pub(super) fn find_tag<'i>(index: &'i Index, tag: &str) -> Option<&'i Descriptor> {
    let named = |annotation| {
        let has_tag =
            |entry: &&Descriptor| entry.annotations.get(annotation).map(String::as_str) == Some(tag);
        index.manifests.iter().find(has_tag)
    };
    named(REF_NAME).or_else(|| named(IMAGE_NAME))
}
