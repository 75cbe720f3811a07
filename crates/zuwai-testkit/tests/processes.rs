//! Commands as processes, in containers: as the first process there and not, in place and with namespaces.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use zuwai_testkit::base::Base;
use zuwai_testkit::cache::scratch;
use zuwai_testkit::command::{Finished, must_run, run};
use zuwai_testkit::need::{PODMAN, REGISTRY, find_program, needs};
use zuwai_testkit::podman::{Environment, Podman};
use zuwai_testkit::registry::Registry;
use zuwai_testkit::zuwai;

/// Where commands run in place, and where with namespaces.
const MODES: [(Environment, &str); 2] =
    [(Environment::Docker, "Isolation: in-place"), (Environment::Kubernetes, "Isolation: namespaces")];

/// A registry with `busybox`, and what is mounted into containers.
struct Place {
    podman: &'static Podman,
    registry: Registry,
    context: tempfile::TempDir,
    state: tempfile::TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        if !needs(PODMAN) || !needs(REGISTRY) {
            return None;
        }
        let registry = Registry::plain();
        Base::Busybox.push(&registry);
        let (context, state) = (scratch("context"), scratch("state"));
        Some(Self { podman: Podman::shared(), registry, context, state })
    }

    /// The flags of `podman run` for this Dockerfile, where `BASE` is busybox.
    fn flags(&self, environment: Environment, dockerfile: &str) -> Vec<String> {
        let text = dockerfile.replace("BASE", &self.registry.reference("busybox"));
        std::fs::write(self.context.path().join("Dockerfile"), text).unwrap();
        let mut flags = environment.flags();
        for (host, inside) in [(self.context.path(), "/workspace"), (self.state.path(), "/state")] {
            flags.extend(["-v".to_owned(), format!("{}:{inside}", host.display())]);
        }
        flags
    }

    fn builds(&self, environment: Environment, dockerfile: &str) -> Finished {
        self.podman.run(&self.flags(environment, dockerfile), self.podman.executor(), &ARGUMENTS)
    }

    /// What builds left of their state.
    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.state.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("build-")).collect()
    }
}

const ARGUMENTS: [&str; 3] = ["--context=dir:///workspace", "--no-push", "--kaniko-dir=/state"];

/// Reads until a line is there, and gives all that came before it.
fn read_until(lines: &mut impl BufRead, expected: &str) -> String {
    let mut before = String::new();
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "{expected} did not come:\n{before}");
        if line.trim_end() == expected {
            return before;
        }
        before += &line;
    }
}

/// A container that runs, with its name.
struct Running<'a> {
    podman: &'a Podman,
    name: String,
    child: Child,
}

impl<'a> Running<'a> {
    fn start(podman: &'a Podman, flags: &[String]) -> Self {
        let name = format!("processes-{}-{}", std::process::id(), flags.len());
        let mut command: Command = podman.command();
        command.args(["run", "--rm", "--network=host", "--name", &name]).args(flags);
        command.arg(podman.executor()).args(ARGUMENTS);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { podman, name, child }
    }

    /// Ends it in one of podman's ways, and gives the exit code and the rest of its output.
    fn end(mut self, arguments: &[&str]) -> (i32, String) {
        let mut lines = BufReader::new(self.child.stdout.take().unwrap());
        read_until(&mut lines, "ready");
        must_run(self.podman.command().args(arguments).arg(&self.name));
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code().unwrap(), rest)
    }
}

