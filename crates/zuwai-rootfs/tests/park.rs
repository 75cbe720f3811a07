//! Parking and clearing trees.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is a test")]

mod support;

use support::{apply, dir, file, hard, link, root, root_keeping, sh, tree};
use zuwai_rootfs::park::{clear, park};

fn fill(root: &zuwai_rootfs::Root) {
    apply(
        root,
        vec![
            dir("a").with(|entry| (entry.mode, entry.mtime) = (0o750, 1_000_000_000)),
            dir("a/deep"),
            file("a/deep/f", "f"),
            dir("etc").with(|entry| entry.mode = 0o711),
            file("etc/passwd", "p"),
            dir("etc/sub"),
            hard("etc/sub/hard", "a/deep/f"),
            link("l", "a"),
        ],
    )
    .unwrap();
}

#[test]
fn a_parked_tree_is_the_tree_and_the_root_is_empty() {
    let (directory, root) = root();
    fill(&root);
    let top = directory.path().join("root");
    let before = tree(&top);
    let parked = park(&root, &directory.path().join("parked"), None).unwrap();
    assert_eq!(tree(parked.host_path()), before);
    assert!(tree(&top).is_empty());
}

#[test]
fn what_is_kept_out_stays_and_its_directories_are_made_again() {
    use std::os::unix::fs::MetadataExt as _;
    let (directory, root) = root_keeping(&["etc/hosts", "a/deep/mounted", "state"]);
    let top = directory.path().join("root");
    fill(&root);
    let before = tree(&top);
    sh(
        &top,
        "echo mine > etc/hosts; mkdir a/deep/mounted state; echo mine > a/deep/mounted/x; touch -d @1000000000 a",
    );
    let parked = park(&root, &top.join("state/stage0"), None).unwrap();
    assert_eq!(tree(parked.host_path()), before);
    assert_eq!(std::fs::metadata(parked.host_path().join("a")).unwrap().mtime(), 1_000_000_000);
    let left: Vec<String> = tree(&top).into_keys().filter(|name| !name.starts_with("state/")).collect();
    assert_eq!(left, ["a", "a/deep", "a/deep/mounted", "a/deep/mounted/x", "etc", "etc/hosts", "state"]);
}

#[test]
fn two_stages_cannot_be_parked_in_one_place() {
    let (directory, root) = root();
    fill(&root);
    let place = directory.path().join("parked");
    sh(directory.path(), "mkdir parked; echo > parked/x");
    assert!(park(&root, &place, None).unwrap_err().to_string().contains("parked"));
    assert!(!tree(&directory.path().join("root")).is_empty());
}

#[test]
fn clearing_leaves_what_is_kept_out() {
    let (directory, root) = root_keeping(&["etc/hosts", "state"]);
    let top = directory.path().join("root");
    fill(&root);
    sh(&top, "echo mine > etc/hosts; mkdir -p state/x; mkdir -m 000 a/closed");
    clear(&root).unwrap();
    assert_eq!(tree(&top).into_keys().collect::<Vec<_>>(), ["etc", "etc/hosts", "state", "state/x"]);
}

#[test]
fn a_busy_mount_point_is_an_error_that_names_it() {
    let (directory, root) = root();
    fill(&root);
    let top = directory.path().join("root");
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(top.join("a/deep")).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED a_busy_mount_point_is_an_error_that_names_it: mounting is not permitted");
        return;
    }
    let cleared = clear(&root).unwrap_err().to_string();
    std::process::Command::new("umount").arg(top.join("a/deep")).status().unwrap();
    assert!(cleared.contains("/a/deep"), "{cleared}");
    clear(&root).unwrap();
}

#[test]
fn a_parked_image_has_its_own_mount_points_and_no_others_directories() {
    let (directory, root) =
        root_keeping(&["proc", "sys", "etc/hosts", "run/.env", "srv/mounted", "gone/x/y"]);
    let top = directory.path().join("root");
    sh(
        &top,
        "mkdir -p proc sys etc run srv gone/x; echo container > etc/hosts; echo > run/.env; touch sys/x",
    );
    let unpacked = apply(
        &root,
        vec![
            dir("proc").with(|entry| (entry.mode, entry.uid, entry.mtime) = (0o555, 7, 1_000_000_000)),
            dir("run").with(|entry| entry.mode = 0o711),
            dir("etc"),
            file("etc/hosts", "the image's"),
            file("f", "f"),
        ],
    )
    .unwrap();
    sh(&top, "echo new > srv/by-a-command");
    let parked = park(&root, &directory.path().join("parked"), Some(&unpacked.hidden)).unwrap();
    let found: Vec<String> = tree(parked.host_path()).into_keys().collect();
    assert_eq!(found, ["etc", "f", "proc", "run", "srv", "srv/by-a-command"]);
    use std::os::unix::fs::MetadataExt as _;
    let proc = std::fs::metadata(parked.host_path().join("proc")).unwrap();
    let seen = (proc.mode() & 0o7777, proc.mtime());
    assert_eq!(seen, (0o555, 1_000_000_000));
    assert!(top.join("sys/x").exists() && top.join("etc/hosts").exists() && top.join("gone/x").exists());
}

#[test]
fn parking_renames_and_copies_no_file() {
    use std::os::unix::fs::MetadataExt as _;
    let (directory, root) = root_keeping(&["etc/sub/mounted"]);
    let top = directory.path().join("root");
    fill(&root);
    sh(&top, "mkdir etc/sub/mounted");
    let inode = |top: &std::path::Path, name: &str| std::fs::symlink_metadata(top.join(name)).unwrap().ino();
    let names = ["a", "a/deep", "a/deep/f", "l", "etc/passwd", "etc/sub/hard"];
    let before = names.map(|name| inode(&top, name));
    let parked = park(&root, &directory.path().join("parked"), None).unwrap();
    assert_eq!(names.map(|name| inode(parked.host_path(), name)), before);
}
