//! How `zuwai context ls` shows what it found.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use zuwai_context::scan::{Entry, Excluded, Totals};
use zuwai_layer::Digest;
use zuwai_rootfs::FileKind;

/// All entries and the summary.
pub fn entries(entries: &[Entry], digest: Option<Digest>, format: &str) -> String {
    let totals = Totals::of(entries);
    match format {
        "json" => {
            let list: Vec<_> = entries.iter().map(entry).collect();
            let mut document = json!({
                "entries": list,
                "files": totals.files,
                "bytes": totals.bytes,
                "directories": totals.directories,
                "links": totals.links,
                "others": totals.others,
            });
            if let Some(digest) = digest {
                document["digest"] = digest.to_string().into();
            }
            format!("{document:#}\n")
        }
        "summary" => summary(&totals, digest),
        _ => {
            let mut text = String::new();
            for entry in entries {
                let (letter, metadata) = (letter(entry.metadata.kind), &entry.metadata);
                let path = shown(entry.path.as_bytes());
                let link = entry.link.as_ref().map_or(String::new(), |link| format!(" -> {}", shown(link)));
                let _ = writeln!(text, "{letter} {:04o} {:>12} {path}{link}", metadata.mode, size(entry));
            }
            text + &summary(&totals, digest)
        }
    }
}

/// What is excluded, each path with the line that excludes it.
pub fn excluded(excluded: &[Excluded], file: Option<&Path>, format: &str) -> String {
    let file = file.map_or(String::new(), |file| file.display().to_string());
    if format == "json" {
        let list: Vec<_> = excluded
            .iter()
            .map(|found| {
                json!({
                    "path": String::from_utf8_lossy(found.path.as_bytes()),
                    "directory": found.is_directory,
                    "line": found.line.as_ref().map(|line| line.number),
                    "pattern": found.line.as_ref().map(|line| String::from_utf8_lossy(&line.text)),
                })
            })
            .collect();
        return format!("{:#}\n", json!({ "file": file, "excluded": list }));
    }
    let mut text = String::new();
    for found in excluded.iter().filter(|_| format == "text") {
        let slash = if found.is_directory { "/" } else { "" };
        let line = found
            .line
            .as_ref()
            .map_or(String::new(), |line| format!("  {file}:{}: {}", line.number, shown(&line.text)));
        let _ = writeln!(text, "{}{slash}{line}", shown(found.path.as_bytes()));
    }
    let _ = writeln!(text, "{}", counted(excluded.len() as u64, "path excluded", "paths excluded"));
    text
}

/// How much it is together.
pub fn summary(totals: &Totals, digest: Option<Digest>) -> String {
    let mut text = format!(
        "{}, {}, {}, {}",
        counted(totals.files, "file", "files"),
        counted(totals.bytes, "byte", "bytes"),
        counted(totals.directories, "directory", "directories"),
        counted(totals.links, "link", "links"),
    );
    if totals.others > 0 {
        let _ = write!(text, ", {}", counted(totals.others, "device or pipe", "devices or pipes"));
    }
    text.push('\n');
    if let Some(digest) = digest {
        let _ = writeln!(text, "{digest}");
    }
    text
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn entry(entry: &Entry) -> serde_json::Value {
    let mut value = json!({
        "path": String::from_utf8_lossy(entry.path.as_bytes()),
        "type": word(entry.metadata.kind),
        "mode": format!("{:04o}", entry.metadata.mode),
        "size": size(entry),
    });
    if let Some(link) = &entry.link {
        value["target"] = String::from_utf8_lossy(link).into();
    }
    value
}

/// The bytes of a file's content; other types have none.
fn size(entry: &Entry) -> u64 {
    if entry.metadata.kind == FileKind::File { entry.metadata.size } else { 0 }
}

fn word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "link",
        FileKind::CharDevice => "character device",
        FileKind::BlockDevice => "block device",
        FileKind::Fifo => "pipe",
        FileKind::Socket => "socket",
    }
}

/// As `find -printf %y` has them.
fn letter(kind: FileKind) -> char {
    match kind {
        FileKind::File => 'f',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::CharDevice => 'c',
        FileKind::BlockDevice => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
    }
}

/// Bytes as one line of text, whatever a name holds.
fn shown(bytes: &[u8]) -> String {
    let plain = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    String::from_utf8_lossy(bytes).chars().map(plain).collect()
}
