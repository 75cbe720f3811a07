//! Building in the `/` of a container that has files of its own: an image with the executor copied into it.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use tempfile::TempDir;
use zuwai_testkit::base::Base;
use zuwai_testkit::cache::scratch;
use zuwai_testkit::command::Finished;
use zuwai_testkit::compare::{compare, report};
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{Need, PODMAN, REGISTRY, find_program, needs};
use zuwai_testkit::podman::{Environment, Podman};
use zuwai_testkit::registry::Registry;
use zuwai_testkit::tree::Tree;
use zuwai_testkit::zuwai;

const SCRIPT: &str = r#"
mkdir -p /kaniko && cp /program/zuwai /kaniko/executor && echo mine > /mine && mkdir -p /etc/mine && echo too > /etc/mine/too
build() { /kaniko/executor --context=dir:///workspace --no-push --isolation=in-place "$@"; }
echo "--- failing"; build --dockerfile=/workspace/failing; echo "code $?"
echo "--- good"; build --dockerfile=/workspace/good --oci-layout-path=/out/one || exit 1
echo "--- again"; build --dockerfile=/workspace/good --oci-layout-path=/out/two || exit 1
echo "--- elsewhere"; build --dockerfile=/workspace/stages --kaniko-dir=/out/state --oci-layout-path=/out/three || exit 1
echo "--- left"; [ ! -e /.zuwai ] && cat /mine /etc/mine/too && ls -a /kaniko && ls /made 2>&1
"#;

/// A container of busybox, and what is mounted into it: the context, a place for results, the program.
struct Scene {
    registry: Registry,
    image: String,
    context: TempDir,
    out: TempDir,
    program: TempDir,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::plain();
        Base::Busybox.push(&registry);
        Base::Alpine.push(&registry);
        let image = Podman::shared().pull(&registry, "busybox");
        let (context, out, program) = (scratch("in-place"), scratch("out"), scratch("program"));
        std::fs::copy(zuwai::binary(), program.path().join("zuwai")).unwrap();
        Self { registry, image, context, out, program }
    }

    /// Runs a script in a new container.
    fn run(&self, script: &str) -> Finished {
        let mut flags = Environment::Docker.flags();
        for (host, inside) in
            [(&self.context, "/workspace"), (&self.out, "/out"), (&self.program, "/program")]
        {
            flags.extend(["-v".to_owned(), format!("{}:{inside}", host.path().display())]);
        }
        Podman::shared().run(&flags, &self.image, &["sh", "-c", script])
    }
}

#[test]
fn builds_one_after_the_other_leave_the_container_its_own_files() {
    if !needs(PODMAN) || !needs(REGISTRY) || !needs(Base::Alpine.needs()) {
        return;
    }
    let scene = Scene::new();
    let (registry, context, out) = (&scene.registry, &scene.context, &scene.out);
    let alpine = registry.reference("alpine");
    // The build sees nothing of the container's own, and makes what the container has too.
    let good = format!(
        "FROM {alpine}\nRUN [ ! -e /mine ] && [ ! -e /etc/mine ] && mkdir -p /made /program2 && touch /mine\n"
    );
    std::fs::write(context.path().join("good"), good).unwrap();
    // A state directory on a volume, where trees cannot be renamed to.
    let stages = format!(
        "FROM {alpine} AS one\nRUN touch /mine\nFROM {alpine}\nRUN mkdir /made\nCOPY --from=one /mine /\n"
    );
    std::fs::write(context.path().join("stages"), stages).unwrap();
    std::fs::write(context.path().join("failing"), format!("FROM {alpine}\nRUN rm -rf /etc /usr; exit 7\n"))
        .unwrap();
    let ran = scene.run(SCRIPT);
    assert_eq!(ran.code, 1, "the last ls finds nothing: {}", ran.all());
    let printed = ran.all();
    assert!(printed.contains("code 7"), "{printed}");
    let left = ran.stdout.split("--- left\n").nth(1).unwrap_or_default();
    assert!(left.starts_with("mine\ntoo\n.\n..\nexecutor\n"), "{printed}");
    for name in ["one", "two", "three"] {
        let tree = Tree::of(&Image::layout(&out.path().join(name)));
        assert!(tree.get(b"mine").is_some() && tree.get(b"made").is_some(), "{name}");
        assert!(tree.get(b"etc/mine").is_none() && tree.get(b"kaniko").is_none(), "{name}");
    }
}

