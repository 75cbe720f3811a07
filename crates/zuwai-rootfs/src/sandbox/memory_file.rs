//! Files that are in memory and on no disk, mounted read-only into the root.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::mount::MountFlags;

/// Where the file has a name for a moment: on the tmpfs of `/dev`, which is the step's own.
const PLACE: &str = "/dev/.zuwai-memory";

/// A file to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryFile<'a> {
    pub(super) content: &'a [u8],
    /// Its mode, exactly.
    pub(super) mode: u32,
    /// User and group id.
    pub(super) owner: (u32, u32),
}

impl MemoryFile<'_> {
    /// Mounts it over an existing file. Its other name goes away at once. As with BuildKit's secrets no set-user-ID bit
    /// counts; what is not executable cannot be mapped as a program either.
    pub(super) fn mount(&self, target: &Path) -> io::Result<()> {
        let written = self.write().and_then(|()| Ok(rustix::mount::mount_bind(PLACE, target)?));
        // Whatever happened, nothing of it is left there.
        let removed = std::fs::remove_file(PLACE);
        written?;
        removed?;
        let mut flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        if self.mode & 0o111 == 0 {
            flags |= MountFlags::NOEXEC;
        }
        Ok(rustix::mount::mount_remount(target, flags, "")?)
    }

    fn write(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(PLACE)?;
        file.write_all(self.content)?;
        let (uid, gid) = self.owner;
        match rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
            // An id that is not mapped here. It stays root's: nobody else can be a command's user here either.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        // After the owner, whose change takes bits of the mode away.
        Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode))?)
    }
}
