//! Images that are damaged in their registry, or were never right.

// The images here are small.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use zuwai_layer::Digest;
use zuwai_testkit::Registry;
use zuwai_testkit::need::{Need, REGISTRY, needs};

use crate::scene::{Scene, transcript};

const DOCKERFILE: &str = "FROM REGISTRY/busybox\nRUN true\n";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A name, a config and layers.
type Unusual<'a> = (&'a str, Vec<u8>, Vec<&'a [u8]>);

/// Where the registry keeps a blob.
fn blob(registry: &Registry, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    registry.storage().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
}

/// Puts a file there behind the registry's back.
fn write(path: PathBuf, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Puts a blob into the registry's repository `bad`, whatever it holds.
fn plant_blob(registry: &Registry, content: &[u8], media_type: &str) -> Value {
    let digest = Digest::of(content).to_string();
    write(blob(registry, &digest), content);
    let layers = registry.storage().join("docker/registry/v2/repositories/bad/_layers/sha256");
    write(layers.join(&digest[7..]).join("link"), digest.as_bytes());
    json!({"mediaType": media_type, "digest": digest, "size": content.len()})
}

/// Puts a manifest there with the tag `latest`.
fn plant_manifest(registry: &Registry, content: &[u8]) {
    let digest = Digest::of(content).to_string();
    write(blob(registry, &digest), content);
    let manifests = registry.storage().join("docker/registry/v2/repositories/bad/_manifests");
    write(manifests.join("revisions/sha256").join(&digest[7..]).join("link"), digest.as_bytes());
    write(manifests.join("tags/latest/current/link"), digest.as_bytes());
    write(manifests.join("tags/latest/index/sha256").join(&digest[7..]).join("link"), digest.as_bytes());
}

/// Puts an image there.
fn plant(registry: &Registry, config: &[u8], layers: &[&[u8]]) {
    let layer =
        |content: &&[u8]| plant_blob(registry, content, "application/vnd.oci.image.layer.v1.tar+gzip");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": plant_blob(registry, config, "application/vnd.oci.image.config.v1+json"),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    plant_manifest(registry, manifest.to_string().as_bytes());
}

/// The manifest of `busybox` in the registry.
fn busybox(registry: &Registry) -> (String, Value) {
    let tag = "docker/registry/v2/repositories/busybox/_manifests/tags/latest/current/link";
    let digest = fs::read_to_string(registry.storage().join(tag)).unwrap();
    let manifest = serde_json::from_slice(&fs::read(blob(registry, &digest)).unwrap()).unwrap();
    (digest, manifest)
}

#[test]
fn damage_is_found_before_it_does_any() {
    if !needs(REGISTRY) || !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let (manifest_digest, manifest) = busybox(&scene.registry);
    let digest_of = |part: &Value| part["digest"].as_str().unwrap().to_owned();
    let mut cases = Vec::new();
    for (what, digest) in [
        ("manifest", manifest_digest),
        ("config", digest_of(&manifest["config"])),
        ("layer", digest_of(&manifest["layers"][0])),
    ] {
        let path = blob(&scene.registry, &digest);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        let longer = [whole.as_slice(), b"more"].concat();
        for (how, damaged) in [
            ("truncated", &whole[..whole.len() / 2]),
            ("flipped", &flipped),
            ("longer", &longer),
            ("empty", &[]),
        ] {
            fs::write(&path, damaged).unwrap();
            let said = scene.fails(DOCKERFILE, 1).replace(&whole.len().to_string(), "ALL");
            let said = said.replace(&(whole.len() / 2).to_string(), "HALF");
            cases.push((format!("{what} {how}"), said));
        }
        fs::remove_file(&path).unwrap();
        cases.push((format!("{what} gone"), scene.fails(DOCKERFILE, 1)));
        fs::write(&path, whole).unwrap();
    }
    insta::assert_snapshot!(transcript(cases));
}

#[test]
fn images_that_were_never_right() {
    if !needs(REGISTRY) || !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let (_, busybox) = busybox(&scene.registry);
    let real = fs::read(blob(&scene.registry, busybox["layers"][0]["digest"].as_str().unwrap())).unwrap();
    let config = |diff_ids: &[&str]| {
        let text = json!({"os": "linux", "architecture": "amd64", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        text.to_string().into_bytes()
    };
    let other = Digest::of(b"other").to_string();
    let mut cases = Vec::new();
    let images: Vec<Unusual> = vec![
        ("a config that is no JSON", b"<html>".to_vec(), vec![&real]),
        ("a config that is no object", b"[1]".to_vec(), vec![&real]),
        ("a config of wrong types", br#"{"config": {"Env": 7}}"#.to_vec(), vec![&real]),
        ("a config with fewer layers", config(&[]), vec![&real]),
        ("a config with a diff ID that is none", config(&["sha256:12"]), vec![&real]),
        ("a config of another layer", config(&[&other]), vec![&real]),
        (
            "a layer that is no archive",
            config(&[&other]),
            vec![b"not an archive at all, only a line of text"],
        ),
        ("a layer that ends too early", config(&[&other]), vec![&real[..1000]]),
    ];
    for (name, config, layers) in images {
        plant(&scene.registry, &config, &layers);
        cases.push((name, scene.fails("FROM REGISTRY/bad\nRUN true\n", 1)));
    }
    for (name, manifest) in [
        ("a manifest that is no JSON", "<html>".to_owned()),
        ("a manifest without anything", "{}".to_owned()),
        ("a manifest without a config", json!({"schemaVersion": 2, "mediaType": MANIFEST}).to_string()),
        (
            "a manifest with a digest that is none",
            json!({"schemaVersion": 2, "mediaType": MANIFEST,
                "config": {"mediaType": "x", "digest": "md5:1", "size": 1}, "layers": []})
            .to_string(),
        ),
        (
            "a manifest of an artifact",
            json!({"schemaVersion": 2, "mediaType": MANIFEST,
                "config": plant_blob(&scene.registry, b"{}", "application/vnd.example+json"), "layers": []})
            .to_string(),
        ),
    ] {
        plant_manifest(&scene.registry, manifest.as_bytes());
        cases.push((name, scene.fails("FROM REGISTRY/bad\n", 1)));
    }
    insta::assert_snapshot!(transcript(cases));
}
