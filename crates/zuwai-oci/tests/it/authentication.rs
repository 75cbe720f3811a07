//! Who we are: basic and token authentication of a real registry, and where credentials go.

use std::path::Path;

use zuwai_oci::credentials::{Credentials, DockerConfig, RegistryKey};
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

/// A registry that wants a token of this realm, and takes `granted`.
fn token_registry(realm: String) -> Stub {
    Stub::start(move |asked| {
        let challenge =
            format!("Bearer realm=\"{realm}\",service=\"the registry\",scope=\"registry:catalog:*\"");
        Some(match asked.authorization.as_deref() {
            Some("Bearer granted") if asked.target == "/v2/" => Reply::status(200),
            Some("Bearer granted") => Reply::status(404),
            _ => Reply::status(401).header("WWW-Authenticate", challenge),
        })
    })
}

/// A client with one entry of `auths` for a registry.
fn with_entry(registry: &str, entry: &str) -> Registry {
    let text = format!(r#"{{"auths": {{"{registry}": {entry}}}}}"#);
    let mut credentials = Credentials::default();
    credentials.add_document(DockerConfig::parse(Path::new("config.json"), text.as_bytes()).unwrap());
    Registry::new(RegistryOptions { credentials, ..RegistryOptions::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_changed_for_access_with_oauth2() {
    // A server that does not speak OAuth2 is asked as with a password.
    for speaks_oauth in [true, false] {
        let server = Stub::start(move |asked| {
            Some(match asked.method.as_str() {
                "POST" if speaks_oauth => Reply::body(200, r#"{"access_token": "granted"}"#),
                "POST" => Reply::status(405),
                _ => Reply::body(200, r#"{"token": "granted"}"#),
            })
        });
        let stub = token_registry(format!("http://{}/token", server.address));
        let reference = reference(&format!("{}/t/x:1", stub.address));
        let client = with_entry(&stub.address, r#"{"identitytoken": "id&tok=en"}"#);
        assert!(client.manifest(&reference).await.unwrap_err().is_not_found());

        let asked = server.asked();
        assert_eq!(asked[0].target, "/token", "nothing of it is in the address");
        assert_eq!(asked[0].authorization, None);
        assert_eq!(
            String::from_utf8(asked[0].body.clone()).unwrap(),
            "grant_type=refresh_token&refresh_token=id%26tok%3Den&service=the+registry\
             &scope=repository%3At%2Fx%3Apull+registry%3Acatalog%3A*&client_id=zuwai"
        );
        assert_eq!(asked.len(), if speaks_oauth { 1 } else { 2 });
        if let Some(second) = asked.get(1) {
            assert_eq!(
                second.target,
                "/token?service=the+registry&scope=repository%3At%2Fx%3Apull&scope=registry%3Acatalog%3A*"
            );
            // 00000000-0000-0000-0000-000000000000:id&tok=en
            let basic = "Basic MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOmlkJnRvaz1lbg==";
            assert_eq!(second.authorization.as_deref(), Some(basic));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_shown_as_the_registry_wants_them() {
    for (challenge, entry, expected) in [
        (
            "Basic realm=\"x\"",
            r#"{"identitytoken": "t"}"#,
            "Basic MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOnQ=",
        ),
        ("Basic realm=\"x\"", r#"{"registrytoken": "t"}"#, "Bearer t"),
        ("Bearer realm=\"http://127.0.0.1:1/t\"", r#"{"registrytoken": "t"}"#, "Bearer t"),
    ] {
        let stub = Stub::start(move |asked| match asked.authorization {
            Some(_) => None,
            None => Some(Reply::status(401).header("WWW-Authenticate", challenge)),
        });
        let reference = reference(&format!("{}/t/x:1", stub.address));
        let error = with_entry(&stub.address, entry).manifest(&reference).await.unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert_eq!(stub.asked().last().unwrap().authorization.as_deref(), Some(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_checked_for_no_repository() {
    let server = Stub::start(|asked| {
        Some(match asked.authorization.as_deref() {
            Some("Basic dXNlcjpodW50ZXIy") => Reply::body(200, r#"{"token": "granted"}"#),
            _ => Reply::status(401),
        })
    });
    let stub = token_registry(format!("http://{}/token?a=b", server.address));
    let key = RegistryKey::parse(&stub.address).unwrap();
    with_entry(&stub.address, r#"{"auth": "dXNlcjpodW50ZXIy"}"#).check_login(&key).await.unwrap();
    assert_eq!(server.asked().last().unwrap().target, "/token?a=b&service=the+registry");

    let error =
        with_entry(&stub.address, r#"{"auth": "dXNlcjp3cm9uZw=="}"#).check_login(&key).await.unwrap_err();
    assert!(matches!(error, OciError::Unauthorized { with_credentials: true, .. }), "{error:?}");
    assert!(error.to_string().starts_with("cannot log in at registry 127.0.0.1:"), "{error}");
    let page = Stub::start(|_| Some(Reply::status(404)));
    let error = client().check_login(&RegistryKey::parse(&page.address).unwrap()).await.unwrap_err();
    assert!(matches!(error, OciError::Refused { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_that_cannot_be_trusted_gets_nothing() {
    for (realm, expected) in [
        ("ftp://127.0.0.1/t", "not an HTTP address"),
        ("http://someone@127.0.0.1:1/t", "names a user"),
        ("nonsense", "no token from nonsense"),
    ] {
        let stub = token_registry(realm.to_owned());
        let reference = reference(&format!("{}/t/x:1", stub.address));
        let client = with_entry(&stub.address, r#"{"auth": "dXNlcjpodW50ZXIy"}"#);
        let error = client.manifest(&reference).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Servers that say in their errors what they were sent: a registry, and a token server.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_repeats_of_credentials_is_not_shown() {
    let echo = |asked: &crate::stub::Asked| {
        let sent = asked.authorization.clone().unwrap_or_default();
        serde_json::json!({"errors": [{"code": "DENIED", "message": format!("you sent {sent} and hunter2")}]})
            .to_string()
    };
    let registry = Stub::start(move |asked| {
        Some(match &asked.authorization {
            None => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
            Some(_) => Reply::body(403, echo(asked)),
        })
    });
    let token = Stub::start(move |asked| Some(Reply::body(400, echo(asked))));
    let behind = token_registry(format!("http://{}/token", token.address));
    for address in [&registry.address, &behind.address] {
        let entry = r#"{"username": "me", "password": "hunter2"}"#;
        let client = with_entry(address, entry);
        let error = client.manifest(&reference(&format!("{address}/t/x"))).await.unwrap_err();
        let told = format!("{error} {error:?} {:?}", error.hint());
        // The base64 of me:hunter2.
        assert!(!told.contains("hunter2") && !told.contains("bWU6aHVudGVyMg"), "{told}");
        assert!(told.contains("you sent Basic [secret] and [secret]"), "{told}");
    }
}
