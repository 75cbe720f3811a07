//! Commands as processes, on a machine: how they are told to end, what they inherit, where their output goes.

#![allow(clippy::disallowed_methods)] // /proc alone is read whole

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use zuwai_testkit::Registry;
use zuwai_testkit::base::Base;
use zuwai_testkit::command::clean;
use zuwai_testkit::need::{Need, needs};

/// Says `ready`, waits, and says so when it is told to end.
const PATIENT: &str = "trap 'echo told; exit 5' TERM INT HUP QUIT; echo ready; while :; do sleep 0.05; done";

/// As the first process of a container.
const AS_FIRST: [&str; 5] = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"];

/// A registry with `busybox`, and directories for builds.
struct Place {
    dir: tempfile::TempDir,
    registry: Registry,
}

impl Place {
    fn new() -> Option<Self> {
        if !needs(&[Need::Root, Need::Program("unshare"), Need::Program("docker-registry")]) {
            return None;
        }
        let registry = Registry::plain();
        Base::Busybox.push(&registry);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("context")).unwrap();
        Some(Self { dir, registry })
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Starts a build of a Dockerfile, where `BASE` is busybox, through these words.
    fn start(&self, wrapper: &[&str], flags: &[&str], dockerfile: &str) -> Building {
        let text = dockerfile.replace("BASE", &self.registry.reference("busybox"));
        fs::write(self.dir.path().join("context/Dockerfile"), text).unwrap();
        let program = env!("CARGO_BIN_EXE_zuwai");
        let mut command = match wrapper {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        clean(&mut command);
        command
            .args(["executor", "--verbosity=error", "--no-push", "--isolation=namespaces"])
            .arg(format!("--kaniko-dir={}", self.state().display()))
            .arg(format!("--context={}", self.dir.path().join("context").display()))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.dir.path().join("log")).unwrap());
        if wrapper.is_empty() {
            // A group of its own, as a shell makes it.
            command.process_group(0);
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Building { child, lines, is_wrapped: !wrapper.is_empty(), log: self.dir.path().join("log") }
    }

    /// What a build leaves of its state.
    fn left(&self) -> Vec<PathBuf> {
        fs::read_dir(self.state()).map_or(Vec::new(), |entries| {
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("build-"))
                .collect()
        })
    }
}

struct Building {
    child: Child,
    lines: BufReader<ChildStdout>,
    is_wrapped: bool,
    log: PathBuf,
}

impl Building {
    /// Waits for a line of a command.
    fn says(&mut self, expected: &str) {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{expected}\n"), "{}", fs::read_to_string(&self.log).unwrap());
    }

    /// The program's own process.
    fn id(&self) -> u32 {
        let id = self.child.id();
        if !self.is_wrapped {
            return id;
        }
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.trim().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let killed = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// The exit code, and what commands said after what was read. That the output ends means that nobody is left who
    /// holds it.
    fn ends(mut self) -> (i32, Vec<u8>) {
        let mut rest = Vec::new();
        self.lines.read_to_end(&mut rest).unwrap();
        (self.child.wait().unwrap().code().unwrap(), rest)
    }
}

#[test]
fn signals_end_the_step_and_the_build_leaves_nothing() {
    let Some(place) = Place::new() else { return };
    for wrapper in [&[][..], &AS_FIRST] {
        for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
            let mut building = place.start(wrapper, &[], &format!("FROM BASE\nRUN {PATIENT}\n"));
            building.says("ready");
            assert_eq!(place.left().len(), 1);
            building.signal(name);
            let (ended, rest) = building.ends();
            assert_eq!((ended, String::from_utf8_lossy(&rest).as_ref()), (code, "told\n"), "{name}");
            assert_eq!(place.left(), Vec::<PathBuf>::new(), "{name}");
        }
    }
}

#[test]
fn a_command_that_ignores_signals_is_killed() {
    let Some(place) = Place::new() else { return };
    let mut building =
        place.start(&[], &[], "FROM BASE\nRUN trap '' TERM; echo ready; while :; do sleep 0.05; done\n");
    building.says("ready");
    building.signal("TERM");
    assert_eq!(building.ends(), (143, Vec::new()));
    assert_eq!(place.left(), Vec::<PathBuf>::new());
}

#[test]
fn a_second_signal_ends_the_build_at_once() {
    let Some(place) = Place::new() else { return };
    let stubborn = "trap 'echo told' TERM; trap '' INT; echo ready; while :; do sleep 0.05; done";
    let mut building = place.start(&[], &[], &format!("FROM BASE\nRUN {stubborn}\n"));
    building.says("ready");
    building.signal("TERM");
    building.says("told");
    building.signal("INT");
    assert_eq!(building.ends().0, 130);
}

#[test]
fn a_signal_ends_a_build_that_waits_for_a_registry() {
    let Some(place) = Place::new() else { return };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("FROM {}/image\nRUN true\n", silent.local_addr().unwrap());
    let building = place.start(&[], &[], &base);
    let _connection = silent.accept().unwrap();
    building.signal("TERM");
    assert_eq!(building.ends(), (143, Vec::new()));
    assert_eq!(place.left(), Vec::<PathBuf>::new());
}

#[test]
fn a_signal_ends_a_build_that_makes_a_layer() {
    let Some(place) = Place::new() else { return };
    let dockerfile = "FROM BASE\nRUN head -c 400000000 /dev/urandom > /large\n";
    let building = place.start(&[], &["--verbosity=info"], dockerfile);
    while !fs::read_to_string(&building.log).unwrap().contains("Taking snapshot") {
        std::thread::sleep(Duration::from_millis(10));
    }
    building.signal("TERM");
    assert_eq!(building.ends(), (143, Vec::new()));
    assert_eq!(place.left(), Vec::<PathBuf>::new());
}

