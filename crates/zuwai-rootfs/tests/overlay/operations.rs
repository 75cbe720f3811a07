//! The same commands on a plain tree that is scanned and on an overlay: the same changes, and layers that give the same
//! tree.

use std::io::Cursor;
use std::os::unix::net::UnixListener;
use std::process::Command;

use zuwai_layer::{LayerReader, LayerWriter};
use zuwai_rootfs::Index;
use zuwai_rootfs::layer::write_layer;
use zuwai_rootfs::unpack::unpack;

use crate::harness::{Test, Verdict};
use crate::stage::{as_root, more, place, room, script, step, two_layers};
use crate::support::{apply, image, root, sh, shown, tree};

pub const TESTS: [Test; 3] = [
    ("an_overlay_gives_the_changes_of_a_scan", an_overlay_gives_the_changes_of_a_scan),
    ("sockets_are_left_out_of_the_layer", sockets_are_left_out_of_the_layer),
    ("other_names_of_a_file_stay_as_they_were", other_names_of_a_file_stay_as_they_were),
];

const OPERATIONS: &[&str] = &[
    "true",
    "cat etc/conf >/dev/null; ls -lR >/dev/null",
    "echo two > etc/new",
    "echo two > etc/conf",
    "printf 'two\\n' > etc/conf; touch -d @1600000000 etc/conf",
    "chmod 644 etc/conf; chown 0:0 etc/conf tree/a; chown -h 0:0 etc/link; touch -d @1600000000 tree/a/x",
    "printf 'one\\n' > etc/conf; touch -d @1600000000 etc/conf",
    "cp -a etc/conf etc/copy; mv etc/copy etc/conf",
    "touch etc/conf",
    "chmod 600 etc/conf; chown 1:1 etc/link -h; chmod 700 tree/a",
    "chown -R 7:8 tree",
    "chmod 700 tree; chmod 755 tree",
    "rm -r tree",
    "rm tree/a/x",
    "rm tree/a/w tree/a/x; echo > tree/a/w",
    "rm -r tree/a; mkdir tree/a; echo > tree/a/n",
    "rm -r tree/a; mkdir tree/a",
    "rm -r tree/a; mkdir tree/a; chmod 700 tree/a",
    "rm -r tree; mkdir -p tree/b; printf z > tree/b/z; touch -d @1600000000 tree/b/z",
    "cp -a tree copy; rm -r tree; mv copy tree",
    "cp -a tree copy; rm -r tree; mv copy tree; echo > tree/a/x; rm tree/a/w",
    "rm -r tree; echo file > tree",
    "rm -r tree; ln -s etc tree",
    "rm -r tree; mkfifo tree",
    "rm etc/conf; mkdir etc/conf; echo > etc/conf/x",
    "rm etc/conf; mkfifo etc/conf",
    "rm etc/conf; ln -s two etc/conf",
    "ln -sfn nowhere etc/link",
    "rm etc/link; ln -s conf etc/link; touch -hd @1600000000 etc/link",
    "rm etc/link; mkdir etc/link",
    "mv tree/a tree/c",
    "mv tree/a/x tree/b/x",
    "mv etc/conf etc/moved; mv etc/two etc/conf",
    "mv tree/b gone; rm -r gone",
    "mkdir new; mv new tree/a; mv tree/a/new tree/b",
    "mkdir -p n/e/w; mkfifo n/fifo",
    "echo > gone; rm gone; mkdir gone; rmdir gone",
    "mkdir -p d/e; echo > d/e/f; rm -r d",
    "echo > a; ln a b; ln b tree/c",
    "echo > a; ln a b; rm a",
    "ln etc/conf etc/hard",
    "ln etc/conf etc/hard; echo more >> etc/hard",
    "ln etc/conf etc/hard; rm etc/conf",
    "rm bin/sh",
    "rm bin/sh bin/dash",
    "cp bin/sh bin/new; mv bin/new bin/sh",
    "chmod 1777 etc; chmod 2755 bin; chmod 4755 etc/two",
    "dd if=/dev/zero of=big bs=64k count=20 2>/dev/null; truncate -s 10M sparse",
    "truncate -s 0 etc/conf; touch -d @1600000000 etc/conf",
    "i=0; while [ $i -lt 300 ]; do echo $i > tree/a/$i; i=$((i+1)); done; rm tree/a/1*",
    "touch \"$(printf 'new\\nline')\" \"$(printf '\\377')\" ' ' tree/-",
    "setcap cap_net_raw+ep etc/conf",
    "setfattr -n user.k -v v tree/a",
    "setfattr -n user.k -v v etc/conf",
    "setfattr -n user.k -v v tree/a; setfattr -x user.k tree/a",
    "setfattr -n user.k -v v tree; rm -r tree; mkdir tree",
    "chmod 700 .; chown 3:3 .; setfattr -n user.k -v v .",
];

