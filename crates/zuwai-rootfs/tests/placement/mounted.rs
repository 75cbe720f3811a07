//! Directories that cannot be renamed: mount points, what leads to them, lower layers of an overlayfs; and caches on
//! another file system.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use zuwai_rootfs::placement::place;
use zuwai_rootfs::step_mount::{StepMount, StepMountKind};
use zuwai_rootfs::{Index, KeepOut, Root};

use crate::listing::{listing, text};
use crate::support::{is_root, root_keeping, sh, shown, tree};

fn bind(target: &str, source: &Path) -> StepMount {
    StepMount {
        target: target.into(),
        kind: StepMountKind::Bind { source: source.to_owned().into(), read_only: true },
    }
}

/// Something mounted for a test, unmounted with it.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(arguments: &[&str], point: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(arguments).arg(point).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(point.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_directory_that_leads_to_a_mount_is_emptied_around_it() {
    if !is_root("a_directory_that_leads_to_a_mount_is_emptied_around_it") {
        return;
    }
    let (directory, root) = root_keeping(&["etc/hosts", "etc/x/mounted"]);
    let here = directory.path();
    sh(
        here,
        "mkdir -p root/etc/x/mounted root/etc/y source scratch; cd root/etc; echo h > hosts; echo p > passwd; ln passwd \
         p2; echo deep > x/deep; echo m > x/mounted/m; chmod 750 .; chown 2:3 . x; touch -d @1500000000 x y . passwd ..; \
         cd ../../source; echo bound > passwd; echo other > hosts; chmod 777 .",
    );
    let before = listing(&here.join("root"));
    let mut index = Index::scan(&root, 1).unwrap();
    let placed = place(&root, &[bind("/etc", &here.join("source"))], Some(&here.join("scratch"))).unwrap();
    let seen: Vec<String> = tree(&here.join("root/etc")).into_keys().collect();
    assert_eq!(seen, ["hosts", "passwd", "x", "x/mounted", "x/mounted/m"]);
    assert_eq!(text(&here.join("root/etc/passwd")), "bound\n");
    assert_eq!(text(&here.join("root/etc/hosts")), "h\n");
    assert_eq!(std::fs::metadata(here.join("root/etc")).unwrap().mode() & 0o7777, 0o777);
    sh(&here.join("root"), "echo x > etc/new; rm etc/passwd; echo y > beside; touch -d @1500000000 .");
    let covered = placed.undo().unwrap();
    index.pass_over(&root, &covered).unwrap();
    assert_eq!(shown(&index.rescan(&root, 1).unwrap()), ["+ /beside"]);
    sh(&here.join("root"), "rm beside; touch -d @1500000000 .");
    assert_eq!(listing(&here.join("root")), before);
    assert_eq!(listing(&here.join("scratch")).len(), 1);
}

#[test]
fn a_mounted_directory_is_emptied_and_its_content_stays_on_it() {
    if !is_root("a_mounted_directory_is_emptied_and_its_content_stays_on_it") {
        return;
    }
    let (directory, root) = root_keeping(&["w", "w/state"]);
    let here = directory.path();
    sh(here, "mkdir -p root/w source scratch c; echo bound > source/bound; echo c > c/c");
    let Some(_mounted) = Mounted::new(&["-t", "tmpfs", "tmpfs"], &here.join("root/w")) else {
        eprintln!(
            "SKIPPED a_mounted_directory_is_emptied_and_its_content_stays_on_it: mounting is not permitted"
        );
        return;
    };
    sh(&here.join("root/w"), "mkdir state d; echo s > state/s; echo own > d/own; touch -d @1500000000 d .");
    let before = listing(&here.join("root"));
    let mounts = [
        bind("/w", &here.join("source")),
        StepMount {
            target: "/w/cache".into(),
            kind: StepMountKind::Cache { directory: here.join("c"), read_only: false },
        },
        bind("/w/bound", &here.join("source/bound")),
    ];
    let placed = place(&root, &mounts, Some(&here.join("scratch"))).unwrap();
    let seen: Vec<String> =
        tree(&here.join("root/w")).into_keys().filter(|name| !name.contains("zuwai")).collect();
    assert_eq!(seen, ["bound", "cache", "cache/c", "state", "state/s"]);
    // Nothing of the user's is elsewhere meanwhile.
    assert_eq!(listing(&here.join("scratch")).len(), 1);
    sh(&here.join("root/w"), "rm -rf bound cache/c; echo new > cache/new");
    placed.undo().unwrap();
    assert_eq!(listing(&here.join("root")), before);
    assert_eq!(tree(&here.join("c")).into_keys().collect::<Vec<_>>(), ["new"]);
    assert_eq!(tree(here).into_keys().filter(|name| name.contains(".zuwai")).count(), 0);
}

