//! What is written is read back, whatever it is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use support::{collect, entry, file, path, read_all};
use zuwai_layer::entry::Xattrs;
use zuwai_layer::{Entry, EntryKind, ImagePath, LayerError, LayerItem, LayerReader, LayerWriter};

/// A layer's items in order, files with content.
type Items = Vec<(LayerItem, Vec<u8>)>;

fn write(items: &Items) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    for (item, content) in items {
        match item {
            LayerItem::Entry(entry) => writer.entry(entry, content.as_slice()),
            LayerItem::Whiteout(path) => writer.whiteout(path),
            LayerItem::Opaque(path) => writer.opaque(path),
        }
        .unwrap();
    }
    writer.finish().unwrap()
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-c]{1,3}".prop_map(String::into_bytes),
        1 => vec(prop_oneof![1..=b'.', b'0'..=255u8], 1..40),
        1 => "[a-z]{90,255}".prop_map(String::into_bytes),
        1 => "[a-zé雪]{1,80}".prop_map(String::into_bytes),
    ]
    .prop_filter("not a name", |name| !matches!(name.as_slice(), b"." | b"..") && !name.starts_with(b".wh."))
}

fn image_path() -> impl Strategy<Value = ImagePath> {
    vec(name(), 1..6).prop_filter_map("too long", |names| ImagePath::new(names.join(&b'/')).ok())
}

#[derive(Debug, Clone)]
enum Shape {
    File(Vec<u8>),
    Directory { opaque: bool },
    Symlink(Vec<u8>),
    Hardlink(prop::sample::Index),
    Device { block: bool, major: u32, minor: u32 },
    Fifo,
    Whiteout,
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        3 => prop_oneof![vec(any::<u8>(), 0..2000), vec(Just(b'x'), 511..514)].prop_map(Shape::File),
        2 => any::<bool>().prop_map(|opaque| Shape::Directory { opaque }),
        1 => vec(1..=255u8, 1..300).prop_map(Shape::Symlink),
        2 => any::<prop::sample::Index>().prop_map(Shape::Hardlink),
        1 => (any::<bool>(), 0..=0o7777777u32, 0..=0o7777777u32)
            .prop_map(|(block, major, minor)| Shape::Device { block, major, minor }),
        1 => Just(Shape::Fifo),
        1 => Just(Shape::Whiteout),
    ]
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let name = "(user|security|trusted)\\.[a-z. é]{1,20}".prop_map(String::into_bytes);
    btree_map(name, vec(any::<u8>(), 0..200), 0..3)
}

fn metadata() -> impl Strategy<Value = (u32, u32, u32, i64, Xattrs)> {
    let id = || prop_oneof![0..=2000u32, any::<u32>(), 0o7777770..=0o10000010u32];
    let mtime = prop_oneof![0..=i64::from(u32::MAX), any::<i64>(), 0o77777777770..=0o100000000010i64];
    (0..=0o7777u32, id(), id(), mtime, xattrs())
}

prop_compose! {
    fn items()(tree in btree_map(image_path(), (shape(), metadata()), 0..30)) -> Items {
        let mut items = Items::new();
        let mut linkable: Vec<ImagePath> = Vec::new();
        for (path, (shape, (mode, uid, gid, mtime, xattrs))) in tree {
            let mut content = Vec::new();
            let mut opaque = false;
            let kind = match shape {
                Shape::File(bytes) => {
                    content = bytes;
                    EntryKind::File { size: content.len() as u64 }
                }
                Shape::Directory { opaque: hides } => {
                    opaque = hides;
                    EntryKind::Directory
                }
                Shape::Symlink(target) => EntryKind::Symlink { target },
                Shape::Hardlink(_) if linkable.is_empty() => EntryKind::Fifo,
                Shape::Hardlink(index) => EntryKind::Hardlink { target: index.get(&linkable).clone() },
                Shape::Device { block: true, major, minor } => EntryKind::BlockDevice { major, minor },
                Shape::Device { block: false, major, minor } => EntryKind::CharDevice { major, minor },
                Shape::Fifo => EntryKind::Fifo,
                Shape::Whiteout => {
                    items.push((LayerItem::Whiteout(path), Vec::new()));
                    continue;
                }
            };
            if !matches!(kind, EntryKind::Directory | EntryKind::Hardlink { .. }) {
                linkable.push(path.clone());
            }
            items.push((LayerItem::Entry(Entry { path: path.clone(), kind, mode, uid, gid, mtime, xattrs }), content));
            if opaque {
                items.push((LayerItem::Opaque(path), Vec::new()));
            }
        }
        items
    }
}

