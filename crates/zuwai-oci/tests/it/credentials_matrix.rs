//! Which credential goes to which address: every kind of credential, through every operation, with a recorder at every
//! place that fails on any other sight of a secret, and a look through all that is logged and said.

mod hosts;
mod log;
mod recorder;
mod scene;

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use zuwai_oci::credentials::{
    Credential, Credentials, DockerConfig, Helpers, HostCredentials, HostVariables, RegistryKey,
};
use zuwai_oci::error::OciError;
use zuwai_oci::registry::{TlsRootSources, TlsRoots};
use zuwai_oci::{Descriptor, Family, MediaType, Registry, RegistryOptions, Secret};
use zuwai_testkit::need::{REGISTRY as REGISTRY_PROGRAM, needs};
use zuwai_testkit::registry::{PASSWORD as REAL_PASSWORD, RegistryOptions as Real, USER};

use crate::sample::{empty_store, image, impatient, reference};
use recorder::{
    ACCESS, CI, CLIENT, CLOUD, Form, HELPER, HELPER_IDENTITY, IDENTITY, PASSWORD, REGISTRY, SIGNATURE,
    VARIABLE, check_place, check_text,
};
use scene::{Cloud, Scene, Wants};

/// The user name of identity tokens where one must be.
const TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// Where a credential comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Password,
    PathPassword,
    Identity,
    RegistryToken,
    Helper,
    HelperIdentity,
    Variable,
    Ci,
    Cloud,
}

/// A kind of credential, what the registry wants, and what may be seen where; at every other place, nothing.
type Row = (Kind, Wants, &'static [(&'static str, Form)]);

/// What is seen at the storage in every row: the address that the registry made.
const SIGNED: (&str, Form) = ("storage", Form::Query(SIGNATURE));
/// What is seen at the registry where a token server stands before it.
const TOKEN: (&str, Form) = ("registry", Form::Bearer(ACCESS));

const MATRIX: &[Row] = &[
    (Kind::Password, Wants::Basic, &[("registry", Form::Basic("user", PASSWORD)), SIGNED]),
    (Kind::Password, Wants::Token, &[("tokens", Form::Basic("user", PASSWORD)), TOKEN, SIGNED]),
    (Kind::PathPassword, Wants::Basic, &[("registry", Form::Basic("user", PASSWORD)), SIGNED]),
    (Kind::PathPassword, Wants::Token, &[("tokens", Form::Basic("user", PASSWORD)), TOKEN, SIGNED]),
    (Kind::Identity, Wants::Basic, &[("registry", Form::Basic(TOKEN_USER, IDENTITY)), SIGNED]),
    (Kind::Identity, Wants::Token, &[("tokens", Form::Field("refresh_token", IDENTITY)), TOKEN, SIGNED]),
    (
        Kind::Identity,
        Wants::OldToken,
        &[
            ("tokens", Form::Field("refresh_token", IDENTITY)),
            ("tokens", Form::Basic(TOKEN_USER, IDENTITY)),
            TOKEN,
            SIGNED,
        ],
    ),
    (Kind::RegistryToken, Wants::Basic, &[("registry", Form::Bearer(REGISTRY)), SIGNED]),
    (Kind::RegistryToken, Wants::Token, &[("registry", Form::Bearer(REGISTRY)), SIGNED]),
    (Kind::Helper, Wants::Basic, &[("registry", Form::Basic("helped", HELPER)), SIGNED]),
    (Kind::Helper, Wants::Token, &[("tokens", Form::Basic("helped", HELPER)), TOKEN, SIGNED]),
    (Kind::HelperIdentity, Wants::Basic, &[("registry", Form::Basic(TOKEN_USER, HELPER_IDENTITY)), SIGNED]),
    (
        Kind::HelperIdentity,
        Wants::Token,
        &[("tokens", Form::Field("refresh_token", HELPER_IDENTITY)), TOKEN, SIGNED],
    ),
    (Kind::Variable, Wants::Basic, &[("registry", Form::Basic("variable", VARIABLE)), SIGNED]),
    (Kind::Variable, Wants::Token, &[("tokens", Form::Basic("variable", VARIABLE)), TOKEN, SIGNED]),
    (Kind::Ci, Wants::Basic, &[("registry", Form::Basic("ci", CI)), SIGNED]),
    (Kind::Ci, Wants::Token, &[("tokens", Form::Basic("ci", CI)), TOKEN, SIGNED]),
    (
        Kind::Cloud,
        Wants::Basic,
        &[("cloud", Form::Field("client_secret", CLIENT)), ("registry", Form::Basic("cloud", CLOUD)), SIGNED],
    ),
    (
        Kind::Cloud,
        Wants::Token,
        &[
            ("cloud", Form::Field("client_secret", CLIENT)),
            ("tokens", Form::Basic("cloud", CLOUD)),
            TOKEN,
            SIGNED,
        ],
    ),
];

