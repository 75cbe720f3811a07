//! A step's changes become a blob in the store.

use zuwai_layer::build::LayerBuilder;
use zuwai_layer::compression::Compression;
use zuwai_oci::descriptor::Descriptor;
use zuwai_oci::media_type::{Family, MediaType};
use zuwai_oci::store::Store;
use zuwai_rootfs::Root;
use zuwai_rootfs::change_set::ChangeSet;
use zuwai_rootfs::fingerprint::Fingerprints;
use zuwai_rootfs::layer::write_layer;

use super::base::StageLayer;
use crate::error::StepError;
use crate::request::BuildRequest;

/// Reads what changed from a root, and writes it as a layer: tar, diff ID, compression, digest, in one pass. What was
/// seen of contents comes with it.
///
/// # Errors
/// When a file cannot be read, or the store cannot be written.
pub fn write(
    root: &Root,
    changes: &ChangeSet,
    store: &Store,
    request: &BuildRequest,
) -> Result<(StageLayer, Fingerprints), StepError> {
    let mut layer = LayerBuilder::new(store.stage()?, request.compression, request.level, request.threads);
    let written = write_layer(root, changes, &mut layer)?;
    let (blob, summary) = layer.finish()?;
    blob.persist(&summary.digest)?;
    let descriptor = Descriptor::new(media_type(request.compression), summary.digest, summary.size);
    Ok((StageLayer { descriptor, diff_id: summary.diff_id, origin: None }, written.fingerprints))
}

fn media_type(compression: Compression) -> MediaType {
    match compression {
        Compression::None => Family::Oci.layer(),
        Compression::Gzip => Family::Oci.layer_gzip(),
        Compression::Zstd => Family::Oci.layer_zstd(),
    }
}
