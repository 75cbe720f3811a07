//! Layers of bases: where each is, and unpacking them while they arrive.

use std::io::Read;

use zuwai_layer::compression::decompress;
use zuwai_layer::digest::DigestReader;
use zuwai_layer::error::LayerError;
use zuwai_layer::{Digest, reader::LayerReader};
use zuwai_oci::descriptor::Descriptor;
use zuwai_oci::reference::Reference;
use zuwai_oci::registry::Download;
use zuwai_oci::store::Store;
use zuwai_rootfs::fingerprint::Fingerprints;
use zuwai_rootfs::unpack::{Hidden, Refused, Unpacked, unpack};
use zuwai_rootfs::{Root, RootfsError};

use super::Network;
use crate::error::{BuildError, StepError};
use crate::plan::{ImageKey, ImageSource};

/// A layer of a stage: in the store, or still in the registry that its base came from.
#[derive(Debug, Clone)]
pub struct StageLayer {
    /// The compressed blob.
    pub descriptor: Descriptor,
    /// The digest of the tar inside.
    pub diff_id: Digest,
    /// Where a blob that is not in the store can be had.
    pub origin: Option<Reference>,
}

/// The layers of an image. (An image that was resolved has one diff ID a layer.) Those of an OCI layout are brought into
/// the store; those of a registry stay there until they are needed.
///
/// # Errors
/// When the image cannot be had, or a layer is not in its layout or not what its digest says.
pub fn image_layers(
    key: &ImageKey,
    store: &Store,
    network: Network<'_>,
) -> Result<Vec<StageLayer>, BuildError> {
    let image = network.images.get(key)?;
    if let ImageSource::Layout(layout) = &key.source {
        for layer in image.layers() {
            layout.fetch_blob(layer, store).map_err(|source| BuildError::Image {
                image: Box::new(key.clone()),
                source: Box::new(source),
            })?;
        }
    }
    let layers = image.layers().iter().zip(&image.config().rootfs.diff_ids);
    Ok(layers
        .map(|(descriptor, diff_id)| StageLayer {
            descriptor: descriptor.clone(),
            diff_id: *diff_id,
            origin: image.origins.get(&descriptor.digest).cloned(),
        })
        .collect())
}

/// What unpacking saw, for snapshots to come.
#[derive(Debug, Default)]
pub struct Seen {
    /// Of contents.
    pub fingerprints: Fingerprints,
    /// What the image has where something is kept out.
    pub hidden: Hidden,
}

impl From<Unpacked> for Seen {
    fn from(unpacked: Unpacked) -> Self {
        Self { fingerprints: unpacked.fingerprints, hidden: unpacked.hidden }
    }
}

/// Unpacks layers onto an empty root, lowest first. All that are not in the store are asked for at once, and each is
/// unpacked as its bytes arrive.
///
/// # Errors
/// When a layer cannot be fetched or unpacked, or is not what its digests say.
pub fn unpack_layers(
    root: &Root,
    layers: &[StageLayer],
    image: &str,
    store: &Store,
    network: Network<'_>,
) -> Result<Seen, BuildError> {
    let downloads = downloads(layers, store, network);
    let mut seen = Seen::default();
    for (index, (layer, download)) in layers.iter().zip(&downloads).enumerate() {
        let unpacked = unpack_layer(root, layer, download.as_ref(), store)
            .map_err(|source| unpack_error(image, (index, layers.len()), source))?;
        seen.fingerprints.extend(unpacked.fingerprints);
        seen.hidden.extend(unpacked.hidden);
    }
    Ok(seen)
}

/// Begins to fetch all layers that the store does not have. Layers that are being fetched already are not fetched twice.
pub fn downloads(layers: &[StageLayer], store: &Store, network: Network<'_>) -> Vec<Option<Download>> {
    let _guard = network.runtime.enter();
    let download = |layer: &StageLayer| {
        let missing = !store.contains(&layer.descriptor.digest);
        let origin = layer.origin.as_ref().filter(|_| missing)?;
        Some(network.registry.download(origin, &layer.descriptor, store))
    };
    layers.iter().map(download).collect()
}

/// Which layer of which image cannot be unpacked.
pub fn unpack_error(image: &str, (index, total): (usize, usize), source: StepError) -> BuildError {
    BuildError::Unpack { image: image.to_owned(), number: index + 1, total, source: Box::new(source) }
}

/// Unpacks one layer, which `download` brings or the store has.
///
/// # Errors
/// When it cannot be fetched or unpacked, or is not what its digests say.
pub fn unpack_layer(
    root: &Root,
    layer: &StageLayer,
    download: Option<&Download>,
    store: &Store,
) -> Result<Unpacked, StepError> {
    let unpacked = read_layer(layer, download, store, |reader| unpack(root, reader))?;
    warn_of_refused(unpacked.refused);
    Ok(unpacked)
}

/// Has something read a layer to its end, and checks that it was what its digests say.
///
/// # Errors
/// When it cannot be fetched or read, or is not what its digests say.
pub fn read_layer<T>(
    layer: &StageLayer,
    download: Option<&Download>,
    store: &Store,
    read: impl FnOnce(LayerReader<&mut dyn Read>) -> Result<T, RootfsError>,
) -> Result<T, StepError> {
    let blob: Box<dyn Read + Send> = match download {
        Some(download) => Box::new(download.reader()),
        None => Box::new(store.reader(&layer.descriptor.digest)?),
    };
    let done = read_blob(blob, read);
    // What went wrong on the network, or a digest that is not the blob's, is the cause of what went wrong in the archive.
    if let Some(download) = download {
        download.wait_blocking()?;
        if done.is_err()
            && let Some(damage) = download.damage()
        {
            return Err(damage.into());
        }
    }
    let (done, diff_id) = done?;
    if diff_id != layer.diff_id {
        return Err(StepError::DiffId { expected: layer.diff_id, actual: diff_id });
    }
    Ok(done)
}

/// Has a blob read, and gives the digest of the tar inside.
fn read_blob<T>(
    blob: Box<dyn Read + Send>,
    read: impl FnOnce(LayerReader<&mut dyn Read>) -> Result<T, RootfsError>,
) -> Result<(T, Digest), StepError> {
    let mut tar = DigestReader::new(decompress(blob).map_err(LayerError::Read)?);
    let done = read(LayerReader::new(&mut tar))?;
    // Padding after the end of the archive belongs to the digest too.
    std::io::copy(&mut tar, &mut std::io::sink()).map_err(LayerError::Read)?;
    let (_, diff_id, _) = tar.finish();
    Ok((done, diff_id))
}

/// Says what of a layer could not be made here.
pub fn warn_of_refused(refused: Refused) {
    if refused.total() > 0 {
        tracing::warn!(
            "Not everything in the layer could be made here ({} extended attributes, {} devices, {} owners, {} paths in \
             the way of what is kept off); the base's layer has it all the same",
            refused.xattrs,
            refused.devices,
            refused.owners,
            refused.kept_out
        );
    }
}
