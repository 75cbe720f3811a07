//! The kernel's marks in the directories of layers: what they mean, and that they stay there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use zuwai_rootfs::metadata::belongs_to_image;
use zuwai_rootfs::overlay::changes;

use crate::harness::{Test, Verdict};
use crate::stage::{place, room, script, step, two_layers};
use crate::support::{path, shown};

pub const TESTS: [Test; 4] = [
    ("whiteouts_and_opaque_directories_hide_what_is_below", marks_hide_what_is_below),
    ("marks_are_read_in_every_form", marks_are_read_in_every_form),
    ("a_whiteout_of_nothing_is_no_change", a_whiteout_of_nothing_is_no_change),
    ("marks_are_never_an_images", marks_are_never_an_images),
];

fn set(path: &std::path::Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn whiteout(path: &std::path::Path) {
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

fn marks_hide_what_is_below() -> Verdict {
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    let layer = room.layer().unwrap();
    fs::create_dir_all(layer.path().join("tree/a")).unwrap();
    fs::write(layer.path().join("tree/a/only"), "").unwrap();
    set(&layer.path().join("tree/a"), "user.overlay.opaque", b"y");
    fs::create_dir(layer.path().join("etc")).unwrap();
    whiteout(&layer.path().join("etc/conf"));
    stack.push(std::sync::Arc::new(layer)).unwrap();
    let view = stack.view().unwrap();
    let names = |path: &str| {
        let entries = fs::read_dir(place(&view).join(path)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("tree/a"), ["only"]);
    assert_eq!(names("etc"), ["link", "two"]);
    // And so for the next layer's changes.
    assert_eq!(shown(&script(&mut stack, "rm -rf tree/a/x; echo > etc/conf")), ["+ /etc/conf"]);
    Ok(())
}

fn marks_are_read_in_every_form() -> Verdict {
    let (_directory, room) = room();
    let stack = two_layers(&room);
    let upper = stack.upper().unwrap();
    let at = |name: &str| upper.path().join(name);
    // An empty file that is marked, in a directory that is marked as holding such.
    fs::create_dir(at("etc")).unwrap();
    set(&at("etc"), "user.overlay.opaque", b"x");
    fs::write(at("etc/conf"), "").unwrap();
    set(&at("etc/conf"), "user.overlay.whiteout", b"");
    fs::write(at("etc/empty"), "").unwrap();
    // Not in one that is not.
    fs::create_dir(at("bin")).unwrap();
    fs::write(at("bin/sh"), "").unwrap();
    set(&at("bin/sh"), "user.overlay.whiteout", b"");
    whiteout(&at("tree"));
    let found = changes(&stack.view().unwrap(), &upper).unwrap();
    assert_eq!(shown(&found), ["+ /bin/sh", "- /etc/conf", "+ /etc/empty", "- /tree"]);
    Ok(())
}

fn a_whiteout_of_nothing_is_no_change() -> Verdict {
    let (_directory, room) = room();
    let stack = two_layers(&room);
    let upper = stack.upper().unwrap();
    whiteout(&upper.path().join("none"));
    fs::create_dir(upper.path().join("new")).unwrap();
    whiteout(&upper.path().join("new/none"));
    set(&upper.path().join("new"), "user.overlay.opaque", b"y");
    let found = changes(&stack.view().unwrap(), &upper).unwrap();
    assert_eq!(shown(&found), ["+ /new"]);
    Ok(())
}

fn marks_are_never_an_images() -> Verdict {
    for name in ["user.overlay.opaque", "user.overlay.overlay.opaque", "trusted.overlay.opaque"] {
        assert!(!belongs_to_image(name.as_bytes()), "{name}");
    }
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    // What a command sets is escaped by the kernel, and means nothing.
    let found = step(&mut stack, |root| {
        set(&place(root).join("tree"), "user.overlay.opaque", b"y");
        set(&place(root).join("tree/a"), "user.mine", b"kept");
    });
    assert_eq!(shown(&found), ["+ /tree/a"]);
    let view = stack.view().unwrap();
    assert!(place(&view).join("tree/b/z").exists());
    assert!(view.xattrs(&path("tree")).unwrap().is_empty());
    assert_eq!(view.xattrs(&path("tree/a")).unwrap().len(), 1);
    assert_eq!(fs::metadata(place(&view).join("tree")).unwrap().mode() & 0o7777, 0o755);
    Ok(())
}
