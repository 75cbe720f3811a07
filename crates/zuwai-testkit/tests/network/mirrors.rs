//! Builds whose base comes from a mirror: `--registry-map`, `--registry-mirror`.

use zuwai_testkit::fault_registry::{Fault, FaultRegistry, Lifetime, Logged, Operation};
use zuwai_testkit::registry::{PASSWORD, USER};
use zuwai_testkit::zuwai;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{built, credentials, executor, folder, ready, seed};

/// Whether a request shows the password that only the mirror may see.
fn shows_password(request: &Logged) -> bool {
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    request.head.header("authorization") == Some(&basic)
}

/// The paths of the answered requests of a kind.
fn paths(registry: &FaultRegistry, operation: Operation) -> Vec<String> {
    let log = registry.log();
    let answered = log.iter().filter(|logged| logged.operation == Some(operation) && logged.status == 200);
    answered.map(|logged| logged.head.path().to_owned()).collect()
}

/// The same for manifests, or for how they are looked for.
fn manifests(registry: &FaultRegistry) -> usize {
    registry.count(Operation::ManifestGet) + registry.count(Operation::ManifestHead)
}

#[test]
fn a_base_comes_from_the_map_and_its_password_goes_nowhere_else() {
    if !ready() {
        return;
    }
    let [mirror, original] = [(); 2].map(|()| FaultRegistry::bearer(Lifetime::LONG));
    let destination = FaultRegistry::start();
    seed(&mirror, "cache/team/base:1");
    seed(&original, "team/base:1");
    let dir = folder(&format!("FROM {}\nCOPY file /file\n", original.reference("team/base:1")));
    let config = credentials(&[&mirror]);
    let map = format!("{}={}/cache", original.address(), mirror.address());
    let build = |more: &[&str]| {
        let mut flags =
            vec!["--verbosity=trace".to_owned(), format!("--destination={}", destination.reference("out:1"))];
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        executor(zuwai::zuwai().env("DOCKER_CONFIG", config.path()), dir.path(), &flags)
    };
    let mapped = format!("--registry-map={map}");

    let finished = build(&[&mapped]);
    assert_eq!(finished.code, 0, "{}", finished.all());
    assert_eq!(manifests(&original), 0, "{:#?}", original.log());
    assert!(!paths(&mirror, Operation::BlobGet).is_empty(), "{:#?}", mirror.log());
    assert!(mirror.log().iter().any(shows_password), "{:#?}", mirror.log());
    let first = destination.manifest("out", "1").unwrap();

    // The mirror lost the image: the registry itself has it, and is asked without the mirror's password.
    mirror.fault(Operation::ManifestGet, Fault::Status(404)).always();
    mirror.fault(Operation::ManifestHead, Fault::Status(404)).always();
    let finished = build(&[&mapped]);
    assert_eq!(finished.code, 0, "{}", finished.all());
    assert!(manifests(&original) > 0, "{:#?}", original.log());
    let layers =
        |manifest: &[u8]| serde_json::from_slice::<serde_json::Value>(manifest).unwrap()["layers"].clone();
    assert_eq!(layers(&destination.manifest("out", "1").unwrap()), layers(&first));

    original.forget_log();
    let finished = build(&[&mapped, "--skip-default-registry-fallback"]);
    assert_eq!(finished.code, 1, "{}", finished.all());
    assert_eq!(original.log().len(), 0, "{:#?}", original.log());
    for registry in [&original, &destination] {
        assert!(!registry.log().iter().any(shows_password), "{:#?}", registry.log());
    }
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for never in [PASSWORD, &auth] {
        assert!(!finished.all().contains(never), "{}", finished.all());
    }
}

/// Docker Hub itself must not be asked: this machine need not reach it.
#[test]
fn mirrors_of_docker_hub_are_asked_in_their_order() {
    if !ready() {
        return;
    }
    let (empty, full) = (FaultRegistry::start(), FaultRegistry::start());
    seed(&full, "hub/library/busybox:1");
    let dir = folder("FROM busybox:1\nCOPY file /file\n");
    let flags = |mirrors: &[String]| {
        let own = ["--no-push".to_owned(), "--skip-default-registry-fallback".to_owned()];
        let mirrors = mirrors.iter().map(|mirror| format!("--registry-mirror={mirror}"));
        own.into_iter().chain(mirrors).collect::<Vec<_>>()
    };
    built(dir.path(), &flags(&[empty.address(), format!("{}/hub", full.address())]));
    assert!(
        empty.log().iter().all(|logged| logged.head.path().starts_with("/v2/library/busybox/manifests/"))
    );
    assert!(manifests(&empty) > 0 && empty.count(Operation::BlobGet) == 0, "{:#?}", empty.log());
    assert!(manifests(&full) > 0, "{:#?}", full.log());
    let finished = executor(&mut zuwai::zuwai(), dir.path(), &flags(&[empty.address()]));
    assert_eq!(finished.code, 1, "{}", finished.all());
    assert!(finished.all().contains(&empty.address()), "{}", finished.all());
}

/// What help says of variables is true of `zuwai build` too; those of docker that are not known change nothing.
#[test]
fn zuwai_build_takes_maps_from_the_environment() {
    if !ready() {
        return;
    }
    let (mirror, original) = (FaultRegistry::start(), FaultRegistry::start());
    seed(&mirror, "base:1");
    let dir = folder(&format!("FROM {}\nCOPY file /file\n", original.reference("base:1")));
    let mut command = zuwai::zuwai();
    command.env("KANIKO_REGISTRY_MAP", format!("{}={}", original.address(), mirror.address()));
    command.env("BUILDKIT_PROGRESS", "tty");
    command.arg("build").arg("--root-dir").arg(dir.path().join("state")).arg(dir.path());
    let finished = zuwai_testkit::command::run(&mut command);
    assert_eq!(finished.code, 0, "{}", finished.all());
    assert_eq!(original.log().len(), 0, "{:#?}", original.log());
    assert!(manifests(&mirror) > 0, "{:#?}", mirror.log());
}
