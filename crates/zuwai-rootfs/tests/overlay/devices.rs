//! Device nodes, which are made when a view is closed: as in a plain directory.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};
use tempfile::TempDir;
use zuwai_layer::EntryKind;
use zuwai_rootfs::copy::{CopyOptions, SourceTree, copy};
use zuwai_rootfs::{KeepOut, Root};

use crate::harness::{Test, Verdict};
use crate::stage::{as_root, more, place, room, step, two_layers};
use crate::support::{apply, dir, file, hard, image, root, shown, special, tar, tree};

pub const TESTS: [Test; 4] = [
    ("devices_are_copied", devices_are_copied),
    ("devices_of_a_layer_are_unpacked_through_a_view", devices_are_unpacked_through_a_view),
    ("what_is_written_over_a_device_stays", what_is_written_over_a_device_stays),
    ("directories_keep_their_times_around_devices", directories_keep_their_times),
];

/// A tree with devices, and an archive of some.
fn source() -> (TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("in/deep")).unwrap();
    let node = |path: &Path, kind, major, minor| {
        rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), rustix::fs::makedev(major, minor))
            .unwrap();
        chown(path, Some(7), Some(8)).unwrap();
    };
    node(&at("in/char"), FileType::CharacterDevice, 1, 3);
    node(&at("in/deep/block"), FileType::BlockDevice, 7, 300);
    node(&at("in/conf"), FileType::CharacterDevice, 1, 5);
    node(&at("in/fifo"), FileType::Fifo, 0, 0);
    fs::write(at("in/file"), "file").unwrap();
    fs::write(at("conf"), "a file again").unwrap();
    let char_device = EntryKind::CharDevice { major: 1, minor: 7 };
    let block_device = EntryKind::BlockDevice { major: 8, minor: 1 };
    let archive = tar(vec![
        dir("made"),
        special("made/char", char_device),
        hard("made/other", "made/char"),
        special("b", block_device),
        special("pipe", EntryKind::Fifo),
        file("replaced", "first"),
        special("replaced", EntryKind::CharDevice { major: 1, minor: 8 }),
        special("replaced-too", EntryKind::CharDevice { major: 1, minor: 8 }),
        file("replaced-too", "last"),
    ]);
    fs::write(at("archive.tar"), archive).unwrap();
    let root = Root::open(directory.path(), KeepOut::default()).unwrap();
    (directory, root)
}

fn put(to: &Root, from: &Root, source: &str, destination: &str) -> Vec<String> {
    let options = CopyOptions { extract: true, ..CopyOptions::default() };
    let written =
        copy(to, SourceTree::stage(from), &[source.as_bytes()], destination.as_bytes(), &options).unwrap();
    shown(&written)
}

/// Copies both ways, and compares what was written and what is there.
fn assert_same(copies: &[(&str, &str)]) {
    let (_from, from) = source();
    let (directory, plain) = root();
    apply(&plain, image()).unwrap();
    apply(&plain, more()).unwrap();
    let expected: Vec<_> = copies.iter().map(|(source, place)| put(&plain, &from, source, place)).collect();
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    step(&mut stack, |root| {
        let found: Vec<_> = copies.iter().map(|(source, place)| put(root, &from, source, place)).collect();
        assert_eq!(found, expected);
    });
    let view = stack.view().unwrap();
    assert_eq!(tree(&place(&view)), tree(&directory.path().join("root")), "{copies:?}");
}

fn devices_are_copied() -> Verdict {
    as_root()?;
    for copies in [
        [("in", "/new/")].as_slice(),
        // Into directories that only lower layers have, and over a file of theirs.
        &[("in", "/etc")],
        &[("in/deep", "/tree/b")],
        &[("archive.tar", "/")],
        &[("archive.tar", "/tree/a/")],
        &[("in", "/etc"), ("archive.tar", "/etc/deep/")],
    ] {
        assert_same(copies);
    }
    Ok(())
}

fn devices_are_unpacked_through_a_view() -> Verdict {
    as_root()?;
    let layer = || {
        let device = EntryKind::CharDevice { major: 1, minor: 7 };
        vec![special("tree/a/dev", device), hard("tree/a/dev2", "tree/a/dev"), hard("etc/same", "etc/two")]
    };
    let (directory, plain) = root();
    for items in [image(), more(), layer()] {
        apply(&plain, items).unwrap();
    }
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    step(&mut stack, |root| assert_eq!(apply(root, layer()).unwrap().refused.devices, 0));
    let view = stack.view().unwrap();
    assert_eq!(tree(&place(&view)), tree(&directory.path().join("root")));
    Ok(())
}

fn what_is_written_over_a_device_stays() -> Verdict {
    as_root()?;
    assert_same(&[("in", "/etc"), ("conf", "/etc/conf")]);
    assert_same(&[("in", "/etc"), ("conf", "/etc/conf"), ("in", "/etc")]);
    Ok(())
}

fn directories_keep_their_times() -> Verdict {
    as_root()?;
    let (_from, from) = source();
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    step(&mut stack, |root| drop(put(root, &from, "archive.tar", "/tree/")));
    let view = stack.view().unwrap();
    let mtime = |name: &str| fs::symlink_metadata(place(&view).join(name)).unwrap().mtime();
    assert_eq!(mtime("tree/made"), 1_600_000_000);
    assert_eq!(mtime("tree/made/char"), 1_600_000_000);
    assert!(mtime("tree") > 1_600_000_000, "something was put into it");
    Ok(())
}
