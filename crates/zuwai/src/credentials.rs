//! From environment and flags to [`Credentials`], read before anything is unpacked.
//!
//! Documents are asked in this order, and the first that has a credential for a repository decides:
//!
//! 1. `DOCKER_AUTH_CONFIG`, a document in a variable, as docker and GitLab's runner have it;
//! 2. `config.json` in the directory of `DOCKER_CONFIG`, or in the one that the face's users expect;
//! 3. podman's: the file of `REGISTRY_AUTH_FILE`, or else `containers/auth.json` in `XDG_RUNTIME_DIR`, then in
//!    `XDG_CONFIG_HOME` or `~/.config`.
//!
//! After them the sources of `--credential-helpers` are asked, in the order of kaniko's fork: `env`, `google`, `ecr`,
//! `acr`, `gitlab`. A document that is there and malformed is an error: going on without it would end in a refusal that
//! says less.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zuwai_oci::OciError;
use zuwai_oci::Secret;
use zuwai_oci::credentials::azure::Azure;
use zuwai_oci::credentials::cloud::CloudClient;
use zuwai_oci::credentials::ecr::Ecr;
use zuwai_oci::credentials::google::Google;
use zuwai_oci::credentials::{
    Credential, Credentials, DockerConfig, Helpers, HostCredentials, HostVariables,
};

use crate::clouds;
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::pflag::Parsed;

/// The sources that `--credential-helpers` chooses from, in the order in which they are asked.
const SOURCES: [&str; 5] = ["env", "google", "ecr", "acr", "gitlab"];
/// The name of docker's file.
pub const CONFIG_FILE: &str = "config.json";
/// The user name that goes with GitLab's job token.
const GITLAB_JOB_USER: &str = "gitlab-ci-token";

/// The credentials of all registries.
///
/// # Errors
/// When a document cannot be read, or `--credential-helpers` names a source that there is not.
pub fn load(
    flags: &Parsed,
    environment: &Environment,
    docker_config: &Path,
) -> Result<Credentials, ProgramError> {
    let selected = selected(flags)?;
    let documents = documents(environment, docker_config)?;
    let mut credentials = Credentials::default();
    credentials.set_helpers(helpers(&documents, environment));
    documents.into_iter().for_each(|document| credentials.add_document(document));
    let cloud = CloudClient::new()?;
    for source in SOURCES.into_iter().filter(|source| selected.contains(source)) {
        match source {
            "env" => credentials.add_source(Arc::new(HostVariables::new(environment.texts()))),
            "gitlab" => credentials.add_source(Arc::new(gitlab(environment))),
            "google" => {
                credentials.add_source(Arc::new(Google::new(clouds::google(environment), cloud.clone())))
            }
            "ecr" => credentials.add_source(Arc::new(Ecr::new(clouds::aws(environment), cloud.clone()))),
            "acr" => credentials.add_source(Arc::new(Azure::new(clouds::azure(environment), cloud.clone()))),
            // There are no others.
            _ => {}
        }
    }
    Ok(credentials)
}

/// The helper programs that documents name, as they are on `PATH` now.
pub fn helpers(documents: &[DockerConfig], environment: &Environment) -> Helpers {
    let names = documents.iter().flat_map(DockerConfig::helper_names);
    let path = environment.get("PATH").unwrap_or_default();
    Helpers::find(names, OsStr::new(path), environment.all())
}

/// The sources that are asked: all, or those that were named. An empty name alone is none.
fn selected(flags: &Parsed) -> Result<BTreeSet<&str>, ProgramError> {
    const FLAG: &str = "credential-helpers";
    if !flags.is_given(FLAG) {
        return Ok(SOURCES.into());
    }
    let named: BTreeSet<&str> =
        flags.list(FLAG).iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
    match named.iter().find(|name| !SOURCES.contains(name)) {
        Some(unknown) => Err(ProgramError::CredentialSource { name: (*unknown).to_owned(), known: &SOURCES }),
        None => Ok(named),
    }
}

/// The documents that are there, in the order in which they are asked.
fn documents(environment: &Environment, docker_config: &Path) -> Result<Vec<DockerConfig>, OciError> {
    const VARIABLE: &str = "DOCKER_AUTH_CONFIG";
    let mut documents = Vec::new();
    if let Some(text) = environment.non_empty(VARIABLE) {
        documents.push(DockerConfig::parse(Path::new(VARIABLE), text.as_bytes())?);
    }
    documents.push(DockerConfig::load(&docker_config.join(CONFIG_FILE))?);
    for path in podman_files(environment) {
        documents.push(DockerConfig::load(&path)?);
    }
    Ok(documents)
}

