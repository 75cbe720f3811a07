//! Logging in and out, and what a whole build tells of credentials when it tells all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zuwai_testkit::need::{Need, REGISTRY, needs};
use zuwai_testkit::registry::{PASSWORD, RegistryOptions, USER};

/// What a run left: its exit code, standard output and standard error.
type Ended = (Option<i32>, String, String);

/// Runs the program with a home directory, variables and a text on standard input.
fn run(home: &Path, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Ended {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_zuwai"))
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn document(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_login_is_kept_if_the_registry_accepts_it() {
    if !needs(REGISTRY) || !needs(&[Need::Program("htpasswd")]) {
        return;
    }
    for options in [RegistryOptions::plain().basic(), RegistryOptions::plain().token()] {
        let registry = options.start();
        let address = registry.address();
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(".docker/config.json");

        let arguments = ["login", "-u", USER, "--password-stdin", address.as_str()];
        let (code, output, errors) = run(home.path(), &arguments, &[], "hunter2\n");
        assert_eq!((code, output.as_str()), (Some(1), ""), "{errors}");
        assert!(errors.contains("cannot log in at registry 127.0.0.1:"), "{errors}");
        assert!(errors.contains("did not accept the credentials") && !errors.contains("hunter2"), "{errors}");
        assert!(!config.exists());

        let (code, output, errors) = run(home.path(), &arguments, &[], &format!("{PASSWORD}\n"));
        assert_eq!((code, output.as_str()), (Some(0), "Login Succeeded\n"), "{errors}");
        assert!(errors.contains("stored unencrypted in"), "{errors}");
        let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        assert_eq!(document(&config), serde_json::json!({"auths": {&address: {"auth": auth}}}));
        assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);

        let (code, output, _) = run(home.path(), &["logout", &address], &[], "");
        assert_eq!((code, output), (Some(0), format!("Removing login credentials for {address}\n")));
        assert_eq!(document(&config), serde_json::json!({"auths": {}}));
        let (code, output, _) = run(home.path(), &["logout", &address], &[], "");
        assert_eq!((code, output), (Some(0), format!("Not logged in to {address}\n")));
    }
}

/// Nothing but the flags says whom to trust and what to show.
#[test]
fn a_registry_with_certificates_of_its_own_is_logged_in_to() {
    if !needs(REGISTRY) || !needs(&[Need::Program("htpasswd"), Need::Program("openssl")]) {
        return;
    }
    let registry = RegistryOptions::plain().basic().client_certificates().start();
    let address = registry.address();
    let (certificate, key) = registry.certificates().unwrap().client();
    let trusted = format!("--registry-certificate={address}={}", registry.authority().unwrap().display());
    let shown = format!("--registry-client-cert={address}={},{}", certificate.display(), key.display());
    for (flags, code) in [(&[][..], 1), (&[&trusted], 1), (&[&shown], 1), (&[&trusted, &shown], 0)] {
        let home = tempfile::tempdir().unwrap();
        let mut arguments = vec!["login", "-u", USER, "--password-stdin", address.as_str()];
        arguments.extend(flags.iter().map(|flag| flag.as_str()));
        let (ended, _, errors) = run(home.path(), &arguments, &[], &format!("{PASSWORD}\n"));
        assert_eq!(ended, Some(code), "{flags:?}: {errors}");
        assert_eq!(home.path().join(".docker/config.json").exists(), code == 0, "{flags:?}");
        assert!(!errors.contains(PASSWORD), "{errors}");
    }
}

#[test]
fn the_executor_keeps_what_it_is_given() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("kaniko/.docker").display().to_string();
    let variables = [("DOCKER_CONFIG", directory.as_str())];
    // Nobody is there to ask.
    let arguments = ["executor", "login", "127.0.0.1:1", "-u", "me", "-p", "hunter2"];
    let (code, output, errors) = run(home.path(), &arguments, &variables, "");
    assert_eq!((code, output.as_str()), (Some(0), ""), "{errors}");
    assert_eq!(
        errors,
        format!(
            "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\nlogged in via {directory}/config.json\n"
        )
    );
    let config = Path::new(&directory).join("config.json");
    assert_eq!(
        document(&config),
        serde_json::json!({"auths": {"127.0.0.1:1": {"auth": "bWU6aHVudGVyMg=="}}})
    );

    for arguments in
        [&["executor", "login"][..], &["executor", "login", "a.io"], &["executor", "login", "a", "b"]]
    {
        let (code, output, errors) = run(home.path(), arguments, &variables, "");
        assert_eq!((code, output.as_str()), (Some(1), ""), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_helper_that_the_file_names_keeps_the_login() {
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("docker-credential-safe");
    fs::write(&program, "#!/bin/sh\ncat > $0.$1\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = home.path().join("config.json");
    fs::write(&config, r#"{"credHelpers": {"127.0.0.1:1": "safe"}}"#).unwrap();
    let place = home.path().display().to_string();
    let path = format!("{place}:/usr/bin:/bin");
    let variables = [("DOCKER_CONFIG", place.as_str()), ("PATH", path.as_str())];
    let arguments = ["executor", "login", "127.0.0.1:1", "-u", "me", "--password-stdin"];
    let (code, _, errors) = run(home.path(), &arguments, &variables, "hunter2");
    assert_eq!((code, errors.as_str()), (Some(0), "logged in via docker-credential-safe\n"));
    let kept = fs::read_to_string(home.path().join("docker-credential-safe.store")).unwrap();
    assert_eq!(kept, r#"{"ServerURL":"127.0.0.1:1","Username":"me","Secret":"hunter2"}"#);
    assert!(!fs::read_to_string(&config).unwrap().contains("hunter2"));
}

/// Credentials of every kind that a build takes are used, and none is in what it says, all of which is asked for.
#[test]
fn a_build_that_tells_all_tells_no_secret() {
    if !needs(REGISTRY) || !needs(&[Need::Root]) {
        return;
    }
    let registry = RegistryOptions::plain().token().start();
    let address = registry.address();
    let (host, _) = address.split_once(':').unwrap();
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let json = serde_json::json!({"auths": {&address: {"auth": auth}}}).to_string();
    let named = format!("DOCKER_{}", host.replace('.', "_"));
    let (user_variable, password_variable) = (format!("{named}_USR"), format!("{named}_PSW"));
    let helper = serde_json::json!({"credsStore": "safe"}).to_string();
    for (name, variables) in [
        ("a document", vec![("DOCKER_AUTH_CONFIG", json.as_str())]),
        (
            "the host's variables",
            vec![(user_variable.as_str(), USER), (password_variable.as_str(), PASSWORD)],
        ),
        (
            "GitLab",
            vec![
                ("CI_REGISTRY", address.as_str()),
                ("CI_REGISTRY_USER", USER),
                ("CI_REGISTRY_PASSWORD", PASSWORD),
            ],
        ),
        ("a helper", vec![("DOCKER_AUTH_CONFIG", helper.as_str())]),
    ] {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        let program = home.path().join("docker-credential-safe");
        let answer = serde_json::json!({"Username": USER, "Secret": PASSWORD});
        fs::write(&program, format!("#!/bin/sh\necho '{PASSWORD}' >&2\necho '{answer}'\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(home.path().join("context")).unwrap();
        fs::write(home.path().join("context/Dockerfile"), "FROM scratch\nENV a=b\n").unwrap();
        let path = format!("{}:/usr/bin:/bin", home.path().display());
        let variables = [&variables[..], &[("PATH", path.as_str())]].concat();
        let build = |helpers: &str| {
            let arguments = [
                "executor",
                "--force",
                "--verbosity=trace",
                "--isolation=namespaces",
                &format!("--kaniko-dir={}", at("kaniko")),
                &format!("--context={}", at("context")),
                &format!("--destination={address}/t/x:1"),
                helpers,
            ];
            run(home.path(), &arguments, &variables, "")
        };
        let (code, output, log) = build("--log-format=text");
        assert_eq!(code, Some(0), "{name}: {log}");
        assert!(log.contains("level=debug"), "{name}: all is told: {log}");
        for text in [&output, &log] {
            for secret in [PASSWORD.to_owned(), auth.clone(), STANDARD.encode(PASSWORD), "eyJ".to_owned()] {
                assert!(!text.contains(&secret), "{name}: {secret} is told: {text}");
            }
        }
        // Whom one does not ask has no say.
        if ["the host's variables", "GitLab"].contains(&name) {
            let (code, _, log) = build("--credential-helpers=");
            assert_eq!(code, Some(1), "{name}: {log}");
            assert!(log.contains("no credentials for"), "{name}: {log}");
        }
    }
}
