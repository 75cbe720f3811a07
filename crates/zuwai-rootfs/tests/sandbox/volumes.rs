//! Volumes of the outside, seen by commands under namespaces.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::time::SystemTime;

use tempfile::TempDir;
use zuwai_layer::ImagePath;
use zuwai_rootfs::command::Command;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::run::Outcome;
use zuwai_rootfs::run_error::RunError;
use zuwai_rootfs::volumes::Volume;
use zuwai_rootfs::{KeepOut, Root};

use crate::harness::{BUSYBOX, Test, Verdict, busybox_root, captured, is_root, need, shell};

pub const TESTS: [Test; 9] = [
    ("volumes_are_seen_and_written", volumes_are_seen_and_written),
    ("mount_points_of_volumes_go_without_a_trace", mount_points_of_volumes_go_without_a_trace),
    ("content_under_a_volume_is_untouched", content_under_a_volume_is_untouched),
    ("links_to_a_volumes_place_stay_inside", links_to_a_volumes_place_stay_inside),
    ("read_only_volumes_stay_so", read_only_volumes_stay_so),
    ("what_is_hidden_in_a_volume_is_not_seen", what_is_hidden_in_a_volume_is_not_seen),
    ("a_volume_of_another_kind_than_the_images_is_an_error", another_kind_is_an_error),
    ("a_stub_in_a_volume_goes_too", a_stub_in_a_volume_goes_too),
    ("a_volume_that_is_gone_is_not_missed", a_volume_that_is_gone_is_not_missed),
];

fn needed() -> Verdict {
    need(is_root(), "root")?;
    need(Path::new(BUSYBOX).exists(), "busybox-static")
}

/// A directory with a file `given`, with its name as the place of the volume.
fn outside() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("given"), "from outside\n").unwrap();
    let real = directory.path().canonicalize().unwrap().to_str().unwrap().to_owned();
    (directory, real)
}

fn volume(path: &str) -> Volume {
    Volume { path: path.into(), hidden: Vec::new() }
}

fn run(root: &Path, volumes: &[Volume], script: &str) -> (Result<Outcome, RunError>, String) {
    captured(root, &Command { volumes: volumes.to_vec(), ..shell(script) }, Mode::Namespaces)
}

