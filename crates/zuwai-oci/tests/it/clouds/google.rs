//! Google's registries: service accounts, users, the metadata server.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use zuwai_oci::credentials::cloud::CloudClient;
use zuwai_oci::credentials::google::{Google, GoogleSettings};

use super::{ask, impatient, nobody, password, problem, settings_file, silent, write};
use crate::stub::{Asked, Reply, Stub};

pub const IMAGE: &str = "europe-west1-docker.pkg.dev/team/app/image:1";

/// A source with a file of credentials, which may send it to the server.
pub fn with_file(stub: &Stub, directory: &Path, content: &Value) -> Google {
    let settings = GoogleSettings {
        credentials: Some(settings_file(directory, "credentials.json", &content.to_string())),
        trusted_hosts: vec![stub.address.clone()],
        ..GoogleSettings::default()
    };
    Google::new(settings, CloudClient::new().unwrap())
}

/// A token as Google's servers answer.
pub fn token(name: &str) -> Reply {
    Reply::body(200, json!({"access_token": name, "expires_in": 3599, "token_type": "Bearer"}).to_string())
}

fn openssl(arguments: &[&str]) -> bool {
    Command::new("openssl").args(arguments).output().unwrap().status.success()
}

/// A service account whose key openssl made.
fn service_account(directory: &Path, token_uri: &str, bits: u32) -> Value {
    let path = directory.join(format!("key-{bits}.pem"));
    let option = format!("rsa_keygen_bits:{bits}");
    assert!(openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", &option, "-out", path.to_str().unwrap()]));
    json!({
        "type": "service_account",
        "client_email": "builder@team.iam.gserviceaccount.com",
        "private_key_id": "key-1",
        "private_key": std::fs::read_to_string(path).unwrap(),
        "token_uri": token_uri,
    })
}

/// The claims of an assertion whose signature openssl has checked.
fn checked_claims(directory: &Path, assertion: &str) -> (Value, Value) {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{assertion}") };
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    std::fs::write(path("signature"), decode(signature)).unwrap();
    write(directory, "signed", &format!("{header}.{claims}"));
    assert!(openssl(&["pkey", "-in", &path("key-2048.pem"), "-pubout", "-out", &path("public.pem")]));
    let verify = [
        "dgst",
        "-sha256",
        "-verify",
        &path("public.pem"),
        "-signature",
        &path("signature"),
        &path("signed"),
    ];
    assert!(openssl(&verify), "openssl does not take the signature");
    (serde_json::from_slice(&decode(header)).unwrap(), serde_json::from_slice(&decode(claims)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_signs_an_assertion() {
    let stub = Stub::start(|_| Some(token("service")));
    let directory = tempfile::tempdir().unwrap();
    let address = format!("http://{}/token", stub.address);
    let account = service_account(directory.path(), &address, 2048);
    let source = with_file(&stub, directory.path(), &account);
    let expected = ("oauth2accesstoken".to_owned(), "service".to_owned(), 60);
    assert_eq!(password(&source, IMAGE).await, expected);

    let asked = stub.asked().remove(0);
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    assert_eq!(asked.field("grant_type").unwrap(), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (header, claims) = checked_claims(directory.path(), &asked.field("assertion").unwrap());
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"}));
    let issued = claims["iat"].as_i64().unwrap();
    assert!((Timestamp::now().as_second() - issued).abs() < 300, "{claims}");
    let expected = json!({
        "iss": "builder@team.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": address,
        "iat": issued,
        "exp": issued + 3600,
    });
    assert_eq!(claims, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_token_is_refreshed_also_to_act_as_an_account() {
    let stub = Stub::start(|asked| {
        let field = |name: &str| asked.field(name).unwrap_or_default();
        Some(match asked.target.as_str() {
            "/token"
                if field("refresh_token") == "hunter2/refresh"
                    && field("client_secret") == "hunter2/client" =>
            {
                assert_eq!(
                    (field("grant_type").as_str(), field("client_id").as_str()),
                    ("refresh_token", "client")
                );
                token("user")
            }
            "/v1/account:generateAccessToken" if asked.header("authorization") == Some("Bearer user") => {
                let body: Value = serde_json::from_slice(&asked.body).unwrap();
                let scope = "https://www.googleapis.com/auth/cloud-platform";
                assert_eq!(body, json!({"scope": [scope], "lifetime": "3600s", "delegates": ["other"]}));
                let ends = Timestamp::now().checked_add(jiff::SignedDuration::from_mins(30)).unwrap();
                let answer = json!({"accessToken": "account", "expireTime": ends.to_string()});
                Reply::body(200, answer.to_string())
            }
            _ => Reply::body(403, r#"{"error": "invalid_grant", "error_description": "hunter2"}"#),
        })
    });
    let directory = tempfile::tempdir().unwrap();
    let mut user = json!({
        "type": "authorized_user",
        "client_id": "client",
        "client_secret": "hunter2/client",
        "refresh_token": "hunter2/refresh",
        "token_uri": format!("http://{}/token", stub.address),
    });
    assert_eq!(password(&with_file(&stub, directory.path(), &user), IMAGE).await.1, "user");
    let account = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": format!("http://{}/v1/account:generateAccessToken", stub.address),
        "delegates": ["other"],
        "source_credentials": user,
    });
    let (_, password, minutes) = password(&with_file(&stub, directory.path(), &account), IMAGE).await;
    assert_eq!((password.as_str(), minutes), ("account", 30));

    user["refresh_token"] = json!("hunter2/old");
    let told = problem(&with_file(&stub, directory.path(), &user), IMAGE).await;
    assert!(told.ends_with(&format!("{} answered HTTP 403, invalid_grant", stub.address)), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_wrong_or_lead_elsewhere_are_refused_unasked() {
    let stub = Stub::start(|_| Some(token("never")));
    let directory = tempfile::tempdir().unwrap();
    let here = format!("http://{}/token", stub.address);
    let good = service_account(directory.path(), &here, 2048);
    let with = |name: &str, value: &str| {
        let mut account = good.clone();
        account[name] = json!(value);
        account
    };
    let elsewhere = format!("http://{}/token", nobody());
    for (content, expected) in [
        (with("token_uri", &elsewhere), "not Google's"),
        (
            with("token_uri", "https://oauth2.googleapis.com.evil.example/token"),
            "evil.example, which is not Google's",
        ),
        (with("private_key", "hunter2"), "not a PEM key"),
        (service_account(directory.path(), &here, 1024), "2048 bits"),
        (json!({"type": "service_account", "private_key": ["hunter2"]}), "not all there"),
        (json!({"type": "gdch_service_account"}), "\"gdch_service_account\" are not supported"),
        (json!({}), "are not supported"),
        (json!(["hunter2"]), "not a JSON object"),
    ] {
        let source = with_file(&stub, directory.path(), &content);
        let told = problem(&source, IMAGE).await;
        assert!(told.contains(expected) && told.contains("credentials.json"), "{told}");
    }
    let missing = GoogleSettings {
        credentials: Some(zuwai_oci::credentials::cloud::SettingsFile::read("/nonexistent/key.json")),
        metadata_host: Some(stub.address.clone()),
        ..GoogleSettings::default()
    };
    let told = problem(&Google::new(missing, CloudClient::new().unwrap()), IMAGE).await;
    assert!(told.contains("/nonexistent/key.json") && told.contains("not there"), "{told}");
    assert!(stub.asked().is_empty());
}

/// Google's metadata server.
fn metadata(asked: &Asked) -> Reply {
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    match asked.target == path && asked.header("metadata-flavor") == Some("Google") {
        true => token("machine").header("Metadata-Flavor", "Google"),
        false => Reply::status(403).header("Metadata-Flavor", "Google"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machines_account_comes_last() {
    let stub =
        Stub::start(|asked| Some(if asked.target == "/token" { token("user") } else { metadata(asked) }));
    let directory = tempfile::tempdir().unwrap();
    let user = json!({"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
                      "token_uri": format!("http://{}/token", stub.address)});
    let mut settings = GoogleSettings {
        well_known: Some(settings_file(directory.path(), "well-known.json", &user.to_string())),
        metadata_host: Some(stub.address.clone()),
        trusted_hosts: vec![stub.address.clone()],
        ..GoogleSettings::default()
    };
    let google = |settings: &GoogleSettings| Google::new(settings.clone(), CloudClient::new().unwrap());
    assert_eq!(password(&google(&settings), "gcr.io/team/app").await.1, "user");
    settings.well_known = Some(zuwai_oci::credentials::cloud::SettingsFile::read("/nonexistent"));
    assert_eq!(password(&google(&settings), "eu.gcr.io/team/app").await.1, "machine");
    for image in
        ["gcr.io.evil.example/team/app", "evilgcr.io/team/app", "registry.example/gcr.io/app", "alpine"]
    {
        assert!(ask(&google(&settings), image).await.unwrap().is_none(), "{image}");
    }
    settings.metadata_host = None;
    assert!(ask(&google(&settings), IMAGE).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_metadata_servers_give_none() {
    let other_cloud = Stub::start(|_| Some(token("hunter2")));
    let no_account = Stub::start(|_| Some(Reply::status(404).header("Metadata-Flavor", "Google")));
    let closed = nobody();
    let silent = silent();
    for address in [&other_cloud.address, &no_account.address, &closed, &silent.address] {
        let settings = GoogleSettings { metadata_host: Some(address.clone()), ..GoogleSettings::default() };
        let google = Google::new(settings, impatient());
        assert!(ask(&google, IMAGE).await.unwrap().is_none());
        assert!(ask(&google, IMAGE).await.unwrap().is_none());
    }
    assert_eq!(silent.asked().len(), 2);
    let refusing = Stub::start(|_| Some(Reply::body(403, "hunter2").header("Metadata-Flavor", "Google")));
    let settings =
        GoogleSettings { metadata_host: Some(refusing.address.clone()), ..GoogleSettings::default() };
    assert!(problem(&Google::new(settings, CloudClient::new().unwrap()), IMAGE).await.ends_with("HTTP 403"));
}
