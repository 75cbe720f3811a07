//! In containers of several kinds: what `auto` takes, and commands in place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command as Program, Stdio};

use crate::everything;
use crate::harness::{BUSYBOX, Test, Verdict, busybox_root, is_root, need};

pub const TESTS: [Test; 9] = [
    ("auto_takes_what_each_container_allows", auto_takes_what_each_container_allows),
    (
        "overlays_are_taken_where_the_state_directory_allows",
        overlays_are_taken_where_the_state_directory_allows,
    ),
    ("commands_run_in_a_stack_of_layers", commands_run_in_a_stack_of_layers),
    ("commands_run_in_place", commands_run_in_place),
    ("processes_end_with_the_step_in_place", processes_end_with_the_step_in_place),
    ("processes_of_others_end_without_cap_kill", processes_of_others_end_without_cap_kill),
    ("namespaces_run_in_a_container", namespaces_run_in_a_container),
    ("every_kind_of_mount_is_made_in_containers", every_kind_of_mount_is_made_in_containers),
    ("the_builders_environment_stays_its_own", the_builders_environment_stays_its_own),
];

const DOCKERS_CAPABILITIES: &str = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,\
    NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE";

/// The least with which images can be unpacked and users taken on in place.
const LEAST: &str = "CHOWN,DAC_OVERRIDE,FOWNER,FSETID,SETUID,SETGID";

