//! Unpacking layers onto trees.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is a test")]

mod support;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use support::{Item, apply, dir, file, hard, is_root, link, path, root, root_keeping, sh, special, tree};
use zuwai_layer::EntryKind;
use zuwai_rootfs::RootfsError;

#[test]
fn owners_modes_times_and_special_bits_are_the_layers() {
    if !is_root("owners_modes_times_and_special_bits_are_the_layers") {
        return;
    }
    let (directory, root) = root();
    let items = vec![
        dir("d").with(|entry| (entry.mode, entry.gid, entry.mtime) = (0o3775, 50, 1_500_000_000)),
        file("d/setuid", "x").with(|entry| (entry.mode, entry.uid, entry.gid) = (0o6755, 1000, 1001)),
        link("d/link", "nowhere").with(|entry| (entry.uid, entry.mtime) = (7, 1_400_000_000)),
        special("d/fifo", EntryKind::Fifo).with(|entry| entry.uid = 3),
        special("d/null", EntryKind::CharDevice { major: 1, minor: 3 }),
        file("d/old", "").with(|entry| entry.mtime = -5),
        file("d/nobodys", "").with(|entry| (entry.uid, entry.gid) = (u32::MAX, 4)),
    ];
    let done = apply(&root, items).unwrap();
    let top = directory.path().join("root");
    let look = |name: &str| std::fs::symlink_metadata(top.join(name)).unwrap();
    assert_eq!((look("d").mode(), look("d").gid(), look("d").mtime()), (0o43775, 50, 1_500_000_000));
    assert_eq!(
        (look("d/setuid").mode(), look("d/setuid").uid(), look("d/setuid").gid()),
        (0o106_755, 1000, 1001)
    );
    assert_eq!((look("d/link").uid(), look("d/link").mtime()), (7, 1_400_000_000));
    assert_eq!((look("d/fifo").mode(), look("d/fifo").uid()), (0o010_640, 3));
    assert_eq!(look("d/old").mtime(), -5);
    assert_eq!((look("d/nobodys").uid(), look("d/nobodys").gid()), (0, 4), "no user has the largest number");
    if done.refused.devices == 0 {
        assert_eq!(look("d/null").rdev(), 0x103);
    } else {
        eprintln!("SKIPPED the device node: mknod is not permitted here");
    }
}

#[test]
fn what_a_directory_hands_down_to_new_files_is_not_taken() {
    if !is_root("what_a_directory_hands_down_to_new_files_is_not_taken") {
        return;
    }
    let owned = |name: &str, gid: u32, mode: u32| {
        file(name, name).with(|entry| (entry.gid, entry.mode) = (gid, mode))
    };
    let (directory, root) = root();
    let mut items = vec![dir("d").with(|entry| (entry.mode, entry.gid) = (0o2775, 50))];
    // Again and again in one directory: what is known of new files there must fit each.
    let wanted =
        [(0, 0o644), (50, 0o644), (50, 0o666), (0, 0o666), (0, 0o4755), (50, 0o2711), (7, 0o777), (0, 0)];
    for (number, (gid, mode)) in wanted.into_iter().enumerate() {
        items.push(owned(&format!("d/{number}"), gid, mode));
    }
    items.push(dir("d"));
    items.push(owned("d/after", 50, 0o644));
    items.push(owned("d/last", 0, 0o644));
    apply(&root, items).unwrap();
    let look = |name: &str| std::fs::metadata(directory.path().join("root/d").join(name)).unwrap();
    for (number, (gid, mode)) in wanted.into_iter().enumerate() {
        let found = look(&number.to_string());
        assert_eq!((found.gid(), found.mode() & 0o7777), (gid, mode), "{number}");
    }
    assert_eq!((look("after").gid(), look("last").gid()), (50, 0));
}

#[test]
fn names_that_change_while_files_are_filled_end_as_the_layer_says() {
    let (directory, root) = root();
    let mut items = vec![dir("d")];
    for number in 0..200 {
        let name = |of: &str| format!("d/{of}{number}");
        items.push(file(&name("a"), &format!("first {number}")));
        items.push(hard(&name("b"), &name("a")));
        items.push(file(&name("a"), &"second ".repeat(number * 100)));
        items.push(file("d/one", &number.to_string()));
    }
    apply(&root, items).unwrap();
    let read = |name: String| std::fs::read_to_string(directory.path().join("root/d").join(name)).unwrap();
    for number in 0..200 {
        assert_eq!(read(format!("b{number}")), format!("first {number}"));
        assert_eq!(read(format!("a{number}")), "second ".repeat(number * 100));
    }
    assert_eq!(read("one".to_owned()), "199");
}

