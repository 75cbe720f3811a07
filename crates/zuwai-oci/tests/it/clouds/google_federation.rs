//! Workload identity federation: other providers' tokens for Google's.

use jiff::Timestamp;
use serde_json::{Value, json};
use zuwai_oci::Secret;
use zuwai_oci::credentials::aws::AwsSettings;
use zuwai_oci::credentials::cloud::CloudClient;
use zuwai_oci::credentials::google::{Google, GoogleSettings};

use super::google::{IMAGE, token, with_file};
use super::{password, problem, settings_file, write};
use crate::stub::{Asked, Reply, Stub};

const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k";

/// Google's token exchange, an account that may be acted as, and another provider's tokens.
fn exchange(asked: &Asked) -> Reply {
    let field = |name: &str| asked.field(name).unwrap_or_default();
    match asked.target.as_str() {
        "/sts" => {
            let whole = field("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange"
                && field("audience") == AUDIENCE
                && field("requested_token_type") == "urn:ietf:params:oauth:token-type:access_token"
                && field("subject_token_type") == "urn:ietf:params:oauth:token-type:jwt"
                && field("scope") == "https://www.googleapis.com/auth/cloud-platform";
            match whole && field("subject_token") == "hunter2/subject" {
                true => token("federated"),
                false => Reply::body(400, r#"{"error": "invalid_grant", "error_description": "hunter2"}"#),
            }
        }
        "/account" if asked.header("authorization") == Some("Bearer federated") => {
            let ends = Timestamp::now().checked_add(jiff::SignedDuration::from_mins(15)).unwrap();
            let body: Value = serde_json::from_slice(&asked.body).unwrap();
            assert_eq!(body["lifetime"], "900s");
            Reply::body(200, json!({"accessToken": "account", "expireTime": ends.to_string()}).to_string())
        }
        "/oidc?audience=x" if asked.header("authorization") == Some("bearer hunter2/ci") => {
            Reply::body(200, r#"{"value": "hunter2/subject"}"#)
        }
        _ => Reply::body(403, "hunter2"),
    }
}

fn account(stub: &Stub, source: &Value) -> Value {
    json!({
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("http://{}/sts", stub.address),
        "credential_source": source,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_files_and_addresses_are_exchanged() {
    let stub = Stub::start(|asked| Some(exchange(asked)));
    let directory = tempfile::tempdir().unwrap();
    let text = write(directory.path(), "subject", "hunter2/subject\n");
    let document = write(directory.path(), "subject.json", r#"{"id_token": "hunter2/subject"}"#);
    for source in [
        json!({"file": text}),
        json!({"file": document, "format": {"type": "json", "subject_token_field_name": "id_token"}}),
        json!({
            "url": format!("http://{}/oidc?audience=x", stub.address),
            "headers": {"Authorization": "bearer hunter2/ci"},
            "format": {"type": "json", "subject_token_field_name": "value"},
        }),
    ] {
        let file = with_file(&stub, directory.path(), &account(&stub, &source));
        assert_eq!(password(&file, IMAGE).await.1, "federated", "{source}");
    }
    let mut acting = account(&stub, &json!({"file": text}));
    acting["service_account_impersonation_url"] = json!(format!("http://{}/account", stub.address));
    acting["service_account_impersonation"] = json!({"token_lifetime_seconds": 900});
    let (_, password, minutes) = password(&with_file(&stub, directory.path(), &acting), IMAGE).await;
    assert_eq!((password.as_str(), minutes), ("account", 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_go_to_google_alone() {
    let stub = Stub::start(|asked| Some(exchange(asked)));
    let directory = tempfile::tempdir().unwrap();
    let subject = write(directory.path(), "subject", "hunter2/subject");
    let forged = write(directory.path(), "forged", "hunter2/forged");
    let mut elsewhere = account(&stub, &json!({"file": subject}));
    elsewhere["token_url"] = json!("https://sts.googleapis.com.evil.example/v1/token");
    let mut acting = account(&stub, &json!({"file": subject}));
    acting["service_account_impersonation_url"] = json!("https://evil.example/account");
    for (content, expected) in [
        (elsewhere, "not Google's"),
        (acting, "not Google's"),
        (account(&stub, &json!({"file": forged})), "invalid_grant"),
        (account(&stub, &json!({"file": directory.path().join("none")})), "No such file"),
        (account(&stub, &json!({"url": "http://ci.example/token"})), "without TLS"),
        (account(&stub, &json!({"executable": {"command": "hunter2"}})), "a program is not supported"),
        (account(&stub, &json!({"certificate": {}})), "a certificate is not supported"),
        (account(&stub, &json!({})), "neither file nor url"),
        (account(&stub, &json!({"environment_id": "azure1"})), "not aws1"),
    ] {
        let told = problem(&with_file(&stub, directory.path(), &content), IMAGE).await;
        assert!(told.contains(expected), "{told}");
    }
}

/// The metadata of an instance of Amazon's, as far as its region.
fn instance(asked: &Asked) -> Reply {
    match (asked.target.as_str(), asked.header("x-aws-ec2-metadata-token")) {
        ("/latest/api/token", None) => Reply::body(200, "t"),
        ("/latest/meta-data/placement/region", Some("t")) => Reply::body(200, "eu-central-1"),
        _ => Reply::status(404),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amazons_keys_become_a_signed_statement() {
    let stub = Stub::start(|_| Some(token("from amazon")));
    let machine = Stub::start(|asked| Some(instance(asked)));
    let directory = tempfile::tempdir().unwrap();
    let source = json!({
        "environment_id": "aws1",
        "regional_cred_verification_url":
            "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
    });
    let settings = GoogleSettings {
        credentials: Some(settings_file(directory.path(), "c.json", &account(&stub, &source).to_string())),
        trusted_hosts: vec![stub.address.clone()],
        aws: AwsSettings {
            access_key_id: Some("AKID".to_owned()),
            secret_access_key: Some(Secret::new("hunter2")),
            metadata: Some(format!("http://{}", machine.address)),
            ..AwsSettings::default()
        },
        ..GoogleSettings::default()
    };
    let google = Google::new(settings.clone(), CloudClient::new().unwrap());
    assert_eq!(password(&google, IMAGE).await.1, "from amazon");

    // The field holds JSON that was percent-encoded before it became a field.
    let subject = stub.asked()[0].field("subject_token").unwrap();
    let text = url::form_urlencoded::parse(format!("x={subject}").as_bytes()).next().unwrap().1.into_owned();
    let statement: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(statement["method"], "POST");
    let address = "https://sts.eu-central-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15";
    assert_eq!(statement["url"], address);
    let header = |name: &str| {
        let headers = statement["headers"].as_array().unwrap();
        let found = headers.iter().find(|header| header["key"] == name);
        found.map(|header| header["value"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert_eq!(header("host"), "sts.eu-central-1.amazonaws.com");
    assert_eq!(header("x-goog-cloud-target-resource"), AUDIENCE);
    let signed = "SignedHeaders=host;x-amz-date;x-goog-cloud-target-resource,";
    assert!(header("authorization").contains(signed), "{}", header("authorization"));
    assert!(!text.contains("hunter2"));

    let source =
        json!({"environment_id": "aws1", "regional_cred_verification_url": "https://sts.evil.example"});
    let content = account(&stub, &source).to_string();
    let credentials = Some(settings_file(directory.path(), "c.json", &content));
    let google = Google::new(GoogleSettings { credentials, ..settings.clone() }, CloudClient::new().unwrap());
    assert!(problem(&google, IMAGE).await.contains("is not on sts.eu-central-1.amazonaws.com"));

    let aws = AwsSettings { metadata: None, ..settings.aws.clone() };
    let google = Google::new(GoogleSettings { aws, ..settings }, CloudClient::new().unwrap());
    assert!(problem(&google, IMAGE).await.contains("needs AWS_REGION"));
}
