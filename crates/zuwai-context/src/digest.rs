//! The digest of a part of a context: the same whenever `COPY` would write the same.
//!
//! It is the SHA-256 of a record for each entry, in the order of paths. A record's fields are each preceded by their
//! length in eight bytes, so that no two lists of entries have the same bytes: path, type, mode, owner, and what the
//! type has: size and content's digest of a file, target of a link, numbers of a device. Times do not count.

use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use zuwai_layer::Digest;
use zuwai_layer::digest::Digester;
use zuwai_rootfs::{FileKind, RootfsError};

use crate::context::Context;
use crate::scan::Entry;

/// What the first field says; another version of the records has another text.
const VERSION: &[u8] = b"zuwai context 1";

/// Bytes of a file that a thread holds.
const BUFFER: usize = 256 << 10;

/// The digest of these entries, which are sorted; `owner` is the user and group that `COPY` gives. Files are read on
/// `threads` threads, each from end to end by one of them, the largest first.
///
/// # Errors
/// When a file cannot be read, or is gone or no file any more.
pub fn digest(
    context: &Context,
    entries: &[Entry],
    owner: (u32, u32),
    threads: usize,
) -> Result<Digest, RootfsError> {
    let contents = contents(context, entries, threads)?;
    let mut digester = Digester::default();
    field(&mut digester, VERSION);
    for (entry, content) in entries.iter().zip(contents) {
        field(&mut digester, entry.path.as_bytes());
        field(&mut digester, kind(entry.metadata.kind));
        field(&mut digester, &entry.metadata.mode.to_be_bytes());
        field(&mut digester, &[owner.0.to_be_bytes(), owner.1.to_be_bytes()].concat());
        match (content, &entry.link) {
            (Some((content, size)), _) => {
                field(&mut digester, &size.to_be_bytes());
                field(&mut digester, content.as_bytes());
            }
            (None, Some(target)) => field(&mut digester, target),
            (None, None) => {
                let (major, minor) = entry.metadata.device();
                field(&mut digester, &[major.to_be_bytes(), minor.to_be_bytes()].concat());
            }
        }
    }
    Ok(digester.finish().0)
}

fn field(digester: &mut Digester, bytes: &[u8]) {
    digester.update(&(bytes.len() as u64).to_be_bytes());
    digester.update(bytes);
}

fn kind(kind: FileKind) -> &'static [u8] {
    match kind {
        FileKind::File => b"file",
        FileKind::Directory => b"directory",
        FileKind::Symlink => b"link",
        FileKind::CharDevice => b"character device",
        FileKind::BlockDevice => b"block device",
        FileKind::Fifo => b"pipe",
        FileKind::Socket => b"socket",
    }
}

/// A file's digest, and how many bytes it had when it was read.
type Content = (Digest, u64);

/// The contents of the files among the entries, at the entries' places.
fn contents(
    context: &Context,
    entries: &[Entry],
    threads: usize,
) -> Result<Vec<Option<Content>>, RootfsError> {
    let mut files: Vec<usize> =
        (0..entries.len()).filter(|place| entries[*place].metadata.kind == FileKind::File).collect();
    // A large file that came last would keep one thread busy when the others are done.
    files.sort_by_key(|place| std::cmp::Reverse(entries[*place].metadata.size));
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Content)>, RootfsError> {
        let mut buffer = vec![0; BUFFER];
        let mut done = Vec::new();
        while let Some(place) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            match content(context, &entries[*place], &mut buffer) {
                Ok(content) => done.push((*place, content)),
                Err(error) => {
                    next.store(files.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(done)
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined = others.into_iter().map(|thread| match thread.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(own).chain(joined).collect()
    });
    let mut contents = vec![None; entries.len()];
    for part in parts {
        for (place, content) in part? {
            contents[place] = Some(content);
        }
    }
    Ok(contents)
}

fn content(context: &Context, entry: &Entry, buffer: &mut [u8]) -> Result<Content, RootfsError> {
    let found = context.root().open_file(&entry.path)?;
    let (mut file, _): (File, _) = found.ok_or_else(|| RootfsError::Missing(entry.path.clone()))?;
    let mut digester = Digester::default();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(length) => digester.update(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(RootfsError::io("read", &entry.path)(error)),
        }
    }
}
