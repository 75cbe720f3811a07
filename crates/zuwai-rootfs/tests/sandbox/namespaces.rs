//! A private root, entered through namespaces by root.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Child, ChildStdout, Command as Program, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use zuwai_layer::ImagePath;
use zuwai_rootfs::command::{Command, StartError};
use zuwai_rootfs::isolation::{Isolation, Mode, choose};
use zuwai_rootfs::run::Outcome;
use zuwai_rootfs::run_error::RunError;
use zuwai_rootfs::signals::Interrupt;

use crate::harness::{
    BUSYBOX, Test, Verdict, busybox_root, captured, captured_with, command, is_root, need, shell,
};

pub const TESTS: [Test; 18] = [
    ("outcomes_are_the_commands_own", outcomes_are_the_commands_own),
    ("environment_is_the_commands_own", environment_is_the_commands_own),
    ("home_comes_from_passwd", home_comes_from_passwd),
    ("users_and_groups_are_the_images", users_and_groups_are_the_images),
    ("missing_workdir_is_made", missing_workdir_is_made),
    ("capabilities_are_dockers", capabilities_are_dockers),
    ("processes_end_with_the_step", processes_end_with_the_step),
    ("proc_shows_the_step_alone", proc_shows_the_step_alone),
    ("hosts_and_resolver_are_given_and_leave_no_trace", hosts_and_resolver_are_given_and_leave_no_trace),
    ("dangling_resolver_link_is_followed_inside", dangling_resolver_link_is_followed_inside),
    ("devices_are_minimal", devices_are_minimal),
    ("kernel_settings_are_read_only", kernel_settings_are_read_only),
    ("the_outside_is_not_seen", the_outside_is_not_seen),
    ("commands_that_cannot_start_say_why", commands_that_cannot_start_say_why),
    ("interrupt_reaches_the_command", interrupt_reaches_the_command),
    ("a_signal_to_the_program_ends_the_step_first", a_signal_to_the_program_ends_the_step_first),
    ("a_killed_builder_leaves_nothing_running", a_killed_builder_leaves_nothing_running),
    ("auto_takes_namespaces_for_root_on_a_machine", auto_takes_namespaces_for_root_on_a_machine),
];

fn needed() -> Verdict {
    need(is_root(), "root")?;
    need(std::path::Path::new(BUSYBOX).exists(), "busybox-static")
}

/// What a successful command wrote.
fn said(command: &Command) -> String {
    let root = busybox_root();
    let (outcome, text) = captured(root.path(), command, Mode::Namespaces);
    assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{text}");
    text
}

fn outcomes_are_the_commands_own() -> Verdict {
    needed()?;
    let root = busybox_root();
    for (script, outcome, code) in [
        ("exit 0", Outcome::Exited(0), 0),
        ("exit 3", Outcome::Exited(3), 3),
        ("kill -TERM $$", Outcome::Signaled(15), 143),
        ("kill -KILL $$", Outcome::Signaled(9), 137),
    ] {
        // As the PID 1 of a container the shell would survive; here it is not the first process.
        let (found, text) = captured(root.path(), &shell(script), Mode::Namespaces);
        let found = found.unwrap();
        assert_eq!((found, found.exit_code()), (outcome, code), "{script}: {text}");
    }
    Ok(())
}

fn environment_is_the_commands_own() -> Verdict {
    needed()?;
    let env = vec![("PATH".into(), "/bin".into()), ("HOME".into(), "/x".into()), ("A".into(), "b\nc".into())];
    let text = said(&Command { env, ..command(&["env"]) });
    assert_eq!(text, "PATH=/bin\nHOME=/x\nA=b\nc\n");
    let text = said(&shell("hostname; umask; cat; ls /proc/self/fd; echo $0; pwd"));
    assert_eq!(text, "buildkitsandbox\n0022\n0\n1\n2\n3\n/bin/sh\n/\n");
    Ok(())
}

fn home_comes_from_passwd() -> Verdict {
    needed()?;
    for (user, home) in [("", "/root"), ("app", "/home/app"), ("1000:0", "/home/app"), ("4711", "/")] {
        assert_eq!(said(&Command { user: user.into(), ..shell("echo $HOME") }).trim(), home, "{user}");
    }
    Ok(())
}

