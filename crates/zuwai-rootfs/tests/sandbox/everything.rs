//! One step with every kind of mount and no network, wherever this program runs: as root, as an ordinary user, in
//! containers.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use zuwai_rootfs::command::Command;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::step_mount::{StepMount, StepMountKind, StepNetwork};

use crate::harness::{captured, shell};

/// What the step says.
pub const EXPECTED: &str = "given\nro: Read-only file system\n\
    given\nmore\nthrown away: 2\nfile: more\n\
    kept\n\
    tmpfs: 1777\nfull\n\
    secret 0400\nscript /dev/pipes/EOF\n\
    hello\n\
    lo\n\
    Exited(1)\n";

const SCRIPT: &str = "
    cat /ro/file; echo x 2>&1 > /ro/new | grep -o ': Read-only.*' | sed 's/^/ro/'
    cd /rw; echo more >> file; rm -r sub; mkdir sub; touch sub/x; cat file; echo thrown away: $(ls | wc -l)
    echo more > /one; echo file: $(cat /one)
    echo kept > /var/cache/c/d/kept; cat /var/cache/c/d/kept
    echo tmpfs: $(stat -c %a /t/m); dd if=/dev/zero of=/t/m/x bs=64k count=20 2>&1 | grep -q 'No space' && echo full
    echo $(cat /run/secrets/s) $(stat -c 0%a /run/secrets/s); /dev/pipes/EOF
    /own inside connect /run/agent
    ip -o link | cut -d: -f2 | tr -d ' '; ls /sys/class/net | grep -v lo
";

/// Does it in a root with busybox, with a new directory `work` for all that is outside; tells what was said, and what is
/// not as it should be afterwards.
pub fn happens(root: &Path, work: &Path) -> String {
    for directory in ["tree/sub", "cache", "scratch"] {
        fs::create_dir_all(work.join(directory)).unwrap();
    }
    let work = work.canonicalize().unwrap();
    fs::write(work.join("tree/file"), "given\n").unwrap();
    fs::copy(std::env::current_exe().unwrap(), root.join("own")).unwrap();
    let listener = UnixListener::bind(work.join("agent")).unwrap();
    std::thread::spawn(move || listener.accept().map(|(mut stream, _)| stream.write_all(b"hello\n")));
    let tree = work.join("tree");
    let file = |content: &str, mode| StepMountKind::File { content: content.into(), mode, uid: 0, gid: 0 };
    let mounts = [
        ("/dev/pipes/EOF", file("#!/bin/sh\necho script $0\n", 0o755)),
        ("/one", StepMountKind::Bind { source: tree.join("file").into(), read_only: false }),
        ("/ro", StepMountKind::Bind { source: tree.clone().into(), read_only: true }),
        ("/run/agent", StepMountKind::Socket { path: work.join("agent") }),
        ("/run/secrets/s", file("secret", 0o400)),
        ("/rw", StepMountKind::Bind { source: tree.clone().into(), read_only: false }),
        ("/t/m", StepMountKind::Tmpfs { size: 1 << 20 }),
        ("/var/cache/c/d", StepMountKind::Cache { directory: work.join("cache"), read_only: false }),
    ];
    let command = Command {
        mounts: mounts.map(|(target, kind)| StepMount { target: target.into(), kind }).to_vec(),
        network: StepNetwork::None,
        scratch: Some(work.join("scratch")),
        ..shell(SCRIPT)
    };
    let (outcome, text) = captured(root, &command, Mode::Namespaces);
    let mut said = match outcome {
        Ok(outcome) => format!("{text}{outcome:?}\n"),
        Err(error) => format!("{text}error: {error}\n"),
    };
    said.extend(complaints(root, &work));
    said
}

fn complaints(root: &Path, work: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["one", "ro", "run", "rw", "t", "var"] {
        if root.join(name).exists() {
            found.push(format!("left in the root: {name}\n"));
        }
    }
    let names = |path: &Path| {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    if names(&work.join("tree")) != ["file", "sub"]
        || !names(&work.join("tree/sub")).is_empty()
        || fs::read_to_string(work.join("tree/file")).unwrap() != "given\n"
    {
        found.push("the source changed\n".to_owned());
    }
    if fs::read_to_string(work.join("cache/kept")).unwrap_or_default() != "kept\n" {
        found.push("the cache did not keep\n".to_owned());
    }
    // As the caller of `run` does.
    if let Err(error) = fs::remove_dir_all(work.join("scratch")) {
        found.push(format!("scratch cannot be removed: {error}\n"));
    }
    let _ = fs::set_permissions(work, fs::Permissions::from_mode(0o755));
    found
}