const TEN: &str = r#"
mkdir -p /kaniko && cp /program/zuwai /kaniko/executor
build() { /kaniko/executor --context=dir:///workspace --no-push --isolation=in-place "$@"; }
for number in 0 1 2 3 4 5 6 7 8 9; do
    build --dockerfile=/workspace/stages --oci-layout-path=/out/$number || exit 1
    [ $((number % 3)) != 2 ] || ! build --dockerfile=/workspace/failing || exit 2
done
"#;

#[test]
fn ten_builds_in_a_row_give_what_a_fresh_container_gives() {
    if !needs(PODMAN) || !needs(REGISTRY) || !needs(Base::Alpine.needs()) {
        return;
    }
    let scene = Scene::new();
    let (registry, context, out) = (&scene.registry, &scene.context, &scene.out);
    let (alpine, busybox) = (registry.reference("alpine"), registry.reference("busybox"));
    let stages = format!(
        "FROM {alpine} AS one\nRUN mkdir /one && echo 1 > /one/file && rm -r /home\nFROM {busybox} AS two\n\
         COPY --from=one /one /two\nRUN ln /two/file /two/link && mkdir /srv\nFROM one AS three\n\
         RUN mv /one /three\nFROM {alpine}\nCOPY --from=two / /two\nCOPY --from=three /three /three\n\
         RUN cp -a /two/two /four && ls / > /seen\n"
    );
    std::fs::write(context.path().join("stages"), stages).unwrap();
    let failing =
        format!("FROM {busybox} AS one\nRUN touch /left\nFROM {alpine}\nRUN rm -rf /etc /lib; exit 7\n");
    std::fs::write(context.path().join("failing"), failing).unwrap();
    let ran = scene.run(TEN);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let fresh = TEN.replace("0 1 2 3 4 5 6 7 8 9", "fresh").replace("$((number % 3)) != 2", "1 = 1");
    let ran = scene.run(&fresh);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let fresh = Image::layout(&out.path().join("fresh"));
    for number in 0..10 {
        let differences = compare(&fresh, &Image::layout(&out.path().join(number.to_string())));
        assert!(differences.is_empty(), "{}", report(&differences, "fresh", &format!("build {number}"), 25));
    }
}

#[test]
fn commands_cannot_look_into_the_builder() {
    if !needs(PODMAN) || !needs(REGISTRY) {
        return;
    }
    let (podman, registry) = (Podman::shared(), Registry::plain());
    Base::Busybox.push(&registry);
    let context = scratch("look");
    // It sees its own environment and files, and those of nobody else.
    let look = "cat /proc/[0-9]*/environ > /seen 2> /dev/null; grep -q SEEN=own /seen && ! grep -q not-for-commands /seen";
    let dockerfile = format!("FROM {}\nENV SEEN=own\nRUN {look}\n", registry.reference("busybox"));
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let mut flags = Environment::Docker.flags();
    flags.extend(["-v".to_owned(), format!("{}:/workspace", context.path().display())]);
    flags.extend(["-e".to_owned(), "AWS_SECRET_ACCESS_KEY=not-for-commands".to_owned()]);
    let ran = podman.run(&flags, podman.executor(), &["--context=dir:///workspace", "--no-push"]);
    assert!(ran.all().contains("Isolation: in-place"), "{}", ran.all());
    assert_eq!(ran.code, 0, "{}", ran.all());
}

/// Everything that containers have mounted where images have something of their own: a token below a link of the base, files
/// over files, volumes in directories, one of them below a link, another read-only with a mount in it.
fn mounted(context: &TempDir, volumes: &TempDir) -> Vec<String> {
    let mut flags = Environment::Docker.flags();
    let path = |name: &str| volumes.path().join(name).display().to_string();
    for name in ["token", "opt", "inner", "bin"] {
        std::fs::create_dir_all(path(name)).unwrap();
        std::fs::write(format!("{}/kept", path(name)), name).unwrap();
    }
    std::fs::write(path("init"), "init").unwrap();
    for (name, inside) in [
        ("token", "/var/run/secrets/kubernetes.io/serviceaccount:ro"),
        ("opt", "/srv/opt:ro"),
        ("inner", "/srv/opt/inner"),
        ("bin", "/usr/sbin/pinned"),
        ("init", "/sbin/docker-init:ro"),
        ("init", "/product_uuid:ro"),
    ] {
        std::fs::create_dir_all(volumes.path().join("opt/inner")).unwrap();
        flags.extend(["-v".to_owned(), format!("{}:{inside}", path(name))]);
    }
    flags.extend(["--tmpfs".to_owned(), "/data".to_owned()]);
    flags.extend(["-v".to_owned(), format!("{}:/context", context.path().display())]);
    flags
}

#[test]
fn mounts_of_the_container_are_never_touched_nor_in_an_image() {
    if !needs(PODMAN) || !needs(REGISTRY) {
        return;
    }
    let (podman, registry) = (Podman::shared(), Registry::plain());
    Base::Busybox.push(&registry);
    let (context, volumes) = (scratch("mounts"), scratch("volumes"));
    // Its `/var/run` is a link; nothing of this changes what is mounted in the container.
    let dockerfile = format!(
        "FROM {0} AS one\nRUN test -L /var/run && echo one > /var/run/one && ! ls /var/run/secrets\n\
         FROM {0}\nCOPY --from=one /run/one /run/\n\
         RUN rm -rf /var/run && ln -s /run /var/run && echo two > /var/run/two && mkdir -p /srv/own && echo own > /srv/own/f\n",
        registry.reference("busybox")
    );
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let arguments = |name: &str| {
        let layout = format!("--oci-layout-path=/context/{name}");
        ["--context=dir:///context".to_owned(), "--no-push".to_owned(), layout]
    };
    let mounted = podman.run(&mounted(&context, &volumes), podman.executor(), &arguments("mounted"));
    assert_eq!(mounted.code, 0, "{}", mounted.all());
    let tree = Tree::of(&Image::layout(&context.path().join("mounted")));
    for name in ["run/one", "run/two", "srv/own/f"] {
        assert!(tree.get(name.as_bytes()).is_some(), "{name}: {}", mounted.all());
    }
    for name in ["srv/opt", "var/run/secrets", "product_uuid", "sbin/docker-init", "usr/sbin/pinned"] {
        assert!(tree.get(name.as_bytes()).is_none(), "{name}");
    }
    let kind = tree.get(b"var/run").map(|node| format!("{:?}", node.kind));
    assert!(kind.as_deref().is_some_and(|kind| kind.starts_with("Symlink")), "{kind:?}");
    for (file, text) in [
        ("token/kept", "token"),
        ("opt/kept", "opt"),
        ("inner/kept", "inner"),
        ("bin/kept", "bin"),
        ("init", "init"),
    ] {
        assert_eq!(std::fs::read_to_string(volumes.path().join(file)).unwrap(), text, "{file}");
    }
}

const KILLED: &str = r#"
mkdir -p /kaniko && cp /program/zuwai /kaniko/executor && echo mine > /mine
build() { /kaniko/executor --context=dir:///workspace --no-push --isolation=in-place "$@"; }
# Not the function, which a shell would run.
/kaniko/executor --context=dir:///workspace --no-push --isolation=in-place --dockerfile=/workspace/slow & pid=$!
while [ ! -e /started ]; do /program/pause; done
kill -9 $pid; wait $pid
build --dockerfile=/workspace/good --oci-layout-path=/workspace/after || exit 1
[ "$(cat /mine)" = mine ] && [ ! -e /started ] && [ ! -e /.zuwai ] && [ "$(ls /kaniko)" = executor ] && echo "all is well"
"#;

#[test]
fn a_build_after_one_that_was_killed_finds_the_container_as_it_was() {
    if !needs(PODMAN) || !needs(REGISTRY) {
        return;
    }
    let (podman, registry) = (Podman::shared(), Registry::plain());
    Base::Busybox.push(&registry);
    let image = podman.pull(&registry, "busybox");
    let (context, folder) = (scratch("killed"), scratch("program"));
    std::fs::copy(zuwai::binary(), folder.path().join("zuwai")).unwrap();
    // While an image is in `/`, the tools of the container are not.
    std::fs::copy(find_program("busybox").unwrap(), folder.path().join("busybox")).unwrap();
    let script = KILLED.replace("/program/pause", "/program/busybox usleep 10000");
    let base = registry.reference("busybox");
    std::fs::write(context.path().join("slow"), format!("FROM {base}\nRUN touch /started && sleep 1000\n"))
        .unwrap();
    std::fs::write(context.path().join("good"), format!("FROM {base}\nRUN echo good > /good\n")).unwrap();
    let mut flags = Environment::Docker.flags();
    for (host, inside) in [(context.path(), "/workspace"), (folder.path(), "/program")] {
        flags.extend(["-v".to_owned(), format!("{}:{inside}", host.display())]);
    }
    let ran = podman.run(&flags, &image, &["sh", "-c", &script]);
    assert!(ran.stdout.contains("all is well"), "{}", ran.all());
    let tree = Tree::of(&Image::layout(&context.path().join("after")));
    assert!(tree.get(b"good").is_some() && tree.get(b"started").is_none() && tree.get(b"mine").is_none());
}

#[test]
fn an_image_is_left_in_the_root_when_that_is_asked_for() {
    if !needs(PODMAN) || !needs(REGISTRY) || !needs(&[Need::Program("busybox")]) {
        return;
    }
    let (podman, registry) = (Podman::shared(), Registry::plain());
    Base::Busybox.push(&registry);
    let context = scratch("materialize");
    let dockerfile = format!("FROM {}\nENV NO=files\n", registry.reference("busybox"));
    std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let script = "executor --context=/context --no-push --materialize && /bin/cat /etc/passwd && /bin/ls -a / && \
                  /kaniko/executor --context=/context --no-push --materialize --cleanup && /bin/ls -d /etc /kaniko";
    let mut flags = Environment::Kubernetes.flags();
    flags.extend([
        "-v".to_owned(),
        format!("{}:/context", context.path().display()),
        "--entrypoint=".to_owned(),
    ]);
    let ran = podman.run(&flags, podman.debug_executor(), &["sh", "-c", script]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(
        ran.all().contains("Isolation: in-place") && ran.stdout.contains("An Application"),
        "{}",
        ran.all()
    );
    assert!(!ran.stdout.contains(".zuwai") && !ran.stdout.contains("busybox\n"), "{}", ran.all());
}

#[test]
fn a_root_that_cannot_be_written_is_said_before_anything_is_done() {
    if !needs(PODMAN) || !needs(REGISTRY) {
        return;
    }
    let (podman, registry) = (Podman::shared(), Registry::plain());
    Base::Busybox.push(&registry);
    let context = scratch("read-only");
    std::fs::write(
        context.path().join("Dockerfile"),
        format!("FROM {}\nRUN true\n", registry.reference("busybox")),
    )
    .unwrap();
    let mut flags = Environment::Docker.flags();
    flags.extend([
        "--read-only".to_owned(),
        "-v".to_owned(),
        format!("{}:/context", context.path().display()),
    ]);
    let arguments = ["--context=/context", "--no-push", "--kaniko-dir=/context/state"];
    let ran = podman.run(&flags, podman.executor(), &arguments);
    assert_ne!(ran.code, 0);
    assert!(ran.all().contains("which is read-only here"), "{}", ran.all());
}
