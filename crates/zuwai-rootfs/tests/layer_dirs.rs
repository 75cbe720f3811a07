//! Layers unpacked into directories of their own: what an overlay of them shows is what unpacking them one onto the
//! other gives.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is a test")]

#[path = "support/overlay.rs"]
mod overlay;
mod support;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use overlay::Overlay;
use proptest::prelude::*;
use support::{Item, dir, file, hard, is_root, link, path, special, tree};
use tempfile::TempDir;
use zuwai_layer::{EntryKind, LayerReader};
use zuwai_rootfs::unpack::{Adopted, LayerUnpacked, adopt_parents, unpack, unpack_layer_dir};
use zuwai_rootfs::{KeepOut, Root, RootfsError};

/// How layers came to be in their directories.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Alone,
    WithBelow,
}

/// A room of layers' directories: `0` is the lowest.
struct Room {
    directory: TempDir,
    layers: Vec<String>,
}

impl Room {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), layers: Vec::new() }
    }

    fn view(&self, test: &str) -> Option<Overlay> {
        Overlay::mount(test, self.directory.path(), &self.layers, None)
    }

    /// Adds a layer as a builder does: alone, and where that cannot be, onto a view of those below.
    fn add(&mut self, test: &str, tar: &[u8]) -> Option<Result<Way, RootfsError>> {
        let name = self.layers.len().to_string();
        let place = self.directory.path().join(&name);
        std::fs::create_dir(&place).unwrap();
        let below = self.view(test)?;
        let below_root = Root::open(below.path(), KeepOut::default()).unwrap();
        let done = alone(&place, tar, Some(&below_root));
        drop(below_root);
        drop(below);
        let way = match done {
            Ok(true) => Way::Alone,
            Ok(false) => {
                std::fs::remove_dir_all(&place).unwrap();
                std::fs::create_dir(&place).unwrap();
                let writable = Overlay::mount(test, self.directory.path(), &self.layers, Some(&name))?;
                let root = Root::open(writable.path(), KeepOut::default()).unwrap();
                if let Err(error) = unpack(&root, LayerReader::new(Cursor::new(tar))) {
                    return Some(Err(error));
                }
                Way::WithBelow
            }
            Err(error) => return Some(Err(error)),
        };
        self.layers.push(name);
        Some(Ok(way))
    }

    fn layer(&self, number: usize) -> std::path::PathBuf {
        self.directory.path().join(number.to_string())
    }
}

/// Whether a layer could be unpacked without those below.
fn alone(place: &Path, tar: &[u8], below: Option<&Root>) -> Result<bool, RootfsError> {
    let root = Root::open(place, KeepOut::default()).unwrap();
    match unpack_layer_dir(&root, LayerReader::new(Cursor::new(tar)))? {
        LayerUnpacked::Alone(done) => Ok(adopt_parents(below, &root, &done.implied)? == Adopted::Done),
        LayerUnpacked::NeedsBelow => Ok(false),
    }
}

/// A tree without what overlayfs cannot show: which names of different layers are one file.
fn shown(directory: &Path) -> BTreeMap<String, String> {
    let without_names = |text: String| text.split(" names=").next().unwrap_or_default().to_owned();
    tree(directory).into_iter().map(|(name, text)| (name, without_names(text))).collect()
}

/// Unpacks layers both ways and compares after each; the ways that were taken, `None` if skipped. The last layer may
/// fail, both ways.
fn compare(test: &str, layers: &[Vec<u8>]) -> Option<Vec<Way>> {
    if !is_root(test) {
        return None;
    }
    let (flat, flat_root) = support::root();
    let mut room = Room::new();
    let mut ways = Vec::new();
    for tar in layers {
        let flat_done = unpack(&flat_root, LayerReader::new(Cursor::new(tar)));
        match (flat_done, room.add(test, tar)?) {
            (Ok(_), Ok(way)) => ways.push(way),
            (Err(_), Err(_)) => break,
            (flat, layered) => panic!("{flat:?} but {layered:?}"),
        }
        let view = room.view(test)?;
        assert_eq!(shown(&view.path()), shown(&flat.path().join("root")));
    }
    Some(ways)
}

