//! Stacks of layers, seen and written.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::XattrFlags;
use tempfile::TempDir;
use zuwai_layer::LayerWriter;
use zuwai_rootfs::RootfsError;
use zuwai_rootfs::layer::write_layer;
use zuwai_rootfs::overlay::{LayerDir, MOST_LAYERS, Room, Stack, changes, settle};

use crate::harness::{Test, Verdict, need};
use crate::stage::{as_root, place, room, script, step, two_layers};
use crate::support::{path, shown};

pub const TESTS: [Test; 11] = [
    ("a_room_says_whether_overlays_work_there", room_says_whether_overlays_work),
    ("a_room_on_an_overlay_is_refused", room_on_an_overlay_is_refused),
    ("few_layers_are_seen", few_layers_are_seen),
    ("hundreds_of_layers_are_seen", hundreds_of_layers_are_seen),
    ("a_view_cannot_be_written", a_view_cannot_be_written),
    ("what_is_written_is_in_the_upper_layer_alone", what_is_written_is_in_the_upper_layer_alone),
    ("the_root_directory_stays_what_it_is", the_root_directory_stays_what_it_is),
    ("a_view_outlives_its_room", a_view_outlives_its_room),
    ("views_are_made_for_many_at_once", views_are_made_for_many_at_once),
    ("capabilities_are_set_and_read_back", capabilities_are_set_and_read_back),
    ("a_directory_of_a_lower_layer_is_renamed", a_directory_of_a_lower_layer_is_renamed),
];

fn room_says_whether_overlays_work() -> Verdict {
    let (_directory, room) = room();
    room.try_out().unwrap();
    let left: Vec<_> = fs::read_dir(room.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    Ok(())
}

/// As in a container whose state directory is on its own root file system. In a mount namespace of its own.
fn room_on_an_overlay_is_refused() -> Verdict {
    as_root()?;
    need(Path::new("/usr/bin/unshare").exists(), "unshare")?;
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let script = "set -e; mkdir lower upper work merged
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
        exec \"$0\" inside-room merged/room";
    let output = Command::new("/usr/bin/unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .current_dir(directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(text.starts_with("cannot set up the sandbox: mount 1 layers of "), "{text}");
    assert!(text.contains("Invalid argument"), "{text}");
    Ok(())
}

/// `inside-room DIRECTORY`: this program where the test above wants it.
pub fn main_if_in_room() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [word, directory] = arguments.as_slice() else { return };
    if word == "inside-room" {
        match Arc::new(Room::create(directory).unwrap()).try_out() {
            Ok(()) => println!("works"),
            Err(error) => println!("{error}"),
        }
        std::process::exit(0);
    }
}

fn few_layers_are_seen() -> Verdict {
    let (_directory, room) = room();
    let mut stack = Stack::new(Arc::clone(&room));
    for count in 0..4 {
        let view = stack.view().unwrap();
        let names = fs::read_dir(place(&view)).unwrap().count();
        assert_eq!(names, count, "{count} layers");
        let written = step(&mut stack.clone(), |root| fs::write(place(root).join("new"), "new").unwrap());
        assert_eq!(shown(&written), ["+ /new"], "{count} layers");
        let layer = room.layer().unwrap();
        fs::write(layer.path().join(format!("file-{count}")), "").unwrap();
        stack.push(Arc::new(layer)).unwrap();
    }
    Ok(())
}

fn hundreds_of_layers_are_seen() -> Verdict {
    let (_directory, room) = room();
    let mut stack = Stack::new(Arc::clone(&room));
    for number in 0..MOST_LAYERS {
        let layer = room.layer().unwrap();
        fs::write(layer.path().join("top"), number.to_string()).unwrap();
        fs::write(layer.path().join(format!("file-{number}")), "").unwrap();
        stack.push(Arc::new(layer)).unwrap();
        if [99, 100, 127, 128, 299, MOST_LAYERS - 1].contains(&number) {
            let view = stack.view().unwrap();
            assert_eq!(fs::read_to_string(place(&view).join("top")).unwrap(), number.to_string());
            assert_eq!(fs::read_dir(place(&view)).unwrap().count(), number + 2);
            let upper = stack.upper().unwrap();
            let written = stack.writable(&upper).unwrap();
            fs::write(place(&written).join("top"), "new").unwrap();
            settle(written, &upper).unwrap();
            assert_eq!(shown(&changes(&view, &upper).unwrap()), ["+ /top"]);
        }
    }
    let error = stack.push(Arc::new(room.layer().unwrap())).unwrap_err();
    assert!(matches!(error, RootfsError::TooManyLayers { limit: 500 }), "{error}");
    Ok(())
}

fn a_view_cannot_be_written() -> Verdict {
    let (_directory, room) = room();
    let stack = two_layers(&room);
    let view = stack.view().unwrap();
    let error = fs::write(place(&view).join("etc/conf"), "other").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    assert!(view.path_on_host().is_none() && view.overlay() == Some(&stack.mount(None)));
    Ok(())
}

fn what_is_written_is_in_the_upper_layer_alone() -> Verdict {
    as_root()?;
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    let before: Vec<_> = stack.layers().iter().map(|layer| crate::support::tree(layer.path())).collect();
    script(&mut stack, "echo more >> etc/conf; rm -r tree/a; chown 3:4 bin/sh; mkdir new; mkfifo new/pipe");
    for (layer, before) in stack.layers().iter().zip(before) {
        assert_eq!(crate::support::tree(layer.path()), before);
    }
    let view = stack.view().unwrap();
    assert_eq!(fs::read_to_string(place(&view).join("etc/conf")).unwrap(), "one\nmore\n");
    assert!(!place(&view).join("tree/a").exists());
    assert_eq!(fs::metadata(place(&view).join("bin/sh")).unwrap().uid(), 3);
    let upper = stack.layers().last().unwrap();
    assert_eq!(fs::metadata(upper.path().join("bin/sh")).unwrap().gid(), 4);
    let work = upper.path().with_file_name(format!("w-{}", upper.name()));
    assert!(!work.exists(), "what the kernel worked in is left");
    Ok(())
}

fn the_root_directory_stays_what_it_is() -> Verdict {
    as_root()?;
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    let top: &LayerDir = stack.layers().last().unwrap();
    chown(top.path(), Some(5), Some(6)).unwrap();
    fs::set_permissions(top.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let changes = script(&mut stack, "echo > new");
    assert_eq!(shown(&changes), ["+ /new"]);
    let root = fs::metadata(place(&stack.view().unwrap())).unwrap();
    assert_eq!((root.uid(), root.gid(), root.mode() & 0o7777), (5, 6, 0o555));
    Ok(())
}

fn a_view_outlives_its_room() -> Verdict {
    let (_directory, room) = room();
    let stack = two_layers(&room);
    let upper = stack.upper().unwrap();
    let (view, written) = (stack.view().unwrap(), stack.writable(&upper).unwrap());
    drop((stack, room));
    assert_eq!(fs::read_to_string(place(&view).join("etc/conf")).unwrap(), "one\n");
    fs::write(place(&written).join("etc/new"), "new").unwrap();
    settle(written, &upper).unwrap();
    assert_eq!(fs::read_to_string(upper.path().join("etc/new")).unwrap(), "new");
    Ok(())
}

fn views_are_made_for_many_at_once() -> Verdict {
    let (_directory, room) = room();
    let stack = two_layers(&room);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let stack = &stack;
            scope.spawn(move || {
                let mut own = stack.clone();
                for round in 0..5 {
                    let name = format!("file-{number}-{round}");
                    let changes = step(&mut own, |root| fs::write(place(root).join(&name), "").unwrap());
                    assert_eq!(shown(&changes), [format!("+ /{name}")]);
                }
                assert_eq!(fs::read_dir(place(&own.view().unwrap())).unwrap().count(), 3 + 5);
            });
        }
    });
    Ok(())
}

