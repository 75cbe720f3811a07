//! What a build says to registries: what it sends, when, and from where; and what it does when they fail.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

#[path = "network/archives.rs"]
mod archives;
#[path = "network/foreign.rs"]
mod foreign;
#[path = "network/mirrors.rs"]
mod mirrors;
#[path = "network/proxies.rs"]
mod proxies;
#[path = "network/tags.rs"]
mod tags;
#[path = "network/weather.rs"]
mod weather;

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use zuwai_testkit::base::Base;
use zuwai_testkit::cache::scratch;
use zuwai_testkit::command::{Finished, clean, program, run};
use zuwai_testkit::fault_registry::{Fault, FaultRegistry, Operation};
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{Need, REGISTRY, needs};
use zuwai_testkit::registry::{PASSWORD, Registry, USER};
use zuwai_testkit::zuwai;

/// A folder with a Dockerfile in which `REGISTRY` is replaced, and a file that is always the same.
fn context(registry: &Registry, dockerfile: &str) -> TempDir {
    folder(&dockerfile.replace("REGISTRY", &registry.address()))
}

/// The same with a Dockerfile as it is.
fn folder(dockerfile: &str) -> TempDir {
    let dir = scratch("network");
    std::fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "always the same\n").unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    dir
}

fn executor(command: &mut Command, dir: &Path, flags: &[String]) -> Finished {
    let own = [format!("--context=dir://{}", dir.display()), format!("--kaniko-dir={}/state", dir.display())];
    run(command.arg("executor").args(own).args(flags))
}

fn built(dir: &Path, flags: &[String]) -> Finished {
    let finished = executor(&mut zuwai::zuwai(), dir, flags);
    assert_eq!(finished.code, 0, "{}", finished.all());
    finished
}

fn ready() -> bool {
    needs(REGISTRY) && needs(&[Need::Root, Need::Program("busybox")])
}

/// Puts busybox into a registry of faults, as `REPOSITORY:TAG`.
fn seed(registry: &FaultRegistry, name: &str) {
    let (repository, tag) = name.split_once(':').unwrap();
    let blobs = Base::Busybox.layout().join("blobs/sha256");
    let manifest = Image::layout(&Base::Busybox.layout()).manifest;
    for blob in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let digest = blob["digest"].as_str().unwrap();
        assert_eq!(registry.put_blob(repository, &blobs.join(&digest["sha256:".len()..])), digest);
    }
    let media_type = manifest["mediaType"].as_str().unwrap();
    registry.put_manifest(repository, Some(tag), media_type, manifest.to_string().as_bytes());
}

/// A folder with docker's `config.json` for these registries.
fn credentials(registries: &[&FaultRegistry]) -> TempDir {
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let auths: serde_json::Map<String, serde_json::Value> =
        registries.iter().map(|registry| (registry.address(), serde_json::json!({"auth": auth}))).collect();
    let dir = scratch("docker-config");
    let text = serde_json::json!({"auths": auths}).to_string();
    std::fs::write(dir.path().join("config.json"), text).unwrap();
    dir
}

fn base_layer(registry: &Registry) -> String {
    let dir = scratch("base");
    registry.fetch("busybox", dir.path());
    let image = Image::skopeo(dir.path());
    image.manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
}

/// The command waits for the layer of the step before it to be in the registry: it is sent now or never.
#[test]
fn layers_arrive_while_later_steps_run() {
    if !ready() {
        return;
    }
    let registry = Registry::plain();
    Base::Busybox.push(&registry);
    let first = context(&registry, "FROM REGISTRY/busybox\nCOPY file /file\n");
    let layout = first.path().join("layout");
    built(first.path(), &["--no-push".to_owned(), format!("--oci-layout-path={}", layout.display())]);
    let layer = Image::layout(&layout).manifest["layers"][1]["digest"].as_str().unwrap().to_owned();

    let waiting = "FROM REGISTRY/busybox\nCOPY file /file\nARG BLOB\nRUN for i in $(seq 300); do \
         wget -q --spider $BLOB && echo arrived && exit 0; sleep 0.1; done; exit 1\n";
    let second = context(&registry, waiting);
    let blob = format!("{}/v2/new/image/blobs/{layer}", registry.url());
    let finished = built(
        second.path(),
        &[format!("--destination={}", registry.reference("new/image:1")), format!("--build-arg=BLOB={blob}")],
    );
    assert!(finished.all().contains("arrived"), "{}", finished.all());
}