/// Debian's podman with runc, whose defaults do not start everywhere.
const CONTAINERS_CONF: &str = r#"[containers]
default_ulimits = ["nofile=1024:1024","nproc=1000:1000"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"#;

fn needed() -> Verdict {
    need(is_root(), "root")?;
    need(Path::new(BUSYBOX).exists(), "busybox-static")?;
    need(Path::new("/usr/bin/podman").exists(), "podman and runc")
}

/// A container of busybox that runs this program.
struct Container {
    options: Vec<String>,
    /// With an overlay for its root, as containers usually have it.
    on_overlay: bool,
    /// Whose `/inner` is: only what belongs to somebody in the container can be copied there.
    owner: u32,
}

impl Container {
    fn new(options: &[&str]) -> Self {
        Self {
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            on_overlay: false,
            owner: 0,
        }
    }

    fn kubernetes_default() -> Self {
        Self::capable(DOCKERS_CAPABILITIES, "unconfined")
    }

    fn docker_default() -> Self {
        Self::capable(DOCKERS_CAPABILITIES, &dockers_profile())
    }

    fn capable(capabilities: &str, seccomp: &str) -> Self {
        let (add, seccomp) =
            (format!("--cap-add={capabilities}"), format!("--security-opt=seccomp={seccomp}"));
        Self::new(&["--cap-drop=ALL", &add, &seccomp])
    }

    fn says(&self, arguments: &[&str]) -> String {
        let root = busybox_root();
        let work = tempfile::tempdir().unwrap();
        let configuration = work.path().join("containers.conf");
        fs::write(&configuration, CONTAINERS_CONF).unwrap();
        let state = work.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
        let inner = root.path().join("inner");
        fs::create_dir_all(&inner).unwrap();
        copy_busybox(&inner);
        let owner = format!("{0}:{0}", self.owner);
        assert!(Program::new("chown").args(["-hR", &owner]).arg(&inner).status().unwrap().success());
        make_mount_points(root.path());
        let own = std::env::current_exe().unwrap();
        let volume = |from: &Path, to: &str| format!("--volume={}:{to}", from.display());
        let output = Program::new("/usr/bin/podman")
            .env("CONTAINERS_CONF", configuration)
            .arg("--root")
            .arg(work.path().join("storage"))
            .arg("--runroot")
            .arg(work.path().join("run"))
            .args(["--storage-driver=vfs", "run", "--rm", "--workdir=/"])
            .args([volume(&own, "/own:ro"), volume(&state, "/state")])
            .args(&self.options)
            .arg("--rootfs")
            .arg(if self.on_overlay {
                format!("{}:O", root.path().display())
            } else {
                root.path().display().to_string()
            })
            .args(["/own", "inside"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// A runtime whose root is not this one cannot make them.
fn make_mount_points(root: &Path) {
    for directory in ["dev", "proc", "ram", "run", "state", "sys"] {
        let _ = fs::create_dir(root.join(directory));
    }
    // Podman gives a tmpfs the mode of what it covers.
    fs::set_permissions(root.join("ram"), fs::Permissions::from_mode(0o777)).unwrap();
    for file in ["etc/hostname", "etc/hosts", "etc/resolv.conf", "own", "run/.containerenv"] {
        fs::write(root.join(file), "").unwrap();
    }
}

fn copy_busybox(inner: &Path) {
    // Also for a user that is not root.
    fs::set_permissions(inner, fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(inner.join("bin")).unwrap();
    fs::copy(BUSYBOX, inner.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", inner.join("bin/sh")).unwrap();
    for file in ["d/old", "etc/gone"] {
        fs::create_dir(inner.join(file).parent().unwrap()).unwrap();
        fs::write(inner.join(file), "").unwrap();
    }
}

fn dockers_profile() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../zuwai-testkit/data/docker-default.json").to_owned()
}

fn auto_takes_what_each_container_allows() -> Verdict {
    needed()?;
    let docker_seccomp = format!("--security-opt=seccomp={}", dockers_profile());
    let mapped = ["--uidmap=0:100000:65536", "--gidmap=0:100000:65536"];
    for (name, container, expected) in [
        ("podman", Container::new(&[]), "namespaces: "),
        ("kubernetes", Container::kubernetes_default(), "namespaces: "),
        ("docker", Container::docker_default(), "in-place: "),
        ("podman, user", Container::new(&["--user=1000:1000"]), "namespaces: "),
        ("no capability", Container::new(&["--cap-drop=ALL"]), "in-place: "),
        ("read-only", Container::new(&["--read-only"]), "namespaces: "),
        ("mapped ids", Container::new(&mapped), "namespaces: "),
        (
            "restricted",
            Container::new(&[
                &docker_seccomp,
                "--cap-drop=ALL",
                "--user=1000:1000",
                "--security-opt=no-new-privileges",
            ]),
            "in-place: ",
        ),
    ] {
        let text = container.says(&["choose", "/state"]);
        println!("  {name}: {}", text.trim());
        assert!(text.lines().any(|line| line.starts_with(expected)), "{name}: {text}");
        // The state directory is on a volume.
        let trees = if expected == "in-place: " { "this is a container: podman" } else { "; overlay)" };
        assert!(text.contains(trees), "{name}: {text}");
        let missing = "CAP_SETUID, CAP_SETGID, CAP_SETFCAP";
        assert_eq!(text.contains(missing), name == "no capability", "{name}: {text}");
    }
    Ok(())
}

/// The container's own root is an overlay.
fn overlays_are_taken_where_the_state_directory_allows() -> Verdict {
    needed()?;
    for (name, mut container) in
        [("podman", Container::new(&[])), ("kubernetes", Container::kubernetes_default())]
    {
        container.on_overlay = true;
        container.options.push("--tmpfs=/ram:exec".to_owned());
        for (state, expected) in [
            ("/state", "; overlay)"),
            ("/ram", "; overlay)"),
            ("/inner", "; no overlay: /inner is on overlayfs, which holds no upper directory"),
        ] {
            let text = container.says(&["choose", state]);
            println!("  {name}, {state}: {}", text.trim());
            assert!(text.starts_with("namespaces: ") && text.contains(expected), "{name} {state}: {text}");
        }
    }
    Ok(())
}

/// Removes, replaces and adds.
const IN_A_STACK: &str = "b=/bin/busybox; $b id -u; $b rm /etc/gone; $b rm -r /d; $b mkdir /d; echo x > /d/new; \
    test -s /etc/hosts";

/// What runtimes make in every image is among it.
const CHANGED: &str =
    "0\nExited(0)\nUpsert /d/new\nDelete /d/old\nUpsert /dev\nDelete /etc/gone\nUpsert /proc\nUpsert /sys\n";

fn commands_run_in_a_stack_of_layers() -> Verdict {
    needed()?;
    let mapped = ["--uidmap=0:100000:65536", "--gidmap=0:100000:65536"];
    for (name, mut container, owner) in [
        ("podman", Container::new(&[]), 0),
        ("kubernetes", Container::kubernetes_default(), 0),
        ("read-only", Container::new(&["--read-only"]), 0),
        ("user", Container::new(&["--user=1000:1000"]), 1000),
        ("mapped ids", Container::new(&mapped), 100_000),
    ] {
        // A root that is mapped may not have podman mount one.
        container.on_overlay = owner == 0;
        container.owner = owner;
        container.options.push("--tmpfs=/ram:exec,mode=1777".to_owned());
        for room in ["/state/room", "/ram/room"] {
            let text = container.says(&["stack", "/inner", room, "", IN_A_STACK]);
            let text = text.trim_start_matches("inside: single true usual false\n");
            assert_eq!(text, CHANGED, "{name} {room}");
        }
    }
    Ok(())
}

fn commands_run_in_place() -> Verdict {
    needed()?;
    let container = Container::docker_default();
    for (user, script, expected) in [
        ("", "id -u; exit 3", "0\nExited(3)\n"),
        ("app", "echo $(id -u):$(id -g):$(id -G) $HOME $PWD", "1000:1000:1000 10 /home/app /\nExited(0)\n"),
        ("", "kill -9 $$", "Signaled(9)\n"),
        ("", "env | sort", "HOME=/root\nPATH=/bin:/usr/bin\nPWD=/\nSHLVL=1\nExited(0)\n"),
        ("", "umask; cat; ls /proc/self/fd | wc -l", "0022\n4\nExited(0)\n"),
        ("none", "true", "error: unable to find user none: no matching entries in passwd file\n"),
    ] {
        assert_eq!(container.says(&["in-place", user, script]), expected, "{user} {script}");
    }
    Ok(())
}

/// Leaves a process that has lost its parent and does not listen to signals, and looks for it after the step.
const DAEMON: &str = "(setsid sh -c 'trap \"\" TERM HUP; while :; do echo x >> /tmp/alive; sleep 0.01; done' \
    > /dev/null 2>&1 &); sleep 0.3";

fn daemon_is_gone(container: &Container, user: &str) {
    let root_script = "chmod 777 /tmp; exec true";
    assert_eq!(container.says(&["in-place", "", root_script]), "Exited(0)\n");
    // The container ends with the program, so that the program itself must find the daemon gone: its `run` returns only
    // when every process is, and what is left would hold the container's output open.
    let text = container.says(&["in-place", user, &format!("{DAEMON}; ls /tmp")]);
    assert_eq!(text, "alive\nExited(0)\n", "{user}");
}

fn processes_end_with_the_step_in_place() -> Verdict {
    needed()?;
    daemon_is_gone(&Container::docker_default(), "");
    Ok(())
}

fn processes_of_others_end_without_cap_kill() -> Verdict {
    needed()?;
    let container = Container::capable(LEAST, &dockers_profile());
    let text = container.says(&["in-place", "app", "(setsid sleep 1000 &); sleep 0.1; id -u"]);
    assert_eq!(text, "1000\nExited(0)\n");
    Ok(())
}

fn namespaces_run_in_a_container() -> Verdict {
    needed()?;
    // Podman's own profile lets nobody set a host name.
    for (container, name) in [(Container::kubernetes_default(), "buildkitsandbox"), (Container::new(&[]), "")]
    {
        let script = "/bin/busybox id -u; /bin/busybox hostname; exit 4";
        let text = container.says(&["namespaces", "/inner", "7:8", script]);
        assert!(text.starts_with(&format!("7\n{name}")) && text.ends_with("\nExited(4)\n"), "{text}");
    }
    Ok(())
}

/// Lets everything be done but what makes whole trees of mounts read-only at once.
const NO_MOUNT_SETATTR: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    {"names": ["mount_setattr"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#;

fn every_kind_of_mount_is_made_in_containers() -> Verdict {
    needed()?;
    let profile = tempfile::NamedTempFile::new().unwrap();
    fs::write(&profile, NO_MOUNT_SETATTR).unwrap();
    let no_mount_setattr = Container::capable(DOCKERS_CAPABILITIES, profile.path().to_str().unwrap());
    for (name, container) in [
        ("kubernetes", Container::kubernetes_default()),
        ("podman", Container::new(&[])),
        ("no mount_setattr", no_mount_setattr),
    ] {
        for work in ["/state/work", "/tmp/work"] {
            let text = container.says(&["everything", "/inner", work]);
            assert_eq!(text, everything::EXPECTED, "{name} {work}");
        }
    }
    let of_a_user = Container { owner: 1000, ..Container::new(&["--user=1000:1000"]) };
    let text = of_a_user.says(&["everything", "/inner", "/state/work"]);
    assert_eq!(text, format!("inside: single true usual false\n{}", everything::EXPECTED));
    Ok(())
}

/// Where credentials often are. In place a command could read them as the same user; under namespaces it sees the
/// container's `/proc`.
fn the_builders_environment_stays_its_own() -> Verdict {
    needed()?;
    let script = "/bin/busybox cat /proc/[0-9]*/environ 2>/dev/null | /bin/busybox grep -c hidden; \
        /bin/busybox ls /proc | /bin/busybox grep -c '^[0-9]'";
    for (mut container, arguments) in [
        (Container::docker_default(), vec!["in-place", "", script]),
        (Container::kubernetes_default(), vec!["namespaces", "/inner", "", script]),
    ] {
        container.options.push("--env=SECRET=hidden".to_owned());
        let text = container.says(&arguments);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "0", "{arguments:?}: {text}");
        assert!(lines[1].parse::<u32>().unwrap() > 2, "{text}");
    }
    Ok(())
}
