//! Blobs on their way, through a server that can cut, change and delay them.

use std::io::Read as _;
use std::sync::{Arc, Mutex, mpsc};

use zuwai_oci::error::OciError;
use zuwai_oci::{Descriptor, Family, MediaType, Package, RawManifest};

use crate::sample::{client, empty_store, image, noise, reference};
use crate::stub::{Reply, Stub};

fn blob() -> (Vec<u8>, Descriptor) {
    let bytes = noise(500_000);
    let descriptor = Descriptor::of(MediaType::OciLayer, &bytes);
    (bytes, descriptor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_an_error_for_waiters_and_readers_and_is_not_stored() {
    let (bytes, descriptor) = blob();
    let mut flipped = bytes.clone();
    flipped[400_000] ^= 1;
    let longer = [bytes.clone(), vec![0]].concat();
    for (body, length, expected) in [
        (bytes[..250_000].to_vec(), Some(500_000), "truncated"),
        (bytes[..250_000].to_vec(), None, "truncated"),
        (Vec::new(), None, "truncated"),
        (flipped, None, "digest"),
        (longer, None, "more than"),
    ] {
        let stub = Stub::start(move |asked| {
            asked.target.contains("/blobs/").then(|| Reply { length, ..Reply::body(200, body.clone()) })
        });
        let (_directory, store) = empty_store();
        let name = reference(&format!("{}/t/x:1", stub.address));
        let download = client().download(&name, &descriptor, &store);
        let mut reader = download.reader();
        let read = tokio::task::spawn_blocking(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let error = download.wait().await.unwrap_err();
        assert!(error.to_string().contains(expected) && error.to_string().contains("t/x"), "{error}");
        let read = read.await.unwrap().unwrap_err();
        assert!(read.to_string().contains(expected), "the reader is told: {read}");
        assert!(!store.contains(&descriptor.digest));
        let left = std::fs::read_dir(store.directory().join("ingest")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "temporary files are removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_the_first_bytes_before_the_last_have_come() {
    let (bytes, descriptor) = blob();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let halves = vec![bytes[..250_000].to_vec(), bytes[250_000..].to_vec()];
    let stub = Stub::start(move |asked| {
        let (halves, wait) = (halves.clone(), wait.clone());
        let pause = move || wait.lock().unwrap().recv().unwrap();
        asked.target.contains("/blobs/").then(|| Reply {
            pieces: halves,
            pause: Some(Box::new(pause)),
            ..Reply::status(200)
        })
    });
    let (_directory, store) = empty_store();
    let name = reference(&format!("{}/t/x:1", stub.address));
    let client = client();
    let download = client.download(&name, &descriptor, &store);
    let joined = client.download(&name, &descriptor, &store);
    let mut reader = download.reader();
    let read = tokio::task::spawn_blocking(move || {
        let mut first = vec![0; 250_000];
        reader.read_exact(&mut first).unwrap();
        // Only now may the rest come.
        go_on.send(()).unwrap();
        reader.read_to_end(&mut first).unwrap();
        first
    });
    assert_eq!(read.await.unwrap(), bytes);
    joined.wait().await.unwrap();
    assert_eq!(stub.asked().len(), 1, "a blob is fetched once: {:?}", stub.asked());
    assert_eq!(store.size(&descriptor.digest), Some(500_000));

    // What is in the store is not fetched.
    let again = client.download(&name, &descriptor, &store);
    let read = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        again.reader().read_to_end(&mut all).unwrap();
        again.wait_blocking().unwrap();
        all
    });
    assert_eq!(read.await.unwrap(), bytes);
    assert_eq!(stub.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_where_the_registry_says_and_keeps_its_parameters() {
    let sample = image(Family::Oci, "upload");
    let layer = sample.image.layers()[1].clone();
    let stub = Stub::start(|asked| match (asked.method.as_str(), asked.target.as_str()) {
        ("POST", "/v2/t/x/blobs/uploads/") => {
            Some(Reply::status(202).header("Location", "../../../../../elsewhere/up?state=a%2Fb+c&x"))
        }
        ("PATCH", target) if target.starts_with("/elsewhere/up?") => {
            Some(Reply::status(202).header("Location", "/elsewhere/up?state=c%2Fd+e&y"))
        }
        ("PUT", target) if target.starts_with("/elsewhere/up?") => Some(Reply::status(201)),
        _ => None,
    });
    let name = reference(&format!("{}/t/x:1", stub.address));
    client().push_blob(&name, &layer, &sample.store, None).await.unwrap();
    let asked = stub.asked();
    let sent = |method: &str| asked.iter().find(|asked| asked.method == method).unwrap();
    let digest = layer.digest.to_string().replace(':', "%3A");
    assert_eq!(sent("PATCH").target, "/elsewhere/up?state=a%2Fb+c&x");
    assert_eq!(zuwai_oci::Digest::of(&sent("PATCH").body), layer.digest);
    assert_eq!(sent("PUT").target, format!("/elsewhere/up?state=c%2Fd+e&y&digest={digest}"));
    assert!(sent("PUT").body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_nowhere_is_named() {
    let (_, descriptor) = blob();
    let stub = Stub::start(|_| None);
    let (_directory, store) = empty_store();
    let name = reference(&format!("{}/t/x:1", stub.address));
    let error = client().push_blob(&name, &descriptor, &store, None).await.unwrap_err();
    assert!(matches!(error, OciError::MissingBlob { .. }), "{error:?}");
    let error = client().fetch_blob(&name, &descriptor, &store).await.unwrap_err();
    assert!(matches!(error.root(), OciError::BlobUnknown { .. }), "{error:?}");
}

#[test]
fn a_download_outside_of_a_runtime_or_beyond_its_end_fails_and_does_not_hang() {
    let (_, descriptor) = blob();
    let (_directory, store) = empty_store();
    let name = reference("127.0.0.1:1/t/x:1");
    let client = client();
    assert!(client.download(&name, &descriptor, &store).wait_blocking().is_err());

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = reference(&format!("{}/t/x:1", silent.local_addr().unwrap()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let download = runtime.block_on(async { client.download(&name, &descriptor, &store) });
    drop(runtime);
    assert!(download.wait_blocking().unwrap_err().to_string().contains("abandoned"));
}

/// The registry had the blobs when it was asked, and has one no more when the manifest comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_went_between_is_brought_again() {
    for as_package in [false, true] {
        brings_again(as_package).await;
    }
}

async fn brings_again(as_package: bool) {
    let sample = image(Family::Oci, "gone");
    let lost = sample.image.layers()[0].digest.to_string();
    let (puts, heads) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let stub = Stub::start(move |asked| {
        let count = |counter: &Mutex<i32>| {
            let mut counter = counter.lock().unwrap();
            *counter += 1;
            *counter
        };
        let refusal = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
        Some(match asked.method.as_str() {
            "HEAD" if asked.target.ends_with(&lost) && count(&heads) == 2 => Reply::status(404),
            "HEAD" => Reply::status(200),
            "POST" => Reply::status(202).header("Location", "/v2/t/x/blobs/uploads/1"),
            "PATCH" => Reply::status(202).header("Location", "/v2/t/x/blobs/uploads/1"),
            "PUT" if asked.target.contains("/blobs/") => Reply::status(201),
            "PUT" if count(&puts) == 1 => Reply::body(400, refusal),
            "PUT" => Reply::status(201),
            _ => return None,
        })
    });
    let name = reference(&format!("{}/t/x:1", stub.address));
    let sent = match as_package {
        true => {
            let manifest = sample.image.manifest_bytes().to_vec();
            let package = Package::single(RawManifest::parse(manifest, None).unwrap());
            client().push_package(&package, &sample.store, None, &name).await
        }
        false => client().push(&sample.image, &sample.store, &name).await,
    };
    sent.unwrap();
    let sent: Vec<_> = stub.asked().into_iter().filter(|asked| asked.method == "PUT").collect();
    let targets: Vec<_> = sent.iter().map(|asked| asked.target.split('?').next().unwrap()).collect();
    assert_eq!(targets, ["/v2/t/x/manifests/1", "/v2/t/x/blobs/uploads/1", "/v2/t/x/manifests/1"]);
}
