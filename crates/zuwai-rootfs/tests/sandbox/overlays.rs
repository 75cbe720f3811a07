//! Commands whose root is a stack of layers, by root.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use tempfile::TempDir;
use zuwai_rootfs::command::Command;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::overlay::{OverlayMount, Upper};
use zuwai_rootfs::place::Place;
use zuwai_rootfs::run::Outcome;
use zuwai_rootfs::run_error::RunError;
use zuwai_rootfs::signals::Interrupt;
use zuwai_rootfs::step_mount::{StepMount, StepMountKind};
use zuwai_rootfs::volumes::Volume;
use zuwai_rootfs::{KeepOut, Root};

use crate::harness::{BUSYBOX, Test, Verdict, busybox_root, captured_in, is_root, need, shell};

pub const TESTS: [Test; 12] = [
    ("overlay_changes_go_to_the_upper_directory_alone", changes_go_to_the_upper_directory_alone),
    ("overlay_set_user_id_programs_and_capabilities_count", set_user_id_programs_and_capabilities_count),
    ("overlay_capabilities_that_a_step_sets_are_kept", capabilities_that_a_step_sets_are_kept),
    ("overlay_of_hundreds_of_layers", hundreds_of_layers),
    ("overlay_stubs_leave_nothing", stubs_leave_nothing),
    ("overlay_is_seen_by_nobody_else", is_seen_by_nobody_else),
    ("overlay_with_volumes", volumes_are_seen),
    ("overlay_is_bound_read_only", is_bound_read_only),
    ("overlay_is_bound_and_writes_are_thrown_away", is_bound_and_writes_are_thrown_away),
    ("overlay_with_every_kind_of_source_at_once", every_kind_of_source_at_once),
    ("overlay_links_of_the_image_lead_nowhere_outside", links_of_the_image_lead_nowhere_outside),
    ("overlay_without_upper_directory_is_refused", without_upper_directory_is_refused),
];

fn needed() -> Verdict {
    need(is_root(), "root")?;
    need(Path::new(BUSYBOX).exists(), "busybox-static")
}

/// A directory of layers: one of busybox, `base`, and as many as a test makes.
struct Room {
    directory: TempDir,
    lower: Vec<String>,
    uppers: usize,
}

impl Room {
    fn new() -> Self {
        let directory = busybox_root();
        let base = directory.path().join("base");
        fs::create_dir(&base).unwrap();
        for name in ["bin", "etc", "tmp", "root"] {
            fs::rename(directory.path().join(name), base.join(name)).unwrap();
        }
        // What is made where it is missing, of which some stays and some leaves its directory in the upper one.
        for name in ["proc", "sys", "dev"] {
            fs::create_dir(base.join(name)).unwrap();
        }
        for name in ["etc/hosts", "etc/resolv.conf"] {
            fs::write(base.join(name), "the image's own\n").unwrap();
        }
        make_root_mode(&base);
        Self { directory, lower: vec!["base".into()], uppers: 0 }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    fn base(&self) -> PathBuf {
        self.path().join("base")
    }

    /// A new layer on top.
    fn layer(&mut self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir(&path).unwrap();
        make_root_mode(&path);
        self.lower.push(name.to_owned());
        path
    }

    fn stack(&self) -> OverlayMount {
        OverlayMount { room: self.path(), lower: self.lower.clone(), upper: None }
    }

    /// The stack with a fresh upper directory, and where that is.
    fn writable(&mut self) -> (OverlayMount, PathBuf) {
        self.uppers += 1;
        let upper = Upper { directory: format!("u{}", self.uppers), work: format!("w{}", self.uppers) };
        let directory = self.path().join(&upper.directory);
        fs::create_dir(&directory).unwrap();
        fs::create_dir(self.path().join(&upper.work)).unwrap();
        make_root_mode(&directory);
        (OverlayMount { upper: Some(upper), ..self.stack() }, directory)
    }

    /// Runs a command in the stack; gives what it said and where its changes are.
    fn run(&mut self, command: &Command) -> (Result<Outcome, RunError>, String, PathBuf) {
        let (overlay, upper) = self.writable();
        let command = Command { overlay: Some(overlay), ..command.clone() };
        let view = Root::open(self.base(), KeepOut::default()).unwrap();
        let (outcome, text) = captured_in(&view, &command, Mode::Namespaces, &Interrupt::new());
        (outcome, text, upper)
    }

    fn said(&mut self, command: &Command) -> (String, PathBuf) {
        let (outcome, text, upper) = self.run(command);
        assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{text}");
        (text, upper)
    }
}

fn make_root_mode(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What lies below a directory, by relative names: `c` before whiteouts, `/` after directories.
fn names(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(directory).unwrap().display().to_string();
            found.push(match metadata.file_type() {
                kind if kind.is_dir() => format!("{name}/"),
                kind if kind.is_char_device() && metadata.rdev() == 0 => format!("c {name}"),
                _ => name,
            });
            if metadata.is_dir() {
                waiting.push(path);
            }
        }
    }
    found.sort();
    found
}

