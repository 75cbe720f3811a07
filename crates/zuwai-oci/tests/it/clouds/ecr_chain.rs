//! Where Amazon's keys come from, and in which order.

use std::path::Path;

use serde_json::json;
use zuwai_oci::Secret;
use zuwai_oci::credentials::aws::{AwsSettings, ContainerEndpoint, WebIdentity};
use zuwai_oci::credentials::cloud::CloudClient;
use zuwai_oci::credentials::ecr::Ecr;

use super::signature::{is_signed, key_of};
use super::{ask, impatient, nobody, password, problem, settings_file, silent, write};
use crate::stub::{Asked, Reply, Stub};

const IMAGE: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app:1";

/// All of Amazon at one address: tokens, keys for roles, containers and instances. Keys are named for where they are
/// from; what is not asked for in the right way is refused.
fn amazon(asked: &Asked) -> Reply {
    let keys =
        |id: &str| json!({"Code": "Success", "AccessKeyId": id, "SecretAccessKey": "hunter2", "Token": "s"});
    match (asked.method.as_str(), asked.target.as_str()) {
        ("POST", "/") => service(asked),
        ("GET", "/container") if asked.header("authorization") == Some("hunter2/container") => {
            Reply::body(200, keys("CONTAINER").to_string())
        }
        ("PUT", "/latest/api/token") if asked.header("x-aws-ec2-metadata-token-ttl-seconds").is_some() => {
            Reply::body(200, "hunter2/metadata")
        }
        ("GET", path) if asked.header("x-aws-ec2-metadata-token") == Some("hunter2/metadata") => {
            match path.strip_prefix("/latest/meta-data/iam/security-credentials/") {
                Some("") => Reply::body(200, "a-role\n"),
                Some("a-role") => Reply::body(200, keys("INSTANCE").to_string()),
                _ => Reply::status(404),
            }
        }
        _ => Reply::body(403, "hunter2"),
    }
}

/// What is posted: to the registries' service, or to that of roles.
fn service(asked: &Asked) -> Reply {
    let keys = |id: &str| {
        let text = format!(
            "<R xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Credentials><AccessKeyId>{id}</AccessKeyId>\
             <SecretAccessKey>hunter2</SecretAccessKey><SessionToken>s</SessionToken>\
             <Expiration>2040-01-01T00:00:00Z</Expiration></Credentials></R>"
        );
        Reply::body(200, text)
    };
    if asked.header("x-amz-target").is_some() {
        // The password is the name of the key.
        let id = key_of(asked);
        let token = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("AWS:{id}"));
        return match is_signed(asked, &id, "hunter2", "eu-central-1", "ecr") {
            true => {
                Reply::body(200, json!({"authorizationData": [{"authorizationToken": token}]}).to_string())
            }
            false => Reply::body(403, r#"{"__type": "InvalidSignatureException"}"#),
        };
    }
    let field = |name: &str| asked.field(name).unwrap_or_default();
    let role = field("RoleArn");
    match field("Action").as_str() {
        "AssumeRoleWithWebIdentity"
            if field("WebIdentityToken") == "hunter2/web" && asked.authorization.is_none() =>
        {
            keys(&format!("{}-{}", role, field("RoleSessionName")))
        }
        "AssumeRole" if is_signed(asked, &key_of(asked), "hunter2", "eu-west-1", "sts") => {
            keys(&format!("{}-{role}{}", key_of(asked), field("ExternalId")))
        }
        _ => Reply::body(403, "<E><Code>AccessDenied</Code><Message>hunter2</Message></E>"),
    }
}

/// Everything at once; tests take away what they do not mean.
fn everything(stub: &Stub, directory: &Path) -> AwsSettings {
    let address = format!("http://{}", stub.address);
    AwsSettings {
        access_key_id: Some("ENVIRONMENT".to_owned()),
        secret_access_key: Some(Secret::new("hunter2")),
        web_identity: Some(WebIdentity {
            token_file: write(directory, "token", "hunter2/web\n"),
            role_arn: Some("WEB".to_owned()),
            session_name: Some("session".to_owned()),
        }),
        credentials_file: Some(settings_file(
            directory,
            "credentials",
            "[default]\naws_access_key_id = PROFILE\naws_secret_access_key = hunter2\n",
        )),
        region: Some("eu-west-1".to_owned()),
        container: Some(ContainerEndpoint {
            full: Some(format!("{address}/container")),
            token: Some(Secret::new("hunter2/not this one")),
            token_file: Some(write(directory, "container-token", "hunter2/container\n")),
            ..ContainerEndpoint::default()
        }),
        metadata: Some(address.clone()),
        sts_endpoint: Some(address.clone()),
        ecr_endpoint: Some(address),
        ..AwsSettings::default()
    }
}

