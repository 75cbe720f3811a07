//! Every kind of mount, at every kind of target, with every kind of step.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use zuwai_rootfs::placement::place;
use zuwai_rootfs::step_mount::{StepMount, StepMountKind};
use zuwai_rootfs::{Index, Root};

use crate::listing::{listing, text};
use crate::support::{is_root, root, sh, shown};

/// Where the root, the sources and the scratch directory are: beside each other.
struct Place<'a>(&'a Path);

impl Place<'_> {
    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn fill(&self) {
        sh(
            self.0,
            "mkdir -p root/a/t root/a/f.d root/b/deep source/sub scratch caches/c other; \
             echo own > root/a/t/own; echo second > root/a/second; ln root/a/second root/b/deep/second; \
             echo file > root/a/f; ln -s ../a/t root/b/link; ln -s /a/f root/b/file-link; ln -s /new/t root/b/dangling; \
             setfattr -n user.x -v 1 root/a/t/own root/a; chmod 2750 root/a; chown 3:4 root/a root/a/t/own; \
             echo bound > source/file; echo deep > source/sub/deep; chown 7:8 source/sub; chmod 710 source; \
             echo kept > caches/c/kept; touch -d @1500000000 root/a root/b root/a/t root/a/t/own root/b/deep root",
        );
    }

    fn kind(&self, kind: &str) -> StepMountKind {
        match kind {
            "directory" => StepMountKind::Bind { source: self.0.join("source").into(), read_only: true },
            "file" => StepMountKind::Bind { source: self.0.join("source/file").into(), read_only: false },
            "cache" => StepMountKind::Cache { directory: self.0.join("caches/c"), read_only: false },
            "tmpfs" => StepMountKind::Tmpfs { size: 0 },
            "secret" => StepMountKind::File { content: b"hidden".into(), mode: 0o400, uid: 5, gid: 6 },
            _ => StepMountKind::Socket { path: self.0.join("socket") },
        }
    }
}

const KINDS: [(&str, bool); 6] = [
    ("directory", true),
    ("file", false),
    ("cache", true),
    ("tmpfs", true),
    ("secret", false),
    ("socket", false),
];

/// Targets for directories, and for files.
const TARGETS: [(&str, &str, &str); 4] = [
    ("existing", "/a/t", "/a/f"),
    ("a link", "/b/link", "/b/file-link"),
    ("missing", "/new/dir/t", "/new/dir/f"),
    ("a link to nowhere", "/b/dangling", "/b/dangling"),
];

/// What steps do with the target, `$T`, and what of that is their own.
const STEPS: [(&str, &[&str]); 10] = [
    ("true", &[]),
    ("test -e $T; false", &[]),
    ("rm -rf $T", &[]),
    ("rm -rf $T; mkdir $T; echo x > $T/x", &[]),
    ("rm -rf $T; ln -s nowhere $T", &[]),
    ("mv $T elsewhere", &[]),
    ("mv $T elsewhere; echo x > $T", &[]),
    ("mkdir -p other; mv $T other/t", &["+ /other"]),
    ("chown 9:9 $T; chmod 700 $T; rm -rf $T/*", &[]),
    ("echo beside > b/deep/beside", &["+ /b/deep/beside"]),
];

fn run(place: &Place<'_>, script: &str, target: &str) {
    let step = format!("T=$(readlink -m .{target}); {script}");
    let _ = Command::new("sh").arg("-c").arg(step).current_dir(place.root()).output().unwrap();
}

#[test]
fn nothing_is_left_of_a_mount_and_nothing_is_lost() {
    if !is_root("nothing_is_left_of_a_mount_and_nothing_is_lost") {
        return;
    }
    for (kind, is_directory) in KINDS {
        for (state, for_directory, for_file) in TARGETS {
            let target = if is_directory { for_directory } else { for_file };
            for (script, own) in STEPS {
                check(&format!("{kind}, {state}: {script}"), kind, target, script, own);
            }
        }
    }
}