fn users_and_groups_are_the_images() -> Verdict {
    needed()?;
    for (user, ids) in [
        ("", "0:0:0 10"),
        ("app", "1000:1000:1000 10"),
        ("app:root", "1000:0:0"),
        ("12:34", "12:34:34"),
        ("65534:65534", "65534:65534:65534"),
    ] {
        let text = said(&Command { user: user.into(), ..shell("echo $(id -u):$(id -g):$(id -G)") });
        assert_eq!(text.trim(), ids, "{user}");
    }
    let root = busybox_root();
    let (outcome, _) =
        captured(root.path(), &Command { user: "who".into(), ..shell("true") }, Mode::Namespaces);
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "unable to find user who: no matching entries in passwd file"
    );
    Ok(())
}

fn missing_workdir_is_made() -> Verdict {
    needed()?;
    let root = busybox_root();
    let workdir = ImagePath::new("made/for it").unwrap();
    let command = Command { workdir, user: "app".into(), ..shell("pwd") };
    let (outcome, text) = captured(root.path(), &command, Mode::Namespaces);
    assert_eq!((outcome.unwrap(), text.as_str()), (Outcome::Exited(0), "/made/for it\n"));
    let made = fs::metadata(root.path().join("made/for it")).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o7777), (0, 0o755));
    let file = Command { workdir: ImagePath::new("etc/passwd").unwrap(), ..shell("pwd") };
    let (outcome, _) = captured(root.path(), &file, Mode::Namespaces);
    assert!(matches!(outcome, Err(RunError::Start(StartError::Workdir { .. }))), "{outcome:?}");
    Ok(())
}

fn capabilities_are_dockers() -> Verdict {
    needed()?;
    let script = "grep -E '^Cap(Prm|Eff|Bnd|Inh|Amb)' /proc/self/status | cut -f2 | uniq -c | tr -s ' '";
    assert_eq!(said(&shell(script)), " 1 0000000000000000\n 3 00000000a80425fb\n 1 0000000000000000\n");
    let script = "grep -E '^Cap(Prm|Eff)' /proc/self/status | cut -f2 | uniq";
    assert_eq!(said(&Command { user: "app".into(), ..shell(script) }), "0000000000000000\n");
    Ok(())
}

fn processes_end_with_the_step() -> Verdict {
    needed()?;
    let root = busybox_root();
    let script =
        "(setsid sh -c 'trap \"\" TERM HUP; while :; do echo x >> /alive; sleep 0.01; done' &) ; sleep 0.2";
    let started = Instant::now();
    let (outcome, _) = captured(root.path(), &shell(script), Mode::Namespaces);
    assert_eq!(outcome.unwrap(), Outcome::Exited(0));
    assert!(started.elapsed() < Duration::from_secs(5));
    let alive = || fs::metadata(root.path().join("alive")).unwrap().len();
    let before = alive();
    std::thread::sleep(Duration::from_millis(100));
    assert!(before > 0 && before == alive());
    Ok(())
}

fn proc_shows_the_step_alone() -> Verdict {
    needed()?;
    // The helper, the shell, and ls.
    let text = said(&shell("ls /proc | grep -c '^[0-9]'"));
    assert!(text.trim().parse::<u32>().unwrap() <= 5, "{text}");
    let text = said(&shell("cat /proc/1/environ /proc/1/exe 2>&1 | head -c 300; ls /proc/1/root 2>&1; true"));
    assert!(text.contains("denied") && !text.contains("ELF"), "{text}");
    Ok(())
}

