//! Building in the `/` of a container that has files of its own: an image with the executor copied into it.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use zuwai_testkit::base::Base;
use zuwai_testkit::cache::scratch;
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{PODMAN, REGISTRY, needs};
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

#[test]
fn builds_one_after_the_other_leave_the_container_its_own_files() {
    if !needs(PODMAN) || !needs(REGISTRY) || !needs(Base::Alpine.needs()) {
        return;
    }
    let (podman, registry) = (Podman::shared(), Registry::plain());
    Base::Busybox.push(&registry);
    Base::Alpine.push(&registry);
    let image = podman.pull(&registry, "busybox");
    let (context, out, folder) = (scratch("in-place"), scratch("out"), scratch("program"));
    std::fs::copy(zuwai::binary(), folder.path().join("zuwai")).unwrap();
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
    let mut flags = Environment::Docker.flags();
    for (host, inside) in [(context.path(), "/workspace"), (out.path(), "/out"), (folder.path(), "/program")]
    {
        flags.extend(["-v".to_owned(), format!("{}:{inside}", host.display())]);
    }
    let ran = podman.run(&flags, &image, &["sh", "-c", SCRIPT]);
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
