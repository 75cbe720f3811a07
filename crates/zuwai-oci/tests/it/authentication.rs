//! Who we are: basic and token authentication of a real registry, and where credentials go.

use std::path::Path;

use zuwai_oci::credentials::Credentials;
use zuwai_oci::error::OciError;
use zuwai_oci::{Descriptor, Family, MediaType, Platform, Registry, RegistryOptions};
use zuwai_testkit::need::{REGISTRY, needs};
use zuwai_testkit::registry::{PASSWORD, RegistryOptions as Real, USER};

use crate::sample::{client, empty_store, image, reference};
use crate::stub::{Reply, Stub};

/// A client with the credentials of a docker configuration folder.
fn with_config(directory: &Path) -> Registry {
    let credentials = Credentials::load(&directory.join("config.json")).unwrap();
    Registry::new(RegistryOptions { credentials, ..RegistryOptions::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_credentials_open_the_registry_and_wrong_ones_are_told_from_none() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::plain().basic().start();
    let sample = image(Family::Oci, "basic");
    let reference = reference(&real.reference("t/x:1"));

    let good = with_config(real.docker_config(USER, PASSWORD).path());
    good.check_push_permission(&reference).await.unwrap();
    good.push(&sample.image, &sample.store, &reference).await.unwrap();
    let found = good.resolve(&reference, &Platform::parse("linux/amd64").unwrap()).await.unwrap();
    assert_eq!(found.digest, sample.image.digest());

    let wrong = with_config(real.docker_config(USER, "hunter2").path());
    let error = wrong.push(&sample.image, &sample.store, &reference).await.unwrap_err();
    assert!(matches!(error.root(), OciError::Unauthorized { with_credentials: true, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("did not accept the credentials"), "{:?}", error.hint());
    assert!(!format!("{error:?} {error}").contains("hunter2"));

    let error = client().check_push_permission(&reference).await.unwrap_err();
    assert!(matches!(error.root(), OciError::Unauthorized { with_credentials: false, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("no credentials"), "{:?}", error.hint());
    assert!(error.to_string().contains("UNAUTHORIZED"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_fetched_for_what_is_done_and_used_again() {
    if !needs(REGISTRY) {
        return;
    }
    let real = Real::plain().token().start();
    let sample = image(Family::Oci, "token");
    let reference = reference(&real.reference("t/x:1"));

    let error = client().push(&sample.image, &sample.store, &reference).await.unwrap_err();
    assert!(matches!(error.root(), OciError::Unauthorized { with_credentials: false, .. }), "{error:?}");

    let known = with_config(real.docker_config(USER, PASSWORD).path());
    let server = real.token_server().unwrap();
    let before = server.requests().len();
    known.push(&sample.image, &sample.store, &reference).await.unwrap();
    // What the refused client had on its way may still arrive.
    let mut asked = server.requests().split_off(before);
    asked.retain(|request| request.ends_with(USER));
    assert!(!asked.is_empty() && asked.len() <= 3, "one token is enough, give or take a race: {asked:?}");
    assert!(asked[0].contains("t%2Fx%3Apull%2Cpush"), "{asked:?}");

    let anonymous = client();
    let found = anonymous.resolve(&reference, &Platform::parse("linux/amd64").unwrap()).await.unwrap();
    assert_eq!(found.digest, sample.image.digest());
    let asked = server.requests();
    assert!(asked.last().unwrap().ends_with(" -"), "nobody is nobody: {asked:?}");

    let wrong = with_config(real.docker_config(USER, "wrong").path());
    let error = wrong.check_push_permission(&reference).await.unwrap_err();
    assert!(matches!(error.root(), OciError::Unauthorized { with_credentials: true, .. }), "{error:?}");
    assert!(error.to_string().contains("incorrect username or password"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let blob = b"content".to_vec();
    let elsewhere = Stub::start({
        let blob = blob.clone();
        move |asked| asked.target.starts_with("/signed").then(|| Reply::body(200, blob.clone()))
    });
    let target = format!("http://{}/signed?signature=abc", elsewhere.address);
    let stub = Stub::start(move |asked| {
        Some(match &asked.authorization {
            None => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
            Some(_) if asked.target == "/v2/" => Reply::status(200),
            Some(_) => Reply::status(307).header("Location", target.clone()),
        })
    });
    let config = tempfile::tempdir().unwrap();
    let text = format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpodW50ZXIy"}}}}}}"#, stub.address);
    std::fs::write(config.path().join("config.json"), text).unwrap();
    let (_directory, store) = empty_store();
    let descriptor = Descriptor::of(MediaType::OciLayer, &blob);
    let reference = reference(&format!("{}/t/x:1", stub.address));
    with_config(config.path()).fetch_blob(&reference, &descriptor, &store).await.unwrap();

    assert!(stub.asked().iter().any(|asked| asked.authorization.is_some()));
    let leaked: Vec<_> =
        elsewhere.asked().into_iter().filter(|asked| asked.authorization.is_some()).collect();
    assert!(leaked.is_empty() && !elsewhere.asked().is_empty(), "{leaked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_refused_by_name() {
    let stub = Stub::start(|_| {
        Some(Reply::status(401).header("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:1/t\""))
    });
    let config = tempfile::tempdir().unwrap();
    let text = format!(r#"{{"auths": {{"{}": {{"identitytoken": "hunter2"}}}}}}"#, stub.address);
    std::fs::write(config.path().join("config.json"), text).unwrap();
    let reference = reference(&format!("{}/t/x:1", stub.address));
    let error = with_config(config.path()).manifest(&reference).await.unwrap_err();
    assert!(
        error.to_string().contains("identity token") && error.to_string().contains("not supported"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("hunter2"));
}
