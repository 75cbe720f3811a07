//! Runs tests one after the other, as `cargo test` and `cargo nextest` ask for them, and makes roots for them.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command as Program, Stdio};

use tempfile::TempDir;
use zuwai_rootfs::command::Command;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::run::{Outcome, Output, run as run_command};
use zuwai_rootfs::run_error::RunError;
use zuwai_rootfs::signals::Interrupt;
use zuwai_rootfs::{KeepOut, Root};

pub const BUSYBOX: &str = "/bin/busybox";

/// `Ok`, or why it was not run.
pub type Verdict = Result<(), String>;
pub type Test = (&'static str, fn() -> Verdict);

pub fn run(tests: &[Test]) -> i32 {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let chosen = tests.iter().filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter.as_str())));
    if has("--list") {
        for (name, _) in chosen.filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return 0;
    }
    let mut failed = 0;
    for (name, test) in chosen {
        match std::panic::catch_unwind(test) {
            Ok(Ok(())) => println!("test {name} ... ok"),
            Ok(Err(why)) => println!("test {name} ... skipped: {why}"),
            Err(_) => {
                println!("test {name} ... FAILED");
                failed += 1;
            }
        }
    }
    i32::from(failed > 0)
}

pub fn need(met: bool, what: &str) -> Verdict {
    if met { Ok(()) } else { Err(format!("needs {what}")) }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory with busybox and its applets, users and groups.
pub fn busybox_root() -> TempDir {
    let directory = tempfile::Builder::new().permissions(world_readable()).tempdir().unwrap();
    let path = directory.path();
    for name in ["bin", "etc", "tmp", "root"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    fs::copy(BUSYBOX, path.join("bin/busybox")).unwrap();
    let applets = Program::new(BUSYBOX).arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets).unwrap().lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", path.join("bin").join(applet)).unwrap();
    }
    fs::write(path.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
        .unwrap();
    fs::write(path.join("etc/group"), "root:x:0:\nwheel:x:10:root,app\napp:x:1000:\n").unwrap();
    directory
}

fn world_readable() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

/// A command with the usual environment.
pub fn command(argv: &[&str]) -> Command {
    Command { env: vec![("PATH".into(), "/bin:/usr/bin".into())], ..Command::new(argv.iter().copied()) }
}

pub fn shell(script: &str) -> Command {
    command(&["/bin/sh", "-c", script])
}

/// Runs a command and gives what it wrote to both its outputs.
pub fn captured(path: &Path, command: &Command, mode: Mode) -> (Result<Outcome, RunError>, String) {
    captured_with(path, command, mode, &Interrupt::new())
}

pub fn captured_with(
    path: &Path,
    command: &Command,
    mode: Mode,
    interrupt: &Interrupt,
) -> (Result<Outcome, RunError>, String) {
    captured_in(&Root::open(path, KeepOut::default()).unwrap(), command, mode, interrupt)
}

pub fn captured_in(
    root: &Root,
    command: &Command,
    mode: Mode,
    interrupt: &Interrupt,
) -> (Result<Outcome, RunError>, String) {
    let (mut read, write) = std::io::pipe().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        read.read_to_string(&mut text).map(|_| text)
    });
    let output = Output { stdout: Stdio::from(write.try_clone().unwrap()), stderr: Stdio::from(write) };
    let outcome = run_command(root, command, mode, output, interrupt);
    (outcome, reader.join().unwrap().unwrap())
}
