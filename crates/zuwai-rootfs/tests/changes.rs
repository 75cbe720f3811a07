//! Finding what commands changed, and making layers of it.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is a test")]

mod support;

use std::io::Cursor;
use std::path::Path;

use support::{apply, dir, file, image, is_root, path, root, root_keeping, sh, shown, tar, tree};
use tempfile::TempDir;
use zuwai_layer::{LayerItem, LayerReader, LayerWriter};
use zuwai_rootfs::ctime::Doubt;
use zuwai_rootfs::layer::write_layer;
use zuwai_rootfs::unpack::unpack;
use zuwai_rootfs::{ChangeSet, Ctime, Index, Root, RootfsError};

fn based() -> (TempDir, Root, Index) {
    based_on(image(), Ctime::Kept)
}

/// An image's tree, and the index of it where the ctime is worth that much.
fn based_on(image: Vec<support::Item>, ctime: Ctime) -> (TempDir, Root, Index) {
    let (directory, root) = root();
    let unpacked = apply(&root, image).unwrap();
    let mut index = Index::scan_with(&root, 2, ctime).unwrap();
    index.remember(unpacked.fingerprints);
    (directory, root, index)
}

fn layer(root: &Root, changes: &ChangeSet) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    write_layer(root, changes, &mut writer).unwrap();
    writer.finish().unwrap()
}

/// A layer's items, one a line.
fn items(layer: &[u8]) -> Vec<String> {
    let mut reader = LayerReader::new(Cursor::new(layer));
    let mut lines = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        lines.push(match item {
            LayerItem::Entry(entry) => match entry.kind {
                zuwai_layer::EntryKind::Hardlink { target } => format!("{} = {target}", entry.path),
                zuwai_layer::EntryKind::Directory => format!("{}/", entry.path),
                _ => entry.path.to_string(),
            },
            LayerItem::Whiteout(path) => format!("{path} gone"),
            LayerItem::Opaque(path) => format!("{path} opaque"),
        });
    }
    lines
}

