//! Mount points, and what in place does not belong to the image because of them.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use zuwai_layer::ImagePath;

use crate::root::KeepOut;
use crate::run_error::RunError;
use crate::sandbox::STANDARD_MOUNT_POINTS;

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// One mount as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The number of the device that its file system is on, as `8:1`.
    pub device: String,
    /// What of that file system is mounted: a path in it.
    pub root: PathBuf,
    /// Where it is mounted: a real path.
    pub point: PathBuf,
    /// The kind of file system, as `overlay`.
    pub kind: String,
    /// Where it comes from, in the file system's own words.
    pub source: OsString,
}

/// Lists what is mounted for this process.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn list() -> io::Result<Vec<Mount>> {
    parse(BufReader::new(File::open(MOUNTINFO)?))
}

/// Reads a `mountinfo` file (proc(5)). Lines that are none of its own are passed over.
pub(crate) fn parse(reader: impl io::BufRead) -> io::Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for line in reader.split(b'\n') {
        let line = line?;
        mounts.extend(mount(&line));
    }
    Ok(mounts)
}

/// `36 35 98:0 /root /point options optional... - kind source options`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = fields.nth(2)?;
    let root = fields.next()?;
    let point = fields.next()?;
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    Some(Mount {
        device: String::from_utf8_lossy(device).into_owned(),
        root: PathBuf::from(unescape(root)),
        point: PathBuf::from(unescape(point)),
        kind: String::from_utf8_lossy(rest.next()?).into_owned(),
        source: unescape(rest.next()?),
    })
}

/// Blank, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| tail.split_first_chunk::<3>()).flatten();
        if let Some(([a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'], tail)) = octal {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    OsString::from_vec(bytes)
}

/// What to keep off when building in this process's `/`: every mount point below it, and the builder's own paths, by
/// their names and by what these lead to.
///
/// # Errors
/// When the mounts cannot be listed.
pub fn keep_out<'a>(own: impl IntoIterator<Item = &'a Path>) -> Result<KeepOut, RunError> {
    let file = |source| RunError::File { doing: "read", path: MOUNTINFO.into(), source };
    let mut paths: Vec<PathBuf> = list().map_err(file)?.into_iter().map(|mount| mount.point).collect();
    for path in own {
        paths.extend(path.canonicalize());
        paths.extend(std::path::absolute(path));
    }
    Ok(keep_out_of(paths))
}

/// The root itself is never kept off, nor is a mount that lies on a name which is gone.
fn keep_out_of(paths: impl IntoIterator<Item = PathBuf>) -> KeepOut {
    let inside = |path: PathBuf| ImagePath::clamped(path.as_os_str().as_bytes()).ok();
    KeepOut::new(paths.into_iter().filter_map(inside).filter(|path| !path.is_root()))
}

/// The directories that BuildKit's runtime makes in every root, and leaves there. In place the container has them as
/// mount points, which are kept off; the caller adds those the image lacks (mode 0755, root's) with the first RUN.
pub fn standard_mount_points() -> impl Iterator<Item = ImagePath> {
    STANDARD_MOUNT_POINTS.iter().filter_map(|name| ImagePath::new(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &[u8] = br"607 493 0:54 / / rw,relatime - overlay overlay rw,lowerdir=/x
608 607 0:57 / /proc rw,nosuid - proc proc rw
609 607 0:58 / /with\040blank\134and\011tab rw master:1 shared:2 - tmpfs none rw
610 607 8:1 /c/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw
no mount
611 607 8:1 / /wo\08rd rw - ext4 /dev/sda1 rw
";

    #[test]
    fn mountinfo_is_read_with_its_escapes() {
        let mounts = parse(CONTAINER).unwrap();
        let points: Vec<_> = mounts.iter().map(|mount| mount.point.to_str().unwrap()).collect();
        assert_eq!(points, ["/", "/proc", "/with blank\\and\ttab", "/etc/hosts", "/wo\\08rd"]);
        assert_eq!((mounts[3].device.as_str(), mounts[3].root.to_str()), ("8:1", Some("/c/hosts")));
        assert_eq!((mounts[0].kind.as_str(), mounts[3].source.to_str()), ("overlay", Some("/dev/sda1")));
    }

    #[test]
    fn all_mounts_but_the_root_are_kept_off() {
        let mounts = parse(CONTAINER).unwrap();
        let keep_out = keep_out_of(mounts.into_iter().map(|mount| mount.point));
        let path = |text: &str| ImagePath::new(text).unwrap();
        for kept_off in ["proc", "proc/1", "etc/hosts", "with blank\\and\ttab/x"] {
            assert!(keep_out.covers(&path(kept_off)), "{kept_off}");
        }
        for free in ["", "etc", "etc/passwd", "bin"] {
            assert!(!keep_out.covers(&path(free)), "{free}");
        }
    }

    #[test]
    fn the_builders_own_paths_are_kept_off_by_name_and_by_target() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = real.with_file_name("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let keep_out = keep_out([link.as_path()]).unwrap();
        for path in [&real, &link] {
            assert!(keep_out.covers(&ImagePath::clamped(path.as_os_str().as_bytes()).unwrap()), "{path:?}");
        }
        assert!(keep_out.covers(&ImagePath::new("proc").unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn no_mountinfo_makes_it_panic(text: Vec<u8>) {
            parse(text.as_slice()).unwrap();
        }
    }
}
