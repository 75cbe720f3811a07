//! The environments that builds are tried in are what they say, and the base images run in them.

use zuwai_testkit::base::{ALL, Base, available};
use zuwai_testkit::need::{PODMAN, REGISTRY, needs};
use zuwai_testkit::podman::{ENVIRONMENTS, Environment, Podman};

fn load(base: Base) -> String {
    let name = format!("localhost/{}:environments", base.name());
    Podman::shared().load(&format!("oci:{}:latest", base.layout().display()), &name);
    name
}

#[test]
fn capabilities_and_namespaces_are_those_of_docker_kubernetes_and_podman() {
    if !needs(PODMAN) {
        return;
    }
    let image = load(Base::Busybox);
    let script = "grep CapEff /proc/self/status; if unshare -Urm true 2>/dev/null; then echo namespaces; else echo none; fi";
    for environment in ENVIRONMENTS {
        let ran = Podman::shared().run(&environment.flags(), &image, &["sh", "-c", script]);
        let expected = match environment {
            Environment::Docker => "CapEff:\t00000000a80425fb\nnone\n",
            Environment::Kubernetes => "CapEff:\t00000000a80425fb\nnamespaces\n",
            Environment::Podman => "CapEff:\t00000000800405fb\nnamespaces\n",
        };
        assert_eq!(ran.stdout, expected, "{environment:?}: {}", ran.all());
    }
}

#[test]
fn every_base_image_runs() {
    if !needs(PODMAN) || !needs(REGISTRY) || !needs(Base::Debian.needs()) || !needs(Base::Alpine.needs()) {
        return;
    }
    for base in ALL {
        assert!(available(base));
        let entry = ["--entrypoint", "/bin/sh"].map(str::to_owned);
        let ran = Podman::shared().run(
            &entry,
            &load(base),
            &["-c", "cat /etc/passwd && ls -d /odd /files /data 2>/dev/null || true"],
        );
        assert!(ran.code == 0 && ran.stdout.contains("root:x:0:0"), "{base:?}: {}", ran.all());
    }
}
