//! A root that one build has to itself, and what builds leave there that are killed at any moment.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is a test")]

mod support;

use std::path::Path;
use std::process::Command;

use support::{Item, apply, dir, link, sh, tree};
use zuwai_layer::ImagePath;
use zuwai_rootfs::KeepOut;
use zuwai_rootfs::in_place::{InPlace, InPlaceError, recover};
use zuwai_rootfs::unpack::Hidden;

/// What the container has, with a context in the middle of it and a mount point, as kept out.
const OWN: &str = "
    mkdir -p bin etc/sub srv/ctx/deep srv/other tmp
    echo own > bin/tool; chmod 4755 bin/tool; ln bin/tool bin/too; ln -s bin sbin
    echo hosts > etc/hosts; echo own > etc/passwd; chmod 711 etc; chown 7:8 srv/other; chmod 1777 tmp
    echo keep > srv/ctx/file; echo keep > srv/ctx/deep/file; mkfifo srv/pipe
    mkdir -p var/run/secrets/token; chmod 700 var/run/secrets; echo secret > var/run/secrets/token/file; echo own > var/run/pid
";

fn keep_out() -> KeepOut {
    KeepOut::new(["etc/hosts", "srv/ctx", "var/run/secrets/token"].map(|path| ImagePath::new(path).unwrap()))
}

fn base() -> Vec<Item> {
    vec![dir("run"), dir("var"), link("var/run", "/run")]
}

fn own(top: &Path) {
    std::fs::create_dir(top).unwrap();
    sh(top, OWN);
}

/// A build of two stages: the first is parked, the second left behind. Both have a link in place of a directory in which
/// the container has something mounted.
fn build(top: &Path) {
    let place = InPlace::begin(top, keep_out()).unwrap();
    place.set_aside().unwrap();
    apply(&place.root().unwrap(), base()).unwrap();
    assert_eq!(std::fs::read_link(top.join("var/run")).unwrap(), Path::new("/run"));
    sh(top, "mkdir -p usr/bin; echo image > usr/bin/tool; mkdir -p srv; echo image > srv/new; ln -s usr bin");
    let parked = place.park("stage-0", &Hidden::default()).unwrap();
    assert_eq!(std::fs::read_link(parked.host_path().join("var/run")).unwrap(), Path::new("/run"));
    assert_eq!(std::fs::read_to_string(top.join("var/run/secrets/token/file")).unwrap(), "secret\n");
    apply(&place.root().unwrap(), base()).unwrap();
    sh(top, "mkdir bin; echo two > bin/tool; rm -f etc/passwd");
    place.finish().unwrap();
}

#[test]
fn a_container_has_its_own_files_back_after_a_build() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().join("root");
    own(&top);
    let before = tree(&top);
    for _ in 0..3 {
        build(&top);
        assert_eq!(tree(&top), before);
    }
}

#[test]
fn a_build_that_fails_gives_them_back_too() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().join("root");
    own(&top);
    let before = tree(&top);
    let place = InPlace::begin(&top, keep_out()).unwrap();
    place.set_aside().unwrap();
    sh(&top, "mkdir usr");
    drop(place);
    assert_eq!(tree(&top), before);
}

#[test]
fn an_image_can_stay_in_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().join("root");
    own(&top);
    let mut place = InPlace::begin(&top, keep_out()).unwrap();
    place.leave_image();
    place.set_aside().unwrap();
    sh(&top, "mkdir usr; echo image > usr/tool");
    place.finish().unwrap();
    let left: Vec<String> = tree(&top).into_keys().collect();
    let kept = [
        "etc",
        "etc/hosts",
        "srv",
        "srv/ctx",
        "srv/ctx/deep",
        "srv/ctx/deep/file",
        "srv/ctx/file",
        "usr",
        "usr/tool",
        "var",
        "var/run",
        "var/run/secrets",
        "var/run/secrets/token",
        "var/run/secrets/token/file",
    ];
    assert_eq!(left, kept);
}

#[test]
fn a_directory_with_a_mount_in_it_gives_way_and_its_files_are_never_touched() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().join("root");
    own(&top);
    let point = top.join("var/run/secrets/token");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&point).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: mounting is not permitted");
        return;
    }
    std::fs::write(point.join("volume"), "kept").unwrap();
    std::fs::write(point.join("file"), "secret\n").unwrap();
    for _ in 0..2 {
        build(&top);
        // An image that stays leaves it where it has no name.
        let place = InPlace::begin(&top, keep_out()).unwrap();
        place.set_aside().unwrap();
        apply(&place.root().unwrap(), base()).unwrap();
        place.clear().unwrap();
        place.finish().unwrap();
    }
    let found = std::fs::read_to_string(point.join("volume"));
    let mut place = InPlace::begin(&top, keep_out()).unwrap();
    place.leave_image();
    place.set_aside().unwrap();
    apply(&place.root().unwrap(), base()).unwrap();
    place.finish().unwrap();
    let displaced = top.join(".zuwai/displaced/0/secrets/token");
    let left = std::fs::read_to_string(displaced.join("volume"));
    assert!(Command::new("umount").arg(&displaced).status().unwrap().success());
    assert_eq!((found.unwrap(), left.unwrap()), ("kept".to_owned(), "kept".to_owned()));
}

#[test]
fn one_build_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().join("root");
    own(&top);
    let place = InPlace::begin(&top, keep_out()).unwrap();
    place.set_aside().unwrap();
    sh(&top, "mkdir usr");
    assert!(matches!(InPlace::begin(&top, keep_out()), Err(InPlaceError::Busy { .. })));
    // Nothing of a build that lives is put right.
    assert!(!recover(&top, keep_out()).unwrap());
    assert!(top.join("usr").is_dir());
    place.finish().unwrap();
    assert!(!recover(&top, keep_out()).unwrap() && !top.join("usr").exists());
}

/// The build of another process, for the tests that kill it.
#[test]
fn build_of_another_process() {
    if let Some(top) = std::env::var_os("ZUWAI_IN_PLACE_TEST") {
        build(Path::new(&top));
    }
}

#[test]
fn a_build_killed_at_any_moment_is_put_right() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: needs strace");
        return;
    }
    let mut killed = 0;
    for call in ["renameat", "rename", "mkdirat", "unlinkat", "unlink", "rmdir", "fchmod"] {
        // Each of these calls in turn; once there is no such call the build ends well.
        for number in 1.. {
            let directory = tempfile::tempdir().unwrap();
            let top = directory.path().join("root");
            own(&top);
            let before = tree(&top);
            let ended_well = build_killed_at(&top, call, number);
            // What the next build keeps out is another thing: the context of the one before stays all the same.
            let mounts = KeepOut::new([ImagePath::new("etc/hosts").unwrap()]);
            recover(&top, mounts).unwrap();
            assert_eq!(tree(&top), before, "killed before {call} number {number}");
            if ended_well {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed > 50, "{killed}");
}

/// Whether the build of another process came to its end.
fn build_killed_at(top: &Path, call: &str, number: u32) -> bool {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null"])
        .arg(format!("--inject={call}:signal=KILL:when={number}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "build_of_another_process", "--test-threads=1"])
        .env("ZUWAI_IN_PLACE_TEST", top)
        .output();
    output.unwrap().status.success()
}
