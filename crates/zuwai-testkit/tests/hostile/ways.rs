//! The four ways to build, each with what is outside of its root listed before and after.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use zuwai_testkit::command::{Finished, program, run};
use zuwai_testkit::image::Image;
use zuwai_testkit::podman::{Environment, Podman};
use zuwai_testkit::private::{Caller, PLACE, USER_ID, zuwai_in};
use zuwai_testkit::zuwai::binary;

use crate::canary;

/// A way to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Namespaces, by the machine's root.
    Machine,
    /// Namespaces, by an ordinary user of the machine.
    User,
    /// Namespaces in a container that has its state in itself: no overlay.
    Kubernetes,
    /// In place.
    Docker,
}

/// What came of a build.
#[derive(Debug)]
pub struct Built {
    /// Exit code.
    pub code: i32,
    /// Everything it printed.
    pub text: String,
    /// The image, if it succeeded.
    pub image: Option<Image>,
    /// What is not as before outside of the root.
    pub changed: Vec<String>,
}

/// No build of this suite takes a tenth of it.
const SECONDS: &str = "300";

/// Lists the container's own files, builds, and lists them again: the content of all but the two large programs. Directories' times and
/// sizes change when something in them is moved aside and back.
const IN_CONTAINER: &str = r#"
    kept='-path /kaniko/cache-mounts -prune -o'
    list() {
        find / -xdev $kept ! -type d -exec stat -c '%n %F %a %u:%g %s %Y' {} + | sort
        find / -xdev $kept -type d -exec stat -c '%n %a %u:%g' {} + | sort
        find / -xdev $kept -type f -size -256k -exec sha1sum {} + | sort
    }
    mkdir -p /kaniko && cp /program/zuwai /kaniko/executor && echo mine > /mine && ln -s mine /link && mkfifo /etc/pipe
    list > /mnt/out/before
    timeout -k 10 "$0" /kaniko/executor "$@"
    code=$?
    list > /mnt/out/after
    exit $code
"#;

impl Way {
    /// How the program calls it in its log.
    pub fn isolation(self) -> &'static str {
        match self {
            Self::Machine | Self::User | Self::Kubernetes => "Isolation: namespaces",
            Self::Docker => "Isolation: in-place",
        }
    }

    /// Whether it can be given little room.
    pub fn takes_room(self) -> bool {
        matches!(self, Self::Machine | Self::User)
    }

    /// Builds `work/case`, with its state on a file system of the size `room`.
    pub fn build(self, work: &Path, room: Option<&str>, busybox: &str) -> Built {
        let place = work.join(format!("{self:?}"));
        std::fs::create_dir_all(place.join("out")).unwrap();
        canary::plant(&place.join("canary"));
        // In a container the canary is a volume that steps see, on which mount points are made for a step and taken away.
        let ctime = matches!(self, Self::Machine | Self::User);
        let before = canary::list(&place.join("canary"), ctime);
        let (finished, mut changed) = match self {
            Self::Machine => on_machine(Caller::Root, work, &place, room),
            Self::User => on_machine(Caller::User, work, &place, room),
            Self::Kubernetes => in_container(Environment::Kubernetes, work, &place, busybox),
            Self::Docker => in_container(Environment::Docker, work, &place, busybox),
        };
        changed.extend(canary::changes(&before, &canary::list(&place.join("canary"), ctime)));
        let image = (finished.code == 0).then(|| Image::layout(&place.join("out/image")));
        Built { code: finished.code, text: finished.all(), image, changed }
    }
}

fn on_machine(caller: Caller, work: &Path, place: &Path, room: Option<&str>) -> (Finished, Vec<String>) {
    // Outside of the state directory, and beside it.
    let state = place.join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(place.join("beside"), "beside\n").unwrap();
    let copied = run(program("cp").arg("-a").arg(work.join("case")).arg(place.join("case")));
    assert_eq!(copied.code, 0, "{}", copied.all());
    if caller == Caller::User {
        for folder in [&state, &place.join("out")] {
            std::os::unix::fs::chown(folder, Some(USER_ID), Some(USER_ID)).unwrap();
        }
    }
    let mut command = zuwai_in(place, caller);
    command.env("ROOM", room.unwrap_or_default());
    command.arg("build").args(["--root-dir", &format!("{PLACE}/state")]);
    command.args(["-f", &format!("{PLACE}/case/Dockerfile")]);
    command.args([
        "-o",
        &format!("type=oci,dest={PLACE}/out/image,tar=false"),
        &format!("{PLACE}/case/context"),
    ]);
    let finished = run(&mut limited(&command));
    let left = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let left = left.filter(|path| !path.ends_with("cache-mounts"));
    let mut changed: Vec<_> =
        left.map(|path| format!("left in the state directory: {}", path.display())).collect();
    if std::fs::read(place.join("beside")).unwrap() != b"beside\n" {
        changed.push("the file beside the state directory".to_owned());
    }
    (finished, changed)
}

/// The command, ended if it hangs: exit code 124, or 137 if it did not end by itself even then.
fn limited(command: &Command) -> Command {
    let mut limited = program("timeout");
    limited.args(["--kill-after=10", SECONDS]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

fn in_container(
    environment: Environment,
    work: &Path,
    place: &Path,
    busybox: &str,
) -> (Finished, Vec<String>) {
    let out = place.join("out");
    std::fs::set_permissions(&out, Permissions::from_mode(0o777)).unwrap();
    let program = place.join("program");
    std::fs::create_dir(&program).unwrap();
    std::fs::hard_link(binary(), program.join("zuwai"))
        .or_else(|_| std::fs::copy(binary(), program.join("zuwai")).map(drop))
        .unwrap();
    let mut flags = environment.flags();
    for (host, inside) in [
        (&place.join("canary"), "/mnt/canary"),
        (&work.join("case"), "/mnt/case"),
        (&out, "/mnt/out"),
        (&program, "/program"),
    ] {
        flags.extend(["-v".to_owned(), format!("{}:{inside}", host.display())]);
    }
    let arguments = [
        "sh",
        "-c",
        IN_CONTAINER,
        SECONDS,
        "--context=dir:///mnt/case/context",
        "--dockerfile=/mnt/case/Dockerfile",
        "--no-push",
        "--oci-layout-path=/mnt/out/image",
    ];
    let finished = Podman::shared().run(&flags, busybox, &arguments);
    let list =
        |name: &str| String::from_utf8_lossy(&std::fs::read(out.join(name)).unwrap_or_default()).into_owned();
    let (before, after) = (list("before"), list("after"));
    assert!(before.contains("/mine"), "the container did not start: {}", finished.all());
    let gone = before.lines().filter(|line| !after.lines().any(|other| other == *line));
    let new = after.lines().filter(|line| !before.lines().any(|other| other == *line));
    let changed =
        gone.map(|line| format!("gone: {line}")).chain(new.map(|line| format!("new: {line}"))).collect();
    (finished, changed)
}
