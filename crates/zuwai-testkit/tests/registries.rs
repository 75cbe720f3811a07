//! The registries that other tests lean on are what they say.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use zuwai_testkit::command::{program, run};
use zuwai_testkit::need::{Need, REGISTRY, needs};
use zuwai_testkit::registry::{PASSWORD, RegistryOptions, USER};

fn curl(arguments: &[&str]) -> String {
    run(program("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}"]).args(arguments)).stdout
}

#[test]
fn plain_registry_answers_and_logs_requests() {
    if !needs(REGISTRY) {
        return;
    }
    let registry = RegistryOptions::plain().start();
    assert_eq!(curl(&[&format!("{}/v2/", registry.url())]), "200");
    assert!(registry.requests().contains(&"GET /v2/ 200".to_owned()), "{}", registry.access_log());
}

#[test]
fn tls_registry_is_trusted_through_its_authority_only() {
    if !needs(REGISTRY) {
        return;
    }
    let registry = RegistryOptions::plain().tls().start();
    let url = format!("{}/v2/", registry.url());
    assert_eq!(curl(&[&url]), "000");
    assert_eq!(curl(&["--cacert", registry.authority().unwrap().to_str().unwrap(), &url]), "200");
}

#[test]
fn basic_registry_wants_its_password() {
    if !needs(REGISTRY) || !needs(&[Need::Program("htpasswd")]) {
        return;
    }
    let registry = RegistryOptions::plain().basic().start();
    let url = format!("{}/v2/", registry.url());
    assert_eq!(curl(&[&url]), "401");
    assert_eq!(curl(&["-u", &format!("{USER}:{PASSWORD}"), &url]), "200");
}

#[test]
fn token_registry_lets_everybody_pull_and_its_user_push() {
    if !needs(REGISTRY) {
        return;
    }
    let registry = RegistryOptions::plain().token().start();
    let token = |credentials: Option<&str>| {
        let mut curl = program("curl");
        curl.args([
            "-s",
            &format!(
                "{}?service=test-registry&scope=repository:a/b:pull,push",
                registry.token_server().unwrap().realm()
            ),
        ]);
        if let Some(credentials) = credentials {
            curl.args(["-u", credentials]);
        }
        let answer: serde_json::Value = serde_json::from_str(&run(&mut curl).stdout).unwrap();
        answer["token"].as_str().map(str::to_owned)
    };
    let start_upload = |token: &str| {
        curl(&[
            "-X",
            "POST",
            "-H",
            &format!("Authorization: Bearer {token}"),
            &format!("{}/v2/a/b/blobs/uploads/", registry.url()),
        ])
    };
    assert_eq!(token(Some("user:wrong")), None);
    assert_eq!(start_upload(&token(None).unwrap()), "401");
    assert_eq!(start_upload(&token(Some(&format!("{USER}:{PASSWORD}"))).unwrap()), "202");
}