fn changes_go_to_the_upper_directory_alone() -> Verdict {
    needed()?;
    let mut room = Room::new();
    fs::create_dir(room.base().join("old")).unwrap();
    fs::write(room.base().join("old/file"), "").unwrap();
    let before = names(&room.base());
    let script =
        "rm /etc/group; echo more >> /etc/passwd; mkdir /made; rm -r /old; mkdir /old; echo x > /old/new";
    let (_, upper) = room.said(&shell(script));
    assert_eq!(names(&upper), ["c etc/group", "etc/", "etc/passwd", "made/", "old/", "old/new"]);
    assert_eq!(names(&room.base()), before);
    let mut opaque = [0_u8; 8];
    let length = rustix::fs::getxattr(upper.join("old"), "user.overlay.opaque", &mut opaque[..]).unwrap();
    assert_eq!(&opaque[..length], b"y");
    Ok(())
}

/// A file capability as the kernel stores it (version 2): `CAP_NET_RAW`, permitted and effective.
pub const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn set_user_id_programs_and_capabilities_count() -> Verdict {
    needed()?;
    let mut room = Room::new();
    let bin = room.layer("programs").join("bin");
    fs::create_dir(&bin).unwrap();
    fs::copy(std::env::current_exe().unwrap(), bin.join("as-root")).unwrap();
    fs::set_permissions(bin.join("as-root"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::copy(BUSYBOX, bin.join("busybox-capable")).unwrap();
    rustix::fs::setxattr(bin.join("busybox-capable"), "security.capability", &NET_RAW, XattrFlags::empty())
        .unwrap();
    let script = "/bin/as-root inside who; id -u; /bin/busybox-capable grep CapEff /proc/self/status";
    let (text, upper) = room.said(&Command { user: "app".into(), ..shell(script) });
    assert_eq!(text, "0\n1000\nCapEff:\t0000000000002000\n");
    assert_eq!(names(&upper), Vec::<String>::new());
    Ok(())
}

fn capabilities_that_a_step_sets_are_kept() -> Verdict {
    needed()?;
    let mut room = Room::new();
    fs::copy(std::env::current_exe().unwrap(), room.base().join("own")).unwrap();
    let (_, upper) = room.said(&shell(
        "cp /bin/busybox /busybox-capable; /own inside set-net-raw /busybox-capable; chmod u+s /bin/cat",
    ));
    let mut value = [0_u8; 64];
    let length =
        rustix::fs::getxattr(upper.join("busybox-capable"), "security.capability", &mut value[..]).unwrap();
    assert_eq!(&value[..length], NET_RAW);
    assert_eq!(fs::metadata(upper.join("bin/busybox")).unwrap().mode() & 0o7777, 0o4755);
    // And they count in the next step.
    room.lower.push(upper.file_name().unwrap().to_str().unwrap().to_owned());
    let command = Command { user: "app".into(), ..shell("/busybox-capable grep CapEff /proc/self/status") };
    assert_eq!(room.said(&command).0, "CapEff:\t0000000000002000\n");
    Ok(())
}

fn hundreds_of_layers() -> Verdict {
    needed()?;
    let mut room = Room::new();
    for number in 0..300 {
        let layer = room.layer(&format!("l{number}"));
        fs::create_dir(layer.join("etc")).unwrap();
        fs::write(layer.join("etc/last"), number.to_string()).unwrap();
        fs::write(layer.join("etc").join(format!("file{number}")), "").unwrap();
    }
    let (text, upper) = room.said(&shell("cat /etc/last; ls /etc | grep -c file; rm /etc/file7"));
    assert_eq!(text, "299300\n");
    assert_eq!(names(&upper), ["c etc/file7", "etc/"]);
    Ok(())
}

fn stubs_leave_nothing() -> Verdict {
    needed()?;
    let mut room = Room::new();
    fs::remove_dir_all(room.base().join("etc")).unwrap();
    let (state, _guard) = volume();
    let volumes = vec![Volume { path: state.into(), hidden: Vec::new() }];
    let mounts = vec![StepMount { target: "/a/b/c".into(), kind: StepMountKind::Tmpfs { size: 0 } }];
    let (_, upper) = room.said(&Command { volumes, mounts, ..shell("test -f /etc/hosts && test -d /a/b/c") });
    // Temporary directories are where the volume is.
    assert_eq!(names(&upper), ["tmp/"]);
    // In a directory that is there it is copied up, and looks as it did.
    fs::create_dir_all(room.base().join("etc")).unwrap();
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for path in [room.base().join("etc"), room.base()] {
        fs::File::open(path).unwrap().set_modified(time).unwrap();
    }
    let (_, upper) = room.said(&shell("true"));
    assert_eq!(names(&upper), ["etc/"]);
    assert_eq!(fs::metadata(upper.join("etc")).unwrap().modified().unwrap(), time);
    Ok(())
}

/// A directory that is a volume of the user's, at a path that no image has.
fn volume() -> (PathBuf, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("given"), "given\n").unwrap();
    (directory.path().canonicalize().unwrap(), directory)
}

fn is_seen_by_nobody_else() -> Verdict {
    needed()?;
    let mut room = Room::new();
    let (text, _) = room.said(&shell("grep -c ' / / .* overlay ' /proc/self/mountinfo; ls /"));
    assert_eq!(text, "1\nbin\ndev\netc\nproc\nroot\nsys\ntmp\n");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(room.path().to_str().unwrap()), "{mounts}");
    Ok(())
}

