//! Registries as they stand in the field: behind proxies with limits, with their blobs in an object store.

use std::path::Path;

use zuwai_oci::credentials::Credentials;
use zuwai_oci::{Descriptor, MediaType, Registry, RegistryOptions, Store};
use zuwai_testkit::need::{Need, REGISTRY, needs};
use zuwai_testkit::nginx::Nginx;
use zuwai_testkit::object_store::ObjectStore;
use zuwai_testkit::registry::{PASSWORD, RegistryOptions as Real, USER};

use crate::sample::{client, empty_store, impatient, noise, reference};

/// A blob of this length in a store of its own.
fn blob(length: usize) -> (tempfile::TempDir, Store, Descriptor) {
    let (directory, store) = empty_store();
    let stored = store.put_bytes(&noise(length)).unwrap();
    (directory, store, Descriptor::new(MediaType::OciLayer, stored.digest, stored.size))
}

async fn fetched(client: &Registry, name: &str, blob: &Descriptor) {
    let (_directory, store) = empty_store();
    client.fetch_blob(&reference(name), blob, &store).await.unwrap();
    assert_eq!(store.size(&blob.digest), Some(blob.size));
}

/// A proxy that takes ten megabytes at once refuses a larger blob; in pieces it goes through.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_with_a_body_limit_gets_pieces() {
    if !needs(REGISTRY) || !needs(&[Need::Program("nginx")]) {
        return;
    }
    let real = Real::plain().start();
    let (_directory, store, blob) = blob(24 << 20);
    for (limit, pieces) in [("12m", 3), ("1m", 26), ("100m", 1)] {
        let front = Nginx::before(&real.url(), &format!("client_max_body_size {limit};"), "");
        let name = format!("limit/of-{limit}");
        let before = real.requests().len();
        let place = reference(&front.reference(&name));
        client().push_blob(&place, &blob, &store, None).await.unwrap();
        fetched(&client(), &front.reference(&name), &blob).await;
        let requests = real.requests().split_off(before);
        let sent = requests.iter().filter(|request| request.starts_with("PATCH") && request.ends_with("202"));
        assert_eq!(sent.count(), pieces, "{limit}: {requests:#?}");
    }
}

/// Who is told in advance sends pieces from the start, and is never refused.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_are_as_large_as_they_may_be() {
    if !needs(REGISTRY) || !needs(&[Need::Program("nginx")]) {
        return;
    }
    let real = Real::plain().start();
    let front = Nginx::before(&real.url(), "client_max_body_size 3m;", "");
    let (_directory, store, blob) = blob(10 << 20);
    let options = RegistryOptions { chunk_size: Some(3 << 20), ..RegistryOptions::default() };
    let client = Registry::new(options).unwrap();
    client.push_blob(&reference(&front.reference("t/x")), &blob, &store, None).await.unwrap();
    let requests = real.requests();
    let sent: Vec<_> = requests.iter().filter(|request| request.starts_with("PATCH")).collect();
    assert_eq!(sent.len(), 4, "{requests:#?}");
    fetched(&client, &front.reference("t/x"), &blob).await;
}

/// A rate limit slows; it does not stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_waited_for() {
    if !needs(REGISTRY) || !needs(&[Need::Program("nginx")]) {
        return;
    }
    let real = Real::plain().start();
    let zone = "limit_req_zone $server_name zone=all:1m rate=20r/s; limit_req_status 429;";
    let front = Nginx::before(&real.url(), zone, "limit_req zone=all;");
    let retry = zuwai_oci::registry::RetryPolicy { pull: 12, push: 12, ..impatient() };
    let client = Registry::new(RegistryOptions { retry, ..RegistryOptions::default() }).unwrap();
    for name in ["a", "b", "c"] {
        let (_directory, store, blob) = blob(100_000);
        client.push_blob(&reference(&front.reference(name)), &blob, &store, None).await.unwrap();
        fetched(&client, &front.reference(name), &blob).await;
    }
}

/// Blobs come by a redirect to a signed address of the object store, which refuses a request that shows credentials of
/// another kind beside the signature.
#[tokio::test(flavor = "multi_thread")]
async fn blobs_in_an_object_store_are_fetched_without_the_registrys_credentials() {
    if !needs(REGISTRY) || !needs(&[Need::Program("pip3"), Need::Program("htpasswd")]) {
        return;
    }
    let objects = ObjectStore::start();
    let real = Real::plain().basic().blobs_at(&objects).start();
    let config = real.docker_config(USER, PASSWORD);
    let credentials = Credentials::load(Path::new(&config.path().join("config.json"))).unwrap();
    let options = RegistryOptions { credentials, retry: impatient(), ..RegistryOptions::default() };
    let client = Registry::new(options).unwrap();
    let (_directory, store, blob) = blob(7 << 20);
    client.push_blob(&reference(&real.reference("t/x")), &blob, &store, None).await.unwrap();
    fetched(&client, &real.reference("t/x"), &blob).await;
    let redirected = |request: &String| request.starts_with("GET") && request.ends_with("307");
    assert!(real.requests().iter().any(redirected), "{:#?}", real.requests());
}