/// Where podman keeps credentials (containers-auth.json(5)).
pub fn podman_files(environment: &Environment) -> Vec<PathBuf> {
    if let Some(file) = environment.non_empty("REGISTRY_AUTH_FILE") {
        return vec![PathBuf::from(file)];
    }
    let directory =
        |name: &str| environment.non_empty(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let configuration =
        directory("XDG_CONFIG_HOME").or_else(|| environment.home().map(|home| home.join(".config")));
    let directories = [directory("XDG_RUNTIME_DIR"), configuration];
    directories.into_iter().flatten().map(|directory| directory.join("containers/auth.json")).collect()
}

/// What GitLab gives its jobs: for its registry and its dependency proxy, and for no other host (GitLab's "Predefined CI/CD
/// variables").
fn gitlab(environment: &Environment) -> HostCredentials {
    let mut hosts = HostCredentials::new("gitlab");
    let mut add = |host: &str, username: Option<&str>, password: &str| {
        if let (Some(host), Some(username), Some(password)) =
            (environment.non_empty(host), username, environment.non_empty(password))
        {
            let (username, password) = (username.to_owned(), Secret::new(password));
            hosts.insert(host, Credential::Basic { username, password });
        }
    };
    add("CI_REGISTRY", environment.non_empty("CI_REGISTRY_USER"), "CI_REGISTRY_PASSWORD");
    add("CI_REGISTRY", Some(GITLAB_JOB_USER), "CI_JOB_TOKEN");
    let proxy_user = environment.non_empty("CI_DEPENDENCY_PROXY_USER");
    add("CI_DEPENDENCY_PROXY_SERVER", proxy_user, "CI_DEPENDENCY_PROXY_PASSWORD");
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::flags::EXECUTOR;
    use crate::pflag::parse;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn sources_are_chosen_by_name() {
        for (arguments, expected) in [
            (&[][..], Ok(&SOURCES[..])),
            (&["--credential-helpers="], Ok(&[])),
            (&["--credential-helpers=env", "--credential-helpers", "gitlab"], Ok(&["env", "gitlab"])),
            (
                &["--credential-helpers=env", "--credential-helpers=vault"],
                Err("unknown credential helper \"vault\", there are: env, google, ecr, acr, gitlab"),
            ),
        ] {
            let flags = parse(EXECUTOR, arguments.iter().map(|argument| (*argument).to_owned())).unwrap();
            let found = selected(&flags).map_err(|error| error.to_string());
            let expected = expected.map(|names| names.iter().copied().collect()).map_err(str::to_owned);
            assert_eq!(found, expected, "{arguments:?}");
        }
    }

    #[test]
    fn the_clouds_are_asked_where_they_are_chosen() {
        let environment = environment(&[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "hunter2")]);
        for (arguments, expected) in [
            (&[][..], [true, true, true]),
            (&["--credential-helpers=ecr"], [false, true, false]),
            (&["--credential-helpers=google", "--credential-helpers=acr"], [true, false, true]),
            (&["--credential-helpers="], [false, false, false]),
        ] {
            let flags = parse(EXECUTOR, arguments.iter().map(|argument| (*argument).to_owned())).unwrap();
            let shown = format!("{:?}", load(&flags, &environment, Path::new("/nonexistent")).unwrap());
            let found = ["Google {", "Ecr {", "Azure {"].map(|source| shown.contains(source));
            assert_eq!(found, expected, "{arguments:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn podmans_files_are_where_podman_has_them() {
        for (variables, expected) in [
            (
                &[("REGISTRY_AUTH_FILE", "/a.json"), ("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/u")][..],
                &["/a.json"][..],
            ),
            (
                &[("XDG_RUNTIME_DIR", "/run/u"), ("HOME", "/h")],
                &["/run/u/containers/auth.json", "/h/.config/containers/auth.json"],
            ),
            (&[("XDG_CONFIG_HOME", "/c"), ("HOME", "/h")], &["/c/containers/auth.json"]),
            (&[("XDG_RUNTIME_DIR", "relative")], &[]),
        ] {
            let found = podman_files(&environment(variables));
            assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{variables:?}");
        }
    }

    #[test]
    fn documents_are_in_the_order_in_which_they_are_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("config.json"), r#"{"credsStore": "second"}"#).unwrap();
        std::fs::write(path("auth.json"), r#"{"credsStore": "third"}"#).unwrap();
        let auth_file = path("auth.json").display().to_string();
        let variables = [
            ("DOCKER_AUTH_CONFIG", r#"{"credsStore": "first"}"#),
            ("REGISTRY_AUTH_FILE", auth_file.as_str()),
        ];
        let found = documents(&environment(&variables), directory.path()).unwrap();
        let names: Vec<&str> = found.iter().flat_map(DockerConfig::helper_names).collect();
        assert_eq!(names, ["first", "second", "third"]);

        let broken = environment(&[("DOCKER_AUTH_CONFIG", "{hunter2")]);
        let error = documents(&broken, directory.path()).unwrap_err().to_string();
        assert!(error.contains("DOCKER_AUTH_CONFIG") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn gitlabs_own_password_comes_before_the_jobs_token() {
        let job = [("CI_REGISTRY", "registry.gitlab.example"), ("CI_JOB_TOKEN", "hunter2")];
        let full =
            [&job[..], &[("CI_REGISTRY_USER", "deploy"), ("CI_REGISTRY_PASSWORD", "hunter2")]].concat();
        for (variables, expected) in
            [(&job[..], Some("gitlab-ci-token")), (&full, Some("deploy")), (&[], None)]
        {
            let shown = format!("{:?}", gitlab(&environment(variables)));
            assert!(!shown.contains("hunter2"), "{shown}");
            match expected {
                Some(user) => {
                    assert!(shown.contains(user) && shown.contains("registry.gitlab.example"), "{shown}")
                }
                None => assert!(gitlab(&environment(variables)).is_empty()),
            }
        }
    }
}