fn ecr(settings: AwsSettings) -> Ecr {
    Ecr::new(settings, CloudClient::new().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_place_that_is_set_up_decides() {
    let stub = Stub::start(|asked| Some(amazon(asked)));
    let directory = tempfile::tempdir().unwrap();
    let mut settings = everything(&stub, directory.path());
    assert_eq!(password(&ecr(settings.clone()), IMAGE).await.1, "ENVIRONMENT");
    (settings.access_key_id, settings.secret_access_key) = (None, None);
    assert_eq!(password(&ecr(settings.clone()), IMAGE).await.1, "WEB-session");
    settings.web_identity = None;
    assert_eq!(password(&ecr(settings.clone()), IMAGE).await.1, "PROFILE");
    settings.credentials_file = None;
    assert_eq!(password(&ecr(settings.clone()), IMAGE).await.1, "CONTAINER");
    settings.container = None;
    assert_eq!(password(&ecr(settings.clone()), IMAGE).await.1, "INSTANCE");
    settings.metadata = None;
    assert!(problem(&ecr(settings.clone()), IMAGE).await.starts_with("no AWS credentials"));
    assert!(ask(&ecr(settings), "public.ecr.aws/x/y").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_fails_is_an_error_and_not_passed_over() {
    let stub = Stub::start(|asked| Some(amazon(asked)));
    let directory = tempfile::tempdir().unwrap();
    let all = everything(&stub, directory.path());
    let all = AwsSettings { access_key_id: None, secret_access_key: None, ..all };

    write(directory.path(), "token", "hunter2/forged");
    let told = problem(&ecr(all.clone()), IMAGE).await;
    assert_eq!(told, format!("cannot take on WEB: {} answered HTTP 403, AccessDenied", stub.address));
    std::fs::remove_file(directory.path().join("token")).unwrap();
    assert!(problem(&ecr(all.clone()), IMAGE).await.contains("No such file"));
    let nameless = WebIdentity { role_arn: None, ..all.web_identity.clone().unwrap() };
    let told = problem(&ecr(AwsSettings { web_identity: Some(nameless), ..all.clone() }), IMAGE).await;
    assert!(told.contains("AWS_ROLE_ARN"), "{told}");

    let all = AwsSettings { web_identity: None, ..all };
    let told = problem(&ecr(AwsSettings { profile: Some("x".to_owned()), ..all.clone() }), IMAGE).await;
    assert!(told.contains("no profile \"x\"") && told.contains("credentials"), "{told}");

    let all = AwsSettings { credentials_file: None, ..all };
    write(directory.path(), "container-token", "hunter2/forged");
    assert!(problem(&ecr(all.clone()), IMAGE).await.ends_with("HTTP 403"));
    let foreign =
        ContainerEndpoint { full: Some("http://evil.example/".to_owned()), ..all.container.clone().unwrap() };
    let told = problem(&ecr(AwsSettings { container: Some(foreign), ..all }), IMAGE).await;
    assert!(told.contains("evil.example without TLS"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_taken_on_one_from_the_other() {
    let stub = Stub::start(|asked| Some(amazon(asked)));
    let directory = tempfile::tempdir().unwrap();
    let token = write(directory.path(), "token", "hunter2/web");
    let config = format!(
        "[profile two]\nrole_arn = R2\nsource_profile = one\nexternal_id = x\nregion = eu-west-1\n\
         [profile one]\nrole_arn = R1\nsource_profile = default\n\
         [profile web]\nrole_arn = R3\nweb_identity_token_file = {}\n\
         [profile machine]\nrole_arn = R4\ncredential_source = Ec2InstanceMetadata\nregion = eu-west-1\n\
         [profile task]\nrole_arn = R5\ncredential_source = EcsContainer\nregion = eu-west-1\n",
        token.display()
    );
    let all = everything(&stub, directory.path());
    let all = AwsSettings {
        access_key_id: None,
        secret_access_key: None,
        web_identity: None,
        region: None,
        config_file: Some(settings_file(directory.path(), "config", &config)),
        ..all
    };
    for (profile, key) in
        [("two", "PROFILE-R1-R2x"), ("web", "R3-zuwai"), ("machine", "INSTANCE-R4"), ("task", "CONTAINER-R5")]
    {
        let settings = AwsSettings { profile: Some(profile.to_owned()), ..all.clone() };
        assert_eq!(password(&ecr(settings), IMAGE).await.1, key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_elsewhere_waits_for_metadata_once() {
    let stub = silent();
    let metadata = Some(format!("http://{}", stub.address));
    let settings = AwsSettings { metadata, ..AwsSettings::default() };
    let ecr = Ecr::new(settings, impatient());
    for _ in 0..3 {
        assert!(ask(&ecr, "public.ecr.aws/x/y").await.unwrap().is_none());
        assert!(problem(&ecr, IMAGE).await.contains("no instance metadata answered"));
    }
    assert_eq!(stub.asked().len(), 2, "asked twice, and never again");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_are_not_an_instances_with_a_role_give_none() {
    let without_role = Stub::start(|asked| {
        Some(match asked.target.as_str() {
            "/latest/api/token" => Reply::body(200, "t"),
            _ => Reply::status(404),
        })
    });
    let other_cloud = Stub::start(|_| Some(Reply::status(404)));
    let closed = nobody();
    for address in [&without_role.address, &other_cloud.address, &closed] {
        let settings = AwsSettings { metadata: Some(format!("http://{address}")), ..AwsSettings::default() };
        assert!(ask(&ecr(settings), "public.ecr.aws/x/y").await.unwrap().is_none());
    }
    let disabled = Stub::start(|_| Some(Reply::status(403)));
    let settings =
        AwsSettings { metadata: Some(format!("http://{}", disabled.address)), ..AwsSettings::default() };
    assert!(problem(&ecr(settings), IMAGE).await.ends_with("HTTP 403"));
    let hostile = Stub::start(|asked| {
        Some(match asked.target.as_str() {
            "/latest/api/token" => Reply::body(200, "t"),
            _ => Reply::body(200, "../../../user-data?hunter2"),
        })
    });
    let settings =
        AwsSettings { metadata: Some(format!("http://{}", hostile.address)), ..AwsSettings::default() };
    assert!(problem(&ecr(settings), IMAGE).await.contains("malformed role"));
}
