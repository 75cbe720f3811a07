//! Mirrors of registries: in which order they are asked, and what is made of their failures.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zuwai_oci::credentials::{Credential, Credentials};
use zuwai_oci::place::Place;
use zuwai_oci::registry::Mirrors;
use zuwai_oci::{Digest, Family, OciError, Platform, Registry, RegistryOptions, Secret};
use zuwai_testkit::need::{Need, REGISTRY, needs};
use zuwai_testkit::registry::{PASSWORD, RegistryOptions as Real, USER};

use crate::sample::{Sample, client, empty_store, image, impatient, reference};
use crate::stub::{Reply, Stub};

/// A registry that is nowhere.
const ORIGINAL: &str = "original.invalid";

fn mapped(places: &[&str], instead: bool) -> RegistryOptions {
    let mut mirrors = Mirrors::default();
    mirrors.instead = instead;
    for place in places {
        mirrors.add(ORIGINAL, Place::parse(place).unwrap());
    }
    RegistryOptions { mirrors, retry: impatient(), ..RegistryOptions::default() }
}

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// Resolves the image under the original's name and fetches its layers.
async fn pulled(client: &Registry, sample: &Sample, name: &str) {
    let name = reference(name);
    let found = client.resolve(&name, &platform()).await.unwrap();
    assert_eq!((&found.reference, found.digest), (&name, sample.image.digest()));
    let (_directory, store) = empty_store();
    for layer in found.image.layers() {
        let origin = &found.image.origins[&layer.digest];
        assert_eq!(origin.name(), name.name(), "an image keeps its own name");
        client.fetch_blob(origin, layer, &store).await.unwrap();
        assert_eq!(store.size(&layer.digest), Some(layer.size));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_place_is_asked_when_one_fails() {
    if !needs(REGISTRY) {
        return;
    }
    let (empty, real) = (Real::plain().start(), Real::plain().start());
    let sample = image(Family::Oci, "mirrored");
    client().push(&sample.image, &sample.store, &reference(&real.reference("hub/t/x:1"))).await.unwrap();
    let limited = Stub::start(|_| Some(Reply::status(429).header("Retry-After", "100")));
    let lying = Stub::start(|asked| {
        asked.target.contains("/manifests/").then(|| {
            let claim = format!("sha256:{}", "0".repeat(64));
            Reply::body(200, "{}").header("Docker-Content-Digest", claim)
        })
    });
    let places = [
        "127.0.0.1:1",
        &empty.address(),
        &limited.address,
        &lying.address,
        &format!("{}/hub", real.address()),
    ];
    let client = Registry::new(mapped(&places, false)).unwrap();
    pulled(&client, &sample, "original.invalid/t/x:1").await;
    assert!(!limited.asked().is_empty() && !lying.asked().is_empty());
    let by_digest = reference("original.invalid/t/x").with_digest(sample.image.digest());
    pulled(&client, &sample, &by_digest.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_served_the_manifest_is_asked_first_and_what_cannot_be_reached_no_more() {
    if !needs(REGISTRY) {
        return;
    }
    let (empty, real) = (Real::plain().start(), Real::plain().start());
    let sample = image(Family::Oci, "remembered");
    client().push(&sample.image, &sample.store, &reference(&real.reference("t/x:1"))).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            drop(connection);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let client = Registry::new(mapped(&[&dead, &empty.address(), &real.address()], false)).unwrap();
    client.manifest(&reference("original.invalid/t/x:1")).await.unwrap();
    let (tried, missed) = (connections.load(Ordering::SeqCst), empty.requests().len());
    assert!(tried > 0);
    pulled(&client, &sample, "original.invalid/t/x:1").await;
    assert_eq!(empty.requests().len(), missed, "the place that had the manifest is asked first");
    let error = client.manifest(&reference("original.invalid/t/other:1")).await.unwrap_err();
    assert!(matches!(error.root(), OciError::UnknownHost { .. }), "the original's own error: {error:?}");
    assert_eq!(connections.load(Ordering::SeqCst), tried, "a dead mirror is not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_original_all_places_are_named() {
    if !needs(REGISTRY) {
        return;
    }
    let (first, second) = (Real::plain().start(), Real::plain().start());
    let options = mapped(&[&first.address(), &format!("{}/sub", second.address())], true);
    let error =
        Registry::new(options).unwrap().manifest(&reference("original.invalid/t/x:1")).await.unwrap_err();
    let message = error.to_string();
    assert!(matches!(error.root(), OciError::NoPlace { .. }) && error.is_not_found(), "{error:?}");
    for part in [
        "original.invalid/t/x:1",
        "not found on any configured mapped registries",
        &first.reference("t/x"),
        &second.reference("sub/t/x"),
        "MANIFEST_UNKNOWN",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_a_mirror_lost_comes_from_the_next_place() {
    if !needs(REGISTRY) {
        return;
    }
    let (broken, whole) = (Real::plain().start(), Real::plain().start());
    let sample = image(Family::Oci, "lost");
    for real in [&broken, &whole] {
        client().push(&sample.image, &sample.store, &reference(&real.reference("t/x:1"))).await.unwrap();
    }
    for layer in sample.image.layers() {
        let hex = layer.digest.hex();
        let blobs = broken.storage().join("docker/registry/v2/blobs/sha256");
        std::fs::remove_dir_all(blobs.join(&hex[..2]).join(hex)).unwrap();
    }
    let client = Registry::new(mapped(&[&broken.address(), &whole.address()], true)).unwrap();
    pulled(&client, &sample, "original.invalid/t/x:1").await;
    let served = |request: &String| request.contains("/manifests/") && request.ends_with("200");
    assert!(broken.requests().iter().any(served));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_a_mirror_sends_damaged_comes_from_the_next_place() {
    if !needs(REGISTRY) {
        return;
    }
    let (broken, whole) = (Real::plain().start(), Real::plain().start());
    let sample = image(Family::Oci, "damaged");
    for real in [&broken, &whole] {
        client().push(&sample.image, &sample.store, &reference(&real.reference("t/x:1"))).await.unwrap();
    }
    for layer in sample.image.layers() {
        let hex = layer.digest.hex();
        let data =
            broken.storage().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data");
        let mut bytes = std::fs::read(&data).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&data, bytes).unwrap();
    }
    let places = [broken.address(), whole.address()];
    let client = Registry::new(mapped(&[&places[0], &places[1]], true)).unwrap();
    pulled(&client, &sample, "original.invalid/t/x:1").await;

    let (name, layer) = (reference("original.invalid/t/x:1"), &sample.image.layers()[0]);
    let client = Registry::new(mapped(&[&places[0], &places[1]], true)).unwrap();
    let (_directory, store) = empty_store();
    let download = client.download(&name, layer, &store);
    let mut reader = download.reader();
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| Digest::of(&bytes))
    });
    download.wait().await.unwrap();
    if let Ok(digest) = reading.await.unwrap() {
        assert_eq!(digest, layer.digest, "a reader gets the bytes of one place, or an error");
    }

    let alone = Registry::new(mapped(&[&places[0]], true)).unwrap();
    let (_directory, store) = empty_store();
    let error = alone.fetch_blob(&name, layer, &store).await.unwrap_err();
    assert!(error.is_damage() && error.to_string().contains(&places[0]), "who sent it is named: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_has_credentials_of_its_own_and_pushes_go_past_it() {
    if !needs(REGISTRY) || !needs(&[Need::Program("htpasswd")]) {
        return;
    }
    let original = Real::plain().start();
    let sample = image(Family::Oci, "credentials");
    let name = reference(&original.reference("t/x:1"));
    let mirror = Real::plain().basic().start();
    let mut credentials = Credentials::default();
    let password = Secret::new(PASSWORD);
    let own = Credential::Basic { username: USER.to_owned(), password };
    credentials.insert(&mirror.address(), own);
    let mut mirrors = Mirrors::default();
    mirrors.add(&original.address(), Place::parse(&mirror.address()).unwrap());
    let options = RegistryOptions { mirrors, credentials, retry: impatient(), ..RegistryOptions::default() };
    let client = Registry::new(options).unwrap();
    client.push(&sample.image, &sample.store, &name).await.unwrap();
    assert!(mirror.requests().iter().all(|request| !request.starts_with("P")), "{:?}", mirror.requests());
    client.push(&sample.image, &sample.store, &reference(&mirror.reference("t/x:1"))).await.unwrap();
    let before = original.requests().len();
    client.resolve(&name, &platform()).await.unwrap();
    assert_eq!(original.requests().len(), before, "the mirror had all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_through_mirror_serves_what_it_fetches() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::plain().start();
    let sample = image(Family::Docker, "through");
    client().push(&sample.image, &sample.store, &reference(&real.reference("t/x:1"))).await.unwrap();
    let mirror = Real::plain().mirror_of(&real.url()).start();
    let client = Registry::new(mapped(&[&mirror.address()], true)).unwrap();
    pulled(&client, &sample, "original.invalid/t/x:1").await;
}