#[test]
fn what_a_layer_replaces_is_gone() {
    let old = || {
        vec![
            dir("a"),
            dir("a/deep"),
            file("a/deep/file", "old"),
            file("f", "old"),
            link("l", "a"),
            hard("g", "f"),
        ]
    };
    for (name, layer, expected) in [
        ("a file over a tree", vec![file("a", "new")], vec!["a", "f", "g", "l"]),
        ("a link over a tree", vec![link("a", "f")], vec!["a", "f", "g", "l"]),
        ("a directory over a directory", vec![dir("a")], vec!["a", "a/deep", "a/deep/file", "f", "g", "l"]),
        (
            "a directory over a file",
            vec![dir("f"), file("f/x", "")],
            vec!["a", "a/deep", "a/deep/file", "f", "f/x", "g", "l"],
        ),
        (
            "a directory over a link",
            vec![dir("l"), file("l/x", "")],
            vec!["a", "a/deep", "a/deep/file", "f", "g", "l", "l/x"],
        ),
        ("a hard link over a tree", vec![hard("a", "f")], vec!["a", "f", "g", "l"]),
        ("a whiteout of a tree", vec![Item::Whiteout("a")], vec!["f", "g", "l"]),
        (
            "a whiteout of a link, not of its target",
            vec![Item::Whiteout("l")],
            vec!["a", "a/deep", "a/deep/file", "f", "g"],
        ),
        (
            "a whiteout of nothing",
            vec![Item::Whiteout("none/none")],
            vec!["a", "a/deep", "a/deep/file", "f", "g", "l"],
        ),
        (
            "an opaque directory",
            vec![dir("a"), Item::Opaque("a"), file("a/x", "")],
            vec!["a", "a/x", "f", "g", "l"],
        ),
        ("an opaque root", vec![Item::Opaque(""), file("x", "")], vec!["x"]),
    ] {
        let (directory, root) = root();
        apply(&root, old()).unwrap();
        apply(&root, layer).unwrap();
        let found: Vec<String> = tree(&directory.path().join("root")).into_keys().collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn replacing_one_name_leaves_the_other_names_of_a_file() {
    let (directory, root) = root();
    apply(&root, vec![file("f", "old"), hard("g", "f")]).unwrap();
    apply(&root, vec![file("f", "new")]).unwrap();
    let read = |name| std::fs::read_to_string(directory.path().join("root").join(name)).unwrap();
    assert_eq!((read("f").as_str(), read("g").as_str()), ("new", "old"));
}

#[test]
fn whiteouts_spare_what_the_same_layer_adds() {
    let (directory, root) = root();
    apply(&root, vec![dir("a"), file("a/old", ""), dir("a/sub"), file("a/sub/old", ""), file("b", "old")])
        .unwrap();
    let layer = vec![
        dir("a"),
        file("a/new", ""),
        dir("a/sub"),
        file("a/sub/new", ""),
        Item::Opaque("a"),
        file("b", "new"),
        Item::Whiteout("b"),
    ];
    apply(&root, layer).unwrap();
    let found: Vec<String> = tree(&directory.path().join("root")).into_keys().collect();
    assert_eq!(found, ["a", "a/new", "a/sub", "a/sub/new", "b"]);
}

#[test]
fn parents_that_are_links_lead_inside_and_missing_ones_are_made() {
    let (directory, root) = root();
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("victim"), "untouched").unwrap();
    let up = format!("../../../../../../..{}", outside.display());
    apply(
        &root,
        vec![
            dir("usr"),
            dir("usr/lib"),
            link("lib", "usr/lib"),
            link("abs", "/usr"),
            link("evil", outside.to_str().unwrap()),
            link("evil2", &up),
            link("loop", "loop"),
            link("dots", ".."),
            file("lib/a", "a"),
            file("abs/lib/b", "b"),
            file("evil/x", "x"),
            file("evil2/victim", "y"),
            file("dots/dots/z", "z"),
            hard("stolen", "evil/victim"),
            file("new/parents/here", "n"),
            Item::Whiteout("evil/victim"),
        ],
    )
    .unwrap();
    let top = directory.path().join("root");
    let read = |name: &str| std::fs::read_to_string(top.join(name)).unwrap();
    assert_eq!((read("usr/lib/a"), read("usr/lib/b"), read("z")), ("a".into(), "b".into(), "z".into()));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(outside.join("victim")).unwrap(), "untouched");
    let inside = top.join(outside.strip_prefix("/").unwrap());
    assert!(inside.join("x").exists(), "the link was followed inside the root");
    assert_eq!(std::fs::metadata(top.join("new/parents")).unwrap().permissions().mode(), 0o40755);
    assert!(apply(&root, vec![file("loop/x", "")]).is_err());
}

#[test]
fn a_hard_link_cannot_reach_a_file_outside() {
    for target in ["etc/hostname", "evil/hostname", "evil/../hostname"] {
        let (directory, root) = root();
        let error = apply(&root, vec![link("evil", "/etc"), hard("stolen", target)]).unwrap_err();
        assert!(matches!(error, RootfsError::NoLinkTarget { .. }), "{target}: {error}");
        assert!(!directory.path().join("root/stolen").exists());
    }
}

#[test]
fn a_file_as_a_parent_is_an_error_that_names_it() {
    let (_directory, root) = root();
    apply(&root, vec![file("f", "")]).unwrap();
    let error = apply(&root, vec![file("f/x", "")]).unwrap_err();
    assert!(error.to_string().contains("/f"), "{error}");
}

