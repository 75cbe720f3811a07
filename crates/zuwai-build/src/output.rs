//! Where the finished image goes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use tokio::runtime::Runtime;
use zuwai_layer::Digest;
use zuwai_oci::archive;
use zuwai_oci::error::OciError;
use zuwai_oci::image::Image;
use zuwai_oci::reference::Reference;
use zuwai_oci::registry::Registry;
use zuwai_oci::store::Store;
use zuwai_rootfs::signals::Interrupt;

use crate::error::BuildError;
use crate::immutable_tag::{Pushed, unless_immutable};
use crate::promised_file::PromisedFile;
use crate::request::Outputs;
use crate::stopping::unless_stopped;

/// Writes archives, then pushes, then writes what is to be known of the image. A refused push leaves the archives that
/// were asked for, and a place that cannot be written is found before anything is pushed.
///
/// # Errors
/// When something cannot be written or pushed.
pub fn write(
    outputs: &Outputs,
    image: &Image,
    store: &Store,
    runtime: &Runtime,
    registry: &Registry,
    interrupt: &Interrupt,
) -> Result<(), BuildError> {
    let names: Vec<Reference> = outputs.push.iter().chain(&outputs.names).cloned().collect();
    let promises = promise_about(outputs, &names, image.digest())?;
    if outputs.needs_layers() {
        fetch_missing_layers(image, store, runtime, registry)?;
    }
    if let Some(path) = &outputs.docker_archive {
        archive_file(path, |out| archive::write_docker_archive(out, image, store, &names))?;
    }
    if let Some(path) = &outputs.oci_archive {
        archive_file(path, |out| archive::write_oci_archive(out, image, store, &names))?;
    }
    if let Some(path) = &outputs.oci_layout {
        let was_there = path.exists();
        archive::write_oci_layout(path, image, store, &names).map_err(|source| {
            // One that was there keeps what it held; its index, which is written last, does not name what came since.
            if !was_there {
                let _ = fs::remove_dir_all(path);
            }
            BuildError::Archive { path: path.clone(), source: Box::new(source) }
        })?;
    }
    for reference in &outputs.push {
        tracing::info!("Pushing image to {}", reference.familiar());
        let push = async {
            let pushed = registry.push(image, store, reference).await;
            let ignore = outputs.ignore_immutable_tags;
            unless_immutable(pushed, registry, reference, image.digest(), ignore).await
        };
        let pushed = runtime.block_on(unless_stopped(interrupt, push))?;
        let pushed = pushed.map_err(|source| BuildError::Push {
            reference: Box::new(reference.clone()),
            source: Box::new(source),
        })?;
        if pushed == Pushed::There {
            tracing::info!("Pushed {}@{}", reference.name(), image.digest());
        }
    }
    for (file, text) in promises {
        file.keep(&text)?;
    }
    Ok(())
}

/// Opens the files about an image under these names, with what is to be written into each.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn promise_about(
    outputs: &Outputs,
    names: &[Reference],
    digest: Digest,
) -> Result<Vec<(PromisedFile, String)>, BuildError> {
    let lines = |shown: &dyn Fn(&Reference) -> String| {
        names.iter().map(|name| format!("{}@{digest}\n", shown(name))).collect::<String>()
    };
    let files = [
        (&outputs.digest_file, digest.to_string()),
        (&outputs.image_name_with_digest_file, lines(&Reference::name)),
        (&outputs.image_name_tag_with_digest_file, lines(&Reference::canonical)),
    ];
    let wanted = files.into_iter().filter_map(|(path, text)| Some((path.as_ref()?, text)));
    wanted.map(|(path, text)| Ok((PromisedFile::open(path)?, text))).collect()
}

/// A base that no step ran in was not fetched; an archive holds it all the same. Layers that may not be redistributed stay
/// where they are: the archives say where.
fn fetch_missing_layers(
    image: &Image,
    store: &Store,
    runtime: &Runtime,
    registry: &Registry,
) -> Result<(), BuildError> {
    let _guard = runtime.enter();
    let downloads: Vec<_> = image
        .layers()
        .iter()
        .filter(|layer| !layer.media_type.is_foreign_layer() && !store.contains(&layer.digest))
        .filter_map(|layer| Some(registry.download(image.origins.get(&layer.digest)?, layer, store)))
        .collect();
    downloads.iter().try_for_each(|download| download.wait_blocking().map_err(BuildError::from))
}

/// Writes a file beside its place and moves it there when it is whole: nothing half written is left.
pub(crate) fn archive_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), OciError>,
) -> Result<(), BuildError> {
    let failed = |source| BuildError::Write { path: path.to_owned(), source };
    if is_device_or_pipe(path) {
        let mut out = BufWriter::new(File::options().write(true).open(path).map_err(failed)?);
        write(&mut out)
            .map_err(|source| BuildError::Archive { path: path.to_owned(), source: Box::new(source) })?;
        return out.flush().map_err(failed);
    }
    make_parent(path)?;
    let part = part_path(path);
    let result = File::create(&part).map_err(failed).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 17, file);
        write(&mut out)
            .map_err(|source| BuildError::Archive { path: path.to_owned(), source: Box::new(source) })?;
        out.flush().map_err(failed)?;
        fs::rename(&part, path).map_err(failed)
    });
    if result.is_err() {
        let _ = fs::remove_file(&part);
    }
    result
}

/// `/dev/stdout`, a named pipe: written to, never replaced.
fn is_device_or_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Makes the directory that a file is to be in.
pub(crate) fn make_parent(path: &Path) -> Result<(), BuildError> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => fs::create_dir_all(parent).map_err(|source| {
            // Something else in the way is called "File exists" by the system.
            let in_the_way = source.kind() == io::ErrorKind::AlreadyExists;
            let source = if in_the_way { io::ErrorKind::NotADirectory.into() } else { source };
            BuildError::Write { path: parent.to_owned(), source }
        }),
        None => Ok(()),
    }
}

fn part_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}
