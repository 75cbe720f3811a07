//! What a step sees of its mounts.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use zuwai_rootfs::placement::{PlacementError, place};
use zuwai_rootfs::step_mount::{StepMount, StepMountKind};

use crate::listing::{listing, text};
use crate::support::{is_root, root, root_keeping, sh, tree};

fn mount(target: &str, kind: StepMountKind) -> StepMount {
    StepMount { target: target.into(), kind }
}

fn bind(target: &str, source: &Path) -> StepMount {
    mount(target, StepMountKind::Bind { source: source.to_owned().into(), read_only: false })
}

fn tmpfs(target: &str) -> StepMount {
    mount(target, StepMountKind::Tmpfs { size: 0 })
}

fn secret(target: &str) -> StepMount {
    mount(target, StepMountKind::File { content: b"hidden".into(), mode: 0o440, uid: 5, gid: 6 })
}

fn cache(target: &str, directory: &Path) -> StepMount {
    mount(target, StepMountKind::Cache { directory: directory.to_owned(), read_only: false })
}

fn said(script: &str, directory: &Path) -> String {
    let output = Command::new("sh").arg("-c").arg(script).current_dir(directory).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn a_bound_directory_is_the_source_with_owners_links_and_attributes() {
    if !is_root("a_bound_directory_is_the_source_with_owners_links_and_attributes") {
        return;
    }
    let (directory, root) = root();
    sh(
        directory.path(),
        "mkdir -p source/d root/t; echo own > root/t/own; cd source; echo x > f; ln f g; ln -s f l; mkfifo p; \
         chown 3:4 f d; chmod 4755 f; chmod 711 d .; setfattr -n user.x -v y f; touch -d @1400000000 f d .",
    );
    let before = tree(&directory.path().join("source"));
    let placed = place(&root, &[bind("/t", &directory.path().join("source"))], None).unwrap();
    let target = directory.path().join("root/t");
    assert_eq!(tree(&target), before);
    assert_eq!(said("stat -c '%a %Y' root/t", directory.path()), "711 1400000000\n");
    sh(&target, "echo changed > f; chmod 600 g; rm l; echo new > d/new");
    placed.undo().unwrap();
    assert_eq!(tree(&directory.path().join("source")), before);
    assert_eq!(tree(&target).into_keys().collect::<Vec<_>>(), ["own"]);
}

#[test]
fn files_have_their_content_mode_and_owner_and_can_be_executed() {
    if !is_root("files_have_their_content_mode_and_owner_and_can_be_executed") {
        return;
    }
    let (directory, root) = root_keeping(&["dev"]);
    sh(&directory.path().join("root"), "mkdir dev");
    let script =
        StepMountKind::File { content: b"#!/bin/sh\necho ran\n".into(), mode: 0o755, uid: 0, gid: 0 };
    let mounts = [secret("/run/secrets/id"), mount("/dev/pipes/script", script)];
    let placed = place(&root, &mounts, None).unwrap();
    let script = "stat -c '%a %u:%g' run/secrets/id; cat run/secrets/id; echo; ./dev/pipes/script";
    assert_eq!(said(script, &directory.path().join("root")), "440 5:6\nhidden\nran\n");
    placed.undo().unwrap();
    assert_eq!(tree(&directory.path().join("root")).into_keys().collect::<Vec<_>>(), ["dev"]);
}

#[test]
fn a_script_can_be_executed_where_its_place_forbids_that() {
    if !is_root("a_script_can_be_executed_where_its_place_forbids_that") {
        return;
    }
    let (directory, root) = root_keeping(&["dev"]);
    let here = directory.path().join("root");
    sh(&here, "mkdir dev; touch -d @1500000000 .");
    // As podman mounts /dev.
    if !Command::new("mount")
        .args(["-t", "tmpfs", "-o", "noexec", "tmpfs", "dev"])
        .current_dir(&here)
        .status()
        .unwrap()
        .success()
    {
        eprintln!("SKIPPED a_script_can_be_executed_where_its_place_forbids_that: mounting is not permitted");
        return;
    }
    let before = listing(&here);
    let script =
        StepMountKind::File { content: b"#!/bin/sh\necho ran\n".into(), mode: 0o755, uid: 0, gid: 0 };
    let placed = place(&root, &[mount("/dev/pipes/script", script)], None).unwrap();
    let ran = said("./dev/pipes/script", &here);
    placed.undo().unwrap();
    let after = listing(&here);
    sh(&here, "umount -l dev");
    assert_eq!(ran, "ran\n");
    assert_eq!(after, before);
}

#[test]
fn a_tmpfs_has_the_mode_of_the_directory_that_it_covers() {
    if !is_root("a_tmpfs_has_the_mode_of_the_directory_that_it_covers") {
        return;
    }
    let (directory, root) = root();
    sh(&directory.path().join("root"), "mkdir -m 2711 t; chown 5:6 t");
    let placed = place(&root, &[tmpfs("/t"), tmpfs("/new")], None).unwrap();
    assert_eq!(said("stat -c '%a %u:%g' t new", &directory.path().join("root")), "2711 0:0\n1777 0:0\n");
    placed.undo().unwrap();
    assert_eq!(said("stat -c '%a %u:%g' t", &directory.path().join("root")), "2711 5:6\n");
}

#[test]
fn a_secret_that_was_given_another_name_is_an_empty_file_there() {
    let (directory, root) = root();
    let mounts =
        [mount("/s", StepMountKind::File { content: b"hidden".into(), mode: 0o400, uid: me(), gid: me() })];
    let placed = place(&root, &mounts, None).unwrap();
    sh(&directory.path().join("root"), "ln s other");
    placed.undo().unwrap();
    assert_eq!(text(&directory.path().join("root/other")), "");
    assert!(!directory.path().join("root/s").exists());
}

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[test]
fn a_socket_answers() {
    let (directory, root) = root();
    let path = directory.path().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    let placed = place(&root, &[mount("/run/ssh/agent", StepMountKind::Socket { path })], None).unwrap();
    let mut client = UnixStream::connect(directory.path().join("root/run/ssh/agent")).unwrap();
    listener.accept().unwrap().0.write_all(b"yes").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "yes");
    placed.undo().unwrap();
    assert!(tree(&directory.path().join("root")).is_empty());
    UnixStream::connect(directory.path().join("agent")).unwrap();
}