fn volumes_are_seen() -> Verdict {
    needed()?;
    let mut room = Room::new();
    let (path, _guard) = volume();
    fs::write(path.join("token"), "secret\n").unwrap();
    let script = format!("cd {}; cat given token; echo new > new", path.display());
    let volumes = vec![Volume { path: path.clone().into(), hidden: vec![path.join("token").into()] }];
    let (text, upper) = room.said(&Command { volumes, ..shell(&script) });
    assert_eq!(text, "given\n");
    assert_eq!(fs::read_to_string(path.join("new")).unwrap(), "new\n");
    assert_eq!(names(&upper), ["tmp/"]);
    Ok(())
}

/// A stack to be shown: a directory of which a part is in each of two layers, and one file of the lower is gone.
fn source() -> Room {
    let mut room = Room::new();
    fs::create_dir_all(room.base().join("tree/sub")).unwrap();
    for name in ["tree/gone", "tree/below", "tree/sub/file"] {
        fs::write(room.base().join(name), format!("{name}\n")).unwrap();
    }
    let above = room.layer("above").join("tree");
    fs::create_dir(&above).unwrap();
    fs::write(above.join("above"), "above\n").unwrap();
    let whiteout = rustix::fs::makedev(0, 0);
    let mode = rustix::fs::Mode::empty();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        above.join("gone"),
        rustix::fs::FileType::CharacterDevice,
        mode,
        whiteout,
    )
    .unwrap();
    room
}

fn bound(target: &str, room: &Room, path: &str, read_only: bool) -> StepMount {
    let source = Place::Overlay { overlay: room.stack(), path: path.into() };
    StepMount { target: target.into(), kind: StepMountKind::Bind { source, read_only } }
}

fn is_bound_read_only() -> Verdict {
    needed()?;
    let (mut room, other) = (Room::new(), source());
    let mounts = vec![
        bound("/all", &other, "", true),
        bound("/file", &other, "tree/sub/file", true),
        bound("/part", &other, "tree", true),
    ];
    let script =
        "ls /part; cat /part/above /file; ls /all; echo x 2>&1 > /part/new; echo x 2>&1 > /file; true";
    let (text, upper) = room.said(&Command { mounts, ..shell(script) });
    let refused = |path: &str| format!("/bin/sh: can't create {path}: Read-only file system\n");
    let expected = "above\nbelow\nsub\nabove\ntree/sub/file\nbin\ndev\netc\nproc\nroot\nsys\ntmp\ntree\n";
    assert_eq!(text, format!("{expected}{}{}", refused("/part/new"), refused("/file")));
    assert_eq!(names(&upper), Vec::<String>::new());
    Ok(())
}