#[test]
fn a_container_that_is_told_to_end_does_and_leaves_nothing() {
    let Some(place) = Place::new() else { return };
    let dockerfile =
        "FROM BASE\nRUN trap 'echo told; exit 5' TERM INT; echo ready; while :; do sleep 0.05; done\n";
    for (environment, _) in MODES {
        for init in [false, true] {
            if init && find_program("catatonit").is_none() {
                eprintln!("not tried with --init: there is no catatonit");
                continue;
            }
            for (arguments, code) in [
                (&["stop", "--time=60"][..], 143),
                (&["kill", "--signal=TERM"], 143),
                (&["kill", "--signal=INT"], 130),
            ] {
                let mut flags = place.flags(environment, dockerfile);
                if init {
                    flags.push("--init".to_owned());
                }
                let running = Running::start(place.podman, &flags);
                let ended = running.end(arguments);
                assert_eq!(ended, (code, "told\n".to_owned()), "{environment:?} {init} {arguments:?}");
                assert_eq!(place.left(), Vec::<String>::new(), "{environment:?} {init} {arguments:?}");
            }
        }
    }
}

#[test]
fn a_build_in_place_that_is_stopped_gives_the_container_its_files_back() {
    let Some(place) = Place::new() else { return };
    let folder = scratch("program");
    std::fs::copy(zuwai::binary(), folder.path().join("zuwai")).unwrap();
    let dockerfile = "FROM BASE\nRUN touch /made /state/ready && while :; do sleep 0.05; done\n";
    let mut flags = place.flags(Environment::Docker, dockerfile);
    flags.extend(["-v".to_owned(), format!("{}:/program", folder.path().display())]);
    let image = place.podman.pull(&place.registry, "busybox");
    // While it builds there is nothing but what the shell has built in.
    let script = "echo mine > /mine
        /program/zuwai executor --context=dir:///workspace --no-push --kaniko-dir=/state --isolation=in-place & builder=$!
        while [ ! -e /state/ready ]; do :; done
        kill -TERM $builder; wait $builder; echo code $?
        cat /mine; ls -d /made /state/build-* 2> /dev/null; echo end";
    let ran = place.podman.run(&flags, &image, &["sh", "-c", script]);
    assert!(ran.stdout.ends_with("code 143\nmine\nend\n"), "{}", ran.all());
}

#[test]
fn daemons_end_with_the_step_and_no_zombie_stays() {
    let Some(place) = Place::new() else { return };
    let dockerfile = r#"FROM BASE
RUN nohup sleep 1234 > /dev/null 2>&1 & setsid sleep 1234 & \
    (trap '' TERM HUP; setsid sh -c '(while :; do echo x >> /alive; sleep 0.01; done) &' &) ; \
    while [ ! -s /alive ]; do sleep 0.01; done
RUN before=$(wc -c < /alive); sleep 0.2; [ $before = $(wc -c < /alive) ] && ! ps | grep '[s]leep 1234' && echo quiet
RUN chain() { (chain &); }; echo $$; chain; echo started
RUN for i in $(seq 100); do (true &); done; sleep 0.2; echo zombies $(grep -l '^State:.Z' /proc/[0-9]*/status | wc -l)
"#;
    for (environment, mode) in MODES {
        let built = place.builds(environment, dockerfile);
        let all = built.all();
        assert_eq!(built.code, 0, "{all}");
        assert!(all.contains(mode) && built.stdout.contains("quiet\n"), "{all}");
        assert!(built.stdout.contains("started\nzombies 0\n"), "{all}");
        assert_eq!(place.left(), Vec::<String>::new());
    }
}

/// Tries every way into every process, and says which let it in. Its own are the one that runs it and those below.
const LOOK: &str = r#"#!/bin/sh
own=" $$ "
for process in /proc/[0-9]*; do
    id=${process#/proc/}
    tr '\0' '\n' < $process/environ 2> /dev/null | grep -q '^MINE=' && echo environ $id $(cat $process/comm)
    tr '\0' ' ' < $process/cmdline 2> /dev/null | grep -q 'not-for-command[s]' && echo arguments $id
    case "$(cat $process/comm 2> /dev/null)" in zuwai*|executor*) ;; *) continue ;; esac
    for file in mem maps auxv; do
        (head -c 1 $process/$file > /dev/null) 2> /dev/null && echo $file $id
    done
    for link in root cwd exe fd/0 fd/1 fd/2 fd/3 fd/4 fd/5; do
        readlink $process/$link > /dev/null 2>&1 && echo $link $id
        (head -c 0 $process/$link > /dev/null) 2> /dev/null && echo opened $link $id
    done
