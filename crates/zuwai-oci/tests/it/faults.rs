//! Answers that are not what they should be: each is a typed error that names host, repository and what was said.

use std::time::Duration;

use zuwai_oci::error::OciError;
use zuwai_oci::{Digest, Family, MediaType, Platform, Registry, RegistryOptions};

use crate::sample::{client, image, reference};
use crate::stub::{Reply, Stub};

async fn resolve(stub: &Stub) -> OciError {
    let reference = reference(&format!("{}/team/app:1", stub.address));
    client().resolve(&reference, &Platform::parse("linux/amd64").unwrap()).await.unwrap_err()
}

type MakeReply = Box<dyn Fn() -> Reply + Send + Sync>;

/// The name of an error's variant.
fn kind(error: &OciError) -> String {
    let shown = format!("{:?}", error.root());
    shown.split([' ', '(']).next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_typed_and_name_everything() {
    for (status, code, expected) in [
        (401, "UNAUTHORIZED", "Unauthorized"),
        (403, "DENIED", "Denied"),
        (404, "NAME_UNKNOWN", "NameUnknown"),
        (404, "MANIFEST_UNKNOWN", "ManifestUnknown"),
        (429, "TOOMANYREQUESTS", "Refused"),
        (500, "UNKNOWN", "Refused"),
    ] {
        let stub = Stub::start(move |asked| {
            let body = format!(r#"{{"errors":[{{"code":"{code}","message":"because of {status}"}}]}}"#);
            asked.target.contains("/manifests/").then(|| Reply::body(status, body))
        });
        let error = resolve(&stub).await;
        let message = error.to_string();
        assert_eq!(kind(&error), expected, "{message}");
        let status = status.to_string();
        for part in [stub.address.as_str(), "team/app", &status, code, "because of"] {
            assert!(message.contains(part), "{message} lacks {part}");
        }
        assert!(error.hint().is_some(), "{message} has no hint");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_cannot_be_right_are_refused() {
    let sample = image(Family::Oci, "x");
    let manifest = sample.image.manifest_bytes().to_vec();
    let typed =
        |body: Vec<u8>| Reply::body(200, body).header("Content-Type", MediaType::OciManifest.as_str());
    let other = Digest::of(b"other").to_string();
    let cases: Vec<(&str, MakeReply)> = vec![
        ("Document", Box::new(move || typed(b"<html>".to_vec()))),
        ("Document", Box::new(move || typed(vec![b' '; (4 << 20) + 1]))),
        ("Document", Box::new(move || typed(br#"{"schemaVersion":1,"fsLayers":[]}"#.to_vec()))),
        ("DigestMismatch", {
            let manifest = manifest.clone();
            Box::new(move || typed(manifest.clone()).header("Docker-Content-Digest", other.clone()))
        }),
        ("Document", {
            let index = MediaType::OciIndex;
            Box::new(move || Reply::body(200, manifest.clone()).header("Content-Type", index.as_str()))
        }),
    ];
    for (expected, reply) in cases {
        let stub = Stub::start(move |asked| asked.target.contains("/manifests/").then(&reply));
        let error = resolve(&stub).await;
        assert_eq!(kind(&error), expected, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_is_not_the_manifests_is_refused() {
    let sample = image(Family::Oci, "x");
    let config = sample.image.config_bytes().to_vec();
    let mut flipped = config.clone();
    flipped[20] ^= 1;
    for (body, expected) in [
        (flipped, "DigestMismatch"),
        (config[..100].to_vec(), "Truncated"),
        ([config, vec![0]].concat(), "TooLong"),
    ] {
        let manifest = sample.image.manifest_bytes().to_vec();
        let stub = Stub::start(move |asked| match asked.target.as_str() {
            target if target.contains("/manifests/") => Some(Reply::body(200, manifest.clone())),
            target if target.contains("/blobs/") => Some(Reply::body(200, body.clone())),
            _ => None,
        });
        let error = resolve(&stub).await;
        assert_eq!(kind(&error), expected, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_without_end_are_given_up() {
    let stub = Stub::start(|asked| {
        asked
            .target
            .contains("/manifests/")
            .then(|| Reply::status(302).header("Location", asked.target.clone()))
    });
    let error = resolve(&stub).await;
    assert!(error.to_string().contains("more than 10 redirects"), "{error}");
    let stub = Stub::start(|asked| {
        asked
            .target
            .contains("/manifests/")
            .then(|| Reply::status(302).header("Location", "file:///etc/passwd"))
    });
    let error = resolve(&stub).await;
    assert!(error.to_string().contains("scheme file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = client().manifest(&reference(&format!("127.0.0.1:{port}/t/x"))).await.unwrap_err();
    assert_eq!(kind(&error), "Connect", "{error}");
    assert!(error.hint().unwrap().contains(&port.to_string()));

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = RegistryOptions {
        stall_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_millis(300),
        retry: crate::sample::impatient(),
        ..RegistryOptions::default()
    };
    let name = format!("{}/t/x", silent.local_addr().unwrap());
    let error = Registry::new(options).unwrap().manifest(&reference(&name)).await.unwrap_err();
    assert!(matches!(kind(&error).as_str(), "Timeout" | "Connect"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_http_registry_is_recognised_where_https_is_wanted() {
    let stub = Stub::start(|_| None);
    // An address that leads here, but that is not known to be local.
    let name = stub.address.replace("127.0.0.1", "0.0.0.0");
    let reference = reference(&format!("{name}/t/x:1"));
    let error = client().manifest(&reference).await.unwrap_err();
    assert_eq!(kind(&error), "PlainHttp", "{error:?}");
    assert!(error.hint().unwrap().contains("--insecure-registry"), "{:?}", error.hint());

    let mut options = RegistryOptions::default();
    options.insecure_registries.insert(name);
    let error = Registry::new(options).unwrap().manifest(&reference).await.unwrap_err();
    assert_eq!(kind(&error), "ManifestUnknown", "{error:?}");
}

#[test]
fn a_client_can_be_made_outside_of_a_runtime() {
    client();
}