fn is_bound_and_writes_are_thrown_away() -> Verdict {
    needed()?;
    let script =
        "cd /part; echo more >> above; rm -r sub; mkdir sub; echo new > sub/new; ls . sub; cat above;
        echo more >> /file; cat /file; rm /all/tree/below; ls /all/tree";
    let expected = ".:\nabove\nbelow\nsub\n\nsub:\nnew\nabove\nmore\ntree/sub/file\nmore\nabove\nsub\n";
    for scratch in [None, Some(tempfile::tempdir().unwrap())] {
        let (mut room, other) = (Room::new(), source());
        let before = names(&other.path());
        let mounts = vec![
            bound("/all", &other, "", false),
            bound("/file", &other, "tree/sub/file", false),
            bound("/part", &other, "tree", false),
        ];
        let scratch = scratch.as_ref().map(|scratch| scratch.path().to_owned());
        let (text, upper) = room.said(&Command { mounts, scratch, ..shell(script) });
        assert_eq!(text, expected);
        assert_eq!(names(&upper), Vec::<String>::new());
        assert_eq!(names(&other.path()), before);
    }
    Ok(())
}

/// The stack itself may be a source too, as with a stage that goes on from one it mounts.
fn every_kind_of_source_at_once() -> Verdict {
    needed()?;
    let (mut room, (host, _guard)) = (source(), volume());
    let mounts = vec![
        bound("/self", &room, "tree", true),
        bound("/self/sub", &room, "tree/sub", false),
        StepMount {
            target: "/host".into(),
            kind: StepMountKind::Bind { source: host.clone().into(), read_only: true },
        },
        StepMount {
            target: "/cache".into(),
            kind: StepMountKind::Cache { directory: host.clone(), read_only: false },
        },
    ];
    let script =
        "cat /self/above /host/given; echo x > /self/sub/x; ls /self/sub; echo kept > /cache/kept; ls /tree";
    let (text, upper) = room.said(&Command { mounts, ..shell(script) });
    assert_eq!(text, "above\ngiven\nfile\nx\nabove\nbelow\nsub\n");
    assert_eq!(fs::read_to_string(host.join("kept")).unwrap(), "kept\n");
    assert_eq!(names(&upper), Vec::<String>::new());
    Ok(())
}

fn links_of_the_image_lead_nowhere_outside() -> Verdict {
    needed()?;
    let (outside, _guard) = volume();
    let up = format!("../../../../../..{}", outside.display());
    for (name, target, expected) in [
        ("proc", up.as_str(), Err("not a directory")),
        ("sys", outside.to_str().unwrap(), Err("not a directory")),
        ("dev", "/", Err("not a directory")),
        // Stubs are made where the link leads inside the root.
        ("etc", up.as_str(), Ok(())),
        ("etc", outside.to_str().unwrap(), Ok(())),
        ("etc", "..", Ok(())),
        ("etc", "etc", Err("cannot open /etc/passwd")),
    ] {
        let mut room = Room::new();
        let place = room.base().join(name);
        fs::remove_dir_all(&place).unwrap();
        symlink(target, &place).unwrap();
        let (outcome, text, upper) = room.run(&shell("cat /etc/hosts > /dev/null"));
        match expected {
            Ok(()) => assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{name} {target}: {text}"),
            Err(words) => {
                let error = outcome.unwrap_err().to_string();
                assert!(error.contains(words), "{name} {target}: {error}");
            }
        }
        assert_eq!(names(&outside), ["given"], "{name} {target}");
        // A directory in which stubs were is copied up, and as it was.
        let left: Vec<_> = names(&upper).into_iter().filter(|name| name != "tmp/").collect();
        assert_eq!(left, Vec::<String>::new(), "{name} {target}");
    }
    Ok(())
}

fn without_upper_directory_is_refused() -> Verdict {
    needed()?;
    let room = Room::new();
    let command = Command { overlay: Some(room.stack()), ..shell("true") };
    let view = Root::open(room.base(), KeepOut::default()).unwrap();
    let (outcome, _) = captured_in(&view, &command, Mode::Namespaces, &Interrupt::new());
    assert!(matches!(outcome, Err(RunError::NowhereToWrite { .. })), "{outcome:?}");
    Ok(())
}
