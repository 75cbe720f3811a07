//! Amazon ECR: the one call that gives a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use zuwai_oci::Secret;
use zuwai_oci::credentials::aws::AwsSettings;
use zuwai_oci::credentials::cloud::CloudClient;
use zuwai_oci::credentials::ecr::Ecr;

use super::signature::is_signed;
use super::{ask, impatient, password, problem, silent};
use crate::stub::{Asked, Reply, Stub};

const IMAGE: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app:1";
const PUBLIC: &str = "public.ecr.aws/team/app:1";
const KEY: &str = "hunter2/key";

/// Keys in the environment, and a server in place of Amazon's.
fn settings(stub: &Stub) -> AwsSettings {
    let endpoint = Some(format!("http://{}", stub.address));
    AwsSettings {
        access_key_id: Some("AKID".to_owned()),
        secret_access_key: Some(Secret::new(KEY)),
        session_token: Some(Secret::new("hunter2/session")),
        ecr_endpoint: endpoint.clone(),
        ecr_public_endpoint: endpoint,
        ..AwsSettings::default()
    }
}

fn ecr(stub: &Stub) -> Ecr {
    Ecr::new(settings(stub), CloudClient::new().unwrap())
}

fn authorization(password: &str) -> serde_json::Value {
    let ends = Timestamp::now().checked_add(SignedDuration::from_hours(12)).unwrap();
    let token = STANDARD.encode(format!("AWS:{password}"));
    json!({"authorizationToken": token, "expiresAt": ends.as_second() as f64 + 0.25, "proxyEndpoint": "https://x"})
}

/// Amazon's service as far as it is used, with the signature checked.
fn service(asked: &Asked) -> Reply {
    let target = asked.header("x-amz-target").unwrap_or_default();
    let (region, service, data) = match target {
        "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken" => {
            ("eu-central-1", "ecr", json!([authorization("private")]))
        }
        "SpencerFrontendService.GetAuthorizationToken" => {
            ("us-east-1", "ecr-public", authorization("public"))
        }
        _ => return Reply::body(400, r#"{"__type": "UnknownOperationException"}"#),
    };
    let whole = asked.method == "POST"
        && asked.header("content-type") == Some("application/x-amz-json-1.1")
        && asked.header("x-amz-security-token") == Some("hunter2/session")
        && asked.body == b"{}";
    match whole && is_signed(asked, "AKID", KEY, region, service) {
        true => Reply::body(200, json!({"authorizationData": data}).to_string()),
        false => Reply::body(403, r#"{"__type": "InvalidSignatureException", "message": "hunter2"}"#),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_call_gives_a_password_for_twelve_hours() {
    let stub = Stub::start(|asked| Some(service(asked)));
    let expected = ("AWS".to_owned(), "private".to_owned(), 720);
    assert_eq!(password(&ecr(&stub), IMAGE).await, expected);
    let expected = ("AWS".to_owned(), "public".to_owned(), 720);
    assert_eq!(password(&ecr(&stub), PUBLIC).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_with_amazons_code_alone() {
    let stub = Stub::start(|asked| Some(service(asked)));
    let wrong = AwsSettings { secret_access_key: Some(Secret::new("hunter2/wrong")), ..settings(&stub) };
    let told = problem(&Ecr::new(wrong, CloudClient::new().unwrap()), IMAGE).await;
    assert_eq!(told, format!("{} answered HTTP 403, InvalidSignatureException", stub.address));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_registries_are_not_asked_for() {
    let stub = Stub::start(|asked| Some(service(asked)));
    for image in [
        "alpine:3",
        "registry.example/team/app",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example/team/app",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com:5000/team/app",
        "evil.public.ecr.aws/team/app",
    ] {
        assert!(ask(&ecr(&stub), image).await.unwrap().is_none(), "{image}");
    }
    assert!(stub.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_are_told_without_their_text() {
    for (status, body, expected) in [
        (200, "hunter2".to_owned(), "not the expected JSON"),
        (200, r#"{"authorizationData": []}"#.to_owned(), "holds no token"),
        (200, r#"{"authorizationData": [{"authorizationToken": "!hunter2"}]}"#.to_owned(), "not base64"),
        (
            200,
            r#"{"authorizationData": [{"authorizationToken": "aHVudGVyMg=="}]}"#.to_owned(),
            "user:password",
        ),
        (200, format!("{{\"x\": \"{}\"}}", "hunter2".repeat(200_000)), "longer than"),
        (
            400,
            r#"{"__type": "x#AccessDeniedException", "message": "hunter2"}"#.to_owned(),
            "AccessDeniedException",
        ),
        (401, "hunter2".to_owned(), "HTTP 401"),
        (302, String::new(), "HTTP 302"),
    ] {
        let stub = Stub::start(move |_| {
            Some(Reply::body(status, body.clone()).header("Location", "http://127.0.0.1:1/"))
        });
        let told = problem(&ecr(&stub), IMAGE).await;
        assert!(told.contains(expected), "{told}");
        assert_eq!(stub.asked().len(), 1, "{expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_while_is_asked_again() {
    let failures = std::sync::atomic::AtomicUsize::new(0);
    let stub = Stub::start(move |asked| {
        Some(match failures.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Reply::body(400 + 29, r#"{"__type": "ThrottlingException"}"#),
            1 => Reply::status(503),
            _ => service(asked),
        })
    });
    assert_eq!(password(&ecr(&stub), IMAGE).await.1, "private");
    let broken = Stub::start(|_| Some(Reply::status(500)));
    assert!(problem(&ecr(&broken), IMAGE).await.ends_with("HTTP 500"));
    assert_eq!(broken.asked().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_an_error_with_the_host() {
    let stub = silent();
    let told = problem(&Ecr::new(settings(&stub), impatient()), IMAGE).await;
    assert!(told.contains(&stub.address) && told.contains("no answer within 200ms"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_without_the_other_is_an_error() {
    let stub = Stub::start(|_| None);
    let half = AwsSettings { secret_access_key: None, ..settings(&stub) };
    let told = problem(&Ecr::new(half, CloudClient::new().unwrap()), IMAGE).await;
    assert!(told.contains("without AWS_SECRET_ACCESS_KEY"), "{told}");
}