#[test]
fn commands_change_what_they_change_and_nothing_else() {
    if !is_root("commands_change_what_they_change_and_nothing_else") {
        return;
    }
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("true", &[], &[]),
        ("cat etc/conf >/dev/null; ls -lR >/dev/null", &[], &[]),
        ("echo two > etc/new", &["+ /etc/new"], &["/etc/", "/etc/new"]),
        ("echo two > etc/conf", &["+ /etc/conf"], &["/etc/", "/etc/conf"]),
        // The same length, and the time put back.
        (
            "printf 'two\\n' > etc/conf; touch -d @1600000000 etc/conf",
            &["+ /etc/conf"],
            &["/etc/", "/etc/conf"],
        ),
        // Touched, but the same.
        ("chmod 644 etc/conf; chown 0:0 etc/conf etc/link tree/a; touch -d @1600000000 tree/a/x", &[], &[]),
        ("printf 'one\\n' > etc/conf; touch -d @1600000000 etc/conf", &[], &[]),
        ("cp -a etc/conf etc/copy; mv etc/copy etc/conf", &[], &[]),
        ("touch etc/conf", &["+ /etc/conf"], &["/etc/", "/etc/conf"]),
        (
            "chmod 600 etc/conf; chown 1:1 etc/link -h; chmod 700 tree/a",
            &["+ /etc/conf", "+ /etc/link", "+ /tree/a"],
            &["/etc/", "/etc/conf", "/etc/link", "/tree/", "/tree/a/"],
        ),
        ("rm -r tree", &["- /tree"], &["/tree gone"]),
        ("rm tree/a/x", &["- /tree/a/x"], &["/tree/", "/tree/a/", "/tree/a/x gone"]),
        (
            "rm -r tree/a; mkdir tree/a; echo > tree/a/n",
            &["+ /tree/a/n", "- /tree/a/x", "- /tree/a/y"],
            &["/tree/", "/tree/a/", "/tree/a/n", "/tree/a/x gone", "/tree/a/y gone"],
        ),
        ("rm -r tree; echo file > tree", &["+ /tree"], &["/tree"]),
        (
            "rm etc/conf; mkdir etc/conf; echo > etc/conf/x",
            &["+ /etc/conf", "+ /etc/conf/x"],
            &["/etc/", "/etc/conf/", "/etc/conf/x"],
        ),
        ("ln -sfn nowhere etc/link", &["+ /etc/link"], &["/etc/", "/etc/link"]),
        // Another text of the same length at the same time.
        (
            "ln -sfn fonc etc/link; touch -h -d @1600000000 etc/link",
            &["+ /etc/link"],
            &["/etc/", "/etc/link"],
        ),
        (
            "rm etc/link; mkdir etc/link; echo > etc/link/x",
            &["+ /etc/link", "+ /etc/link/x"],
            &["/etc/", "/etc/link/", "/etc/link/x"],
        ),
        ("rm etc/link; echo conf > etc/link", &["+ /etc/link"], &["/etc/", "/etc/link"]),
        ("ln -sf link etc/conf", &["+ /etc/conf"], &["/etc/", "/etc/conf"]),
        // Another file of the same length and time in its place.
        (
            "printf 'two\\n' > new; touch -r etc/conf new; mv new etc/conf",
            &["+ /etc/conf"],
            &["/etc/", "/etc/conf"],
        ),
        // Emptied and filled anew, and everything of it gone but the directory.
        (
            "rm -r tree; mkdir tree; echo > tree/n",
            &["- /tree/a", "- /tree/b", "+ /tree/n"],
            &["/tree/", "/tree/a gone", "/tree/b gone", "/tree/n"],
        ),
        (
            "rm -r tree/a/* tree/b",
            &["- /tree/a/x", "- /tree/a/y", "- /tree/b"],
            &["/tree/", "/tree/a/", "/tree/a/x gone", "/tree/a/y gone", "/tree/b gone"],
        ),
        // Times before 1970, of the next century and with a fraction.
        (
            "touch -d 1950-06-01 etc/conf; touch -d 2150-06-01 tree/a/x; touch -d '2020-01-01 00:00:00.9' tree/a/y",
            &["+ /etc/conf", "+ /tree/a/x", "+ /tree/a/y"],
            &["/etc/", "/etc/conf", "/tree/", "/tree/a/", "/tree/a/x", "/tree/a/y"],
        ),
        // Names that are not text, and those that look like something else.
        (
            "cd tree/b; echo > \"$(printf 'new\\nline')\"; echo > \"$(printf '\\303\\050\\377')\"; echo > -rf; echo > 'a\\b '; echo > ...",
            &[
                "+ /tree/b/-rf",
                "+ /tree/b/...",
                "+ /tree/b/a\\b ",
                "+ /tree/b/new\nline",
                "+ /tree/b/\u{fffd}(\u{fffd}",
            ],
            &[
                "/tree/",
                "/tree/b/",
                "/tree/b/-rf",
                "/tree/b/...",
                "/tree/b/a\\b ",
                "/tree/b/new\nline",
                "/tree/b/\u{fffd}(\u{fffd}",
            ],
        ),
        (
            "rm bin/sh; ln etc/conf bin/sh; ln bin/dash etc/shell",
            &["+ /bin/dash", "+ /bin/sh", "+ /etc/conf", "+ /etc/shell"],
            &["/bin/", "/bin/dash", "/bin/sh", "/etc/", "/etc/conf = /bin/sh", "/etc/shell = /bin/dash"],
        ),
        (
            "mkfifo tree/pipe; ln tree/pipe tree/pipe2",
            &["+ /tree/pipe", "+ /tree/pipe2"],
            &["/tree/", "/tree/pipe", "/tree/pipe2 = /tree/pipe"],
        ),
        ("rm -r tree; ln -s etc tree", &["+ /tree"], &["/tree"]),
        (
            "mv tree/a tree/c",
            &["- /tree/a", "+ /tree/c", "+ /tree/c/x", "+ /tree/c/y"],
            &["/tree/", "/tree/a gone", "/tree/c/", "/tree/c/x", "/tree/c/y"],
        ),
        (
            "mkdir -p n/e/w; mkfifo n/fifo",
            &["+ /n", "+ /n/e", "+ /n/e/w", "+ /n/fifo"],
            &["/n/", "/n/e/", "/n/e/w/", "/n/fifo"],
        ),
        // All names of a file stay together when it changes, or gets a further name.
        ("chmod 700 bin/sh", &["+ /bin/dash", "+ /bin/sh"], &["/bin/", "/bin/dash", "/bin/sh = /bin/dash"]),
        (
            "ln bin/sh bin/ash",
            &["+ /bin/ash", "+ /bin/dash", "+ /bin/sh"],
            &["/bin/", "/bin/ash", "/bin/dash = /bin/ash", "/bin/sh = /bin/ash"],
        ),
        (
            "ln etc/conf etc/hard",
            &["+ /etc/conf", "+ /etc/hard"],
            &["/etc/", "/etc/conf", "/etc/hard = /etc/conf"],
        ),
        // The other name is as it was.
        ("rm bin/sh", &["- /bin/sh"], &["/bin/", "/bin/sh gone"]),
        ("cp bin/sh bin/new; mv bin/new bin/sh", &["+ /bin/sh"], &["/bin/", "/bin/sh"]),
        ("setcap cap_net_raw+ep etc/conf", &["+ /etc/conf"], &["/etc/", "/etc/conf"]),
        ("setfattr -n user.k -v v tree/a", &["+ /tree/a"], &["/tree/", "/tree/a/"]),
        ("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'", &["+ /s"], &[]),
    ];
    for (command, changes, layer_items) in cases {
        let tool = command.split(' ').next().unwrap();
        if ["setcap", "setfattr", "python3"].contains(&tool) && !has(tool) {
            eprintln!("SKIPPED {command}: {tool} is not installed");
            continue;
        }
        for (threads, ctime) in [(1, Ctime::Kept), (3, Ctime::Kept), (3, Ctime::Doubtful(Doubt::Content))] {
            let (directory, root, mut index) = based_on(image(), ctime);
            let top = directory.path().join("root");
            sh(&top, command);
            let found = index.rescan(&root, threads).unwrap();
            assert_eq!(shown(&found), *changes, "{command}, {ctime:?}");
            let layer = layer(&root, &found);
            assert_eq!(items(&layer), *layer_items, "{command}");
            assert!(index.rescan(&root, threads).unwrap().is_empty(), "{command}: found again");
            if tool != "python3" {
                assert_rebuilds(&top, image(), &layer, command);
            }
        }
    }
}

