//! Where an image comes from, and bringing it in.

use std::fmt;
use std::path::{Path, PathBuf};

use zuwai_layer::Digest;
use zuwai_oci::archive::{ArchiveFile, DockerArchive, Layout};
use zuwai_oci::descriptor::Descriptor;
use zuwai_oci::error::OciError;
use zuwai_oci::image::Image;
use zuwai_oci::media_type::MediaType;
use zuwai_oci::package::Package;
use zuwai_oci::reference::Reference;
use zuwai_oci::store::Store;

use super::TransferRequest;
use super::session::Session;
use crate::error::BuildError;

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A registry.
    Registry(Reference),
    /// A directory or a tar, whatever kind it turns out to be.
    Path(PathBuf),
    /// An OCI layout in a directory.
    Layout {
        /// The directory.
        directory: PathBuf,
        /// Which of its images.
        which: Which,
    },
    /// An OCI layout in a tar.
    OciArchive {
        /// The tar.
        file: PathBuf,
        /// Which of its images.
        which: Which,
    },
    /// What `docker save` writes.
    DockerArchive {
        /// The tar.
        file: PathBuf,
        /// The name of one of its images; the only one if `None`.
        name: Option<String>,
    },
}

/// Which image of a layout is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The only one.
    Only,
    /// The one with this tag.
    Tag(String),
    /// The document with this digest, whether the layout's index names it or not.
    Digest(Digest),
}

/// An image that was brought in.
#[derive(Debug)]
pub struct Loaded {
    /// Its documents.
    pub package: Package,
    /// The blobs: all of them, unless there is an origin.
    pub store: Option<Store>,
    /// The repository that has the blobs.
    pub origin: Option<Reference>,
    /// What the source calls it.
    pub names: Vec<Reference>,
}

/// What is behind a source on disk.
pub(super) enum Opened {
    Layout(Layout, Which),
    Docker(DockerArchive, Option<String>),
}

impl Source {
    /// Brings in the documents, and from disk the blobs, checked.
    pub(super) fn load(
        &self,
        request: &TransferRequest,
        session: &Session<'_>,
    ) -> Result<Loaded, BuildError> {
        let platform = request.platform.as_ref();
        if let Self::Registry(reference) = self {
            let package = session.run(session.registry.package(reference, platform))?;
            let package = package.map_err(|source| self.failed(source))?;
            let (origin, names) = (Some(reference.clone()), vec![reference.clone()]);
            return Ok(Loaded { package, store: None, origin, names });
        }
        let failed = |source| self.failed(source);
        match self.open(session)? {
            Opened::Layout(layout, which) => {
                let entry = entry(&layout, &which).map_err(failed)?;
                let package = layout.package(&entry, platform).map_err(failed)?;
                let store = self.blobs(&layout, &package, session)?;
                let names = layout.names(&entry.digest).map_err(failed)?;
                Ok(Loaded { package, store: Some(store), origin: None, names: references(&names) })
            }
            Opened::Docker(archive, name) => {
                let (image, names) = self.import(&archive, name.as_deref(), request, session)?;
                let store = Some(session.store()?);
                Ok(Loaded { package: Package::of(&image)?, store, origin: None, names })
            }
        }
    }

    /// Looks whether there is anything at all, before anybody else is asked.
    pub(super) fn check_place(&self) -> Result<(), BuildError> {
        let path = match self {
            Self::Registry(_) => return Ok(()),
            Self::Path(path) => path,
            Self::Layout { directory, .. } => directory,
            Self::OciArchive { file, .. } | Self::DockerArchive { file, .. } => file,
        };
        match path.metadata() {
            Ok(_) => Ok(()),
            Err(source) => Err(self.failed(OciError::Io { action: "open", path: path.clone(), source })),
        }
    }