#[test]
fn what_is_kept_out_is_neither_replaced_nor_removed() {
    let (directory, root) = root_keeping(&["etc/hosts", "proc", "run/secrets"]);
    let top = directory.path().join("root");
    sh(
        &top,
        "mkdir etc proc run run/secrets; echo mine > etc/hosts; echo mine > proc/x; echo mine > run/secrets/token",
    );
    apply(
        &root,
        vec![
            dir("etc").with(|entry| entry.mode = 0o700),
            file("etc/hosts", "image's"),
            file("etc/passwd", "image's"),
            file("proc/x", "image's"),
            Item::Whiteout("run"),
            link("var", "run"),
            file("var/secrets/token", "image's"),
            Item::Opaque("etc"),
        ],
    )
    .unwrap();
    let read = |name: &str| std::fs::read_to_string(top.join(name)).unwrap();
    assert_eq!(
        (read("etc/hosts"), read("proc/x"), read("run/secrets/token")),
        ("mine\n".into(), "mine\n".into(), "mine\n".into())
    );
    assert_eq!(read("etc/passwd"), "image's");
    let done = apply(&root, vec![link("run", "elsewhere")]).unwrap();
    assert_eq!(done.refused.kept_out, 1);
    assert_eq!(read("run/secrets/token"), "mine\n");
}

#[test]
fn names_of_any_bytes_and_deep_trees_are_unpacked_and_removed() {
    let (directory, root) = root();
    let mut deep = String::new();
    let mut items = Vec::new();
    for _ in 0..1900 {
        deep.push_str("d/");
        items.push(dir(&deep));
    }
    items.push(file(&format!("{deep}f"), "deep"));
    items.push(
        file("odd", "").with(|entry| entry.path = zuwai_layer::ImagePath::new(b"odd\xff\n name").unwrap()),
    );
    apply(&root, items).unwrap();
    assert!(std::fs::metadata(directory.path().join("root").join(support::os(b"odd\xff\n name"))).is_ok());
    assert_eq!(root.read_small(&path(&format!("{deep}f")), 10).unwrap().unwrap(), b"deep");
    apply(&root, vec![Item::Whiteout("d")]).unwrap();
    assert!(!directory.path().join("root/d").exists());
}

/// By renaming, as no path is that long.
#[test]
fn trees_deeper_than_any_path_are_removed() {
    let (directory, root) = root();
    let top = directory.path().join("root");
    let step = "d/".repeat(1000);
    sh(
        &top,
        &format!(
            "mkdir deep; touch deep/.deep-0; for i in 1 2 3 4 5 6; do mkdir -p new/{step}; touch new/{step}f; \
             mv deep new/{step}deep; mv new deep; done"
        ),
    );
    apply(&root, vec![Item::Whiteout("deep")]).unwrap();
    assert_eq!(tree(&top).into_keys().collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn extended_attributes_are_set_or_counted() {
    let (directory, root) = root();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let done = apply(
        &root,
        vec![file("f", "x").with(|entry| {
            entry.uid = 5;
            entry.xattrs.insert(b"security.capability".to_vec(), capability.to_vec());
            entry.xattrs.insert(b"user.note".to_vec(), b"n".to_vec());
            entry.xattrs.insert(b"security.selinux".to_vec(), b"label".to_vec());
        })],
    )
    .unwrap();
    let names: Vec<Vec<u8>> = root.xattrs(&path("f")).unwrap().into_keys().collect();
    assert_eq!(names.len() as u64 + done.refused.xattrs, 2, "{names:?}");
    assert!(directory.path().join("root/f").exists());
}

#[test]
fn a_truncated_layer_is_an_error() {
    let (_directory, root) = root();
    let mut tar = support::tar(vec![file("f", &"x".repeat(5000))]);
    tar.truncate(3000);
    let layer = zuwai_layer::LayerReader::new(std::io::Cursor::new(tar));
    assert!(matches!(zuwai_rootfs::unpack::unpack(&root, layer), Err(RootfsError::Layer(_))));
}

#[test]
fn a_real_tree_is_unpacked_as_tar_does_it() {
    if !is_root("a_real_tree_is_unpacked_as_tar_does_it") {
        return;
    }
    let (directory, root) = root();
    let source = ["/usr/lib/git-core", "/usr/share/zoneinfo", "/etc"];
    let source: Vec<&str> = source.into_iter().filter(|path| std::path::Path::new(path).is_dir()).collect();
    sh(
        directory.path(),
        &format!(
            "tar cf layer.tar --sort=name {} 2>/dev/null; mkdir tar; tar xf layer.tar -C tar",
            source.join(" ")
        ),
    );
    let layer = std::fs::File::open(directory.path().join("layer.tar")).unwrap();
    zuwai_rootfs::unpack::unpack(&root, zuwai_layer::LayerReader::new(layer)).unwrap();
    let (ours, theirs) = (tree(&directory.path().join("root")), tree(&directory.path().join("tar")));
    assert!(ours.len() > 500, "{}", ours.len());
    for (name, text) in &theirs {
        assert_eq!(ours.get(name), Some(text), "{name}");
    }
    assert_eq!(ours.len(), theirs.len());
}
