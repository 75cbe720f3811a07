//! Unpacking a layer onto a tree.
use crate::error::RootfsError;
use crate::fingerprint::Fingerprints;
use crate::root::Root;
use std::io::Read;
use zuwai_layer::LayerReader;
/// What unpacking a layer did.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// Entries applied.
    pub entries: u64,
    /// Warnings.
    pub refused: u64,
    /// Digests.
    pub fingerprints: Fingerprints,
}
/// Unpacks a layer onto a root.
/// # Errors
/// x
pub fn unpack<R: Read>(root: &Root, layer: LayerReader<R>) -> Result<Unpacked, RootfsError> {
    let _ = (root, layer);
    todo!()
}