#[test]
fn mounts_lie_in_mounts_and_over_each_other() {
    if !is_root("mounts_lie_in_mounts_and_over_each_other") {
        return;
    }
    let (directory, root) = root();
    let here = directory.path();
    sh(
        here,
        "mkdir -p source/sub root/a/b c scratch; echo s > source/sub/s; echo own > root/a/b/own; echo c > c/c",
    );
    let before = listing(&here.join("root"));
    let mounts = [
        bind("/a", &here.join("source")),
        cache("/a/sub/cache", &here.join("c")),
        secret("/a/sub/cache/deep/secret"),
        tmpfs("/a/sub"),
        bind("/a/sub", &here.join("source/sub")),
        // Again what is lent already.
        cache("/other", &here.join("c")),
    ];
    let placed = place(&root, &mounts, Some(&here.join("scratch"))).unwrap();
    assert_eq!(said("find a | sort; cat a/sub/s", &here.join("root")), "a\na/sub\na/sub/s\ns\n");
    sh(&here.join("root"), "rm -rf a/sub/*; echo new > a/sub/x");
    placed.undo().unwrap();
    assert_eq!(listing(&here.join("root")), before);
    assert_eq!(tree(&here.join("c")).into_keys().collect::<Vec<_>>(), ["c"]);
    assert_eq!(listing(&here.join("scratch")).len(), 1);
}

