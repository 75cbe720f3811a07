//! What tutorials have their readers do, done as they say, with the executor image in kaniko's place.
//!
//! Where a tutorial needs the internet something local stands in: `ubuntu` is a Debian in a registry on this machine.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use zuwai_testkit::base::Base;
use zuwai_testkit::cache::scratch;
use zuwai_testkit::command::{must_run, run};
use zuwai_testkit::need::{PODMAN, REGISTRY, needs};
use zuwai_testkit::podman::{ENVIRONMENTS, Podman};
use zuwai_testkit::registry::{PASSWORD, Registry, RegistryOptions, USER};

/// A registry in which `library/ubuntu` is to be had.
fn registry() -> Registry {
    let registry = Registry::plain();
    registry.push(&format!("oci:{}:latest", Base::Debian.layout().display()), "library/ubuntu:latest");
    registry
}

fn ready() -> bool {
    needs(PODMAN) && needs(REGISTRY) && needs(Base::Debian.needs())
}

/// `FROM ubuntu` and an entry point that says hello, in a file of the tutorial's name.
fn hello(dir: &Path, registry: &Registry) {
    let text = format!(
        "FROM {}\nENTRYPOINT [\"/bin/bash\", \"-c\", \"echo hello\"]\n",
        registry.reference("library/ubuntu")
    );
    std::fs::write(dir.join("dockerfile"), text).unwrap();
}

fn lab(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/labs").join(name)).unwrap()
}

/// Plays a file, waits for a container to complete, and gives its log.
fn play(yaml: &str, dir: &Path, container: &str) -> String {
    let podman = Podman::shared();
    let file: PathBuf = dir.join("play.yaml");
    std::fs::write(&file, yaml).unwrap();
    let played = podman.play(&file);
    assert_eq!(played.code, 0, "{}", played.all());
    let code = must_run(podman.command().args(["wait", container]));
    let log = run(podman.command().args(["logs", container])).all();
    let state = must_run(podman.command().args(["inspect", "--format", "{{.State.Status}}", container]));
    let stopped = run(podman.command().args(["play", "kube", "--down"]).arg(&file));
    assert_eq!((code.trim(), state.trim()), ("0", "exited"), "{log}");
    assert_eq!(stopped.code, 0, "{}", stopped.all());
    log
}

