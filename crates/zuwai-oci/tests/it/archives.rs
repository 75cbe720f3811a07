//! Archives and layouts, read by skopeo and podman.

use std::path::Path;

use zuwai_oci::archive::{add_to_oci_layout, write_docker_archive, write_oci_archive, write_oci_layout};
use zuwai_oci::error::OciError;
use zuwai_oci::{Family, Image, Index, Reference};
use zuwai_testkit::command::must;
use zuwai_testkit::need::{Need, PODMAN, needs};
use zuwai_testkit::podman::Podman;

use crate::sample::{Sample, empty_store, image, reference};

const SKOPEO: &[Need] = &[Need::Program("skopeo")];

/// What skopeo copies out of a source: the manifest's bytes.
fn copied(source: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    must("skopeo", ["copy", "--quiet", source, &format!("dir:{}", directory.path().display())]);
    std::fs::read(directory.path().join("manifest.json")).unwrap()
}

fn docker_archive(sample: &Sample, names: &[Reference], file: &Path) {
    let out = std::fs::File::create(file).unwrap();
    write_docker_archive(out, &sample.image, &sample.store, names).unwrap();
}

fn index(directory: &Path) -> Index {
    Index::parse(&std::fs::read(directory.join("index.json")).unwrap()).unwrap()
}

#[test]
fn a_docker_archive_holds_the_image_under_its_names() {
    if !needs(SKOPEO) {
        return;
    }
    let sample = image(Family::Oci, "archive");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.tar");
    let names = [reference("me/app:1"), reference("h.io/app:2"), reference("me/app:1")];
    docker_archive(&sample, &names, &file);
    let shown = must("skopeo", ["inspect", "--config", &format!("docker-archive:{}", file.display())]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["config"]["Labels"]["label"], "archive");
    let tags = must("skopeo", ["list-tags", &format!("docker-archive:{}", file.display())]);
    assert!(tags.contains("me/app:1") && tags.contains("h.io/app:2"), "{tags}");
    let listed = must("tar", ["-tf", file.to_str().unwrap()]);
    assert_eq!(listed.lines().count(), 5, "manifest, repositories, config, two layers: {listed}");
    // skopeo decompresses and hashes every layer against the config's diff IDs.
    copied(&format!("docker-archive:{}:me/app:1", file.display()));

    docker_archive(&sample, &[], &file);
    copied(&format!("docker-archive:{}", file.display()));
}

#[test]
fn podman_loads_a_docker_archive() {
    if !needs(PODMAN) {
        return;
    }
    let sample = image(Family::Docker, "podman");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.tar");
    docker_archive(&sample, &[reference("localhost/oci-load:1")], &file);
    let podman = Podman::shared();
    let load = podman.command().args(["load", "-q", "-i"]).arg(&file).output().unwrap();
    let printed = String::from_utf8_lossy(&load.stdout).into_owned() + &String::from_utf8_lossy(&load.stderr);
    assert!(load.status.success() && printed.contains("localhost/oci-load:1"), "{printed}");
    let shown = podman.command().args(["image", "inspect", "-f", "{{.Id}}", "localhost/oci-load:1"]).output();
    let id = String::from_utf8(shown.unwrap().stdout).unwrap();
    assert_eq!(id.trim(), sample.image.config_digest().hex());
}

#[test]
fn a_layout_holds_one_image_and_skopeo_finds_it_by_tag() {
    if !needs(SKOPEO) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("new/layout");
    let (first, second) = (image(Family::Oci, "first"), image(Family::Oci, "second"));
    write_oci_layout(&layout, &first.image, &first.store, &[]).unwrap();
    assert!(index(&layout).manifests[0].annotations.is_empty());
    write_oci_layout(&layout, &second.image, &second.store, &[reference("me/app:1")]).unwrap();
    assert_eq!(index(&layout).manifests.len(), 1, "the index holds the last image alone");
    let manifest = copied(&format!("oci:{}:1", layout.display()));
    assert_eq!(manifest, second.image.manifest_bytes());
    let mut names: Vec<_> =
        std::fs::read_dir(&layout).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn adding_to_a_layout_replaces_the_same_name_only() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (image(Family::Oci, "first"), image(Family::Oci, "second"));
    let add = |sample: &Sample, names: &[Reference]| {
        add_to_oci_layout(directory.path(), &sample.image, &sample.store, names).unwrap();
    };
    let (one, two) = (reference("me/app:1"), reference("me/app:2"));
    add(&first, std::slice::from_ref(&one));
    add(&first, std::slice::from_ref(&two));
    add(&second, std::slice::from_ref(&one));
    add(&second, &[]);
    add(&second, &[]);
    let found: Vec<_> = index(directory.path())
        .manifests
        .iter()
        .map(|entry| (entry.digest, entry.annotations.get("io.containerd.image.name").cloned()))
        .collect();
    let expected = [
        (first.image.digest(), Some(two.canonical())),
        (second.image.digest(), Some(one.canonical())),
        (second.image.digest(), None),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_oci_archive_is_a_layout_in_a_tar() {
    if !needs(SKOPEO) {
        return;
    }
    let sample = image(Family::Oci, "tar");
    let mut bytes = Vec::new();
    write_oci_archive(&mut bytes, &sample.image, &sample.store, &[reference("me/app:1")]).unwrap();
    let mut again = Vec::new();
    write_oci_archive(&mut again, &sample.image, &sample.store, &[reference("me/app:1")]).unwrap();
    assert!(bytes == again, "equal images are equal archives");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.tar");
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(copied(&format!("oci-archive:{}", file.display())), sample.image.manifest_bytes());
}

#[test]
fn a_missing_or_short_layer_stops_every_output() {
    let sample = image(Family::Oci, "missing");
    let layer = sample.image.layers()[0].clone();
    let (_directory, empty) = empty_store();
    let layout = tempfile::tempdir().unwrap();
    let attempts = |image: &Image, store: &zuwai_oci::Store| {
        [
            write_docker_archive(std::io::sink(), image, store, &[]),
            write_oci_archive(std::io::sink(), image, store, &[]),
            write_oci_layout(layout.path(), image, store, &[]),
        ]
    };
    for result in attempts(&sample.image, &empty) {
        assert!(matches!(result, Err(OciError::MissingBlob { .. })), "{result:?}");
    }
    assert_eq!(std::fs::read_dir(layout.path()).unwrap().count(), 0, "no half layout");
    std::fs::write(empty.blob_path(&layer.digest), b"short").unwrap();
    for result in attempts(&sample.image, &empty) {
        assert!(matches!(result, Err(OciError::StoredSize { actual: 5, .. })), "{result:?}");
    }
}
