//! Reading what a path holds, to compare it with what it held before.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};

use crate::error::RootfsError;
use crate::fingerprint::{self, Fingerprinter, Fingerprints};
use crate::metadata::{self, FileKind, Metadata};
use crate::resolve::link_text;
use crate::walk::Directory;

/// Bytes read at once.
const BUFFER: usize = 64 << 10;

/// The digest of a file's content and extended attributes, or of a link's text; `None` for what has neither.
pub(super) fn fingerprint(
    directory: BorrowedFd<'_>,
    name: &[u8],
    kind: FileKind,
) -> Result<Option<u64>, io::Error> {
    match kind {
        FileKind::File => of_file(directory, name).map(Some),
        FileKind::Symlink => Ok(Some(fingerprint::of_bytes(&link_text(directory, name)?))),
        _ => Ok(None),
    }
}

/// Of everything in a directory.
pub(super) fn of_all(directory: &Directory<'_>) -> Result<Fingerprints, RootfsError> {
    let mut all = Fingerprints::default();
    for (name, Metadata { kind, .. }) in directory.listing.iter() {
        let path = directory.child(name)?;
        let found = fingerprint(directory.handle, name, *kind).map_err(RootfsError::io("read", &path))?;
        if let Some(found) = found {
            all.insert(&path, found);
        }
    }
    Ok(all)
}

fn of_file(directory: BorrowedFd<'_>, name: &[u8]) -> Result<u64, io::Error> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
    let xattrs = metadata::xattrs(&file)?;
    let mut digest = Fingerprinter::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digest.finish(&xattrs)),
            Ok(read) => digest.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
