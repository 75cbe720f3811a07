//! Registries as they stand in the field: behind proxies with limits, with their blobs in an object store.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use zuwai_oci::credentials::{Credential, Credentials};
use zuwai_oci::error::OciError;
use zuwai_oci::{Descriptor, Family, MediaType, Registry, RegistryOptions, Secret, Store};
use zuwai_testkit::cache::scratch;
use zuwai_testkit::need::{Need, REGISTRY, needs};
use zuwai_testkit::nginx::Nginx;
use zuwai_testkit::object_store::ObjectStore;
use zuwai_testkit::registry::{PASSWORD, RegistryOptions as Real, USER};
use zuwai_testkit::server::Server;

use crate::sample::{client, empty_store, image, impatient, noise, reference};

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

/// Another implementation than distribution's: it asks everybody for a password, and speaks Basic alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_of_another_kind_takes_an_image_and_gives_it_back() {
    if !needs(REGISTRY) || !needs(&[Need::Program("container-registry")]) {
        return;
    }
    let dir = scratch("another-registry");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let storage = dir.path().join("storage");
    std::fs::create_dir(&storage).unwrap();
    let flags = ["-b", &address, "-p", PASSWORD, "-s", &storage.display().to_string()].map(str::to_owned);
    let mut server = Server::start("container-registry", &flags, dir.path(), |_| {});
    server.wait_until(Duration::from_secs(20), |_| TcpStream::connect(&address).ok());

    let mut credentials = Credentials::default();
    let password = Secret::new(PASSWORD);
    credentials.insert(&address, Credential::Basic { username: USER.to_owned(), password });
    let options = RegistryOptions { credentials, retry: impatient(), ..RegistryOptions::default() };
    let client = Registry::new(options).unwrap();
    for family in [Family::Oci, Family::Docker] {
        let sample = image(family, "another");
        let name = reference(&format!("{address}/team/app:{family:?}"));
        client.check_push_permission(&name).await.unwrap();
        client.push(&sample.image, &sample.store, &name).await.unwrap();
        let found = client.resolve(&name, &"linux/amd64".parse().unwrap()).await.unwrap();
        assert_eq!(found.image.manifest_bytes(), sample.image.manifest_bytes());
        for layer in found.image.layers() {
            fetched(&client, &name.to_string(), layer).await;
        }
    }
    // Large enough for an upload with PATCH.
    let (_directory, store, blob) = blob(5 << 20);
    let name = format!("{address}/team/large");
    client.push_blob(&reference(&name), &blob, &store, None).await.unwrap();
    fetched(&client, &name, &blob).await;
    let stranger = self::client().check_push_permission(&reference(&name)).await.unwrap_err();
    assert!(matches!(stranger.root(), OciError::Unauthorized { .. }), "{stranger:?}");
}