#[test]
fn a_cache_on_another_file_system_is_exchanged_for_what_the_step_left() {
    if !is_root("a_cache_on_another_file_system_is_exchanged_for_what_the_step_left") {
        return;
    }
    let (directory, root) = root_keeping(&[]);
    let here = directory.path();
    sh(here, "mkdir volume");
    let Some(_mounted) = Mounted::new(&["-t", "tmpfs", "tmpfs"], &here.join("volume")) else {
        eprintln!(
            "SKIPPED a_cache_on_another_file_system_is_exchanged_for_what_the_step_left: mounting is not permitted"
        );
        return;
    };
    for (script, expected) in [
        ("true", &["one"][..]),
        ("echo 2 > t/two; chmod 711 t", &["one", "two"]),
        ("rm -rf t", &[]),
        ("rm -rf t; mkdir t; echo x > t/x", &["x"]),
        ("rm -rf t; echo x > t", &[]),
        ("echo 2 > t/two; mv t other", &["one", "two"]),
        ("mv t other; mkdir t; echo x > t/x", &["x"]),
    ] {
        // What a killed build has left.
        sh(&here.join("volume"), "rm -rf c; mkdir -m 750 c .c.zuwai-new; echo 1 > c/one; chown 5:6 c");
        let kind = StepMountKind::Cache { directory: here.join("volume/c"), read_only: false };
        let placed = place(&root, &[StepMount { target: "/t".into(), kind }], None).unwrap();
        assert_eq!(tree(&here.join("root/t")).into_keys().collect::<Vec<_>>(), ["one"], "{script}");
        sh(&here.join("root"), script);
        placed.undo().unwrap();
        assert_eq!(tree(&here.join("volume/c")).into_keys().collect::<Vec<_>>(), expected, "{script}");
        assert_eq!(
            tree(&here.join("volume")).keys().filter(|name| name.starts_with('.')).count(),
            0,
            "{script}"
        );
        assert!(tree(&here.join("root")).is_empty(), "{script}");
        if script.contains("711") {
            assert_eq!(std::fs::metadata(here.join("volume/c")).unwrap().mode() & 0o7777, 0o711);
        }
    }
}

#[test]
fn a_directory_of_a_lower_layer_is_emptied() {
    if !is_root("a_directory_of_a_lower_layer_is_emptied") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let here = directory.path();
    sh(
        here,
        "mkdir -p lower/d/e/f upper work root source; echo own > lower/d/own; echo deep > lower/d/e/f/deep; \
         chmod 751 lower/d/e; touch -d @1500000000 lower/d/own lower/d/e/f lower/d/e lower/d lower; echo s > source/s",
    );
    let options =
        format!("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work,redirect_dir=off", here.display());
    // A directory that is an overlayfs itself takes no other as its layers.
    let overlay = Mounted::new(&["-t", "overlay", "overlay", "-o", &options], &here.join("root"));
    let Some(_mounted) = overlay else {
        eprintln!("SKIPPED a_directory_of_a_lower_layer_is_emptied: overlayfs cannot be mounted here");
        return;
    };
    sh(&here.join("root"), "mkdir scratch");
    let keep_out = KeepOut::new([crate::support::path("scratch")]);
    let root = Root::open(here.join("root"), keep_out).unwrap();
    let mut index = Index::scan(&root, 1).unwrap();
    let before = tree(&here.join("root"));
    let placed = place(&root, &[bind("/d", &here.join("source"))], Some(&here.join("root/scratch"))).unwrap();
    assert_eq!(tree(&here.join("root/d")).into_keys().collect::<Vec<_>>(), ["s"]);
    sh(&here.join("root"), "rm -rf d; echo x > beside");
    let covered = placed.undo().unwrap();
    index.pass_over(&root, &covered).unwrap();
    assert_eq!(shown(&index.rescan(&root, 1).unwrap()), ["+ /beside"]);
    sh(&here.join("root"), "rm beside");
    assert_eq!(tree(&here.join("root")), before);
    let times = |path: &str| std::fs::metadata(here.join("root").join(path)).unwrap().mtime();
    assert_eq!([times("d"), times("d/e"), times("d/e/f")], [1_500_000_000; 3]);
}
