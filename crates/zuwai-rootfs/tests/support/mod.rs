//! What the tests of trees share: roots in temporary directories, layers from entries, and descriptions of trees that
//! are made without the code under test.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use zuwai_layer::{Entry, EntryKind, ImagePath, LayerReader, LayerWriter, Xattrs};
use zuwai_rootfs::unpack::{Unpacked, unpack};
use zuwai_rootfs::{Change, ChangeSet, KeepOut, Root, RootfsError};

/// Whether this is root, which most of these tests need; says so when it is not.
pub fn is_root(test: &str) -> bool {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        eprintln!("SKIPPED {test}: needs root");
    }
    root
}

pub fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

/// A directory to be a root, and the root.
pub fn root() -> (TempDir, Root) {
    root_keeping(&[])
}

pub fn root_keeping(kept: &[&str]) -> (TempDir, Root) {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("root")).unwrap();
    let keep_out = KeepOut::new(kept.iter().map(|kept| path(kept)));
    let root = Root::open(directory.path().join("root"), keep_out).unwrap();
    (directory, root)
}

/// One thing in a layer to be made.
pub enum Item {
    Entry(Entry, Vec<u8>),
    Whiteout(&'static str),
    Opaque(&'static str),
}

fn item(name: &str, kind: EntryKind, mode: u32, content: &[u8]) -> Item {
    let xattrs = Xattrs::new();
    Item::Entry(
        Entry { path: path(name), kind, mode, uid: 0, gid: 0, mtime: 1_600_000_000, xattrs },
        content.to_vec(),
    )
}

pub fn file(name: &str, content: &str) -> Item {
    item(name, EntryKind::File { size: content.len() as u64 }, 0o644, content.as_bytes())
}

pub fn dir(name: &str) -> Item {
    item(name, EntryKind::Directory, 0o755, b"")
}

pub fn link(name: &str, target: &str) -> Item {
    item(name, EntryKind::Symlink { target: target.into() }, 0o777, b"")
}

pub fn hard(name: &str, target: &str) -> Item {
    item(name, EntryKind::Hardlink { target: path(target) }, 0o644, b"")
}

pub fn special(name: &str, kind: EntryKind) -> Item {
    item(name, kind, 0o640, b"")
}

/// A small image.
pub fn image() -> Vec<Item> {
    vec![
        dir("bin"),
        file("bin/sh", "shell"),
        hard("bin/dash", "bin/sh"),
        dir("etc"),
        file("etc/conf", "one\n"),
        link("etc/link", "conf"),
        dir("tree"),
        dir("tree/a"),
        file("tree/a/x", "x"),
        file("tree/a/y", "y"),
        dir("tree/b"),
        file("tree/b/z", "z"),
    ]
}

impl Item {
    pub fn with(mut self, change: impl FnOnce(&mut Entry)) -> Self {
        if let Self::Entry(entry, _) = &mut self {
            change(entry);
        }
        self
    }
}

/// A layer's tar, in whatever order.
pub fn tar(items: Vec<Item>) -> Vec<u8> {
    let mut writer = LayerWriter::archive(Vec::new());
    for item in items {
        match item {
            Item::Entry(entry, content) => writer.entry(&entry, content.as_slice()).unwrap(),
            Item::Whiteout(name) => writer.whiteout(&path(name)).unwrap(),
            Item::Opaque(name) => writer.opaque(&path(name)).unwrap(),
        }
    }
    writer.finish().unwrap()
}

pub fn apply(root: &Root, items: Vec<Item>) -> Result<Unpacked, RootfsError> {
    unpack(root, LayerReader::new(Cursor::new(tar(items))))
}

/// Runs a shell script in a directory.
pub fn sh(directory: &Path, script: &str) {
    let status = Command::new("sh").arg("-ec").arg(script).current_dir(directory).status().unwrap();
    assert!(status.success(), "{script}");
}

/// Everything about every path that an image holds, but times of directories.
pub fn tree(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut groups: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    describe(directory, directory, &mut found, &mut groups);
    for names in groups.into_values().filter(|names| names.len() > 1) {
        for name in &names {
            found.get_mut(name).unwrap().push_str(&format!(" names={names:?}"));
        }
    }
    found
}

fn describe(
    top: &Path,
    directory: &Path,
    found: &mut BTreeMap<String, String>,
    groups: &mut BTreeMap<(u64, u64), Vec<String>>,
) {
    let mut names: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
        let kind = metadata.file_type();
        let mut text = format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
        if kind.is_dir() {
            found.insert(name, text);
            describe(top, &path, found, groups);
            continue;
        }
        text.push_str(&format!(" mtime={}", metadata.mtime()));
        if kind.is_symlink() {
            text.push_str(&format!(" -> {}", std::fs::read_link(&path).unwrap().display()));
        } else if kind.is_file() {
            let content = {
                use std::io::Read as _;
                let mut content = Vec::new();
                std::fs::File::open(&path).unwrap().read_to_end(&mut content).unwrap();
                content
            };
            let shown: String = String::from_utf8_lossy(&content).chars().take(40).collect();
            text.push_str(&format!(" {} {shown:?} {}", content.len(), zuwai_layer::Digest::of(&content)));
        } else if kind.is_char_device() || kind.is_block_device() {
            text.push_str(&format!(" device={:x}", metadata.rdev()));
        }
        if metadata.nlink() > 1 {
            groups.entry((metadata.dev(), metadata.ino())).or_default().push(name.clone());
        }
        found.insert(name, text);
    }
}

/// A change set as lines: `+ /path` and `- /path`.
pub fn shown(changes: &ChangeSet) -> Vec<String> {
    let sign = |change| if change == Change::Upsert { '+' } else { '-' };
    changes.iter().map(|(path, change)| format!("{} {path}", sign(change))).collect()
}

pub fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}