/// No file may become as large as the base's layer: it is not kept on its way.
#[test]
fn a_base_that_nobody_unpacks_goes_from_registry_to_registry() {
    if !ready() || !needs(&[Need::Program("prlimit")]) {
        return;
    }
    let (from, to) = (Registry::plain(), Registry::plain());
    Base::Busybox.push(&from);
    let dir = context(&from, "FROM REGISTRY/busybox\nLABEL a=b\n");
    let mut limited = program("prlimit");
    clean(&mut limited);
    limited.args(["--fsize=65536", "--"]).arg(zuwai::binary());
    let finished =
        executor(&mut limited, dir.path(), &[format!("--destination={}", to.reference("copy/of:base"))]);
    assert_eq!(finished.code, 0, "{}", finished.all());
    let fetched = dir.path().join("fetched");
    to.fetch("copy/of:base", &fetched);
    let image = Image::skopeo(&fetched);
    assert_eq!(image.manifest["layers"][0]["digest"].as_str().unwrap(), base_layer(&from));
    assert_eq!(image.problems(1), Vec::<String>::new());
}

/// A layer that another repository of the registry has is mounted, be it the base's or one just pushed.
#[test]
fn what_another_repository_has_is_not_sent() {
    if !ready() {
        return;
    }
    let registry = Registry::plain();
    Base::Busybox.push(&registry);
    let dir = context(&registry, "FROM REGISTRY/busybox\nCOPY file /file\n");
    let before = registry.requests().len();
    let destination = |name: &str| format!("--destination={}", registry.reference(name));
    built(dir.path(), &[destination("a/x:1"), destination("b/y:1")]);
    let requests = registry.requests().split_off(before);
    let count = |part: &str, status: &str| {
        requests.iter().filter(|request| request.starts_with(part) && request.ends_with(status)).count()
    };
    assert_eq!(count("POST /v2/a/x/blobs/uploads/", "201"), 1, "the base's layer: {requests:#?}");
    assert_eq!(count("PUT /v2/a/x/blobs/uploads/", "201"), 2, "layer and configuration: {requests:#?}");
    assert_eq!(count("POST /v2/b/y/blobs/uploads/", "201"), 3, "all of it: {requests:#?}");
    assert_eq!(count("PUT /v2/b/y/blobs/uploads/", ""), 0, "{requests:#?}");
}

/// A byte that changed on the way is found only at a layer's end, when the layer has been unpacked.
#[test]
fn a_layer_that_was_damaged_on_its_way_is_fetched_and_unpacked_again() {
    if !ready() {
        return;
    }
    let faulty = FaultRegistry::start();
    seed(&faulty, "busybox:latest");
    let dir = folder(&format!("FROM {}\nRUN cat /etc/passwd > /copy\n", faulty.reference("busybox")));
    let manifest = faulty.manifest("busybox", "latest").unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let damage = faulty.fault(Operation::BlobGet, Fault::Corrupt { at: 100_000 }).of(&layer);
    let finished = built(dir.path(), &["--no-push".to_owned()]);
    assert!(finished.all().contains("unpacking the layer again"), "{}", finished.all());
    assert_eq!(damage.happened(), 1);
    // What is damaged each time is an error that says so.
    faulty.mend();
    faulty.fault(Operation::BlobGet, Fault::Corrupt { at: 100_000 }).of(&layer).always();
    let flags = ["--no-push".to_owned()];
    let finished = executor(&mut zuwai::zuwai(), dir.path(), &flags);
    assert_eq!(finished.code, 1, "{}", finished.all());
    assert!(finished.all().contains("content has digest"), "{}", finished.all());
}