/// Unpacks an image and a layer elsewhere, and compares with the tree that the layer was made from.
fn assert_rebuilds(top: &Path, image: Vec<support::Item>, layer: &[u8], what: &str) {
    let (copy, copy_root) = root();
    apply(&copy_root, image).unwrap();
    unpack(&copy_root, LayerReader::new(Cursor::new(layer))).unwrap();
    assert_eq!(tree(&copy.path().join("root")), tree(top), "{what}");
}

#[test]
fn file_capabilities_and_user_attributes_are_in_the_layer() {
    let (directory, root, mut index) = based();
    let script = "command -v setfattr >/dev/null || exit 0; setfattr -n user.k -v v etc/conf && setfattr -n user.d -v w tree || touch refused";
    sh(&directory.path().join("root"), script);
    let changes = index.rescan(&root, 1).unwrap();
    if changes.is_empty() || directory.path().join("root/refused").exists() {
        eprintln!("SKIPPED: setfattr is not installed, or the file system takes no attributes");
        return;
    }
    let layer = layer(&root, &changes);
    let (_copy, copy) = support::root();
    apply(&copy, image()).unwrap();
    unpack(&copy, LayerReader::new(Cursor::new(&layer))).unwrap();
    assert_eq!(copy.xattrs(&path("etc/conf")).unwrap()[&b"user.k"[..]], b"v");
    assert_eq!(copy.xattrs(&path("tree")).unwrap()[&b"user.d"[..]], b"w");
}

#[test]
fn attributes_that_go_or_change_are_seen_when_nothing_else_does() {
    let with = |name: &str, value: &[u8]| {
        let (name, value) = (name.as_bytes().to_vec(), value.to_vec());
        move |entry: &mut zuwai_layer::Entry| drop(entry.xattrs.insert(name, value))
    };
    let image = || {
        vec![
            file("a", "a").with(with("user.k", b"v")),
            dir("d").with(with("user.k", b"v")),
            file("cap", "c").with(with("security.capability", &CAPABILITY)),
            file("plain", "p"),
        ]
    };
    let cases: &[(&str, &[&str])] = &[
        ("setfattr -x user.k a", &["+ /a"]),
        ("setfattr -n user.k -v w a", &["+ /a"]),
        ("setfattr -n user.k -v v a; setfattr -x user.k a; setfattr -n user.k -v v a", &[]),
        ("setfattr -x user.k d", &["+ /d"]),
        ("setcap -r cap", &["+ /cap"]),
        ("setcap cap_net_raw+ep plain", &["+ /plain"]),
    ];
    if !is_root("attributes_that_go_or_change_are_seen_when_nothing_else_does") {
        return;
    }
    if !has("setfattr") || !has("setcap") {
        eprintln!(
            "SKIPPED attributes_that_go_or_change_are_seen_when_nothing_else_does: needs setfattr and setcap"
        );
        return;
    }
    for (command, changes) in cases {
        for ctime in [Ctime::Kept, Ctime::Doubtful(Doubt::Attributes)] {
            let (directory, root, mut index) = based_on(image(), ctime);
            let top = directory.path().join("root");
            sh(&top, command);
            let found = index.rescan(&root, 1).unwrap();
            assert_eq!(shown(&found), *changes, "{command}, {ctime:?}");
            let (_copy, copy) = support::root();
            apply(&copy, image()).unwrap();
            unpack(&copy, LayerReader::new(Cursor::new(layer(&root, &found)))).unwrap();
            for name in ["a", "cap", "plain"] {
                assert_eq!(
                    copy.xattrs(&path(name)).unwrap(),
                    root.xattrs(&path(name)).unwrap(),
                    "{command}: {name}"
                );
            }
        }
    }
}