fn hosts_and_resolver_are_given_and_leave_no_trace() -> Verdict {
    needed()?;
    let root = busybox_root();
    let etc = root.path().join("etc");
    let before = fs::metadata(&etc).unwrap().modified().unwrap();
    let resolv_conf = b"nameserver 192.0.2.1\n".to_vec();
    let script = "cat /etc/resolv.conf /etc/hosts; echo x > /etc/hosts; rm /etc/resolv.conf; ls /etc";
    let (outcome, text) = captured(root.path(), &Command { resolv_conf, ..shell(script) }, Mode::Namespaces);
    assert_eq!(outcome.unwrap(), Outcome::Exited(0));
    assert!(
        text.starts_with("nameserver 192.0.2.1\n127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost"),
        "{text}"
    );
    assert!(text.contains("Read-only file system") && text.contains("busy"), "{text}");
    assert!(text.ends_with("group\nhosts\npasswd\nresolv.conf\n"), "{text}");
    assert!(!etc.join("hosts").exists() && !etc.join("resolv.conf").exists());
    assert_eq!(fs::metadata(&etc).unwrap().modified().unwrap(), before);
    for kept in ["proc", "sys", "dev"] {
        let metadata = fs::metadata(root.path().join(kept)).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (0, 0o755), "{kept}");
        assert_eq!(fs::read_dir(root.path().join(kept)).unwrap().count(), 0, "{kept}");
    }

    fs::write(etc.join("hosts"), "the image's own\n").unwrap();
    let (outcome, text) = captured(root.path(), &shell("grep -c own /etc/hosts"), Mode::Namespaces);
    assert_eq!((outcome.unwrap(), text.as_str()), (Outcome::Exited(1), "0\n"));
    assert_eq!(fs::read_to_string(etc.join("hosts")).unwrap(), "the image's own\n");
    Ok(())
}

fn dangling_resolver_link_is_followed_inside() -> Verdict {
    needed()?;
    let root = busybox_root();
    let link = root.path().join("etc/resolv.conf");
    let outside = tempfile::tempdir().unwrap();
    for target in ["../run/systemd/stub.conf".into(), outside.path().join("made")] {
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let command = Command { resolv_conf: b"here\n".to_vec(), ..shell("cat /etc/resolv.conf") };
        let (outcome, text) = captured(root.path(), &command, Mode::Namespaces);
        assert_eq!((outcome.unwrap(), text.as_str()), (Outcome::Exited(0), "here\n"), "{target:?}");
        fs::remove_file(&link).unwrap();
    }
    assert!(!root.path().join("run").exists());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    Ok(())
}

fn devices_are_minimal() -> Verdict {
    needed()?;
    let text = said(&shell(
        "ls /dev; echo x > /dev/null; head -c 4 /dev/zero | wc -c; mount | grep -c ' /dev/shm '",
    ));
    let expected =
        "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n4\n1\n";
    assert_eq!(text, expected);
    Ok(())
}

fn kernel_settings_are_read_only() -> Verdict {
    needed()?;
    for path in ["/proc/sys/kernel/printk", "/proc/sysrq-trigger", "/sys/kernel/profiling"] {
        let root = busybox_root();
        let (outcome, text) = captured(root.path(), &shell(&format!("echo 0 > {path}")), Mode::Namespaces);
        assert_eq!(outcome.unwrap(), Outcome::Exited(1), "{path}");
        assert!(
            text.contains("Read-only") || text.contains("denied") || text.contains("nonexistent"),
            "{path}: {text}"
        );
    }
    assert_eq!(said(&shell("cat /proc/kcore 2>/dev/null | head -c 1 | wc -c")), "0\n");
    Ok(())
}

fn the_outside_is_not_seen() -> Verdict {
    needed()?;
    let root = busybox_root();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "").unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
    let secret = outside.path().join("secret");
    let script = format!(
        "ls {secret} /link/secret ../../../..{secret}; cut -d' ' -f5 /proc/self/mountinfo | grep -vE '^/(proc|sys|dev|etc)?(/|$)'; true",
        secret = secret.display()
    );
    let (_, text) = captured(root.path(), &shell(&script), Mode::Namespaces);
    assert_eq!(text.matches("No such file").count(), 3, "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    Ok(())
}