#[test]
fn the_exit_code_is_the_commands_own() {
    let Some(place) = Place::new() else { return };
    for (script, code) in
        [("true", 0), ("exit 42", 42), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("no-such-command", 127)]
    {
        let building = place.start(&[], &[], &format!("FROM BASE\nRUN {script}\n"));
        assert_eq!(building.ends().0, code, "{script}");
        assert_eq!(place.left(), Vec::<PathBuf>::new(), "{script}");
    }
}

#[test]
fn output_is_what_the_command_wrote() {
    let Some(place) = Place::new() else { return };
    let script = r"head -c 10485760 /dev/zero | tr '\0' '\377'; printf 'a\0b\r\033[1m\nno end'";
    let building = place.start(&[], &[], &format!("FROM BASE\nRUN {script}\n"));
    let (code, output) = building.ends();
    assert_eq!(code, 0);
    let (long, rest) = output.split_at(10 << 20);
    assert!(long.iter().all(|byte| *byte == 0xff));
    assert_eq!(rest, b"a\0b\r\x1b[1m\nno end");
}

#[test]
fn output_of_stages_side_by_side_is_in_labelled_lines() {
    let Some(place) = Place::new() else { return };
    let talk = |name: &str| {
        format!(
            "for i in $(seq 200); do printf '{name} '; echo {name} $i; echo {name} error >&2; done; printf '{name} end'"
        )
    };
    let dockerfile = format!(
        "FROM BASE AS one\nRUN {}; touch /one\nFROM BASE AS two\nRUN {}; touch /two\n\
         FROM BASE\nCOPY --from=one /one /\nCOPY --from=two /two /\nRUN echo last\n",
        talk("1"),
        talk("2")
    );
    let (code, output) = place.start(&[], &["--jobs=2"], &dockerfile).ends();
    let output = String::from_utf8(output).unwrap();
    assert_eq!(code, 0, "{output}");
    let of = |label: &str| -> String {
        output.lines().filter_map(|line| line.strip_prefix(label)).map(|line| format!("{line}\n")).collect()
    };
    for (label, name) in [("[one] ", "1"), ("[two] ", "2")] {
        let expected: String = (1..=200).map(|number| format!("{name} {name} {number}\n")).collect();
        assert_eq!(of(label), format!("{expected}{name} end\n"));
    }
    assert_eq!(output.lines().count(), 2 * 201 + 1, "{output}");
    let (code, output) = place.start(&[], &["--jobs=1"], &dockerfile).ends();
    let plain: String = ["1", "2"]
        .map(|name| {
            (1..=200).map(|number| format!("{name} {name} {number}\n")).collect::<String>() + name + " end"
        })
        .concat();
    assert_eq!((code, String::from_utf8(output).unwrap()), (0, plain + "last\n"));
}

#[test]
fn daemons_and_orphans_end_with_the_step_and_no_zombie_stays() {
    let Some(place) = Place::new() else { return };
    for wrapper in [&[][..], &AS_FIRST] {
        let dockerfile = r#"FROM BASE
RUN nohup sleep 1000 > /dev/null 2>&1 & setsid sleep 1000 & \
    (trap '' TERM HUP; setsid sh -c '(while :; do echo x >> /alive; sleep 0.01; done) &' &) ; \
    while [ ! -s /alive ]; do sleep 0.01; done
RUN before=$(wc -c < /alive); sleep 0.2; [ $before = $(wc -c < /alive) ] && echo quiet
RUN for i in $(seq 100); do (true &); done; sleep 0.2; echo zombies $(grep -l '^State:.Z' /proc/[0-9]*/status | wc -l)
"#;
        let building = place.start(wrapper, &[], dockerfile);
        let (code, output) = building.ends();
        assert_eq!((code, String::from_utf8_lossy(&output).as_ref()), (0, "quiet\nzombies 0\n"));
    }
}

#[test]
fn commands_inherit_neither_environment_nor_descriptors() {
    let Some(place) = Place::new() else { return };
    let dockerfile = "FROM BASE\nENV SEEN=own\nRUN env | cut -d= -f1 | sort | tr '\\n' ' '; ls /proc/self/fd | tr '\\n' ' '\n";
    let wrapper =
        ["env", "MINE=not-for-commands", "sh", "-c", "exec 5< /etc/passwd 9> /dev/null; exec \"$@\"", "sh"];
    let (code, output) = place.start(&wrapper, &[], dockerfile).ends();
    let expected = "HOME PATH PWD SEEN SHLVL 0 1 2 3 ";
    assert_eq!((code, String::from_utf8_lossy(&output).as_ref()), (0, expected));
}

#[test]
fn secrets_are_in_no_argument_or_environment_and_the_state_is_its_owners() {
    let Some(place) = Place::new() else { return };
    let dockerfile = format!("FROM BASE\nRUN --mount=type=secret,id=x,required {PATIENT}\n");
    let wrapper = ["env", "MINE=not-for-commands"];
    let mut building = place.start(&wrapper, &["--secret=id=x,env=MINE"], &dockerfile);
    // `env` becomes the program.
    building.is_wrapped = false;
    building.says("ready");
    let mut looked_at = 0;
    for process in descendants(building.child.id()) {
        for file in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&text).contains("not-for-commands"), "{process}/{file}");
        }
        looked_at += 1;
    }
    assert!(looked_at >= 3, "helper, first process and command: {looked_at}");
    for state in place.left() {
        assert_eq!(fs::metadata(state).unwrap().permissions().mode() & 0o777, 0o700);
    }
    building.signal("TERM");
    assert_eq!(building.ends().0, 143);
}

fn descendants(of: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    let children = text.split_whitespace().map(|word| word.parse().unwrap());
    children.flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}
