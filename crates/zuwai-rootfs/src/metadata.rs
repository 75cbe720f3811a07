//! What the system knows of one file, and its extended attributes.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Stat, Uid};
use rustix::io::Errno;
use zuwai_layer::Xattrs;

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket, which no layer can hold.
    Socket,
}

impl FileKind {
    /// With its article, for a message.
    #[must_use]
    pub fn shown(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::CharDevice | Self::BlockDevice => "a device",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
        }
    }

    fn of_mode(mode: u32) -> Self {
        match FileType::from_raw_mode(mode) {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            _ => Self::File,
        }
    }
}

/// What chown(2) is to be given for an owner of an archive: the largest number is nobody's, and leaves an owner as it is, as it does
/// where BuildKit unpacks it.
pub(crate) fn owner(uid: u32, gid: u32) -> (Option<Uid>, Option<Gid>) {
    let is_one = |id: &u32| *id != u32::MAX;
    (Some(uid).filter(is_one).map(Uid::from_raw), Some(gid).filter(is_one).map(Gid::from_raw))
}

/// A time of the file system, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Whole seconds, rounded down; may be negative.
    pub seconds: i64,
    /// The rest.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// So many nanoseconds before, less than a second.
    pub(crate) fn earlier(self, nanoseconds: u32) -> Self {
        match self.nanoseconds.checked_sub(nanoseconds) {
            Some(nanoseconds) => Self { nanoseconds, ..self },
            None => Self {
                seconds: self.seconds - 1,
                nanoseconds: self.nanoseconds + 1_000_000_000 - nanoseconds,
            },
        }
    }
}

/// What the system knows of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Its type.
    pub kind: FileKind,
    /// Permission bits with set-user-ID, set-group-ID and sticky: `0o7777` at most.
    pub mode: u32,
    /// Owner's numeric id.
    pub uid: u32,
    /// Group's numeric id.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// When the content was last changed, or what a program set it to.
    pub mtime: Timestamp,
    /// When anything of it was last changed; programs cannot set it.
    pub ctime: Timestamp,
    /// The file system it is on.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// How many names it has.
    pub nlink: u32,
    /// The device it stands for, if it is one.
    pub rdev: u64,
}

impl Metadata {
    /// Of an open file.
    pub(crate) fn of(file: impl AsFd) -> Result<Self, Errno> {
        rustix::fs::fstat(file).map(|stat| Self::from(&stat))
    }

    /// Of a name in a directory; links are not followed.
    pub(crate) fn at(directory: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<Self, Errno> {
        rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Self::from(&stat))
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }

    /// The numbers of the device it stands for, if it is one.
    #[must_use]
    pub fn device(&self) -> (u32, u32) {
        (rustix::fs::major(self.rdev), rustix::fs::minor(self.rdev))
    }
}

#[allow(clippy::useless_conversion, clippy::cast_sign_loss, clippy::cast_possible_truncation)]
impl From<&Stat> for Metadata {
    fn from(stat: &Stat) -> Self {
        let time = |seconds: i64, nanoseconds: u64| Timestamp { seconds, nanoseconds: nanoseconds as u32 };
        Self {
            kind: FileKind::of_mode(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            mtime: time(stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            ctime: time(stat.st_ctime.into(), stat.st_ctime_nsec.into()),
            dev: stat.st_dev,
            ino: stat.st_ino,
            nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            rdev: stat.st_rdev,
        }
    }
}

/// Whether an extended attribute belongs to an image: `security.capability` and what users set (`user.*`). Everything
/// else is the local kernel's (labels, overlayfs's marks, access lists that a parent outside of the image hands down)
/// and is left out by BuildKit's and containerd's writers too.
#[must_use]
pub fn belongs_to_image(xattr: &[u8]) -> bool {
    xattr == b"security.capability" || (xattr.starts_with(b"user.") && !xattr.starts_with(b"user.overlay."))
}

/// The extended attributes of an open file or directory that belong to an image. A file system that has none, or does
/// not show them, is not an error.
///
/// # Errors
/// When the system fails to read them.
pub fn xattrs(file: impl AsFd) -> Result<Xattrs, Errno> {
    let file = file.as_fd();
    let mut xattrs = Xattrs::new();
    let list = sized(|buffer| rustix::fs::flistxattr(file, buffer))?;
    for name in list.split(|byte| *byte == 0).filter(|name| belongs_to_image(name)) {
        match sized(|buffer| rustix::fs::fgetxattr(file, name, buffer)) {
            Ok(value) => drop(xattrs.insert(name.to_vec(), value)),
            Err(Errno::NODATA) => {} // removed meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok(xattrs)
}

/// Calls with a buffer that is large enough. The system's own limit for both calls is 64 KiB.
fn sized(mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 512];
    loop {
        match call(buffer.as_mut_slice()) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 64 << 10 => buffer = vec![0; 64 << 10],
            Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::NOSYS) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}
