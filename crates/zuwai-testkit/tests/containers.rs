//! The executor image in the environments that people run builds in: what it builds there works, equals BuildKit's, and what goes
//! wrong is said.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::path::Path;

use zuwai_testkit::base::{self, Base};
use zuwai_testkit::cache::scratch;
use zuwai_testkit::command::{Finished, must_run, program, run};
use zuwai_testkit::compare::{compare, report};
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{Need, ORACLE, PODMAN, REGISTRY, needs};
use zuwai_testkit::oracle::Oracle;
use zuwai_testkit::podman::{ENVIRONMENTS, Environment, Podman};
use zuwai_testkit::registry::{Registry, RegistryOptions};

const THREE_STAGES: &str = r#"
ARG BASE=debian
FROM REGISTRY/${BASE} AS tools
ARG PACKAGE
RUN apt-get update && \
    apt-get install -y --no-install-recommends $PACKAGE && \
    rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/*
RUN mkdir /out && cp -a "$(command -v $PACKAGE)" /out/ && chown -R 7:8 /out

FROM REGISTRY/busybox AS words
COPY . /src/
RUN cat /src/*.txt | sort > /words && ln /words /words-too

FROM REGISTRY/debian
LABEL made.by="three stages"
RUN useradd -m -u 1500 worker && rm -f /etc/*- /var/log/lastlog /var/log/faillog
COPY --from=tools /out /usr/local/bin/
COPY --from=words --chown=worker:worker /words /words-too /home/worker/
USER worker
WORKDIR /home/worker
ENV GREETING="hello from"
RUN id -un > who && tree --version > /dev/null
CMD ["/bin/sh", "-c", "echo $GREETING $(cat who): $(cat words | tr '\\n' ' ')"]
"#;

fn context(dir: &Path, dockerfile: &str, registry: &Registry) {
    std::fs::write(dir.join("Dockerfile"), dockerfile.replace("REGISTRY", &registry.address())).unwrap();
    std::fs::write(dir.join("one.txt"), "beta\n").unwrap();
    std::fs::write(dir.join("two.txt"), "alpha\n").unwrap();
}

fn ready() -> bool {
    needs(PODMAN) && needs(REGISTRY) && needs(Base::Debian.needs())
}

fn execute(environment: Environment, context: &Path, arguments: &[&str]) -> Finished {
    let arguments: Vec<&str> =
        ["--context=dir:///workspace"].into_iter().chain(arguments.iter().copied()).collect();
    Podman::shared().execute(environment, &[(context, "/workspace")], &arguments)
}

#[test]
fn three_stages_with_apt_build_push_run_and_equal_buildkit() {
    if !ready() || !needs(ORACLE) || !needs(&[Need::Program("umoci")]) {
        return;
    }
    let (oracle, podman, registry) = (Oracle::shared(), Podman::shared(), Registry::plain());
    base::push_all(&registry);
    let work = oracle.folder().join("three-stages");
    std::fs::create_dir_all(&work).unwrap();
    context(&work, THREE_STAGES, &registry);
    let flags = ["--build-arg=PACKAGE=tree".to_owned()];
    let theirs = tempfile::tempdir_in(oracle.folder()).unwrap();
    let theirs = oracle.build(&work, &work.join("Dockerfile"), &flags, &theirs.path().join("image")).unwrap();
    for environment in ENVIRONMENTS {
        let name = format!("three-{environment:?}:1").to_lowercase();
        let destination = format!("--destination={}", registry.reference(&name));
        let built = execute(environment, &work, &[&destination, &flags[0]]);
        assert_eq!(built.code, 0, "{environment:?}: {}", built.all());

        let image = podman.pull(&registry, &name);
        let ran = podman.run::<&str>(&[], &image, &[]);
        assert_eq!(ran.stdout, "hello from worker: alpha beta\n", "{environment:?}: {}", ran.all());

        let dir = scratch("fetched");
        registry.fetch(&name, dir.path());
        let ours = Image::skopeo(dir.path());
        assert_eq!(ours.problems(1), Vec::<String>::new(), "{environment:?}");
        let differences = compare(&theirs, &ours);
        assert!(differences.is_empty(), "{environment:?}\n{}", report(&differences, "BuildKit", "Zuwai", 40));
        unpacks_with_umoci(&registry, &name);
    }
}

/// Another reader than our own takes it.
fn unpacks_with_umoci(registry: &Registry, name: &str) {
    let dir = scratch("umoci");
    let layout = dir.path().join("layout");
    must_run(
        program("skopeo")
            .args([
                "copy",
                "--quiet",
                "--src-tls-verify=false",
                &format!("docker://{}", registry.reference(name)),
            ])
            .arg(format!("oci:{}:image", layout.display())),
    );
    must_run(
        program("umoci")
            .args(["unpack", "--image"])
            .arg(format!("{}:image", layout.display()))
            .arg(dir.path().join("bundle")),
    );
    let words = std::fs::read_to_string(dir.path().join("bundle/rootfs/home/worker/words")).unwrap();
    assert_eq!(words, "alpha\nbeta\n");
}

#[test]
fn failing_run_gives_its_exit_code_and_nothing_is_pushed() {
    if !ready() {
        return;
    }
    let (registry, dir) = (Registry::plain(), scratch("failing"));
    Base::Busybox.push(&registry);
    context(
        dir.path(),
        "FROM REGISTRY/busybox\nRUN echo before\nRUN echo said by the command && exit 42\n",
        &registry,
    );
    // Layers of steps that went well may be there already; nothing names them.
    let pushes = |registry: &Registry| {
        let is_image = |line: &&String| line.starts_with("PUT ") && line.contains("/manifests/");
        registry.requests().iter().filter(is_image).count()
    };
    let before = pushes(&registry);
    let destination = format!("--destination={}", registry.reference("failing"));
    for environment in ENVIRONMENTS {
        let built = execute(environment, dir.path(), &[&destination]);
        assert_eq!(built.code, 42, "{environment:?}: {}", built.all());
        assert!(built.all().contains("said by the command"), "{}", built.all());
    }
    assert_eq!(pushes(&registry), before);
}

#[test]
fn mounted_volumes_are_seen_by_run_and_are_not_in_the_image() {
    if !ready() {
        return;
    }
    let (podman, registry) = (Podman::shared(), Registry::plain());
    Base::Busybox.push(&registry);
    for environment in ENVIRONMENTS {
        let (dir, volume, out) = (scratch("volumes"), scratch("volume"), scratch("out"));
        std::fs::write(volume.path().join("given"), "from the volume\n").unwrap();
        let dockerfile = "FROM REGISTRY/busybox\nRUN cat /volume/given > /seen && echo back > /volume/back\n";
        context(dir.path(), dockerfile, &registry);
        let mounts = [(dir.path(), "/workspace"), (volume.path(), "/volume"), (out.path(), "/out")];
        let arguments = ["--context=dir:///workspace", "--no-push", "--oci-layout-path=/out/image"];
        let built = podman.execute(environment, &mounts, &arguments);
        assert_eq!(built.code, 0, "{environment:?}: {}", built.all());
        assert_eq!(std::fs::read_to_string(volume.path().join("back")).unwrap(), "back\n", "{environment:?}");
        let tree = zuwai_testkit::tree::Tree::of(&Image::layout(&out.path().join("image")));
        let left: Vec<_> = tree
            .iter()
            .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
            .filter(|path| {
                ["volume/", "workspace/", "out/", "kaniko/"].iter().any(|name| path.starts_with(name))
            })
            .collect();
        assert_eq!(left, Vec::<String>::new(), "{environment:?}");
        assert!(tree.get(b"seen").is_some());
    }
}

/// Variables that name files of credentials, and the files on the volume.
const CREDENTIALS: [(&str, &str); 8] = [
    ("REGISTRY_AUTH_FILE", "auth.json"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "google.json"),
    ("AWS_CONFIG_FILE", "aws-config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "aws-credentials"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "aws-token"),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "pod-token"),
    ("AZURE_FEDERATED_TOKEN_FILE", "azure-token"),
    ("AZURE_CLIENT_CERTIFICATE_PATH", "azure.pem"),
];

/// Puts files with a secret on a volume: those of [`CREDENTIALS`], those that they name, and a client certificate with its
/// key, whose names are returned.
fn registry_keys(volume: &Path) -> [&'static str; 2] {
    for (_, name) in CREDENTIALS {
        std::fs::write(volume.join(name), "secret.example").unwrap();
    }
    for (name, content) in [
        ("auth.json", r#"{"auths": {"secret.example": {}}}"#),
        (
            "google.json",
            r#"{"type": "external_account", "audience": "secret.example", "credential_source": {"file": "/home-volume/subject"}}"#,
        ),
        (
            "aws-config",
            "# secret.example\n[profile x]\nweb_identity_token_file = /home-volume/profile-token\n",
        ),
        ("subject", "secret.example"),
        ("profile-token", "secret.example"),
    ] {
        std::fs::write(volume.join(name), content).unwrap();
    }
    let certificate = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=secret.example"];
    let files = ["-keyout", "client.key", "-out", "client.pem"];
    must_run(program("openssl").current_dir(volume).arg("req").args(certificate).args(files));
    // Text around a certificate is passed over.
    for name in ["client.pem", "client.key"] {
        let text = std::fs::read_to_string(volume.join(name)).unwrap();
        std::fs::write(volume.join(name), format!("secret.example\n{text}")).unwrap();
    }
    ["client.pem", "client.key"]
}

#[test]
fn credentials_and_state_on_volumes_are_not_seen_by_run() {
    if !ready() {
        return;
    }
    let (podman, registry) = (Podman::shared(), Registry::plain());
    Base::Busybox.push(&registry);
    let (dir, home, token) = (scratch("hidden"), scratch("home"), scratch("token"));
    std::fs::create_dir(home.path().join(".docker")).unwrap();
    std::fs::write(home.path().join(".docker/config.json"), r#"{"auths": {"secret.example": {}}}"#).unwrap();
    std::fs::write(home.path().join("given"), "seen\n").unwrap();
    std::fs::write(token.path().join("token"), "secret.example").unwrap();
    let keys = registry_keys(home.path());
    let dockerfile = "FROM REGISTRY/busybox\nRUN cat /home-volume/given && ls -A /home-volume/.docker /home-volume/state && \\\n\
        found=$(grep -rl secret.example /home-volume /run /var || true) && echo \"found:$found.\" && \\\n\
        test -z \"$found\" && ! ls /kaniko\n";
    context(dir.path(), dockerfile, &registry);
    let mut flags = Environment::Kubernetes.flags();
    for (host, inside) in [
        (dir.path(), "/workspace"),
        (home.path(), "/home-volume"),
        (token.path(), "/var/run/secrets/kubernetes.io/serviceaccount"),
    ] {
        flags.extend(["-v".to_owned(), format!("{}:{inside}", host.display())]);
    }
    flags.push("--env=DOCKER_CONFIG=/home-volume/.docker".to_owned());
    flags.extend(CREDENTIALS.map(|(variable, name)| format!("--env={variable}=/home-volume/{name}")));
    let client =
        format!("--registry-client-cert=mutual.example=/home-volume/{}", keys.join(",/home-volume/"));
    let arguments =
        ["--context=dir:///workspace", "--no-push", "--kaniko-dir=/home-volume/state", client.as_str()];
    let built = podman.run(&flags, podman.executor(), &arguments);
    let all = built.all();
    assert_eq!(built.code, 0, "{all}");
    assert!(all.contains("seen\n") && all.contains("Isolation: namespaces"), "{all}");
    assert!(all.contains("/home-volume/.docker:\n") && !all.contains("config.json"), "{all}");
}

#[test]
fn outputs_that_other_tools_read() {
    if !ready() {
        return;
    }
    let (podman, registry) = (Podman::shared(), Registry::plain());
    Base::Busybox.push(&registry);
    for environment in ENVIRONMENTS {
        let (dir, out) = (scratch("outputs"), scratch("out"));
        context(
            dir.path(),
            "FROM REGISTRY/busybox\nCOPY one.txt /\nCMD [\"cat\", \"/one.txt\"]\n",
            &registry,
        );
        let destinations =
            ["a:1", "a:2", "b:latest"].map(|name| format!("--destination={}", registry.reference(name)));
        let mut arguments: Vec<&str> = vec![
            "--context=dir:///workspace",
            "--tar-path=/out/image.tar",
            "--digest-file=/out/digest",
            "--image-name-with-digest-file=/out/names",
            "--image-name-tag-with-digest-file=/out/tags",
        ];
        arguments.extend(destinations.iter().map(String::as_str));
        let built =
            podman.execute(environment, &[(dir.path(), "/workspace"), (out.path(), "/out")], &arguments);
        assert_eq!(built.code, 0, "{environment:?}: {}", built.all());

        let read = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
        let digest = read("digest").trim().to_owned();
        for name in ["a:1", "a:2", "b:latest"] {
            let image = format!("docker://{}", registry.reference(name));
            let found = must_run(program("skopeo").args([
                "inspect",
                "--tls-verify=false",
                "--format",
                "{{.Digest}}",
                &image,
            ]));
            assert_eq!(found.trim(), digest, "{environment:?} {name}");
        }
        assert!(
            read("names").contains(&format!("{}@{digest}", registry.reference("a"))),
            "{}",
            read("names")
        );
        assert!(
            read("tags").contains(&format!("{}@{digest}", registry.reference("a:2"))),
            "{}",
            read("tags")
        );
        let loaded = run(podman.command().args(["load", "-i"]).arg(out.path().join("image.tar")));
        assert_eq!(loaded.code, 0, "{}", loaded.all());
        let ran = podman.run::<&str>(&[], &registry.reference("a:1"), &[]);
        assert_eq!(ran.stdout, "beta\n", "{}", ran.all());
    }
}

#[test]
fn refusals_are_clear_and_exit_with_one() {
    if !ready() {
        return;
    }
    let registry = Registry::plain();
    Base::Busybox.push(&registry);
    let guarded = RegistryOptions::plain().basic().start();
    let read_only = RegistryOptions::plain().read_only().start();
    let fine = "FROM REGISTRY/busybox\nENV A=b\n";
    let guarded_name = guarded.reference("x/y:1");
    let read_only_name = read_only.reference("x/y:1");
    let name = registry.reference("x/y:1");
    let cases: &[(&str, &str, &[&str])] = &[
        (fine, &guarded_name, &["x/y", "401"]),
        (fine, &read_only_name, &["x/y"]),
        (fine, "127.0.0.1:1/x/y:1", &["127.0.0.1:1"]),
        (fine, "not//a:tag:at all", &["not//a:tag:at all"]),
        ("FROM REGISTRY/nothing-here:7\n", &name, &["nothing-here"]),
        ("FROM REGISTRY/busybox\nCOPY nothing /\n", &name, &["nothing", "Dockerfile"]),
        ("FROM REGISTRY/busybox\nBOIL water\n", &name, &["BOIL", "Dockerfile"]),
    ];
    for environment in [Environment::Docker, Environment::Kubernetes] {
        for (dockerfile, destination, expected) in cases {
            let dir = scratch("refusal");
            context(dir.path(), dockerfile, &registry);
            let built = execute(environment, dir.path(), &[&format!("--destination={destination}")]);
            let all = built.all();
            assert_eq!(built.code, 1, "{environment:?} {destination} {dockerfile}: {all}");
            assert!(!all.contains("panicked"), "{all}");
            for text in *expected {
                assert!(all.contains(text), "{environment:?}: {text} not in {all}");
            }
        }
    }
    let requests = registry.requests();
    assert!(!requests.iter().any(|line| line.starts_with("PUT /v2/x/y/manifests")), "{requests:#?}");
}
