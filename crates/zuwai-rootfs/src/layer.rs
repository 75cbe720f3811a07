//! Writing the layer of a change set.
use crate::change_set::ChangeSet;
use crate::error::RootfsError;
use crate::root::Root;
use std::io::Write;
use zuwai_layer::LayerWriter;
/// Writes the layer of a change set.
/// # Errors
/// x
pub fn write_layer<W: Write>(
    root: &Root,
    changes: &ChangeSet,
    layer: &mut LayerWriter<W>,
) -> Result<(), RootfsError> {
    let _ = (root, changes, layer);
    todo!()
}
