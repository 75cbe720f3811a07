//! Azure's registries: tokens of Entra ID, exchanged at the registry.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;
use zuwai_oci::Secret;
use zuwai_oci::credentials::azure::{Azure, AzureSettings, IdentityEndpoint};
use zuwai_oci::credentials::cloud::CloudClient;

use super::{ask, impatient, nobody, password, problem, silent, write};
use crate::stub::{Asked, Reply, Stub};

const IMAGE: &str = "team.azurecr.io/app:1";
const RESOURCE: &str = "resource=https%3A%2F%2Fcontainerregistry.azure.net";

/// All of Azure at one address: Entra ID, machines' identities and the registry's exchange, whose tokens name whose they
/// are.
fn azure(asked: &Asked) -> Reply {
    let field = |name: &str| asked.field(name).unwrap_or_default();
    let refused =
        || Reply::body(401, r#"{"error": "invalid_client", "error_codes": [7000215], "x": "hunter2"}"#);
    let token =
        |name: &str| Reply::body(200, json!({"access_token": name, "expires_in": "86399"}).to_string());
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    match path {
        "/tenant/oauth2/v2.0/token" => {
            assert_eq!(field("grant_type"), "client_credentials");
            assert_eq!(field("client_id"), "client");
            assert_eq!(field("scope"), "https://containerregistry.azure.net/.default");
            let jwt =
                field("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            match (field("client_secret").as_str(), field("client_assertion").as_str()) {
                ("hunter2/client", "") => token("by secret"),
                ("", "hunter2/federated") if jwt => token("by federation"),
                _ => refused(),
            }
        }
        "/metadata/identity/oauth2/token" if asked.header("metadata") == Some("true") => {
            assert!(query.contains("api-version=2018-02-01") && query.contains(RESOURCE), "{query}");
            token(if query.contains("client_id=client") { "of chosen machine" } else { "of machine" })
        }
        "/msi/token" if asked.header("x-identity-header") == Some("hunter2/identity") => {
            assert!(query.contains("api-version=2019-08-01") && query.contains(RESOURCE), "{query}");
            token("of app")
        }
        "/oauth2/exchange" => {
            assert_eq!(
                (field("grant_type").as_str(), field("service").as_str()),
                ("access_token", "team.azurecr.io")
            );
            let claims = json!({"for": field("access_token"), "tenant": field("tenant"), "exp": Timestamp::now().as_second() + 10_800});
            let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()));
            Reply::body(200, json!({"refresh_token": token}).to_string())
        }
        _ => refused(),
    }
}

/// Everything at once; tests take away what they do not mean.
fn everything(stub: &Stub, directory: &Path) -> AzureSettings {
    let address = format!("http://{}", stub.address);
    AzureSettings {
        client_id: Some("client".to_owned()),
        tenant_id: Some("tenant".to_owned()),
        client_secret: Some(Secret::new("hunter2/client")),
        federated_token_file: Some(write(directory, "token", "hunter2/federated\n")),
        authority_host: Some(format!("{address}/")),
        identity: Some(IdentityEndpoint::Instance { address: address.clone() }),
        exchange: Some(format!("{address}/oauth2/exchange")),
        client_certificate: None,
    }
}

fn source(settings: &AzureSettings) -> Azure {
    Azure::new(settings.clone(), CloudClient::new().unwrap())
}