fn check(name: &str, kind: &str, target: &str, script: &str, own: &[&str]) {
    let (directory, root) = root();
    let place = Place(directory.path());
    place.fill();
    let _listener = UnixListener::bind(directory.path().join("socket")).unwrap();
    // A link of the host must lead to the same place for the step's shell.
    sh(&place.root(), "rm b/file-link b/dangling; ln -s ../a/f b/file-link; ln -s ../new/t b/dangling");
    sh(&place.root(), "touch -d @1500000000 b");
    let mut index = Index::scan(&root, 1).unwrap();
    let before = listing(&place.root());
    let source = listing(&directory.path().join("source"));
    let mount = StepMount { target: target.into(), kind: place.kind(kind) };
    let placed =
        zuwai_rootfs::placement::place(&root, &[mount], Some(&directory.path().join("scratch"))).unwrap();
    run(&place, script, target);
    let covered = placed.undo().unwrap_or_else(|error| panic!("{name}: {error:?}"));
    index.pass_over(&root, &covered).unwrap();
    assert_eq!(shown(&index.rescan(&root, 1).unwrap()), own, "{name}");
    sh(&place.root(), "rm -rf other b/deep/beside; touch -d @1500000000 b/deep .");
    let mut after = listing(&place.root());
    same_times(&before, &mut after, script);
    assert_eq!(after, before, "{name}");
    assert_eq!(listing(&directory.path().join("source")), source, "{name}");
    assert!(listing(&directory.path().join("scratch")).len() == 1, "{name}");
    cache_is_whole(&place, kind, script, name);
}

/// What the step did to directories by its own hand shows in their times.
fn same_times(
    before: &std::collections::BTreeMap<String, String>,
    after: &mut std::collections::BTreeMap<String, String>,
    script: &str,
) {
    if script.contains("rm") || script.contains("mv") {
        for name in ["a", "b", ""] {
            let line = before[name].clone();
            let without_time = |line: &str| line.split(" names ").next().unwrap().to_owned();
            assert_eq!(without_time(&after[name]), without_time(&line), "{name}");
            after.insert(name.to_owned(), line);
        }
    }
}

fn cache_is_whole(place: &Place<'_>, kind: &str, script: &str, name: &str) {
    let cache = place.0.join("caches/c");
    assert!(cache.is_dir(), "{name}");
    assert_eq!(
        listing(&place.0.join("caches")).keys().filter(|name| name.starts_with('.')).count(),
        0,
        "{name}"
    );
    let names: Vec<String> = listing(&cache).into_keys().filter(|name| !name.is_empty()).collect();
    let expected: &[&str] = match (kind, script) {
        ("cache", script) if script.contains("$T/x") => &["x"],
        ("cache", script) if script.contains("rm -rf") => &[],
        _ => &["kept"],
    };
    assert_eq!(names, expected, "{name}");
    if expected == ["kept"] {
        assert_eq!(text(&cache.join("kept")), "kept\n");
    }
}

#[test]
fn a_step_that_removes_the_directory_around_a_mount_loses_nothing_of_it() {
    if !is_root("a_step_that_removes_the_directory_around_a_mount_loses_nothing_of_it") {
        return;
    }
    for (kind, target) in [("directory", "/a/t"), ("secret", "/a/f"), ("cache", "/a/t")] {
        let (directory, root) = root();
        let place = Place(directory.path());
        place.fill();
        let mut index = Index::scan(&root, 1).unwrap();
        let before = listing(&place.root());
        let mount = StepMount { target: target.into(), kind: place.kind(kind) };
        let placed = place_one(&root, mount, directory.path());
        run(&place, "rm -rf a", target);
        let covered = placed.undo().unwrap();
        index.pass_over(&root, &covered).unwrap();
        let gone = if target == "/a/t" { ["- /a/f", "- /a/f.d"] } else { ["- /a/f.d", "- /a/second"] };
        let changes = shown(&index.rescan(&root, 1).unwrap());
        assert!(gone.iter().all(|gone| changes.contains(&(*gone).to_owned())), "{kind}: {changes:?}");
        assert!(
            !changes.iter().any(|change| change.ends_with(" /a") || change.ends_with(target)),
            "{kind}: {changes:?}"
        );
        let after = listing(&place.root());
        assert_eq!(after[&target[1..]], before[&target[1..]], "{kind}");
    }
}

fn place_one<'a>(root: &'a Root, mount: StepMount, directory: &Path) -> zuwai_rootfs::placement::Placed<'a> {
    place(root, &[mount], Some(&directory.join("scratch"))).unwrap()
}
