//! All there is to know of a tree but ctimes and times of access: what placing must leave as it was.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

/// A line for each path, the tree's own directory included.
pub fn listing(top: &Path) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    add(top, top, &mut lines);
    lines
}

fn add(top: &Path, path: &Path, lines: &mut BTreeMap<String, String>) {
    let found = std::fs::symlink_metadata(path).unwrap();
    let mut line = format!(
        "{}:{} {:o} {}:{} {} names {}.{}",
        found.dev(),
        found.ino(),
        found.mode(),
        found.uid(),
        found.gid(),
        found.nlink(),
        found.mtime(),
        found.mtime_nsec()
    );
    if found.is_symlink() {
        write!(line, " -> {}", std::fs::read_link(path).unwrap().display()).unwrap();
    } else {
        line.push_str(&attributes(path));
    }
    if found.is_file() {
        write!(line, " {:?}", text(path)).unwrap();
    }
    lines.insert(path.strip_prefix(top).unwrap().to_string_lossy().into_owned(), line);
    if found.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            add(top, &entry.unwrap().path(), lines);
        }
    }
}

pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| format!("cannot read {}: {error}", path.display()))
}

fn attributes(path: &Path) -> String {
    let output = Command::new("getfattr").args(["-hd", "-m", "user.", "--absolute-names"]).arg(path).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