/// Whose token was exchanged, and of which tenant.
async fn exchanged(settings: &AzureSettings) -> (String, String) {
    let (user, password, minutes) = password(&source(settings), IMAGE).await;
    assert_eq!((user.as_str(), minutes), ("00000000-0000-0000-0000-000000000000", 180));
    let claims = URL_SAFE_NO_PAD.decode(password.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    (claims["for"].as_str().unwrap().to_owned(), claims["tenant"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_place_that_is_set_up_decides() {
    let stub = Stub::start(|asked| Some(azure(asked)));
    let directory = tempfile::tempdir().unwrap();
    let mut settings = everything(&stub, directory.path());
    let whose = |name: &str, tenant: &str| (name.to_owned(), tenant.to_owned());
    assert_eq!(exchanged(&settings).await, whose("by secret", "tenant"));
    settings.client_secret = None;
    assert_eq!(exchanged(&settings).await, whose("by federation", "tenant"));
    settings.federated_token_file = None;
    assert_eq!(exchanged(&settings).await, whose("of chosen machine", "tenant"));
    (settings.client_id, settings.tenant_id) = (None, None);
    assert_eq!(exchanged(&settings).await, whose("of machine", ""));
    let (address, header) = (format!("http://{}/msi/token", stub.address), Secret::new("hunter2/identity"));
    settings.identity = Some(IdentityEndpoint::AppService { address, header });
    assert_eq!(exchanged(&settings).await, whose("of app", ""));
    settings.identity = None;
    assert!(ask(&source(&settings), IMAGE).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_goes_to_a_host_that_looks_like_azures() {
    let stub = Stub::start(|asked| Some(azure(asked)));
    let directory = tempfile::tempdir().unwrap();
    let settings = everything(&stub, directory.path());
    for image in [
        "team.azurecr.io.evil.example/app",
        "evilazurecr.io/app",
        "team.evilazurecr.io/app",
        "a.b.azurecr.io/app",
        "azurecr.io/app",
        "team.azurecr.io:5000/app",
        "mcr.microsoft.com/app",
        "app",
    ] {
        assert!(ask(&source(&settings), image).await.unwrap().is_none(), "{image}");
    }
    assert!(stub.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_by_their_codes() {
    let stub = Stub::start(|asked| Some(azure(asked)));
    let directory = tempfile::tempdir().unwrap();
    let good = everything(&stub, directory.path());
    let wrong = AzureSettings { client_secret: Some(Secret::new("hunter2/wrong")), ..good.clone() };
    let told = problem(&source(&wrong), IMAGE).await;
    assert_eq!(told, format!("{} answered HTTP 401, invalid_client AADSTS7000215", stub.address));

    let refusing = Stub::start(|_| {
        Some(Reply::body(401, r#"{"errors": [{"code": "UNAUTHORIZED", "message": "hunter2"}]}"#))
    });
    let at = Some(format!("http://{}/oauth2/exchange", refusing.address));
    let told = problem(&source(&AzureSettings { exchange: at, ..good.clone() }), IMAGE).await;
    assert_eq!(told, format!("{} answered HTTP 401, UNAUTHORIZED", refusing.address));

    for (settings, expected) in [
        (AzureSettings { client_id: None, ..good.clone() }, "AZURE_CLIENT_ID is not set"),
        (AzureSettings { tenant_id: None, ..good.clone() }, "AZURE_TENANT_ID is not set"),
        (AzureSettings { tenant_id: Some("../x".to_owned()), ..good.clone() }, "AZURE_TENANT_ID is neither"),
        (
            AzureSettings { authority_host: Some("http://login.evil.example".to_owned()), ..good.clone() },
            "AZURE_AUTHORITY_HOST is an address without TLS",
        ),
        (
            AzureSettings {
                client_secret: None,
                federated_token_file: None,
                client_certificate: Some("/cert.pem".into()),
                ..good.clone()
            },
            "AZURE_CLIENT_CERTIFICATE_PATH is not supported",
        ),
        (
            AzureSettings {
                client_secret: None,
                federated_token_file: Some("/nonexistent".into()),
                ..good.clone()
            },
            "/nonexistent",
        ),
    ] {
        let told = problem(&source(&settings), IMAGE).await;
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_without_an_identity_give_none() {
    let no_identity = Stub::start(|_| Some(Reply::body(400, r#"{"error": "invalid_request"}"#)));
    let other_cloud = Stub::start(|_| Some(Reply::status(404)));
    let closed = nobody();
    let silent = silent();
    for address in [&no_identity.address, &other_cloud.address, &closed, &silent.address] {
        let identity = Some(IdentityEndpoint::Instance { address: format!("http://{address}") });
        let azure = Azure::new(AzureSettings { identity, ..AzureSettings::default() }, impatient());
        assert!(ask(&azure, IMAGE).await.unwrap().is_none());
        assert!(ask(&azure, IMAGE).await.unwrap().is_none());
    }
    assert_eq!(silent.asked().len(), 2);

    // An identity that was chosen is not there.
    let identity = Some(IdentityEndpoint::Instance { address: format!("http://{}", no_identity.address) });
    let settings =
        AzureSettings { identity, client_id: Some("client".to_owned()), ..AzureSettings::default() };
    assert!(problem(&source(&settings), IMAGE).await.ends_with("HTTP 400, invalid_request"));
    let address = format!("http://{closed}");
    let identity = Some(IdentityEndpoint::AppService { address, header: Secret::new("hunter2") });
    assert!(
        problem(&source(&AzureSettings { identity, ..AzureSettings::default() }), IMAGE)
            .await
            .contains(&closed)
    );
}