#[test]
fn a_view_of_layers_is_what_unpacking_them_in_turn_gives() {
    let base = || {
        vec![
            dir("a").with(|entry| (entry.mode, entry.uid) = (0o750, 7)),
            dir("a/b").with(|entry| entry.mode = 0o711),
            file("a/b/f", "old"),
            file("a/f", "old"),
            file("f", "old"),
            link("l", "a"),
            dir("usr"),
            dir("usr/lib"),
            link("lib", "usr/lib"),
        ]
    };
    use Way::{Alone, WithBelow};
    for (name, layer, way) in [
        ("parents without entries", vec![file("a/b/new", "x"), file("new/deep/x", "x")], Alone),
        ("a whiteout", vec![Item::Whiteout("a/b/f"), Item::Whiteout("f")], Alone),
        ("a whiteout of nothing", vec![dir("n"), Item::Whiteout("n/x"), Item::Whiteout("m/x")], Alone),
        ("a whiteout below a file", vec![Item::Whiteout("f/x")], Alone),
        ("a whiteout below a link", vec![Item::Whiteout("l/f")], WithBelow),
        ("a tree replaced by a file", vec![file("a", "x")], Alone),
        ("a file replaced by a tree", vec![dir("f"), file("f/x", "x")], Alone),
        ("a whiteout and a new directory", vec![Item::Whiteout("a"), dir("a"), file("a/x", "")], Alone),
        ("a new directory and a whiteout", vec![dir("a"), file("a/x", ""), Item::Whiteout("a")], Alone),
        ("a whiteout and only what is in it", vec![Item::Whiteout("a"), file("a/b/x", "")], Alone),
        ("what is in it and a whiteout", vec![file("a/b/x", ""), Item::Whiteout("a")], Alone),
        ("a directory over a file over a directory", vec![file("a", ""), dir("a")], Alone),
        ("whiteouts of parts and then of all", vec![Item::Whiteout("a/b/f"), Item::Whiteout("a")], WithBelow),
        ("children and then their directory", vec![file("a/b/x", "x"), dir("a/b"), dir("a")], Alone),
        ("a child and then a directory in place of a link", vec![file("l/x", "x"), dir("l")], WithBelow),
        ("a child and then a file in place of a link", vec![file("l/x", "x"), file("l", "")], WithBelow),
        ("a whiteout of all and then of a part", vec![Item::Whiteout("a"), Item::Whiteout("a/b/f")], Alone),
        (
            "parts and an opaque marker",
            vec![dir("a"), dir("a/b"), Item::Whiteout("a/b/f"), Item::Whiteout("a/f"), Item::Opaque("a")],
            Alone,
        ),
        ("an opaque directory without an entry", vec![Item::Opaque("a/b"), Item::Opaque("none")], Alone),
        ("an opaque marker in a whiteout", vec![Item::Whiteout("a"), Item::Opaque("a/b")], Alone),
        ("an opaque root", vec![Item::Opaque(""), file("x", "")], WithBelow),
        ("a parent that is a link below", vec![file("lib/x", "x")], WithBelow),
        ("a parent that is a link of the layer", vec![link("k", "usr"), file("k/x", "x")], WithBelow),
        ("a directory in place of a link below", vec![dir("lib"), file("lib/x", "x")], Alone),
        ("a hard link to a file below", vec![hard("g", "a/b/f")], WithBelow),
        ("a hard link in the layer", vec![file("a/one", "1"), hard("f", "a/one")], Alone),
    ] {
        let layers = [support::tar(base()), support::tar(layer)];
        let test = "a_view_of_layers_is_what_unpacking_them_in_turn_gives";
        let Some(ways) = compare(test, &layers) else { return };
        assert_eq!(ways, [Alone, way], "{name}");
    }
}

#[test]
fn a_directory_without_an_entry_is_as_it_was_below() {
    let test = "a_directory_without_an_entry_is_as_it_was_below";
    if !is_root(test) {
        return;
    }
    let mut room = Room::new();
    let noted = |name: &str| {
        dir(name).with(|entry| {
            (entry.mode, entry.uid, entry.gid, entry.mtime) = (0o2751, 3, 4, 1_234_567_890);
            entry.xattrs.insert(b"user.note".to_vec(), b"kept".to_vec());
        })
    };
    let Some(first) = room.add(test, &support::tar(vec![noted("a"), noted("a/b"), file("a/b/f", "")])) else {
        return;
    };
    first.unwrap();
    room.add(test, &support::tar(vec![file("a/b/g", ""), Item::Whiteout("a/b/f")])).unwrap().unwrap();
    let view = room.view(test).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    for name in ["a", "a/b"] {
        let metadata = std::fs::metadata(view.path().join(name)).unwrap();
        let found = (metadata.mode(), metadata.uid(), metadata.gid(), metadata.mtime());
        assert_eq!(found, (0o42751, 3, 4, 1_234_567_890), "{name}");
        let root = Root::open(room.layer(1), KeepOut::default()).unwrap();
        assert_eq!(root.xattrs(&path(name)).unwrap().get(&b"user.note"[..]), Some(&b"kept".to_vec()));
    }
}