/// Of these one name changes where a scan finds all of them changed.
const BREAKING: &[(&str, &[&str], &[&str])] = &[
    ("chmod 700 bin/sh", &["+ /bin/dash", "+ /bin/sh"], &["+ /bin/sh"]),
    ("echo > bin/sh", &["+ /bin/dash", "+ /bin/sh"], &["+ /bin/sh"]),
    ("ln bin/sh bin/ash", &["+ /bin/ash", "+ /bin/dash", "+ /bin/sh"], &["+ /bin/ash", "+ /bin/sh"]),
];

/// What a command changes: of a plain tree, and of an overlay. Panics where the overlay's layer does not give its tree.
fn both_ways(command: &str) -> (Vec<String>, Vec<String>) {
    let (directory, plain) = root();
    let mut unpacked = apply(&plain, image()).unwrap().fingerprints;
    unpacked.extend(apply(&plain, more()).unwrap().fingerprints);
    let mut index = Index::scan(&plain, 1).unwrap();
    index.remember(unpacked);
    sh(&directory.path().join("root"), command);
    let scanned = index.rescan(&plain, 1).unwrap();

    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    let written = script(&mut stack, command);
    let view = stack.view().unwrap();
    let mut layer = LayerWriter::new(Vec::new());
    write_layer(&view, &written, &mut layer).unwrap();
    let (copy, copy_root) = root();
    apply(&copy_root, image()).unwrap();
    apply(&copy_root, more()).unwrap();
    unpack(&copy_root, LayerReader::new(Cursor::new(layer.finish().unwrap()))).unwrap();
    assert_eq!(tree(&copy.path().join("root")), tree(&place(&view)), "{command}");
    (shown(&scanned), shown(&written))
}

fn an_overlay_gives_the_changes_of_a_scan() -> Verdict {
    as_root()?;
    for command in OPERATIONS {
        let tool = command.split(' ').next().unwrap();
        let has = |tool: &str| {
            Command::new("sh").args(["-c", &format!("command -v {tool} >/dev/null")]).status().unwrap()
        };
        if ["setcap", "setfattr"].contains(&tool) && !has(tool).success() {
            eprintln!("SKIPPED {command}: {tool} is not installed");
            continue;
        }
        let (scanned, written) = both_ways(command);
        assert_eq!(scanned, written, "{command}");
    }
    Ok(())
}

fn other_names_of_a_file_stay_as_they_were() -> Verdict {
    as_root()?;
    for (command, scanned, written) in BREAKING {
        let found = both_ways(command);
        assert_eq!(
            (found.0.as_slice(), found.1.as_slice()),
            (to_strings(scanned).as_slice(), to_strings(written).as_slice()),
            "{command}"
        );
    }
    // Two files now, but the same ones to an image.
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    assert!(script(&mut stack, "chmod 644 bin/sh; chown 0:0 bin/dash").is_empty());
    Ok(())
}

fn sockets_are_left_out_of_the_layer() -> Verdict {
    let (_directory, room) = room();
    let mut stack = two_layers(&room);
    let changes = step(&mut stack, |root| drop(UnixListener::bind(place(root).join("socket")).unwrap()));
    assert_eq!(shown(&changes), ["+ /socket"]);
    let mut layer = LayerWriter::new(Vec::new());
    let written = write_layer(&stack.view().unwrap(), &changes, &mut layer).unwrap();
    assert_eq!((written.sockets, written.entries), (1, 0));
    Ok(())
}

fn to_strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}
