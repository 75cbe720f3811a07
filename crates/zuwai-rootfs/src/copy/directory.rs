//! Making a directory, as `WORKDIR` does.

use zuwai_layer::ImagePath;

use super::record::Record;
use super::target::Target;
use crate::change_set::ChangeSet;
use crate::error::RootfsError;
use crate::root::Root;

/// Makes a directory and those above it, as far as they are missing, each of mode 0755 and of this owner (BuildKit's
/// `Mkdir` with parents). Links on the way are followed inside the root. Returns what was made; nothing if all was there.
///
/// # Errors
/// When something that is no directory is in the way, or a directory cannot be made.
pub fn make_directories(root: &Root, path: &ImagePath, owner: (u32, u32)) -> Result<ChangeSet, RootfsError> {
    const MODE: u32 = 0o755;
    let mut target = Target { root, record: Record::default(), owner, mode: MODE };
    target.make_directories(&root.resolve(path)?, MODE)?;
    Ok(target.record.finish())
}