#[test]
fn an_image_cannot_mark_a_layer_itself() {
    let directory = TempDir::new().unwrap();
    let marked = |item: Item| {
        item.with(|entry| {
            entry.xattrs.insert(b"user.overlay.opaque".to_vec(), b"y".to_vec());
            entry.xattrs.insert(b"user.overlay.redirect".to_vec(), b"/etc".to_vec());
            entry.xattrs.insert(b"user.mine".to_vec(), b"kept".to_vec());
        })
    };
    let tar = support::tar(vec![marked(dir("d")), marked(file("f", ""))]);
    assert!(alone(directory.path(), &tar, None).unwrap());
    for name in ["d", "f"] {
        let file = std::fs::File::open(directory.path().join(name)).unwrap();
        let mut list = vec![0; 512];
        let length = rustix::fs::flistxattr(&file, list.as_mut_slice()).unwrap();
        let names = String::from_utf8_lossy(&list[..length]).into_owned();
        assert!(names.contains("user.mine") && !names.contains("overlay"), "{names:?}");
    }
}

#[test]
fn a_device_that_would_be_a_whiteout_is_refused_and_hides_what_is_below() {
    let test = "a_device_that_would_be_a_whiteout_is_refused_and_hides_what_is_below";
    if !is_root(test) {
        return;
    }
    let mut room = Room::new();
    let Some(first) = room.add(test, &support::tar(vec![file("f", ""), file("g", "")])) else { return };
    first.unwrap();
    let zero = EntryKind::CharDevice { major: 0, minor: 0 };
    let layer =
        vec![special("f", zero.clone()), file("n", ""), special("n", zero.clone()), special("m", zero)];
    room.add(test, &support::tar(layer)).unwrap().unwrap();
    let found: Vec<String> = tree(&room.view(test).unwrap().path()).into_keys().collect();
    assert_eq!(found, ["g"]);
}

#[test]
fn nothing_outside_of_the_directory_is_reached() {
    let directory = TempDir::new().unwrap();
    let (outside, inside) = (directory.path().join("outside"), directory.path().join("inside"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(outside.join("victim"), "untouched").unwrap();
    let out = outside.to_str().unwrap();
    for layer in [
        vec![link("evil", out), file("evil/x", "")],
        vec![link("evil", "../outside"), file("evil/victim", "")],
        vec![link("evil", out), hard("stolen", "evil/victim")],
        vec![link("evil", out), Item::Whiteout("evil/victim")],
        vec![link("evil", out), Item::Opaque("evil")],
        vec![link("evil", out), dir("evil/d")],
    ] {
        assert!(!alone(&inside, &support::tar(layer), None).unwrap());
        support::sh(&inside, "rm -rf ./*");
    }
    // In its own place a link is replaced, not followed.
    let layer = vec![link("evil", out), dir("evil"), file("evil/victim", "mine")];
    assert!(alone(&inside, &support::tar(layer), None).unwrap());
    let found = tree(&outside);
    assert_eq!(found.len(), 1);
    assert!(found["victim"].contains("untouched"));
}

fn any_path() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "a", "b", "c", "a/a", "a/b", "a/c", "b/a", "b/b", "a/a/a", "a/a/b", "a/b/a", "b/a/a", "a/b/a/b",
    ])
}

fn any_item() -> impl Strategy<Value = (u8, &'static str, &'static str, u32)> {
    // More whiteouts and entries than links, or hardly any layer would be unpacked alone.
    let kind = prop_oneof![
        6 => Just(0_u8), 6 => Just(1), 4 => Just(2), 2 => Just(3), 1 => Just(4), 1 => Just(5), 1 => Just(6)
    ];
    (kind, any_path(), any_path(), 0..4_u32)
}

fn layer(items: &[(u8, &'static str, &'static str, u32)]) -> Vec<u8> {
    let made = items.iter().enumerate().map(|(number, (kind, name, other, some))| match kind {
        0 => file(name, &format!("{number} {name}")).with(|entry| entry.uid = *some),
        1 => dir(name).with(|entry| (entry.mode, entry.gid) = (0o711 + some, *some)),
        2 => Item::Whiteout(name),
        3 => Item::Opaque(name),
        4 => link(name, if *some == 0 { "." } else { other }),
        5 => hard(name, other),
        _ => special(name, EntryKind::Fifo),
    });
    support::tar(made.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_layers_give_the_same_both_ways(
        layers in proptest::collection::vec(proptest::collection::vec(any_item(), 0..9), 1..4)
    ) {
        let layers: Vec<Vec<u8>> = layers.iter().map(|items| layer(items)).collect();
        compare("any_layers_give_the_same_both_ways", &layers);
    }
}
