//! `RUN --mount` under namespaces, by root.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use zuwai_rootfs::command::Command;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::run::Outcome;
use zuwai_rootfs::step_mount::{StepMount, StepMountKind};

use crate::everything;
use crate::harness::{BUSYBOX, Test, Verdict, busybox_root, captured, is_root, need, shell};

pub const TESTS: [Test; 18] = [
    ("bound_directories_are_seen_and_read_only", bound_directories_are_seen_and_read_only),
    ("bound_files_are_seen_and_read_only", bound_files_are_seen_and_read_only),
    ("what_is_mounted_below_a_source_is_read_only_too", what_is_mounted_below_a_source_is_read_only_too),
    ("writes_to_a_bound_source_are_thrown_away", writes_to_a_bound_source_are_thrown_away),
    ("a_source_with_mounts_below_it_is_copied", a_source_with_mounts_below_it_is_copied),
    ("every_kind_of_mount_is_made_at_once", every_kind_of_mount_is_made_at_once),
    ("caches_keep_what_is_written", caches_keep_what_is_written),
    ("tmpfs_is_empty_and_bounded", tmpfs_is_empty_and_bounded),
    ("tmpfs_has_the_mode_of_what_it_covers", tmpfs_has_the_mode_of_what_it_covers),
    ("files_have_content_mode_and_owner", files_have_content_mode_and_owner),
    ("scripts_in_dev_are_executed", scripts_in_dev_are_executed),
    ("files_are_gone_after_the_step", files_are_gone_after_the_step),
    ("sockets_can_be_connected_to_as_their_mode_allows", sockets_can_be_connected_to_as_their_mode_allows),
    ("mount_points_go_without_a_trace", mount_points_go_without_a_trace),
    ("mounts_lie_in_mounts", mounts_lie_in_mounts),
    ("targets_follow_links_inside_the_root", targets_follow_links_inside_the_root),
    ("mounts_over_standard_ones_replace_them", mounts_over_standard_ones_replace_them),
    ("impossible_mounts_say_why", impossible_mounts_say_why),
];

fn needed() -> Verdict {
    need(is_root(), "root")?;
    need(Path::new(BUSYBOX).exists(), "busybox-static")
}

fn at(target: &str, kind: StepMountKind) -> StepMount {
    StepMount { target: target.into(), kind }
}

fn bind(target: &str, source: PathBuf, read_only: bool) -> StepMount {
    at(target, StepMountKind::Bind { source: source.into(), read_only })
}

fn cache(target: &str, directory: &Path, read_only: bool) -> StepMount {
    at(target, StepMountKind::Cache { directory: directory.canonicalize().unwrap(), read_only })
}

fn tmpfs(target: &str) -> StepMount {
    at(target, StepMountKind::Tmpfs { size: 0 })
}

fn file(target: &str, content: &str, mode: u32, uid: u32, gid: u32) -> StepMount {
    at(target, StepMountKind::File { content: content.into(), mode, uid, gid })
}

/// A tree to bind: a file of another's and a directory with a link and a file in it.
fn source() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap().join("tree");
    fs::create_dir_all(path.join("dir/sub")).unwrap();
    fs::write(path.join("dir/file"), "given\n").unwrap();
    fs::set_permissions(path.join("dir/file"), fs::Permissions::from_mode(0o640)).unwrap();
    chown(path.join("dir/file"), Some(1000), Some(10)).unwrap();
    symlink("file", path.join("dir/link")).unwrap();
    fs::set_permissions(path.join("dir"), fs::Permissions::from_mode(0o751)).unwrap();
    chown(path.join("dir"), Some(1000), Some(1000)).unwrap();
    set_modified(&path.join("dir"), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    (directory, path)
}

/// The lines that only one of two listings has.
fn changed(before: &[String], after: &[String]) -> Vec<String> {
    let only = |mine: &[String], others: &[String], sign: &str| -> Vec<String> {
        mine.iter().filter(|line| !others.contains(line)).map(|line| format!("{sign}{line}")).collect()
    };
    [only(before, after, "-"), only(after, before, "+")].concat()
}

fn assert_unchanged(path: &Path, before: &[String], case: &str) {
    assert_eq!(changed(before, &listing(path)), Vec::<String>::new(), "{case}");
}

