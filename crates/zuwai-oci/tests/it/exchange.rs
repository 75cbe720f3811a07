//! Pushing to and resolving from Debian's docker-registry; skopeo reads what was pushed.

use zuwai_oci::error::OciError;
use zuwai_oci::registry::{TlsRootSources, TlsRoots};
use zuwai_oci::{Descriptor, Family, Index, Platform, Registry, RegistryOptions};
use zuwai_testkit::need::{REGISTRY, needs};
use zuwai_testkit::registry::RegistryOptions as Real;

use crate::sample::{client, empty_store, image, reference};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_pushed_is_the_image_resolved_and_skopeo_reads_it() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::plain().start();
    for (family, name) in [(Family::Oci, "t/oci:1"), (Family::Docker, "t/docker:1")] {
        let sample = image(family, name);
        let reference = reference(&real.reference(name));
        let client = client();
        client.push(&sample.image, &sample.store, &reference).await.unwrap();

        let resolved = client.resolve(&reference, &Platform::parse("linux/amd64").unwrap()).await.unwrap();
        assert_eq!(resolved.digest, sample.image.digest());
        assert_eq!(resolved.image.manifest_bytes(), sample.image.manifest_bytes());
        assert_eq!(resolved.image.config_bytes(), sample.image.config_bytes());
        assert_eq!(resolved.image.media_type(), &family.manifest());

        let (_directory, store) = empty_store();
        for layer in resolved.image.layers() {
            client.fetch_blob(&reference, layer, &store).await.unwrap();
            assert_eq!(store.size(&layer.digest), Some(layer.size));
        }

        let fetched = tempfile::tempdir().unwrap();
        real.fetch(name, fetched.path());
        let manifest = std::fs::read(fetched.path().join("manifest.json")).unwrap();
        assert_eq!(manifest, sample.image.manifest_bytes(), "skopeo fetched another manifest");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_sent_again() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::plain().start();
    let sample = image(Family::Oci, "again");
    client().push(&sample.image, &sample.store, &reference(&real.reference("t/x:1"))).await.unwrap();
    let before = real.requests().len();
    client().push(&sample.image, &sample.store, &reference(&real.reference("t/x:2"))).await.unwrap();
    let requests = real.requests().split_off(before);
    let sent = |request: &&String| request.starts_with("POST") || request.contains("/blobs/uploads/");
    assert_eq!(requests.iter().filter(sent).count(), 0, "{requests:#?}");
    let heads = requests.iter().filter(|request| request.starts_with("HEAD") && request.ends_with("200"));
    assert_eq!(heads.count(), 3, "two layers and a config are asked for: {requests:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_are_not_in_the_store_come_from_their_origin() {
    if !needs(REGISTRY) {
        return;
    }
    let (from, to) = (Real::plain().start(), Real::plain().start());
    let sample = image(Family::Oci, "origin");
    let origin = reference(&from.reference("t/x:1"));
    let client = client();
    client.push(&sample.image, &sample.store, &origin).await.unwrap();
    let resolved = client.resolve(&origin, &Platform::parse("linux/amd64").unwrap()).await.unwrap();
    let (_directory, store) = empty_store();
    let copy = reference(&to.reference("other/y:2"));
    client.push(&resolved.image, &store, &copy).await.unwrap();
    let copied = client.resolve(&copy, &Platform::parse("linux/amd64").unwrap()).await.unwrap();
    assert_eq!(copied.digest, sample.image.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_followed_through_an_index_to_its_platform() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::plain().start();
    let client = client();
    let name = |tag: &str| reference(&real.reference(&format!("t/multi:{tag}")));
    let mut manifests = Vec::new();
    for platform in ["linux/amd64", "linux/arm/v7"] {
        let sample = image(Family::Oci, platform);
        let by_digest = name("x").with_digest(sample.image.digest());
        client.push(&sample.image, &sample.store, &by_digest).await.unwrap();
        let platform = Some(platform.parse().unwrap());
        manifests.push(Descriptor { platform, ..sample.image.descriptor() });
    }
    let index = Index::new(Family::Oci, manifests.clone());
    let bytes = index.to_bytes().unwrap();
    client.put_manifest(&name("latest"), &Family::Oci.index(), &bytes).await.unwrap();

    let resolved = client.resolve(&name("latest"), &"linux/arm/v8".parse().unwrap()).await.unwrap();
    assert_eq!(resolved.image.digest(), manifests[1].digest);
    assert_eq!(resolved.digest, zuwai_oci::Digest::of(&bytes), "the tag's own digest is the index's");
    assert_eq!(resolved.image.config().config.labels["label"], "linux/arm/v7");

    let error = client.resolve(&name("latest"), &"linux/s390x".parse().unwrap()).await.unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, OciError::NoPlatform { .. }), "{error:?}");
    assert!(message.contains("linux/s390x") && message.contains("linux/arm/v7"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_its_own_authority_is_trusted_when_told_so() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::default().tls().start();
    let sample = image(Family::Oci, "tls");
    let reference = reference(&real.reference("t/x:1"));

    let error = client().push(&sample.image, &sample.store, &reference).await.unwrap_err();
    assert!(matches!(error.root(), OciError::Certificate { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("--skip-tls-verify-registry"), "{:?}", error.hint());

    let authority = real.authority().unwrap();
    let sources = TlsRootSources { file: Some(authority.to_owned()), ..TlsRootSources::default() };
    let tls_roots = TlsRoots::load(&sources).unwrap();
    let trusting = Registry::new(RegistryOptions { tls_roots, ..RegistryOptions::default() }).unwrap();
    trusting.push(&sample.image, &sample.store, &reference).await.unwrap();

    let mut options = RegistryOptions::default();
    options.skip_tls_verify_registries.insert(real.address());
    let careless = Registry::new(options).unwrap();
    let found = careless.resolve(&reference, &"linux/amd64".parse().unwrap()).await.unwrap();
    assert_eq!(found.digest, sample.image.digest());

    let options = RegistryOptions { skip_tls_verify: true, ..RegistryOptions::default() };
    let pushing = Registry::new(options).unwrap();
    pushing.push(&sample.image, &sample.store, &reference).await.unwrap();
    let error = pushing.resolve(&reference, &"linux/amd64".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error.root(), OciError::Certificate { .. }), "only pushing is careless: {error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_is_named() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::plain().start();
    let error =
        client().resolve(&reference(&real.reference("no/such:thing")), &Platform::host()).await.unwrap_err();
    let message = error.to_string();
    assert!(error.is_not_found(), "{error:?}");
    for part in [real.address().as_str(), "no/such", "thing", "404", "MANIFEST_UNKNOWN"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_registry_refuses_in_its_own_words() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::plain().read_only().start();
    let sample = image(Family::Oci, "read-only");
    let reference = reference(&real.reference("t/x:1"));
    let pushed = client().push(&sample.image, &sample.store, &reference).await.unwrap_err();
    let checked = client().check_push_permission(&reference).await.unwrap_err();
    for error in [pushed, checked] {
        assert!(matches!(&error, OciError::Refused { answer, .. } if answer.status == 405), "{error:?}");
        assert!(error.to_string().contains("t/x"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn localhost_is_found_without_the_systems_resolver() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::plain().start();
    let sample = image(Family::Oci, "localhost");
    let reference = reference(&format!("localhost:{}/t/x:1", real.port()));
    client().push(&sample.image, &sample.store, &reference).await.unwrap();
    let error = client().manifest(&crate::sample::reference("no-such-host.invalid/x")).await.unwrap_err();
    assert!(matches!(error.root(), OciError::UnknownHost { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("no-such-host.invalid"), "{:?}", error.hint());
}