/// `cap_net_raw+ep`, as `setcap` writes it.
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn capabilities_are_set_and_read_back() -> Verdict {
    as_root()?;
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    let changes = step(&mut stack, |root| {
        let file = place(root).join("etc/conf");
        rustix::fs::setxattr(&file, "security.capability", &CAPABILITY, XattrFlags::empty()).unwrap();
    });
    assert_eq!(shown(&changes), ["+ /etc/conf"]);
    let view = stack.view().unwrap();
    assert_eq!(view.xattrs(&path("etc/conf")).unwrap()[&b"security.capability"[..]], CAPABILITY);
    let mut layer = LayerWriter::new(Vec::new());
    write_layer(&view, &changes, &mut layer).unwrap();
    let (_copy, copy) = crate::support::root();
    crate::support::apply(&copy, crate::support::image()).unwrap();
    let reader = zuwai_layer::LayerReader::new(std::io::Cursor::new(layer.finish().unwrap()));
    zuwai_rootfs::unpack::unpack(&copy, reader).unwrap();
    assert_eq!(copy.xattrs(&path("etc/conf")).unwrap()[&b"security.capability"[..]], CAPABILITY);
    // And through a step that copies the file up.
    let changes = script(&mut stack, "touch etc/conf");
    assert_eq!(shown(&changes), ["+ /etc/conf"]);
    let view = stack.view().unwrap();
    assert_eq!(view.xattrs(&path("etc/conf")).unwrap()[&b"security.capability"[..]], CAPABILITY);
    Ok(())
}

/// The kernel answers as between two file systems, and programs copy.
fn a_directory_of_a_lower_layer_is_renamed() -> Verdict {
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    let changes = step(&mut stack, |root| {
        let error = fs::rename(place(root).join("tree/a"), place(root).join("tree/c")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CrossesDevices);
    });
    assert!(changes.is_empty(), "{changes:?}");
    let changes = script(&mut stack, "mv tree/a tree/c; mkdir made; mv made renamed");
    let expected = ["+ /renamed", "- /tree/a", "+ /tree/c", "+ /tree/c/w", "+ /tree/c/x", "+ /tree/c/y"];
    assert_eq!(shown(&changes), expected);
    Ok(())
}