fn set_modified(path: &Path, time: SystemTime) {
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

fn with(mounts: &[StepMount], script: &str) -> Command {
    Command { mounts: mounts.to_vec(), ..shell(script) }
}

/// What a command wrote that may have failed.
fn says(root: &Path, command: &Command) -> String {
    let (outcome, text) = captured(root, command, Mode::Namespaces);
    outcome.unwrap();
    text
}

fn said(root: &Path, mounts: &[StepMount], script: &str) -> String {
    let (outcome, text) = captured(root, &with(mounts, script), Mode::Namespaces);
    assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{text}");
    text
}

/// Names, kinds, modes, owners, times and sizes of everything below a directory, and of itself.
fn listing(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let it = fs::symlink_metadata(&path).unwrap();
        if it.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let (mode, uid, gid, size) = (it.mode(), it.uid(), it.gid(), if it.is_dir() { 0 } else { it.size() });
        lines.push(format!(
            "{} {mode:o} {uid}:{gid} {}.{} {size}",
            path.display(),
            it.mtime(),
            it.mtime_nsec()
        ));
    }
    lines.sort();
    lines
}

/// A root in which a command has run before, so that the standard mount points are there.
fn used_root() -> TempDir {
    let root = busybox_root();
    said(root.path(), &[], "true");
    set_modified(root.path(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    root
}

fn bound_directories_are_seen_and_read_only() -> Verdict {
    needed()?;
    let (root, (_keep, tree)) = (used_root(), source());
    let (before, root_before) = (listing(&tree), listing(root.path()));
    let script =
        "cat /b/file /b/link; stat -c '%n %a %u:%g' /b /b/file; echo x > /b/new; rm -f /b/file; mkdir /b/d";
    let text = says(root.path(), &with(&[bind("/b", tree.join("dir"), true)], script));
    assert!(text.starts_with("given\ngiven\n/b 751 1000:1000\n/b/file 640 1000:10\n"), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 3, "{text}");
    assert_unchanged(&tree, &before, "");
    assert_unchanged(root.path(), &root_before, "");
    Ok(())
}

fn bound_files_are_seen_and_read_only() -> Verdict {
    needed()?;
    let (root, (_keep, tree)) = (used_root(), source());
    let mounts = [
        bind("/etc/group", tree.join("dir/file"), true),
        bind("/new/deep/file", tree.join("dir/file"), true),
    ];
    let root_before = listing(root.path());
    let script = "cat /etc/group /new/deep/file; echo x > /etc/group; rm /new/deep/file; ls /new/deep";
    let text = says(root.path(), &with(&mounts, script));
    assert!(text.starts_with("given\ngiven\n") && text.ends_with("\nfile\n"), "{text}");
    assert!(text.contains("Read-only file system") && text.contains("busy"), "{text}");
    assert_unchanged(root.path(), &root_before, "");
    Ok(())
}

fn what_is_mounted_below_a_source_is_read_only_too() -> Verdict {
    needed()?;
    let (root, (_keep, tree)) = (used_root(), source());
    let (_keep, other) = source();
    let _below = Mounted::bind(&other, &tree.join("dir/sub"));
    let script = "cat /b/sub/dir/file; echo x > /b/sub/new";
    let text = says(root.path(), &with(&[bind("/b", tree.join("dir"), true)], script));
    assert!(text.starts_with("given\n") && text.contains("Read-only file system"), "{text}");
    Ok(())
}

/// A mount of this test's, undone at its end.
struct Mounted(PathBuf);

impl Mounted {
    fn bind(source: &Path, target: &Path) -> Self {
        rustix::mount::mount_bind(source, target).unwrap();
        Self(target.to_owned())
    }

    fn tmpfs(target: &Path) -> Self {
        rustix::mount::mount("tmpfs", target, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        Self(target.to_owned())
    }
}

impl Mounted {
    /// A directory as the root of most containers is.
    fn overlay(parts: &Path, target: &Path) -> Self {
        for name in ["lower", "upper", "work"] {
            fs::create_dir(parts.join(name)).unwrap();
        }
        let at = parts.display();
        let options = format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work");
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("overlay", target, "overlay", flags, options.as_c_str()).unwrap();
        Self(target.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

fn writes_to_a_bound_source_are_thrown_away() -> Verdict {
    needed()?;
    let script = "set -e; stat -c '%a %u:%g %Y' /b; cat /f; \
        echo more >> /b/file; echo own > /b/new; rm -r /b/sub /b/link; mkdir /b/link; touch /b/link/x; \
        mv /b/new /b/newer; chmod 700 /b; ln /b/newer /b/hard; echo f >> /f; \
        cat /b/file /b/newer /f; ls /b; stat -c '%a %u:%g' /b/file /f";
    let expected = "751 1000:1000 1000000000\ngiven\ngiven\nmore\nown\ngiven\nf\nfile\nhard\nlink\nnewer\n\
        640 1000:10\n640 1000:10\n";
    // A name with all that overlays and wildcards give a meaning; a place for changes that may not be able to hold them.
    for (name, scratch) in [
        ("dir", Scratch::Disk),
        ("dir", Scratch::None),
        ("dir", Scratch::Overlay),
        ("a:b,c\\d*[e", Scratch::Disk),
    ] {
        let (root, (_keep, tree)) = (used_root(), source());
        if name != "dir" {
            fs::rename(tree.join("dir"), tree.join(name)).unwrap();
        }
        let place = tempfile::tempdir().unwrap();
        let room = place.path().join("scratch");
        fs::create_dir(&room).unwrap();
        let _mounted = (scratch == Scratch::Overlay).then(|| Mounted::overlay(place.path(), &room));
        let (before, root_before) = (listing(&tree), listing(root.path()));
        let command = Command {
            mounts: vec![bind("/b", tree.join(name), false), bind("/f", tree.join(name).join("file"), false)],
            scratch: (scratch != Scratch::None).then(|| room.clone()),
            ..shell(script)
        };
        for _ in 0..2 {
            let (outcome, text) = captured(root.path(), &command, Mode::Namespaces);
            assert_eq!(
                (outcome.unwrap(), text.as_str()),
                (Outcome::Exited(0), expected),
                "{name} {scratch:?}"
            );
            assert_unchanged(&tree, &before, name);
            assert_unchanged(root.path(), &root_before, name);
            let left: Vec<_> = fs::read_dir(&room).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(scratch != Scratch::Disk || left.len() == 2, "scratch was not used");
            for path in left {
                fs::remove_dir_all(path).unwrap();
            }
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scratch {
    None,
    Disk,
    Overlay,
}

fn a_source_with_mounts_below_it_is_copied() -> Verdict {
    needed()?;
    let (root, (_keep, tree)) = (used_root(), source());
    let _below = Mounted::tmpfs(&tree.join("dir/sub"));
    fs::write(tree.join("dir/sub/inner"), "inner\n").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let before = listing(&tree);
    for scratch in [None, Some(scratch.path().to_owned())] {
        let command = Command {
            mounts: vec![bind("/b", tree.join("dir"), false), bind("/f", tree.join("dir/file"), false)],
            scratch,
            ..shell(
                "set -e; stat -c '%a %u:%g %Y' /b; cat /b/sub/inner /f; echo x > /b/sub/inner; echo y > /f; cat /f; \
                 stat -c '%a %u:%g' /f; readlink /b/link",
            )
        };
        let (outcome, text) = captured(root.path(), &command, Mode::Namespaces);
        assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{text}");
        assert_eq!(text, "751 1000:1000 1000000000\ninner\ngiven\ny\n640 1000:10\nfile\n");
        assert_unchanged(&tree, &before, "");
    }
    Ok(())
}

fn every_kind_of_mount_is_made_at_once() -> Verdict {
    needed()?;
    let (root, work) = (busybox_root(), tempfile::tempdir().unwrap());
    assert_eq!(everything::happens(root.path(), work.path()), everything::EXPECTED);
    Ok(())
}

fn caches_keep_what_is_written() -> Verdict {
    needed()?;
    let (root, directory) = (used_root(), tempfile::tempdir().unwrap());
    chown(directory.path(), Some(1000), Some(10)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let root_before = listing(root.path());
    let mount = [cache("/var/cache/x", directory.path(), false)];
    let script = "stat -c '%a %u:%g' /var/cache/x; echo kept > /var/cache/x/file; chmod 705 /var/cache/x";
    let command = Command { user: "app".into(), ..with(&mount, script) };
    assert_eq!(says(root.path(), &command), "700 1000:10\n");
    let text =
        said(root.path(), &mount, "cat /var/cache/x/file; stat -c '%a %u' /var/cache/x /var/cache/x/file");
    assert_eq!(text, "kept\n705 1000\n644 1000\n");
    let read_only = [cache("/var/cache/x", directory.path(), true)];
    let text = says(root.path(), &with(&read_only, "cat /var/cache/x/file; echo more >> /var/cache/x/file"));
    assert!(text.starts_with("kept\n") && text.contains("Read-only file system"), "{text}");
    assert_eq!(fs::read_to_string(directory.path().join("file")).unwrap(), "kept\n");
    assert_unchanged(root.path(), &root_before, "");
    Ok(())
}

fn tmpfs_is_empty_and_bounded() -> Verdict {
    needed()?;
    let root = used_root();
    fs::write(root.path().join("tmp/own"), "own\n").unwrap();
    let root_before = listing(root.path());
    let mounts = [at("/t/u", StepMountKind::Tmpfs { size: 1 << 20 }), tmpfs("/tmp"), tmpfs("/run")];
    let script = "ls /tmp; stat -c '%n %a %u:%g' /t /t/u /run; echo x > /tmp/made; \
        dd if=/dev/zero of=/t/u/big bs=4k count=400; stat -c %s /t/u/big; \
        printf '#!/bin/sh\necho executed' > /run/x; chmod +x /run/x; /run/x";
    let text = said(root.path(), &mounts, script);
    assert!(text.starts_with("/t 755 0:0\n/t/u 1777 0:0\n/run 1777 0:0\n"), "{text}");
    assert!(text.contains("No space left on device") && text.ends_with("\n1048576\nexecuted\n"), "{text}");
    assert_unchanged(root.path(), &root_before, "");
    Ok(())
}

fn tmpfs_has_the_mode_of_what_it_covers() -> Verdict {
    needed()?;
    let root = used_root();
    for (name, mode) in [("plain", 0o755), ("odd", 0o2701), ("sticky", 0o1777)] {
        fs::create_dir(root.path().join(name)).unwrap();
        chown(root.path().join(name), Some(5), Some(6)).unwrap();
        fs::set_permissions(root.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mounts = ["/plain", "/odd", "/sticky", "/dev/shm", "/dev/new"].map(tmpfs);
    let text = said(root.path(), &mounts, "stat -c '%a %u:%g' /plain /odd /sticky /dev/shm /dev/new");
    assert_eq!(text, "755 0:0\n2701 0:0\n1777 0:0\n1777 0:0\n1777 0:0\n");
    Ok(())
}

fn files_have_content_mode_and_owner() -> Verdict {
    needed()?;
    let root = used_root();
    let root_before = listing(root.path());
    let mounts = [
        file("/run/secrets/a", "secret a\n", 0o400, 0, 0),
        file("/run/secrets/b", "", 0o4123, 1000, 10),
        file("/etc/passwd", "root:x:0:0::/:/bin/sh\n", 0o666, 7, 65534),
        file("/etc/group", "exact", 0o000, 0, 0),
    ];
    let script = "stat -c '%n %a %u:%g %s' /run/secrets/* /etc/passwd /etc/group; cat /run/secrets/* /etc/group; \
        ls -a /dev; for i in /run/secrets/a /etc/passwd; do echo x > $i; chmod 777 $i; rm $i; done";
    let text = says(root.path(), &with(&mounts, script));
    let expected = "/run/secrets/a 400 0:0 9\n/run/secrets/b 4123 1000:10 0\n/etc/passwd 666 7:65534 22\n\
        /etc/group 0 0:0 5\nsecret a\nexact.\n..\nfd\n";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 4, "{text}");
    assert_eq!(text.matches("busy").count(), 2, "{text}");
    assert_unchanged(root.path(), &root_before, "");
    Ok(())
}

fn scripts_in_dev_are_executed() -> Verdict {
    needed()?;
    let root = used_root();
    let root_before = listing(root.path());
    let script = "#!/bin/sh\necho $0 $(id -u); ls /dev/pipes\n";
    let mounts = [file("/dev/pipes/EOF", script, 0o755, 0, 0)];
    for (user, uid) in [("", 0), ("app", 1000)] {
        let command = Command { user: user.into(), ..with(&mounts, "/dev/pipes/EOF") };
        assert_eq!(says(root.path(), &command), format!("/dev/pipes/EOF {uid}\nEOF\n"));
    }
    assert_unchanged(root.path(), &root_before, "");
    Ok(())
}

fn files_are_gone_after_the_step() -> Verdict {
    needed()?;
    let root = used_root();
    let secret = "ab9e5c44";
    let mounts = [file("/run/secrets/a", secret, 0o400, 0, 0)];
    assert_eq!(said(root.path(), &mounts, "cat /run/secrets/a"), secret);
    let text = said(root.path(), &[], "ls /run; find /dev -type f; grep -r ab9e /etc /tmp /root; true");
    assert_eq!(text, "ls: /run: No such file or directory\n");
    Ok(())
}

fn sockets_can_be_connected_to_as_their_mode_allows() -> Verdict {
    needed()?;
    let root = used_root();
    fs::copy(std::env::current_exe().unwrap(), root.path().join("own")).unwrap();
    let root_before = listing(root.path());
    let outside = tempfile::tempdir().unwrap();
    // The way to it outside is closed to others, which says nothing inside.
    let path = outside.path().canonicalize().unwrap().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"hello\n");
        }
    });
    let mounts = [at("/run/buildkit/ssh_agent.0", StepMountKind::Socket { path: path.clone() })];
    for (user, mode, owner, heard) in
        [("", 0o600, 0, true), ("app", 0o600, 0, false), ("app", 0o600, 1000, true), ("app", 0o666, 0, true)]
    {
        chown(&path, Some(owner), Some(0)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let script =
            "/own inside connect /run/buildkit/ssh_agent.0; stat -c '%a %u' /run/buildkit/ssh_agent.0";
        let text = says(root.path(), &Command { user: user.into(), ..with(&mounts, script) });
        assert_eq!(text.contains("hello\n"), heard, "{user} {mode:o} {owner}: {text}");
        assert!(text.ends_with(&format!("{mode:o} {owner}\n")), "{text}");
    }
    assert_unchanged(root.path(), &root_before, "");
    Ok(())
}

fn mount_points_go_without_a_trace() -> Verdict {
    needed()?;
    let (root, directory) = (used_root(), tempfile::tempdir().unwrap());
    let root_before = listing(root.path());
    let mounts = [
        cache("/a/b/c", directory.path(), false),
        tmpfs("/etc/x/y"),
        file("/run/secrets/z", "z", 0o400, 0, 0),
    ];
    said(root.path(), &mounts, "touch /a/b/c/kept /etc/x/y/lost; ls -d /a/b/c /etc/x/y /run/secrets/z");
    assert_unchanged(root.path(), &root_before, "");
    // What the command puts beside a mount point stays, and what is above it.
    said(root.path(), &mounts, "touch /a/beside");
    assert!(root.path().join("a/beside").exists() && !root.path().join("a/b").exists());
    Ok(())
}

fn mounts_lie_in_mounts() -> Verdict {
    needed()?;
    let (root, directory, (_keep, tree)) = (used_root(), tempfile::tempdir().unwrap(), source());
    let root_before = listing(root.path());
    let mounts = [
        cache("/c", directory.path(), false),
        tmpfs("/c/t/u"),
        file("/c/t/u/secret", "s\n", 0o444, 0, 0),
        bind("/c/tree", tree.clone(), false),
        bind("/c/tree/dir/sub/new", tree.join("dir/file"), true),
        bind("/c/tree/ro", tree.join("dir"), true),
    ];
    let tree_before = listing(&tree);
    // The flags may come in any order.
    let mounts: Vec<StepMount> = mounts.into_iter().rev().collect();
    let script =
        "cat /c/t/u/secret /c/tree/dir/sub/new /c/tree/ro/file; echo x > /c/tree/dir/y; ls /c /c/tree";
    assert_eq!(said(root.path(), &mounts, script), "s\ngiven\ngiven\n/c:\nt\ntree\n\n/c/tree:\ndir\nro\n");
    assert_unchanged(root.path(), &root_before, "");
    assert_unchanged(&tree, &tree_before, "");
    // As with BuildKit, the cache keeps mount points.
    assert!(directory.path().join("t/u").is_dir() && directory.path().join("tree").is_dir());
    assert_eq!(fs::read_dir(directory.path().join("t/u")).unwrap().count(), 0);
    // A later one hides an earlier one at the same place.
    let mounts = [cache("/c", directory.path(), false), tmpfs("/c")];
    assert_eq!(said(root.path(), &mounts, "ls /c"), "");
    Ok(())
}

fn targets_follow_links_inside_the_root() -> Verdict {
    needed()?;
    let (root, directory, outside) =
        (used_root(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outside_path = outside.path().canonicalize().unwrap();
    fs::create_dir_all(root.path().join("x/y")).unwrap();
    for (link, target) in [
        ("up", "../../../x/y".into()),
        ("abs", PathBuf::from("/x/y")),
        ("none", "/not/there".into()),
        ("out", outside_path.clone()),
    ] {
        symlink(target, root.path().join(link)).unwrap();
    }
    let root_before = listing(root.path());
    let outer_before = listing(&outside_path);
    for (target, real) in [
        ("/up/a", "/x/y/a"),
        ("/abs", "/x/y"),
        ("/none", "/not/there"),
        ("/x/../../../q", "/q"),
        ("/out/deep", &format!("{}/deep", outside_path.display())),
    ] {
        let script = format!("grep -c ' {real} ' /proc/self/mountinfo; echo x > {real}/made");
        assert_eq!(said(root.path(), &[cache(target, directory.path(), false)], &script), "1\n", "{target}");
        assert_unchanged(root.path(), &root_before, target);
    }
    assert_unchanged(&outside_path, &outer_before, "");
    Ok(())
}

fn mounts_over_standard_ones_replace_them() -> Verdict {
    needed()?;
    let root = used_root();
    let root_before = listing(root.path());
    for (mounts, script, expected) in [
        (vec![file("/etc/hosts", "own\n", 0o644, 0, 0)], "cat /etc/hosts", "own\n"),
        (vec![tmpfs("/etc/hosts")], "ls -d /etc/hosts/", "/etc/hosts/\n"),
        (vec![tmpfs("/etc")], "ls /etc", ""),
        (vec![tmpfs("/sys")], "ls /sys", ""),
        (vec![tmpfs("/dev")], "echo x > /dev/null; ls /dev | grep -c shm", "1\n"),
        (
            vec![at("/dev", StepMountKind::Tmpfs { size: 1 << 20 })],
            "dd if=/dev/zero of=/dev/x bs=4k count=400 2>&1 | grep -o 'No space'; test $(stat -c %s /dev/x) -le 1048576",
            "No space\n",
        ),
    ] {
        let text = said(root.path(), &mounts, script);
        assert_eq!(text, expected, "{mounts:?}");
        assert_unchanged(root.path(), &root_before, &format!("{mounts:?}"));
    }
    Ok(())
}

fn impossible_mounts_say_why() -> Verdict {
    needed()?;
    let (root, directory, (_keep, tree)) = (used_root(), tempfile::tempdir().unwrap(), source());
    symlink("/loop", root.path().join("loop")).unwrap();
    symlink("x/..", root.path().join("top")).unwrap();
    let root_before = listing(root.path());
    for (mounts, expected) in [
        (
            vec![cache("/etc/passwd", directory.path(), false)],
            "mount the cache at /etc/passwd: not a directory: there is a file, and this mount is a directory",
        ),
        (
            vec![file("/etc", "secret", 0o400, 0, 0)],
            "mount the file at /etc: not a directory: there is a directory, and this mount is a file",
        ),
        (vec![tmpfs("/etc/passwd/x")], "mount the tmpfs at /etc/passwd/x: Not a directory"),
        (vec![tmpfs("/loop/x")], "mount the tmpfs at /loop/x: Too many levels of symbolic links"),
        (vec![tmpfs("/proc/x")], "mount the tmpfs at /proc/x: nothing can be mounted in /proc"),
        (vec![tmpfs("/top")], "mount the tmpfs at /top: this is the root"),
        (
            vec![cache("/dev", directory.path(), false)],
            "mount the cache at /dev: nothing but a tmpfs can be mounted on /dev itself",
        ),
        (vec![tmpfs("/sys/x")], "mount the tmpfs at /sys/x: Read-only file system"),
        (
            vec![bind("/new", tree.clone(), true), tmpfs("/new/none")],
            "mount the tmpfs at /new/none: Read-only file system",
        ),
        (vec![bind("/new", tree.join("none"), true)], "mount the bind mount at /new: look at "),
    ] {
        let (outcome, text) = captured(root.path(), &with(&mounts, "echo ran"), Mode::Namespaces);
        let error = outcome.unwrap_err().to_string();
        assert!(error.starts_with("cannot set up the sandbox: ") && error.contains(expected), "{error}");
        assert!(!error.contains("secret") && text.is_empty(), "{error} {text}");
        assert_unchanged(root.path(), &root_before, &error);
    }
    Ok(())
}