/// Without the colours that kaniko's default format has.
fn plain(log: &str) -> String {
    let mut parts = log.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

fn assert_lines(log: &str, expected: &[&str]) {
    let mut rest = log;
    for text in expected {
        let at =
            rest.find(text).unwrap_or_else(|| panic!("no line with {text:?} (in this order) in:\n{log}"));
        rest = &rest[at..];
    }
}

#[test]
fn hello_image_is_pushed_pulled_and_says_hello() {
    if !ready() {
        return;
    }
    let (podman, registry) = (Podman::shared(), registry());
    for environment in ENVIRONMENTS {
        let dir = scratch("hello");
        hello(dir.path(), &registry);
        let name = format!("hello-{environment:?}").to_lowercase();
        let destination = format!("--destination={}", registry.reference(&name));
        let arguments = ["--dockerfile=/workspace/dockerfile", "--context=dir:///workspace", &destination];
        let built = podman.execute(environment, &[(dir.path(), "/workspace")], &arguments);
        assert_eq!(built.code, 0, "{environment:?}: {}", built.all());
        let log = built.all();
        assert_lines(
            &log,
            &[
                "Retrieving image manifest",
                "Skipping unpacking as no commands require it.",
                "ENTRYPOINT [\"/bin/bash\", \"-c\", \"echo hello\"]",
                "Pushing image to",
                "Pushed",
                "@sha256:",
            ],
        );
        assert!(plain(&log).contains("INFO[00"), "{log}");
        let image = podman.pull(&registry, &name);
        assert_eq!(podman.run::<&str>(&[], &image, &[]).stdout, "hello\n");
    }
}

#[test]
fn context_without_a_scheme_is_pushed_to_a_local_registry() {
    if !ready() {
        return;
    }
    let (podman, registry, dir) = (Podman::shared(), registry(), scratch("worker"));
    let text = format!(
        "FROM {}\nWORKDIR /src\nCOPY worker.sh .\nRUN chmod +x worker.sh\nCMD [\"./worker.sh\"]\n",
        registry.reference("library/ubuntu")
    );
    std::fs::write(dir.path().join("Dockerfile"), text).unwrap();
    std::fs::write(dir.path().join("worker.sh"), "#!/bin/sh\necho working\n").unwrap();
    for environment in ENVIRONMENTS {
        let destination = format!("--destination={}", registry.reference("worker-kaniko:latest"));
        let built = podman.execute(
            environment,
            &[(dir.path(), "/workspace")],
            &["--context=/workspace", &destination],
        );
        assert_eq!(built.code, 0, "{environment:?}: {}", built.all());
        let image = podman.pull(&registry, "worker-kaniko:latest");
        assert_eq!(podman.run::<&str>(&[], &image, &[]).stdout, "working\n", "{environment:?}");
    }
}

#[test]
fn no_push_builds_and_pushes_nothing() {
    if !ready() {
        return;
    }
    let (podman, registry, dir) = (Podman::shared(), registry(), scratch("no-push"));
    hello(dir.path(), &registry);
    let before = registry.requests().len();
    let arguments = ["--dockerfile=/workspace/dockerfile", "--context=dir://workspace", "--no-push"];
    for environment in ENVIRONMENTS {
        let built = podman.execute(environment, &[(dir.path(), "/workspace")], &arguments);
        assert_eq!(built.code, 0, "{environment:?}: {}", built.all());
        assert_lines(&built.all(), &["Skipping push to container registry due to --no-push flag"]);
    }
    let requests = registry.requests().split_off(before);
    assert!(
        requests.iter().all(|request| request.starts_with("GET ") || request.starts_with("HEAD ")),
        "{requests:#?}"
    );
}

#[test]
fn pod_with_a_volume_claim_completes() {
    if !ready() {
        return;
    }
    let (podman, registry, dir) = (Podman::shared(), registry(), scratch("pod"));
    podman.executor();
    let _ = run(podman.command().args(["volume", "rm", "-f", "dockerfile-claim"]));
    // Podman knows claims and makes a volume of one; of persistent volumes it knows nothing, so their folder is the claim's.
    let claim = dir.path().join("volume-claim.yaml");
    std::fs::write(&claim, lab("volume-claim.yaml")).unwrap();
    let played = podman.play(&claim);
    assert_eq!(played.code, 0, "{}", played.all());
    let folder = must_run(podman.command().args([
        "volume",
        "inspect",
        "--format",
        "{{.Mountpoint}}",
        "dockerfile-claim",
    ]));
    hello(Path::new(folder.trim()), &registry);
    let log = play(&lab("pod.yaml"), dir.path(), "kaniko-kaniko");
    assert_lines(
        &log,
        &[
            "Retrieving image manifest",
            "Skipping unpacking as no commands require it.",
            "ENTRYPOINT [\"/bin/bash\", \"-c\", \"echo hello\"]",
            "Skipping push to container registry due to --no-push flag",
        ],
    );
}

#[test]
fn persistent_volume_as_a_host_path_completes() {
    if !ready() {
        return;
    }
    let (podman, registry, dir) = (Podman::shared(), registry(), scratch("volume"));
    podman.executor();
    hello(dir.path(), &registry);
    // What a cluster does with volume.yaml and the claim: the pod gets the volume's folder.
    let volume = lab("volume.yaml");
    let path = volume
        .lines()
        .find_map(|line| line.trim().strip_prefix("path: "))
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert_eq!(path, "/home/docker/kaniko");
    let folder = dir.path().display().to_string();
    let bound = lab("pod.yaml").replace("name: kaniko\n", "name: kaniko-bound\n").replace(
        "persistentVolumeClaim:\n        claimName: dockerfile-claim",
        &format!("hostPath:\n        path: {folder}"),
    );
    let log = play(&bound, dir.path(), "kaniko-bound-kaniko-bound");
    assert_lines(&log, &["Skipping push to container registry due to --no-push flag"]);
}

#[test]
fn pod_with_an_init_container_shares_its_volume() {
    if !ready() {
        return;
    }
    let (podman, registry, dir) = (Podman::shared(), registry(), scratch("init"));
    podman.executor();
    let busybox = format!("oci:{}:latest", Base::Busybox.layout().display());
    podman.load(&busybox, "localhost/busybox:test");
    Base::Busybox.push(&registry);
    let log = play(
        &lab("init-container.yaml").replace("REGISTRY", &registry.address()),
        dir.path(),
        "kaniko-build-build-image",
    );
    assert_lines(&log, &["Pushing image to", "Pushed"]);
    let image = podman.pull(&registry, "rng-kaniko:latest");
    assert_eq!(podman.run::<&str>(&[], &image, &[]).stdout, "print(\"rng\")\n");
}

#[test]
fn pod_with_credentials_in_a_config_map_pushes() {
    if !ready() {
        return;
    }
    let (podman, plain, dir) = (Podman::shared(), registry(), scratch("config-map"));
    let guarded = RegistryOptions::plain().basic().start();
    podman.executor();
    hello(dir.path(), &plain);
    let config = guarded.docker_config(USER, PASSWORD);
    let config = std::fs::read_to_string(config.path().join("config.json")).unwrap();
    let yaml = lab("config-map.yaml")
        .replace("REGISTRY", &guarded.address())
        .replace("CONFIG", &config)
        .replace("CONTEXT", &dir.path().display().to_string());
    let log = play(&yaml, dir.path(), "kaniko-auth-kaniko");
    assert_lines(&log, &["Pushing image to", "Pushed"]);
    assert!(!log.contains(PASSWORD), "{log}");
    guarded.fetch("hello:tag", &dir.path().join("image"));
}