fn said(root: &Path, volumes: &[Volume], script: &str) -> String {
    let (outcome, text) = run(root, volumes, script);
    assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{text}");
    text
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn volumes_are_seen_and_written() -> Verdict {
    needed()?;
    let (root, (_keep, directory), (_keep2, other)) = (busybox_root(), outside(), outside());
    let file = format!("{other}/given");
    let script =
        format!("cat {directory}/given {file}; ls {other}; echo more >> {file}; id > {directory}/back");
    let text = said(root.path(), &[volume(&directory), volume(&file)], &script);
    assert_eq!(text, "from outside\nfrom outside\ngiven\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "from outside\nmore\n");
    assert!(fs::read_to_string(format!("{directory}/back")).unwrap().starts_with("uid=0"));
    Ok(())
}

fn a_volume_that_is_gone_is_not_missed() -> Verdict {
    needed()?;
    let (root, (keep, directory), (_keep2, other)) = (busybox_root(), outside(), outside());
    keep.close().unwrap();
    let script = format!("test ! -e {directory} && cat {other}/given");
    assert_eq!(said(root.path(), &[volume(&directory), volume(&other)], &script), "from outside\n");
    Ok(())
}

fn mount_points_of_volumes_go_without_a_trace() -> Verdict {
    needed()?;
    let (root, (_keep, directory)) = (busybox_root(), outside());
    fs::remove_dir(root.path().join("tmp")).unwrap();
    for name in ["proc", "sys", "dev"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let before = (modified(root.path()), fs::read_dir(root.path()).unwrap().count());
    let file = format!("{directory}/given");
    said(root.path(), &[volume(&directory)], "true");
    said(root.path(), &[volume(&file)], "true");
    assert_eq!((modified(root.path()), fs::read_dir(root.path()).unwrap().count()), before);
    assert!(Path::new(&file).exists());

    // What a command makes beside the volume is its own, and in the image.
    let parent = root.path().join("tmp");
    said(root.path(), &[volume(&directory)], "touch /tmp/own");
    let left: Vec<OsString> = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["own"]);
    Ok(())
}

fn content_under_a_volume_is_untouched() -> Verdict {
    needed()?;
    let (root, (_keep, directory)) = (busybox_root(), outside());
    let inside = root.path().join(&directory[1..]);
    let gives_way = |workdir: &str| {
        let root = Root::open(root.path(), KeepOut::default()).unwrap();
        let workdir = ImagePath::new(workdir).unwrap();
        [&directory, &format!("{directory}/given")].map(|path| volume(path).gives_way_to(&root, &workdir))
    };
    assert_eq!(gives_way("/"), [false, false]);
    assert_eq!(gives_way(&directory), [false, false], "the image does not have the directory");
    fs::create_dir_all(&inside).unwrap();
    assert_eq!(gives_way("/"), [false, false]);
    assert_eq!(
        gives_way(&format!("{directory}/deeper")),
        [true, false],
        "the command works in the image's directory"
    );
    fs::write(inside.join("given"), "the image's own\n").unwrap();
    assert_eq!(gives_way("/"), [true, true]);
    let before = (modified(&inside), modified(&inside.join("given")));
    for path in [directory.clone(), format!("{directory}/given")] {
        let script = format!("cat {directory}/given; echo x >> {directory}/given");
        let text = said(root.path(), &[volume(&path)], &script);
        assert!(text.starts_with("from outside\n"), "{path}: {text}");
        assert_eq!(fs::read_to_string(inside.join("given")).unwrap(), "the image's own\n", "{path}");
        assert_eq!((modified(&inside), modified(&inside.join("given"))), before, "{path}");
    }
    Ok(())
}

fn links_to_a_volumes_place_stay_inside() -> Verdict {
    needed()?;
    let (root, (keep, directory), away) = (busybox_root(), outside(), tempfile::tempdir().unwrap());
    let name = keep.path().file_name().unwrap();
    // The directory above the volume is a link in the image.
    let parent = keep.path().parent().unwrap();
    fs::remove_dir(root.path().join("tmp")).unwrap();
    fs::create_dir(root.path().join("real")).unwrap();
    let link = root.path().join(parent.strip_prefix("/").unwrap());
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink("/real", &link).unwrap();
    let script = format!("cat /real/{}/given {directory}/given", name.display());
    assert_eq!(said(root.path(), &[volume(&directory)], &script), "from outside\nfrom outside\n");
    assert_eq!(fs::read_dir(root.path().join("real")).unwrap().count(), 0);
    fs::remove_file(&link).unwrap();
    // The volume's own name is a link that leads nowhere, as from outside it would lead out.
    fs::create_dir_all(root.path().join(&parent.to_str().unwrap()[1..])).unwrap();
    let link = root.path().join(&directory[1..]);
    symlink(away.path().join("made"), &link).unwrap();
    let text = said(root.path(), &[volume(&directory)], &format!("cat {directory}/given"));
    assert_eq!(text, "from outside\n");
    assert!(link.is_symlink() && fs::read_dir(away.path()).unwrap().count() == 0);
    assert!(!root.path().join(&away.path().to_str().unwrap()[1..]).exists());
    Ok(())
}

/// Mounts need a mount namespace that is not the machine's, so that the program runs in one, as inside a container.
fn read_only_volumes_stay_so() -> Verdict {
    needed()?;
    let (root, (_keep, directory)) = (busybox_root(), outside());
    fs::create_dir(format!("{directory}/below")).unwrap();
    let own = std::env::current_exe().unwrap();
    let script = format!(
        "set -e; mount --bind {directory} {directory}; mount -t tmpfs none {directory}/below; \
         echo deep > {directory}/below/deep; mount -o remount,bind,ro {directory}; exec {own} inside volume {root} \
         {directory} 'echo x > {directory}/new; cat {directory}/below/deep; echo y > {directory}/below/new && \
         ls {directory}/below'",
        own = own.display(),
        root = root.path().display(),
    );
    let output = Program::new("/usr/bin/unshare")
        .args(["--mount", "sh", "-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
    assert!(text.contains("Read-only file system"), "{text}");
    assert!(text.ends_with("deep\ndeep\nnew\nExited(0)\n"), "{text}");
    Ok(())
}

fn what_is_hidden_in_a_volume_is_not_seen() -> Verdict {
    needed()?;
    let (root, (_keep, directory)) = (busybox_root(), outside());
    fs::create_dir_all(format!("{directory}/a/state")).unwrap();
    fs::write(format!("{directory}/a/state/secret"), "hidden\n").unwrap();
    fs::write(format!("{directory}/token"), "hidden\n").unwrap();
    let hidden = ["a/state", "token"].map(|name| format!("{directory}/{name}").into()).to_vec();
    let volumes = [Volume { path: directory.clone().into(), hidden }];
    let script = format!(
        "cd {directory}; ls a a/state; cat token; grep -r hidden . ; echo x > a/state/y; umount a/state; mv token b; \
         cat given"
    );
    let text = said(root.path(), &volumes, &script);
    assert!(text.starts_with("a:\nstate\n\na/state:\n") && text.ends_with("from outside\n"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
    assert_eq!(fs::read_to_string(format!("{directory}/token")).unwrap(), "hidden\n");
    assert_eq!(fs::read_dir(format!("{directory}/a/state")).unwrap().count(), 1);

    // A command can rename the directory above it, and the next one would see it there.
    said(root.path(), &volumes, &format!("mv {directory}/a {directory}/moved"));
    let (outcome, text) = run(root.path(), &volumes, &format!("cat {directory}/*/*/*"));
    assert!(outcome.unwrap_err().to_string().contains("hide ") && !text.contains("hidden"), "{text}");
    symlink("moved", format!("{directory}/a")).unwrap();
    let (outcome, _) = run(root.path(), &volumes, "true");
    assert!(outcome.unwrap_err().to_string().contains("replaced by a link"));
    Ok(())
}

fn another_kind_is_an_error() -> Verdict {
    needed()?;
    let (root, (_keep, directory)) = (busybox_root(), outside());
    let inside = root.path().join(&directory[1..]);
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    fs::write(&inside, "a file").unwrap();
    let (outcome, _) = run(root.path(), &[volume(&directory)], "true");
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains(&directory) && error.contains("not a directory"), "{error}");
    assert_eq!(fs::read_to_string(&inside).unwrap(), "a file");
    Ok(())
}

/// A link of the image leads one volume into another one.
fn a_stub_in_a_volume_goes_too() -> Verdict {
    needed()?;
    let (root, (_keep, first), (_keep2, second)) = (busybox_root(), outside(), outside());
    let inside = root.path().join(&second[1..]);
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    symlink(format!("{first}/sub/dir"), &inside).unwrap();
    let text = said(root.path(), &[volume(&first), volume(&second)], &format!("ls {first} {first}/sub/dir"));
    assert!(text.contains("sub") && text.ends_with("dir:\ngiven\n"), "{text}");
    assert_eq!(fs::read_dir(&first).unwrap().count(), 1);
    assert_eq!(fs::read_dir(&second).unwrap().count(), 1);
    Ok(())
}
