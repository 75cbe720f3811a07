//! Making a directory, as `WORKDIR` does.

use zuwai_layer::ImagePath;

use super::record::Record;
use super::target::Target;
use crate::change_set::ChangeSet;
use crate::error::RootfsError;
use crate::root::Root;

/// Makes a directory and those above it, as far as they are missing, each of mode 0755 and of this owner (BuildKit's
/// `Mkdir` with parents); without one of 0:0, or of the group of the directory above if that has its set-group-ID bit,
/// which is inherited too. Links on the way are followed inside the root. Returns what was made; nothing if all was there.
///
/// # Errors
/// When something that is no directory is in the way, or a directory cannot be made.
pub fn make_directories(
    root: &Root,
    path: &ImagePath,
    owner: impl Into<Option<(u32, u32)>>,
) -> Result<ChangeSet, RootfsError> {
    const MODE: u32 = 0o755;
    let (record, owner) = (Record::default(), owner.into());
    let mut target = Target { root, record, owner, mode: MODE, keeps_set_group_id: true };
    target.make_directories(&root.resolve(path)?, MODE)?;
    Ok(target.record.finish())
}
