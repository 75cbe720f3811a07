//! Images of other tools' making through `zuwai push`, and what docker's own format is, by docker.

use std::path::Path;

use serde_json::Value;
use zuwai_testkit::base::Base;
use zuwai_testkit::cache::scratch;
use zuwai_testkit::command::{must_run, program};
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{Need, ORACLE, PODMAN, REGISTRY, needs};
use zuwai_testkit::oracle::Oracle;
use zuwai_testkit::podman::Podman;
use zuwai_testkit::registry::Registry;
use zuwai_testkit::zuwai;

use crate::{built, folder};

/// An image of a registry, as skopeo reads it.
fn fetched(registry: &Registry, name: &str) -> Image {
    let dir = scratch("fetched");
    registry.fetch(name, dir.path());
    let image = Image::skopeo(dir.path());
    assert_eq!(image.problems(image.layers.len()), Vec::<String>::new(), "{name}");
    image
}

/// Pushes an archive or a layout; what is then in the registry has these diff IDs.
fn pushed_with_diff_ids(registry: &Registry, source: &Path, diff_ids: &Value) {
    let root = scratch("push");
    let mut command = zuwai::zuwai();
    command.args(["push", "-q"]).arg(source).arg(registry.reference("out:1"));
    must_run(command.arg("--root-dir").arg(root.path()));
    let image = fetched(registry, "out:1");
    assert_eq!(image.config["rootfs"]["diff_ids"], *diff_ids, "{}", source.display());
}

fn busybox_in_a_registry() -> (Registry, Value) {
    let registry = Registry::plain();
    Base::Busybox.push(&registry);
    let diff_ids = fetched(&registry, "busybox").config["rootfs"]["diff_ids"].clone();
    (registry, diff_ids)
}

#[test]
fn what_podman_saves_is_pushed() {
    if !needs(PODMAN) || !needs(REGISTRY) {
        return;
    }
    let (registry, diff_ids) = busybox_in_a_registry();
    let podman = Podman::shared();
    let name = podman.pull(&registry, "busybox");
    let dir = scratch("saved");
    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        let saved = dir.path().join(format);
        must_run(podman.command().args(["save", "--quiet", "--format", format, "-o"]).arg(&saved).arg(&name));
        pushed_with_diff_ids(&registry, &saved, &diff_ids);
    }
}

#[test]
fn what_docker_saves_is_pushed() {
    if !needs(ORACLE) {
        return;
    }
    let (registry, diff_ids) = busybox_in_a_registry();
    let oracle = Oracle::shared();
    let name = registry.reference("busybox:latest");
    must_run(oracle.docker().args(["pull", "--quiet", &name]));
    let saved = oracle.folder().join("saved.tar");
    must_run(oracle.docker().args(["save", "-o", &oracle.inside(&saved), &name]));
    pushed_with_diff_ids(&registry, &saved, &diff_ids);
}

#[test]
fn a_layout_that_umoci_made_is_pushed() {
    if !needs(REGISTRY) || !needs(&[Need::Root, Need::Program("umoci")]) {
        return;
    }
    let registry = Registry::plain();
    let dir = scratch("umoci");
    let layout = dir.path().join("layout");
    std::fs::write(dir.path().join("file"), "umoci's\n").unwrap();
    let umoci = |arguments: &[&str]| must_run(program("umoci").current_dir(dir.path()).args(arguments));
    umoci(&["init", "--layout", "layout"]);
    umoci(&["new", "--image", "layout:1"]);
    umoci(&["insert", "--image", "layout:1", "file", "/file"]);
    let diff_ids = Image::layout(&layout).config["rootfs"]["diff_ids"].clone();
    assert_eq!(diff_ids.as_array().unwrap().len(), 1);
    pushed_with_diff_ids(&registry, &layout, &diff_ids);
}

/// Media types of the manifest, the config and the layers.
fn media_types(image: &Image) -> Vec<String> {
    let [manifest, config] = [&image.manifest, &image.manifest["config"]]
        .map(|document| document["mediaType"].as_str().unwrap().to_owned());
    let layers = image.layers.iter().map(|layer| layer.media_type.clone());
    [manifest, config].into_iter().chain(layers).collect()
}

#[test]
fn dockers_format_is_that_of_buildx() {
    if !needs(ORACLE) {
        return;
    }
    let registry = Registry::plain();
    Base::Busybox.push(&registry);
    let dockerfile = format!("FROM {}\nCOPY file /file\n", registry.reference("busybox"));
    let dir = folder(&dockerfile);
    let flags =
        [format!("--destination={}", registry.reference("ours:1")), "--image-format=docker".to_owned()];
    built(dir.path(), &flags);

    let oracle = Oracle::shared();
    let context = oracle.folder().join("docker-format");
    std::fs::create_dir_all(&context).unwrap();
    for name in ["Dockerfile", "file"] {
        std::fs::copy(dir.path().join(name), context.join(name)).unwrap();
    }
    let output = format!("type=image,oci-mediatypes=false,push=true,name={}", registry.reference("theirs:1"));
    let mut buildx = oracle.docker();
    buildx.args(["buildx", "build", "--network=host", "--provenance=false", "--output", &output]);
    must_run(buildx.arg(oracle.inside(&context)));
    let ours = media_types(&fetched(&registry, "ours:1"));
    assert_eq!(ours, media_types(&fetched(&registry, "theirs:1")));
    assert!(ours.iter().all(|media_type| media_type.contains("vnd.docker")), "{ours:?}");
}
