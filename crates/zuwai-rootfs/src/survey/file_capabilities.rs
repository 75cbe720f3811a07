//! Whether files can have capabilities: not every file system takes them.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use crate::isolation;

/// `cap_net_raw+ep`, as `struct vfs_cap_data` of revision 2 (linux/capability.h): little-endian words.
const VALUE: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Gives a file a capability where trees would be: in `/` if commands run there, else beside the state directory's
/// files. The file has no name, or one that is removed at once.
///
/// # Errors
/// What the system answers. A file that cannot be made is none: that is said elsewhere.
pub(super) fn try_one(mode: isolation::Mode, state: &Path) -> Result<(), Errno> {
    let scanned = if mode == isolation::Mode::InPlace { Path::new("/") } else { state };
    let Some(file) = nameless(scanned).or_else(|| named(state)) else { return Ok(()) };
    rustix::fs::fsetxattr(&file, "security.capability", &VALUE, XattrFlags::empty())
}

fn nameless(directory: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR).ok().map(File::from)
}

fn named(directory: &Path) -> Option<File> {
    let path = directory.join(format!("probe-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).ok()?;
    let _ = fs::remove_file(path);
    Some(file)
}