done
echo looked
"#;

#[test]
fn commands_cannot_look_into_builder_and_helper() {
    let Some(place) = Place::new() else { return };
    std::fs::write(place.context.path().join("look"), LOOK).unwrap();
    let dockerfile = "FROM BASE\nCOPY look /look\nRUN --mount=type=secret,id=x,required sh /look\n";
    for (environment, mode) in MODES {
        let secret = ["--env=MINE=not-for-commands".to_owned()];
        let mut flags = place.flags(environment, dockerfile);
        flags.extend(secret);
        let arguments = [&ARGUMENTS[..], &["--secret=id=x,env=MINE"]].concat();
        let built = place.podman.run(&flags, place.podman.executor(), &arguments);
        assert!(built.code == 0 && built.all().contains(mode), "{}", built.all());
        assert_eq!(built.stdout, "looked\n", "{environment:?}: {}", built.all());
    }
}

#[test]
fn secrets_and_keys_on_volumes_are_not_seen_by_run() {
    let Some(place) = Place::new() else { return };
    let secrets = scratch("secrets");
    let key = secrets.path().join("key");
    for (name, text) in [("one", "not-for-commands"), ("real", "not-for-commands"), ("given", "seen\n")] {
        std::fs::write(secrets.path().join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("real", secrets.path().join("link")).unwrap();
    must_run(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "not-for-commands", "-f"])
            .arg(&key),
    );
    let dockerfile = "FROM BASE\n\
        RUN --mount=type=secret,id=one,required --mount=type=secret,id=two,required --mount=type=ssh,required \\\n\
        [ $(cat /run/secrets/one) = $(cat /run/secrets/two) ] && cat /volume/given && \\\n\
        ! grep -r not-for-command[s] /volume/one /volume/link /volume/real && ! grep -q PRIVATE /volume/key\n";
    let mut flags = place.flags(Environment::Kubernetes, dockerfile);
    flags.extend(["-v".to_owned(), format!("{}:/volume", secrets.path().display())]);
    let arguments = [
        &ARGUMENTS[..],
        &["--secret=id=one,src=/volume/one", "--secret=id=two,src=/volume/link", "--ssh=default=/volume/key"],
    ]
    .concat();
    let built = place.podman.run(&flags, place.podman.executor(), &arguments);
    assert!(built.code == 0 && built.all().contains("Isolation: namespaces"), "{}", built.all());
    assert_eq!(built.stdout, "seen\n", "{}", built.all());
}

#[test]
fn a_command_that_takes_too_much_memory_is_said_to() {
    let Some(place) = Place::new() else { return };
    // The command itself, and a program that a shell runs.
    let dockerfiles = ["exec dd", "dd"]
        .map(|dd| format!("FROM BASE\nRUN {dd} if=/dev/zero of=/dev/null bs=400M count=1 || exit $?\n"));
    // Podman's monitor notes in its working directory that there was too little memory.
    let notes = scratch("notes");
    for ((environment, _), dockerfile) in
        MODES.iter().flat_map(|mode| dockerfiles.iter().map(move |text| (mode, text)))
    {
        let mut command = place.podman.command();
        command.current_dir(notes.path()).args(["run", "--rm", "--network=host"]);
        command.args(["--memory=128m", "--memory-swap=128m"]).args(place.flags(*environment, dockerfile));
        let built = run(command.arg(place.podman.executor()).args(ARGUMENTS));
        assert_eq!(built.code, 137, "{environment:?}: {}", built.all());
        assert!(built.stderr.contains("for want of memory"), "{environment:?}: {}", built.all());
    }
}
