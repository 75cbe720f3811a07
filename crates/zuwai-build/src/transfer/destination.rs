//! Where a moved image goes.

use std::fs;
use std::path::Path;

use zuwai_oci::archive;
use zuwai_oci::config::CONFIG_LIMIT;
use zuwai_oci::error::{FormatError, OciError};
use zuwai_oci::image::Image;
use zuwai_oci::manifest::Document;
use zuwai_oci::package::Package;
use zuwai_oci::reference::Reference;
use zuwai_oci::store::Store;

use super::session::Session;
use super::source::Loaded;
use crate::error::BuildError;
use crate::immutable_tag::{Pushed, unless_immutable};
use crate::output::{archive_file, promise_about};
use crate::request::Outputs;

/// Writes archives and layouts, then pushes, then writes what is to be known of the image.
pub(super) fn write(
    outputs: &Outputs,
    push: &[Reference],
    loaded: &Loaded,
    session: &Session<'_>,
) -> Result<(), BuildError> {
    let package = &loaded.package;
    let names = &outputs.names;
    let pushed: Vec<Reference> = push.iter().chain(names).cloned().collect();
    let promises = promise_about(outputs, &pushed, package.digest())?;
    if outputs.docker_archive.is_some() || outputs.oci_archive.is_some() {
        let store = whole(loaded, None, session)?;
        if let Some(path) = &outputs.docker_archive {
            let image = image(package, &store)
                .map_err(|source| BuildError::Archive { path: path.clone(), source: Box::new(source) })?;
            archive_file(path, |out| archive::write_docker_archive(out, &image, &store, names))?;
        }
        if let Some(path) = &outputs.oci_archive {
            archive_file(path, |out| {
                archive::write_package_as_oci_archive(out, package, &store, names, &outputs.tags)
            })?;
        }
    }
    if let Some(path) = &outputs.oci_layout {
        write_layout(path, loaded, names, &outputs.tags, session)?;
    }
    for reference in push {
        push_to(reference, outputs, loaded, session)?;
    }
    promises.into_iter().try_for_each(|(file, text)| file.keep(&text))
}

/// The store with all blobs; those of a registry are fetched into this one, or the session's.
fn whole(loaded: &Loaded, into: Option<Store>, session: &Session<'_>) -> Result<Store, BuildError> {
    let Some(origin) = &loaded.origin else {
        return match &loaded.store {
            Some(store) => Ok(store.clone()),
            None => session.store(),
        };
    };
    let store = into.map_or_else(|| session.store(), Ok)?;
    let _guard = session.runtime.enter();
    let blobs = loaded.package.blobs();
    let downloads: Vec<_> =
        blobs.into_iter().map(|blob| session.registry.download(origin, blob, &store)).collect();
    let fetched = session.run(async {
        for download in &downloads {
            download.wait().await?;
        }
        Ok(())
    })?;
    fetched.map_err(|source: OciError| BuildError::Source {
        place: origin.familiar(),
        source: Box::new(source),
    })?;
    Ok(store)
}

/// Adds the image to a layout; blobs of a registry are fetched right there.
fn write_layout(
    path: &Path,
    loaded: &Loaded,
    names: &[Reference],
    tags: &[String],
    session: &Session<'_>,
) -> Result<(), BuildError> {
    let was_there = path.exists();
    let failed = |source| BuildError::Archive { path: path.to_owned(), source: Box::new(source) };
    let written = Store::create(path).map_err(failed).and_then(|store| {
        let blobs = whole(loaded, Some(session.stopping(store)), session)?;
        archive::add_package_to_oci_layout(path, &loaded.package, &blobs, names, tags).map_err(failed)
    });
    if written.is_err() && !was_there {
        // One that was there keeps what it held; its index, which is written last, does not name what came since.
        let _ = fs::remove_dir_all(path);
    }
    written
}

/// The one image of a package whose config is in the store.
fn image(package: &Package, store: &Store) -> Result<Image, OciError> {
    let top = package.top();
    match &top.document {
        Document::Manifest(manifest) => {
            let config = store.read_small(&manifest.config.digest, CONFIG_LIMIT)?;
            Ok(Image::from_bytes(top.media_type.clone(), top.bytes.clone(), config)?)
        }
        Document::Index(_) => Err(FormatError::SeveralImages.into()),
    }
}

fn push_to(
    reference: &Reference,
    outputs: &Outputs,
    loaded: &Loaded,
    session: &Session<'_>,
) -> Result<(), BuildError> {
    tracing::info!("Pushing image to {}", reference.familiar());
    let Loaded { package, origin, .. } = loaded;
    let store = match &loaded.store {
        Some(store) => store.clone(),
        None => session.store()?,
    };
    let registry = &session.registry;
    let push = async {
        let pushed = registry.push_package(package, &store, origin.as_ref(), reference).await;
        unless_immutable(pushed, registry, reference, package.digest(), outputs.ignore_immutable_tags).await
    };
    let pushed = session.run(push)?.map_err(|source| BuildError::Push {
        reference: Box::new(reference.clone()),
        source: Box::new(source),
    })?;
    if pushed == Pushed::There {
        tracing::info!("Pushed {}@{}", reference.name(), package.digest());
    }
    Ok(())
}
