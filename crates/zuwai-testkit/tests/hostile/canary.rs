//! Files outside of every root, which no build may change, and lists of files to tell by.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use zuwai_testkit::archive::hex;
use zuwai_testkit::command::must;

/// Makes `folder`, open to everybody, with a file of every kind in it.
pub fn plant(folder: &Path) {
    let inner = folder.join("dir/inner");
    std::fs::create_dir_all(&inner).unwrap();
    let passwd = "root:x:0:0::/:/bin/sh\ncanary:x:4242:4242::/:/bin/sh\n";
    for (name, content, mode) in [
        ("file", "outside\n", 0o666),
        ("dir/file", "outside too\n", 0o666),
        ("dir/inner/file", "deep outside\n", 0o666),
        ("passwd", passwd, 0o644),
        ("group", "canary:x:4242:\n", 0o644),
        ("secret", "not for you\n", 0o600),
        ("program", "#!/bin/sh\n", 0o4755),
    ] {
        std::fs::write(folder.join(name), content).unwrap();
        std::fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
    }
    std::fs::hard_link(folder.join("file"), folder.join("linked")).unwrap();
    symlink("file", folder.join("symlink")).unwrap();
    must("mkfifo", [folder.join("fifo")]);
    for directory in [inner.as_path(), &folder.join("dir"), folder] {
        std::fs::set_permissions(directory, Permissions::from_mode(0o777)).unwrap();
    }
}

/// Everything in a folder: type, mode, owner, links, size, times, content. `ctime` tells also of what was changed and put back.
pub fn list(folder: &Path, ctime: bool) -> BTreeMap<PathBuf, String> {
    let mut listed = BTreeMap::new();
    add(folder, ctime, &mut listed);
    listed
}

fn add(path: &Path, ctime: bool, listed: &mut BTreeMap<PathBuf, String>) {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let content = match metadata.file_type() {
        kind if kind.is_file() => hex(&std::fs::read(path).unwrap()),
        kind if kind.is_symlink() => std::fs::read_link(path).unwrap().display().to_string(),
        kind if kind.is_fifo() || kind.is_dir() => String::new(),
        kind => format!("{kind:?} {}", metadata.rdev()),
    };
    let numbers =
        [metadata.ino(), metadata.nlink(), metadata.size()].map(|number| number.to_string()).join(" ");
    let mut line = format!(
        "{:o} {}:{} {numbers} {}.{} {content}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    );
    if ctime {
        line += &format!(" {}.{}", metadata.ctime(), metadata.ctime_nsec());
    }
    listed.insert(path.to_owned(), line);
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            add(&entry.unwrap().path(), ctime, listed);
        }
    }
}

/// What differs between two lists.
pub fn changes(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let line =
        |list: &BTreeMap<PathBuf, String>, path| list.get(path).cloned().unwrap_or_else(|| "-".to_owned());
    paths
        .into_iter()
        .map(|path| (path, line(before, path), line(after, path)))
        .filter(|(_, before, after)| before != after)
        .map(|(path, before, after)| format!("{}: {before} | {after}", path.display()))
        .collect()
}