/// Credentials of a kind for a registry and for nobody else. `directory` is for a helper program.
fn credentials(kind: Kind, scene: &Scene, directory: &Path) -> Credentials {
    let registry = &scene.registry.address;
    let mut credentials = Credentials::default();
    let mut document = |text: String| {
        credentials.add_document(DockerConfig::parse(Path::new("config.json"), text.as_bytes()).unwrap());
    };
    match kind {
        Kind::Password => document(format!(
            r#"{{"auths": {{"http://{registry}/v2/": {{"username": "user", "password": "{PASSWORD}"}}}}}}"#
        )),
        Kind::PathPassword => document(format!(
            r#"{{"auths": {{"{registry}/t": {{"username": "user", "password": "{PASSWORD}"}}}}}}"#
        )),
        Kind::Identity => {
            document(format!(r#"{{"auths": {{"{registry}": {{"identitytoken": "{IDENTITY}"}}}}}}"#));
        }
        Kind::RegistryToken => {
            document(format!(r#"{{"auths": {{"{registry}": {{"registrytoken": "{REGISTRY}"}}}}}}"#));
        }
        Kind::Helper | Kind::HelperIdentity => {
            document(format!(r#"{{"credHelpers": {{"{registry}": "matrix"}}}}"#));
            let (user, secret) = match kind {
                Kind::Helper => ("helped", HELPER),
                _ => ("<token>", HELPER_IDENTITY),
            };
            let program = directory.join("docker-credential-matrix");
            // It says too much, as some do.
            let script = format!(
                "#!/bin/sh\necho '{secret}' >&2\necho '{{\"Username\":\"{user}\",\"Secret\":\"{secret}\"}}'\n"
            );
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let environment = [("SECRET".into(), VARIABLE.into())];
            credentials.set_helpers(Helpers::find(["matrix"], directory.as_os_str(), environment));
        }
        Kind::Variable => credentials.add_source(Arc::new(HostVariables::new([
            ("DOCKER_127_0_0_1_USR", "variable"),
            ("DOCKER_127_0_0_1_PSW", VARIABLE),
            ("GITHUB_TOKEN", VARIABLE),
        ]))),
        Kind::Ci => {
            let mut hosts = HostCredentials::new("gitlab");
            hosts
                .insert(registry, Credential::Basic { username: "ci".to_owned(), password: Secret::new(CI) });
            credentials.add_source(Arc::new(hosts));
        }
        Kind::Cloud => credentials.add_source(Arc::new(Cloud {
            registry: registry.clone(),
            url: format!("http://{}/exchange", scene.cloud.address),
        })),
    }
    credentials
}

#[tokio::test(flavor = "multi_thread")]
async fn every_credential_goes_where_it_belongs_and_nowhere_else() {
    log::keep();
    let sample = image(Family::Oci, "matrix");
    for (kind, wants, allowed) in MATRIX {
        let row = format!("{kind:?} where the registry wants {wants:?}");
        let blob = b"a blob".to_vec();
        let scene = Scene::new(*wants, blob.clone(), sample.image.manifest_bytes().to_vec());
        let directory = tempfile::tempdir().unwrap();
        let credentials = credentials(*kind, &scene, directory.path());
        let options = RegistryOptions { credentials, retry: impatient(), ..RegistryOptions::default() };
        let client = Registry::new(options).unwrap();
        let mut said = vec![format!("{client:?}")];

        // Pulling, with a blob that is elsewhere.
        client.manifest(&scene.image("t/x:known")).await.unwrap();
        let (_store_directory, store) = empty_store();
        let descriptor = Descriptor::of(MediaType::OciLayer, &blob);
        client.fetch_blob(&scene.image("t/x"), &descriptor, &store).await.unwrap();
        // Pushing, with uploads that go elsewhere, and an attempt to mount from the first repository into the second.
        client.check_push_permission(&scene.image("t/x:1")).await.unwrap();
        client.push(&sample.image, &sample.store, &scene.image("t/x:1")).await.unwrap();
        client.push(&sample.image, &sample.store, &scene.image("t/y:1")).await.unwrap();
        let asked = scene.registry.asked();
        assert!(asked.iter().any(|asked| asked.target.contains("&from=t%2Fx")), "{row}: nothing was mounted");
        // What a path's credential is not for.
        let key = RegistryKey::parse(&format!("{}/t", scene.registry.address)).unwrap();
        client.check_login(&key).await.unwrap();

        // What fails, here and at the other registry, is told without secrets.
        for name in ["t/x:missing", "t/x:forbidden", "t/x:expired", "t/x:moved", "t/x:lost"] {
            said.push(everything(client.manifest(&scene.image(name)).await.unwrap_err()));
        }
        let other = scene.others_image("t/x:1");
        said.push(everything(client.manifest(&other).await.unwrap_err()));
        let unknown = Descriptor::of(MediaType::OciLayer, b"another blob");
        said.push(everything(client.fetch_blob(&other, &unknown, &store).await.unwrap_err()));
        said.push(everything(client.check_push_permission(&other).await.unwrap_err()));
        said.push(everything(client.push(&sample.image, &sample.store, &other).await.unwrap_err()));
        if *kind == Kind::PathPassword {
            let elsewhere = scene.image("u/x:known");
            let before = scene.registry.asked().len();
            // Its token server gives a token to anybody, of course.
            let found = client.manifest(&elsewhere).await;
            assert_eq!(found.is_err(), *wants == Wants::Basic, "{row}");
            let asked = scene.registry.asked().split_off(before);
            let basic = asked.iter().filter_map(|asked| asked.authorization.as_ref());
            assert!(basic.into_iter().all(|value| value.starts_with("Bearer ")), "{row}: {asked:?}");
        }

        for text in said {
            check_text(&format!("{row}: a message"), &text);
        }
        for (place, stub) in scene.places() {
            let forms: Vec<Form> =
                allowed.iter().filter(|(own, _)| *own == place).map(|(_, form)| form.clone()).collect();
            check_place(&row, place, stub.all_asked(), &forms);
        }
        assert!(!scene.other.all_asked().is_empty(), "{row}: the other registry was never asked");
    }
    let log = log::text();
    assert!(log.contains("reqwest") || log.contains("hyper"), "libraries log too");
    check_text("the log", &log);
}

/// All that an error says.
fn everything(error: OciError) -> String {
    let mut text = format!("{error} {error:?} {:?}", error.hint());
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_logged_of_a_conversation_with_a_real_registry_over_tls() {
    if !needs(REGISTRY_PROGRAM) {
        return;
    }
    log::keep();
    let real = Real::plain().tls().basic().start();
    let sample = image(Family::Oci, "log");
    let directory = real.docker_config(USER, REAL_PASSWORD);
    let tls_roots = TlsRoots::load(&TlsRootSources {
        file: real.authority().map(Path::to_owned),
        ..TlsRootSources::default()
    })
    .unwrap();
    let client = Registry::new(RegistryOptions {
        credentials: Credentials::load(&directory.path().join("config.json")).unwrap(),
        tls_roots,
        ..RegistryOptions::default()
    })
    .unwrap();
    let reference = reference(&real.reference("t/x:1"));
    client.push(&sample.image, &sample.store, &reference).await.unwrap();
    client.manifest(&reference).await.unwrap();
    let log = log::text();
    assert!(log.contains("h2::"), "HTTP/2 is spoken, and its library logs");
    for form in recorder::forms(REAL_PASSWORD) {
        assert!(!log.contains(&form), "the log shows the password as {form}");
    }
}