#[test]
fn a_cache_keeps_what_a_step_writes_and_is_seen_at_both_its_targets() {
    let (directory, root) = root();
    let here = directory.path();
    sh(here, "mkdir -p c root; echo 1 > c/one");
    let mounts = [cache("/x/c", &here.join("c")), cache("/y/c", &here.join("c"))];
    let placed = place(&root, &mounts, None).unwrap();
    assert_eq!(
        said("echo 2 > x/c/two; cat y/c/one y/c/two; echo 3 > y/c/three", &here.join("root")),
        "1\n2\n"
    );
    drop(placed);
    assert_eq!(tree(&here.join("c")).into_keys().collect::<Vec<_>>(), ["one", "three", "two"]);
    assert!(tree(&here.join("root")).is_empty());
}

#[test]
fn a_read_only_cache_stays_as_it_is() {
    let (directory, root) = root();
    let here = directory.path();
    sh(here, "mkdir c; echo 1 > c/one");
    let kind = StepMountKind::Cache { directory: here.join("c"), read_only: true };
    let placed = place(&root, &[mount("/c", kind)], None).unwrap();
    sh(&here.join("root"), "echo 2 > c/one; echo 3 > c/two");
    placed.undo().unwrap();
    assert_eq!(text(&here.join("c/one")), "1\n");
    assert_eq!(tree(&here.join("c")).len(), 1);
}

#[test]
fn a_source_may_lie_under_a_target_and_a_target_under_its_source() {
    let (directory, root) = root();
    let here = directory.path().join("root");
    sh(&here, "mkdir -p w/sub/t; echo w > w/f; echo s > w/sub/s");
    let before = listing(&here);
    for (mounts, expected) in [
        (vec![bind("/w", &here.join("w/sub"))], "w w/s w/t "),
        (
            vec![bind("/w/sub/t", &here.join("w"))],
            "w w/f w/sub w/sub/s w/sub/t w/sub/t/f w/sub/t/sub w/sub/t/sub/s ",
        ),
        (vec![bind("/w", &here.join("w"))], "w w/f w/sub w/sub/s w/sub/t "),
        (vec![tmpfs("/w"), bind("/v", &here.join("w/sub"))], "v v/s v/t w "),
    ] {
        let placed = place(&root, &mounts, None).unwrap();
        assert_eq!(said("find * -not -name '.zuwai*' | sort | tr '\\n' ' '", &here), expected, "{mounts:?}");
        placed.undo().unwrap();
        assert_eq!(listing(&here), before, "{mounts:?}");
    }
}

#[test]
fn what_cannot_be_placed_is_an_error_and_leaves_nothing() {
    let (directory, root) = root_keeping(&["etc/hosts", "dev"]);
    let here = directory.path();
    sh(here, "mkdir -p source root/etc root/dev root/d scratch; echo h > root/etc/hosts; echo f > root/f");
    let before = listing(&here.join("root"));
    for (last, expected) in [
        (tmpfs("/"), "invalid mount target \"/\""),
        (tmpfs("/d/../.."), "invalid mount target \"/d/../..\""),
        (secret("/d"), "cannot mount at /d: not a directory: there is a directory, and this mount is a file"),
        (tmpfs("/f"), "cannot mount at /f: not a directory: there is a file, and this mount is a directory"),
        (tmpfs("/f/x"), "cannot find the place of the mount at /f/x in place"),
        (
            secret("/etc/hosts"),
            "cannot mount at /etc/hosts in place: the container has a mount of its own there",
        ),
        (bind("/d", &here.join("none")), "cannot open"),
        (mount("/s", StepMountKind::Socket { path: here.join("source") }), "cannot open"),
    ] {
        let mounts = [tmpfs("/d"), bind("/new/dir", &here.join("source")), last];
        let error = place(&root, &mounts, Some(&here.join("scratch"))).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(!matches!(error, PlacementError::Io { .. }) || std::error::Error::source(&error).is_some());
        assert_eq!(listing(&here.join("root")), before, "{expected}");
        assert_eq!(listing(&here.join("scratch")).len(), 1, "{expected}");
    }
}