/// `cap_net_raw=ep`, as the kernel keeps it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn has(tool: &str) -> bool {
    let script = format!("command -v {tool} >/dev/null");
    std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success()
}

#[test]
fn a_change_right_after_a_scan_is_seen() {
    let (directory, root, mut index) = based();
    let conf = directory.path().join("root/etc/conf");
    for round in 0..30 {
        std::fs::write(&conf, format!("{round:04}")).unwrap();
        std::fs::File::open(&conf).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(shown(&index.rescan(&root, 1).unwrap()), ["+ /etc/conf"], "{round}");
    }
}

#[test]
fn what_is_kept_out_is_in_no_change_set_and_no_layer() {
    let (directory, root) = root_keeping(&["proc", "etc/hosts"]);
    let top = directory.path().join("root");
    sh(&top, "mkdir proc etc; echo a > proc/x; echo a > etc/hosts");
    let mut index = Index::scan(&root, 2).unwrap();
    sh(&top, "echo bb > proc/x; echo bb > etc/hosts; echo new > etc/new; rm proc/x");
    let mut changes = index.rescan(&root, 2).unwrap();
    assert_eq!(shown(&changes), ["+ /etc/new"]);
    changes.upsert(path("proc"));
    changes.upsert(path("etc/hosts"));
    assert_eq!(items(&layer(&root, &changes)), ["/etc/", "/etc/new"]);
}

#[test]
fn a_refreshed_index_has_seen_a_copy_and_nothing_more() {
    for ctime in [Ctime::Kept, Ctime::Doubtful(Doubt::Clock)] {
        refreshed(based_on(image(), ctime));
    }
}

fn refreshed((directory, root, mut index): (TempDir, Root, Index)) {
    let top = directory.path().join("root");
    sh(
        &top,
        "mkdir -p new/sub; echo > new/sub/f; echo changed > etc/conf; rm -r tree; echo > tree; echo other > etc/unnoted",
    );
    let mut copied = ChangeSet::default();
    for name in ["new", "new/sub", "new/sub/f", "etc/conf", "tree"] {
        copied.upsert(path(name));
    }
    index.refresh(&root, &copied).unwrap();
    assert_eq!(shown(&index.rescan(&root, 2).unwrap()), ["+ /etc/unnoted"]);
    sh(&top, "rm -r new");
    let mut deleted = ChangeSet::default();
    deleted.delete(path("new"));
    index.refresh(&root, &deleted).unwrap();
    assert!(index.rescan(&root, 2).unwrap().is_empty());
}

#[test]
fn what_a_layer_was_written_of_is_known_afterwards() {
    let (directory, root, mut index) = based();
    let top = directory.path().join("root");
    sh(&top, "echo fresh > fresh; ln -s fresh flink");
    let changes = index.rescan(&root, 1).unwrap();
    let mut writer = LayerWriter::new(Vec::new());
    index.remember(write_layer(&root, &changes, &mut writer).unwrap().fingerprints);
    sh(&top, "chmod 755 fresh; chmod 644 fresh; chown -h 0:0 flink 2>/dev/null || true");
    assert!(index.rescan(&root, 1).unwrap().is_empty());
    sh(
        &top,
        "m=$(stat -c %y fresh); echo other > other; printf 'FRESH\\n' > fresh; touch -d \"$m\" fresh; rm other",
    );
    assert_eq!(shown(&index.rescan(&root, 1).unwrap()), ["+ /fresh"]);
}

#[test]
fn a_path_that_vanished_is_an_error_that_names_it() {
    let (_directory, root, _) = based();
    let mut changes = ChangeSet::default();
    changes.upsert(path("etc/none"));
    let mut writer = LayerWriter::new(Vec::new());
    let error = write_layer(&root, &changes, &mut writer).unwrap_err();
    assert!(matches!(error, RootfsError::Missing(_)) && error.to_string().contains("/etc/none"), "{error}");
}

#[test]
fn a_name_like_a_whiteout_is_an_error_that_names_it() {
    let (directory, root, mut index) = based();
    sh(&directory.path().join("root"), "echo > etc/.wh.conf");
    let changes = index.rescan(&root, 1).unwrap();
    let error = write_layer(&root, &changes, &mut LayerWriter::new(Vec::new())).unwrap_err();
    assert!(error.to_string().contains("/etc/.wh.conf"), "{error}");
}

#[test]
fn the_same_changes_give_the_same_bytes() {
    let (directory, root, mut index) = based();
    sh(&directory.path().join("root"), "cp -a bin bin2; rm etc/conf");
    let changes = index.rescan(&root, 3).unwrap();
    assert_eq!(layer(&root, &changes), layer(&root, &changes));
    assert!(!tar(image()).is_empty());
}