fn commands_that_cannot_start_say_why() -> Verdict {
    needed()?;
    let root = busybox_root();
    let put = |name: &str, text: &str, mode| {
        let path = root.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    put("bin/plain", "#!/bin/sh\n", 0o644);
    put("bin/orphan", "#!/usr/bin/perl -w\n", 0o755);
    put("bin/nothing", "echo\n", 0o755);
    fs::create_dir(root.path().join("empty")).unwrap();
    for (argv, code, message) in [
        (vec!["foo"], 127, "exec: \"foo\": executable file not found in $PATH"),
        (vec!["./bin/foo"], 127, "no such file or directory"),
        (vec!["/bin/plain"], 126, "exec: \"/bin/plain\": permission denied"),
        (vec!["/bin"], 126, "is a directory"),
        (vec!["orphan"], 127, "the interpreter it needs, /usr/bin/perl, is not in the image"),
        (vec!["nothing"], 126, "exec format error"),
        (vec![], 127, "no command given"),
    ] {
        match captured(root.path(), &command(&argv), Mode::Namespaces) {
            (Err(RunError::Start(error)), _) => {
                assert!(error.to_string().contains(message), "{argv:?}: {error}");
                assert_eq!(error.exit_code(), code, "{argv:?}");
            }
            other => panic!("{argv:?}: {other:?}"),
        }
    }
    let empty = tempfile::tempdir().unwrap();
    let (outcome, _) = captured(empty.path(), &shell("true"), Mode::Namespaces);
    assert!(outcome.unwrap_err().to_string().contains("the image has no shell"));
    let names: Vec<_> = fs::read_dir(empty.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    Ok(())
}

fn interrupt_reaches_the_command() -> Verdict {
    needed()?;
    let root = busybox_root();
    let interrupt = Interrupt::new();
    let raiser = interrupt.clone();
    let raised = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        raiser.raise(15);
    });
    let command = shell("trap 'echo told; exit 5' TERM; sleep 60 & wait");
    let started = Instant::now();
    let (outcome, text) = captured_with(root.path(), &command, Mode::Namespaces, &interrupt);
    raised.join().unwrap();
    assert!(matches!(outcome, Err(RunError::Interrupted { signal: 15 })), "{outcome:?}");
    assert_eq!(text, "told\n");
    assert!(started.elapsed() < Duration::from_secs(5));
    Ok(())
}

fn auto_takes_namespaces_for_root_on_a_machine() -> Verdict {
    needed()?;
    let state = tempfile::tempdir().unwrap();
    let choice = choose(Isolation::Auto, state.path(), None, false).unwrap();
    assert_eq!(choice.mode, Mode::Namespaces, "{choice}");
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    Ok(())
}

/// Starts this program as a builder whose command says `ready` and then waits.
fn builder(root: &std::path::Path, wrapper: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let script = "trap 'echo told; exit 5' TERM; echo x > /alive; echo ready; while :; do echo x >> /alive; sleep 0.01; done";
    let words = [wrapper, &[own, "inside", "namespaces", root.to_str().unwrap(), "", script]].concat();
    let mut child =
        Program::new(words[0]).args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, lines)
}

fn a_signal_to_the_program_ends_the_step_first() -> Verdict {
    needed()?;
    let root = busybox_root();
    // Also as the first process of a container, which no signal ends by itself.
    for wrapper in [&[][..], &["/usr/bin/unshare", "--pid", "--mount-proc", "--fork", "--kill-child"]] {
        let (mut child, mut lines) = builder(root.path(), wrapper);
        let mut target = i32::try_from(child.id()).unwrap();
        if !wrapper.is_empty() {
            let children = fs::read_to_string(format!("/proc/{target}/task/{target}/children")).unwrap();
            target = children.trim().parse().unwrap();
        }
        rustix::process::kill_process(Pid::from_raw(target).unwrap(), Signal::TERM).unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert!(rest.starts_with("told\n"), "{rest}");
        assert_eq!(child.wait().unwrap().code(), Some(143), "{wrapper:?}");
    }
    Ok(())
}

fn a_killed_builder_leaves_nothing_running() -> Verdict {
    needed()?;
    let root = busybox_root();
    let (mut child, mut lines) = builder(root.path(), &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    // The end of the output means that nobody holds it any more.
    lines.read_to_string(&mut String::new()).unwrap();
    let alive = || fs::metadata(root.path().join("alive")).unwrap().len();
    let before = alive();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(before, alive());
    Ok(())
}