    /// Opens what is on disk.
    pub(super) fn open(&self, session: &Session<'_>) -> Result<Opened, BuildError> {
        let failed = |source| self.failed(source);
        let archive = |file: &Path| ArchiveFile::open(file, &session.store()?).map_err(failed);
        Ok(match self {
            Self::Layout { directory, which } => Opened::Layout(Layout::directory(directory), which.clone()),
            Self::OciArchive { file, which } => {
                Opened::Layout(Layout::archive(archive(file)?), which.clone())
            }
            Self::DockerArchive { file, name } => {
                Opened::Docker(DockerArchive::new(archive(file)?).map_err(failed)?, name.clone())
            }
            Self::Path(path) if path.is_dir() => Opened::Layout(Layout::directory(path), Which::Only),
            Self::Path(path) => {
                let found = archive(path)?;
                match is_layout(&found).map_err(failed)? {
                    true => Opened::Layout(Layout::archive(found), Which::Only),
                    false => Opened::Docker(DockerArchive::new(found).map_err(failed)?, None),
                }
            }
            Self::Registry(_) => unreachable!("a registry is not on disk"),
        })
    }

    /// One image of a docker archive, its layers in the session's store, and its names.
    pub(super) fn import(
        &self,
        archive: &DockerArchive,
        name: Option<&str>,
        request: &TransferRequest,
        session: &Session<'_>,
    ) -> Result<(Image, Vec<Reference>), BuildError> {
        let failed = |source| self.failed(source);
        let found = archive.image(name).map_err(failed)?;
        let family = request.family.unwrap_or_default();
        let image = archive.import(found, family, &session.store()?, request.threads).map_err(failed)?;
        Ok((image, references(&found.repo_tags)))
    }

    /// The blobs of a layout, checked: in its own place if it is a directory.
    fn blobs(&self, layout: &Layout, package: &Package, session: &Session<'_>) -> Result<Store, BuildError> {
        let failed = |source| self.failed(source);
        if layout.path().is_dir() {
            package.blobs().into_iter().try_for_each(|blob| layout.check_blob(blob)).map_err(failed)?;
            return Store::open(layout.path()).map_err(failed);
        }
        let store = session.store()?;
        package.blobs().into_iter().try_for_each(|blob| layout.fetch_blob(blob, &store)).map_err(failed)?;
        Ok(store)
    }

    /// The error of a source that cannot be used.
    pub(super) fn failed(&self, source: OciError) -> BuildError {
        BuildError::Source { place: self.to_string(), source: Box::new(source) }
    }
}

/// The descriptor of what is meant in a layout.
pub(super) fn entry(layout: &Layout, which: &Which) -> Result<Descriptor, OciError> {
    match which {
        Which::Only => layout.entry(None),
        Which::Tag(tag) => layout.entry(Some(tag)),
        Which::Digest(digest) => layout.described(digest),
    }
}

/// Whether an archive is to be read as an OCI layout. Docker's, since version 25, are both: then it is, if the layout is
/// whole and its layers are compressed, as they are with containerd's store. A registry is to get compressed ones.
fn is_layout(archive: &ArchiveFile) -> Result<bool, OciError> {
    if !archive.contains("index.json") || !archive.contains("oci-layout") {
        return Ok(false);
    }
    if !archive.contains("manifest.json") {
        return Ok(true);
    }
    let layout = Layout::archive(archive.clone());
    let is_plain =
        |layer: &&Descriptor| matches!(layer.media_type, MediaType::OciLayer | MediaType::DockerLayer);
    // What is missing there, such as other platforms' images, is not in docker's part.
    let complete = |entry: &Descriptor| {
        layout.package(entry, None).is_ok_and(|package| {
            let blobs = package.blobs();
            blobs.iter().all(|blob| layout.has_blob(&blob.digest)) && !blobs.iter().any(is_plain)
        })
    };
    Ok(layout.index()?.manifests.iter().all(complete))
}

/// Names as they stand in archives; what is none is left out.
fn references(names: &[String]) -> Vec<Reference> {
    names.iter().filter_map(|name| Reference::parse(name).ok()).collect()
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Layout { directory, which } => write!(f, "oci:{}{which}", directory.display()),
            Self::OciArchive { file, which } => write!(f, "oci-archive:{}{which}", file.display()),
            Self::DockerArchive { file, name: None } => write!(f, "docker-archive:{}", file.display()),
            Self::DockerArchive { file, name: Some(name) } => {
                write!(f, "docker-archive:{}:{name}", file.display())
            }
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => Ok(()),
            Self::Tag(tag) => write!(f, ":{tag}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}