/// Gives few bytes at a time, and none in an orderly length.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = (self.1 * 7 + 3) % 1009;
        let length = self.1.min(buffer.len());
        self.0.read(&mut buffer[..length.max(1)])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_layer_is_read_back_as_it_was_written(items in items()) {
        let tar = write(&items);
        prop_assert_eq!(tar.len() % 512, 0);
        prop_assert_eq!(&read_all(&tar).unwrap(), &items);
        prop_assert_eq!(&collect(LayerReader::new(Trickle(&tar, 1))).unwrap(), &items);
    }

    #[test]
    fn content_that_is_not_read_is_skipped(items in items()) {
        let tar = write(&items);
        let mut reader = LayerReader::new(tar.as_slice());
        for (item, content) in &items {
            prop_assert_eq!(&reader.next().unwrap().unwrap(), item);
            prop_assert_eq!(reader.content_left(), content.len() as u64);
            let mut part = vec![0; content.len() / 2];
            reader.read_exact(&mut part).unwrap();
            prop_assert_eq!(&part, &content[..content.len() / 2]);
        }
        prop_assert_eq!(reader.next().unwrap(), None);
        prop_assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn an_archive_cut_anywhere_is_truncated_or_ends_between_entries(items in items(), at in any::<prop::sample::Index>()) {
        let tar = write(&items);
        let cut = at.index(tar.len());
        match read_all(&tar[..cut]) {
            Ok(read) => {
                prop_assert_eq!(cut % 512, 0);
                prop_assert_eq!(&items[..read.len()], read.as_slice());
            }
            Err(LayerError::Truncated { .. }) => {}
            Err(LayerError::Read(error)) => prop_assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(mut tar in items().prop_map(|items| write(&items)), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        for (at, byte) in changes {
            let at = at.index(tar.len());
            tar[at] = byte;
            // Headers with a right checksum, or every change would end there.
            let block = at / 512 * 512;
            if tar[block + 257..block + 262] == *b"ustar" {
                let header = &mut tar[block..block + 512];
                header[148..156].fill(b' ');
                let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
                header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        let _ = read_all(&tar);
    }
}

#[test]
fn an_empty_layer_is_two_zero_blocks() {
    let tar = LayerWriter::new(Vec::new()).finish().unwrap();
    assert_eq!(tar, [0; 1024]);
    assert_eq!(read_all(&tar).unwrap(), []);
}

#[test]
fn the_root_can_be_an_entry() {
    let mut writer = LayerWriter::new(Vec::new());
    let root = Entry { mode: 0o1777, ..entry("", EntryKind::Directory) };
    writer.entry(&root, &b""[..]).unwrap();
    writer.opaque(&ImagePath::root()).unwrap();
    let tar = writer.finish().unwrap();
    assert!(tar.starts_with(b"./\0"));
    let read = read_all(&tar).unwrap();
    assert_eq!(read[0].0, LayerItem::Entry(root));
    assert_eq!(read[1].0, LayerItem::Opaque(ImagePath::root()));
}

#[test]
fn whiteouts_have_the_bytes_of_containerd() {
    let mut writer = LayerWriter::new(Vec::new());
    writer.whiteout(&path("etc/passwd")).unwrap();
    let tar = writer.finish().unwrap();
    assert!(tar.starts_with(b"etc/.wh.passwd\0"));
    assert_eq!(&tar[100..108], b"0000000\0");
    assert_eq!(&tar[124..136], b"00000000000\0");
    assert_eq!(tar[156], b'0');
    assert_eq!(&tar[257..265], b"ustar\x0000");
    assert_eq!(&tar[329..345], b"0000000\x000000000\0");
    assert!(matches!(LayerWriter::new(Vec::new()).whiteout(&ImagePath::root()), Err(LayerError::Marker(_))));
}

#[test]
fn a_file_that_changed_while_it_was_read_is_an_error() {
    for (size, content, message) in [
        (3, &b"ab"[..], "/f changed while it was read: 3 bytes were expected, only 2 were there"),
        (3, b"abcd", "/f changed while it was read: 3 bytes were expected, more were there"),
        (0, b"a", "/f changed while it was read: 0 bytes were expected, more were there"),
        (
            u64::MAX,
            b"a",
            "/f changed while it was read: 18446744073709551615 bytes were expected, only 1 were there",
        ),
    ] {
        let mut writer = LayerWriter::new(Vec::new());
        let error = writer.entry(&file("f", size), content).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(writer.finish().is_err(), "a broken layer was finished");
    }
}

#[test]
fn sizes_beyond_32_and_33_bits_keep_their_headers() {
    // Only the header: the content ends early, which the reader says.
    for size in [(1u64 << 32) + 1, (1 << 33) - 1, 1 << 33, (1 << 63) + 7] {
        let mut writer = LayerWriter::new(Vec::new());
        let mut tar = Vec::new();
        let error = writer.entry(&file("big", size), &b""[..]).unwrap_err();
        assert!(matches!(error, LayerError::ContentLength { .. }));
        let sink = LayerWriter::archive(&mut tar).entry(&file("big", size), &b""[..]);
        assert!(sink.is_err());
        assert_eq!(tar.len(), if size < 1 << 33 { 512 } else { 1536 }, "PAX only where needed");
        let mut reader = LayerReader::new(tar.as_slice());
        assert_eq!(reader.next().unwrap(), Some(LayerItem::Entry(file("big", size))));
        assert_eq!(reader.content_left(), size);
        let error = reader.next().unwrap_err();
        assert!(error.to_string().contains("archive is truncated: it ends inside /big"), "{error}");
    }
}

#[test]
fn names_that_mean_deletion_cannot_be_written() {
    let mut writer = LayerWriter::new(Vec::new());
    assert!(matches!(writer.entry(&file("d/.wh.x", 0), &b""[..]), Err(LayerError::ReservedName(_))));
    let mut writer = LayerWriter::archive(Vec::new());
    writer.entry(&file("d/.wh.x", 0), &b""[..]).unwrap();
}

#[test]
fn only_what_ustar_cannot_say_takes_an_extended_header() {
    let plain = [0, 1000, 2_097_151];
    for (uid, mtime, name, extended) in [
        (plain[0], 0, "f".to_owned(), false),
        (plain[2], 0o77777777777, "d/".repeat(60) + "f", false),
        (2_097_152, 0, "f".to_owned(), true),
        (0, -1, "f".to_owned(), true),
        (0, 0o100000000000, "f".to_owned(), true),
        (0, 0, "n".repeat(101), true),
        (0, 0, "é".to_owned(), true),
    ] {
        let entry = Entry { uid, mtime, ..file(&name, 0) };
        let tar = write(&vec![(LayerItem::Entry(entry), Vec::new())]);
        assert_eq!(tar[156] == b'x', extended, "{uid} {mtime} {name}");
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_layer_out_of_order_breaks_its_law() {
    let breaks = |steps: &dyn Fn(&mut LayerWriter<Vec<u8>>)| {
        let steps = std::panic::AssertUnwindSafe(|| steps(&mut LayerWriter::new(Vec::new())));
        std::panic::catch_unwind(steps).is_err()
    };
    let add = |writer: &mut LayerWriter<Vec<u8>>, name: &str| writer.entry(&file(name, 0), &b""[..]).unwrap();
    assert!(!breaks(&|writer| ["a", "b"].into_iter().for_each(|name| add(writer, name))));
    assert!(breaks(&|writer| ["b", "a"].into_iter().for_each(|name| add(writer, name))), "order");
    assert!(breaks(&|writer| ["a", "a"].into_iter().for_each(|name| add(writer, name))), "twice");
    let both = |writer: &mut LayerWriter<Vec<u8>>| {
        add(writer, "a");
        writer.whiteout(&path("a")).unwrap();
    };
    assert!(breaks(&both), "entry and whiteout");
    let link = |writer: &mut LayerWriter<Vec<u8>>| {
        let link = entry("a", EntryKind::Hardlink { target: path("b") });
        writer.entry(&link, &b""[..]).unwrap();
    };
    assert!(breaks(&link), "hard link before its target");
}

#[test]
fn generated_layers_hold_every_kind() {
    // Guards the generator above: a strategy that never made whiteouts would prove nothing about them.
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut kinds = BTreeSet::new();
    for _ in 0..200 {
        for (item, _) in items().new_tree(&mut runner).unwrap().current() {
            let kind = match &item {
                LayerItem::Whiteout(_) => "whiteout",
                LayerItem::Opaque(_) => "opaque",
                LayerItem::Entry(entry) => match entry.kind {
                    EntryKind::File { .. } => "file",
                    EntryKind::Directory => "directory",
                    EntryKind::Symlink { .. } => "symlink",
                    EntryKind::Hardlink { .. } => "hard link",
                    EntryKind::CharDevice { .. } => "character device",
                    EntryKind::BlockDevice { .. } => "block device",
                    EntryKind::Fifo => "fifo",
                },
            };
            *seen.entry(kind).or_default() += 1;
            kinds.insert(kind);
        }
    }
    assert_eq!(kinds.len(), 9, "{seen:?}");
}
