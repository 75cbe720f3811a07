//! How registries are reached: from flags and environment to [`RegistryOptions`], read before anything is unpacked.

#[cfg(test)]
mod every_command;
mod mirrors;
mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use zuwai_oci::registry::{
    ClientCertificate, Proxies, RegistryOptions, RetryPolicy, TlsRootSources, TlsRoots, registry_key,
};

use crate::credentials;
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::flag_value::parse_bool;
use crate::pflag::Parsed;

/// Where kaniko's users mount certificate authorities.
const KANIKO_CERTIFICATES: &str = "/kaniko/ssl/certs";

/// The options of the flags that all faces share, with certificates and credentials loaded.
///
/// # Errors
/// When a flag's value cannot be used, or a file that was named, or the credentials file, cannot be read.
pub fn options(
    flags: &Parsed,
    environment: &Environment,
    docker_config: &Path,
) -> Result<RegistryOptions, ProgramError> {
    let set = |name: &str| flags.list(name).iter().cloned().collect::<BTreeSet<String>>();
    let tls_roots = TlsRoots::load(&tls_root_sources(environment))?;
    Ok(RegistryOptions {
        insecure: flags.bool("insecure"),
        insecure_pull: flags.bool("insecure-pull"),
        insecure_registries: set("insecure-registry"),
        skip_tls_verify: flags.bool("skip-tls-verify"),
        skip_tls_verify_pull: flags.bool("skip-tls-verify-pull"),
        skip_tls_verify_registries: set("skip-tls-verify-registry"),
        registry_roots: registry_roots(flags.list("registry-certificate"), &tls_roots)?,
        tls_roots,
        client_certificates: client_certificates(flags.list("registry-client-cert"))?,
        mirrors: mirrors::read(flags)?,
        credentials: credentials::load(flags, environment, docker_config)?,
        proxies: proxies(environment)?,
        http1_only: environment.get("FF_KANIKO_DISABLE_HTTP2").and_then(parse_bool) == Some(true),
        retry: retry(flags),
        chunk_size: size::read("--push-chunk-size", flags.text("push-chunk-size"))?,
        ..RegistryOptions::default()
    })
}

/// `--registry-certificate REGISTRY=FILE`: certificates beside those that are trusted anyway.
fn registry_roots(values: &[String], roots: &TlsRoots) -> Result<BTreeMap<String, TlsRoots>, ProgramError> {
    let mut found: BTreeMap<String, TlsRoots> = BTreeMap::new();
    for value in values {
        let (registry, file) = pair("--registry-certificate", value)?;
        let so_far = found.get(&registry).unwrap_or(roots);
        let all = so_far.with_file(Path::new(file))?;
        found.insert(registry, all);
    }
    Ok(found)
}

/// The files of our own certificates and their keys: what commands must not see. Wrong values name none.
pub fn client_files(flags: &Parsed) -> Vec<PathBuf> {
    let values = flags.list("registry-client-cert").iter();
    values
        .filter_map(|value| value.split_once('='))
        .flat_map(|(_, files)| files.split(','))
        .map(PathBuf::from)
        .collect()
}

/// `--registry-client-cert REGISTRY=CERTIFICATE,KEY`.
fn client_certificates(values: &[String]) -> Result<BTreeMap<String, ClientCertificate>, ProgramError> {
    const FLAG: &str = "--registry-client-cert";
    let mut found = BTreeMap::new();
    for value in values {
        let (registry, files) = pair(FLAG, value)?;
        let files: Vec<&str> = files.split(',').collect();
        let [certificate, key] = files[..] else {
            // kaniko's words.
            let problem = "expected format: /path/to/cert,/path/to/key".to_owned();
            return Err(ProgramError::RegistryFlag { flag: FLAG, value: value.clone(), problem });
        };
        let certificate = ClientCertificate::load(Path::new(certificate), Path::new(key))?;
        if found.insert(registry, certificate).is_some() {
            let problem = "there is another certificate for this registry".to_owned();
            return Err(ProgramError::RegistryFlag { flag: FLAG, value: value.clone(), problem });
        }
    }
    Ok(found)
}

/// A registry in its one form and what is said of it.
fn pair<'v>(flag: &'static str, value: &'v str) -> Result<(String, &'v str), ProgramError> {
    match value.split_once('=') {
        Some((registry, rest)) if !registry.is_empty() && !rest.is_empty() => {
            Ok((registry_key(registry), rest))
        }
        _ => {
            let problem = "it must be REGISTRY=FILE".to_owned();
            Err(ProgramError::RegistryFlag { flag, value: value.to_owned(), problem })
        }
    }
}

/// The proxies of the environment. The first form of a name that says something counts, as in Go.
fn proxies(environment: &Environment) -> Result<Proxies, ProgramError> {
    let first =
        |names: [&str; 2]| names.iter().find_map(|name| environment.non_empty(name)).unwrap_or_default();
    let mut http = first(["HTTP_PROXY", "http_proxy"]);
    if !http.is_empty() && environment.non_empty("REQUEST_METHOD").is_some() {
        // In a CGI program whoever sends the request could set it (golang.org/s/cgihttpproxy).
        tracing::warn!("HTTP_PROXY is not used: REQUEST_METHOD says that this is a CGI program");
        http = "";
    }
    Ok(Proxies::new(http, first(["HTTPS_PROXY", "https_proxy"]), first(["NO_PROXY", "no_proxy"]))?)
}

/// How often to try again: never less than by default, since kaniko's default was not at all.
fn retry(flags: &Parsed) -> RetryPolicy {
    let default = RetryPolicy::default();
    let asked = |name: &str| u32::try_from(flags.int(name).max(0)).unwrap_or(u32::MAX);
    RetryPolicy {
        pull: default.pull.max(asked("image-download-retry")).max(asked("image-fs-extract-retry")),
        push: default.push.max(asked("push-retry")),
        ..default
    }
}

fn tls_root_sources(environment: &Environment) -> TlsRootSources {
    let directories = environment.non_empty("SSL_CERT_DIR").unwrap_or_default();
    TlsRootSources {
        file: environment.non_empty("SSL_CERT_FILE").map(PathBuf::from),
        directories: directories.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
        additional_directories: vec![PathBuf::from(KANIKO_CERTIFICATES)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_variables_are_gos() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment =
            Environment::from_iter([variable("SSL_CERT_FILE", "/a.pem"), variable("SSL_CERT_DIR", "/b::/c")]);
        let sources = tls_root_sources(&environment);
        assert_eq!(sources.file, Some(PathBuf::from("/a.pem")));
        assert_eq!(sources.directories, [PathBuf::from("/b"), PathBuf::from("/c")]);
        assert!(tls_root_sources(&Environment::default()).file.is_none());
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn proxies_are_those_that_go_would_take() {
        for (variables, expected) in [
            (&[("HTTP_PROXY", "a.example"), ("http_proxy", "b.example")][..], "Some(http://a.example:80)"),
            (&[("HTTP_PROXY", ""), ("http_proxy", "b.example:3128")], "Some(http://b.example:3128)"),
            (&[("HTTP_PROXY", "a.example"), ("REQUEST_METHOD", "GET")], "None"),
            (&[("ALL_PROXY", "a.example")], "None"),
            (&[("HTTPS_PROXY", "a.example")], "None"),
        ] {
            let shown = format!("{:?}", proxies(&environment(variables)).unwrap());
            assert!(shown.contains(&format!("http: {expected}")), "{variables:?}: {shown}");
        }
        let error = proxies(&environment(&[("https_proxy", "ftp://me:hunter2@a.example")])).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn retries_are_only_raised() {
        for (arguments, pull, push) in [
            (&[][..], 4, 4),
            (&["--image-download-retry=9", "--push-retry=1"], 9, 4),
            (&["--image-fs-extract-retry=7", "--push-retry=0x10"], 7, 16),
            (&["--image-download-retry=-1", "--push-retry=99999999999"], 4, u32::MAX),
        ] {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned());
            let policy = retry(&crate::pflag::parse(crate::executor::flags::EXECUTOR, arguments).unwrap());
            assert_eq!((policy.pull, policy.push), (pull, push));
        }
    }

    #[test]
    fn client_keys_are_known() {
        let arguments = ["--registry-client-cert=a.io=/a.pem,/a.key"].map(str::to_owned);
        let flags = crate::pflag::parse(crate::executor::flags::EXECUTOR, arguments).unwrap();
        assert_eq!(client_files(&flags), [PathBuf::from("/a.pem"), PathBuf::from("/a.key")]);
    }

    #[test]
    fn what_is_said_of_registries_must_be_whole() {
        let values = |value: &str| vec![value.to_owned()];
        let roots = TlsRoots::default();
        for value in ["a.example=", "=/x.pem", "a.example"] {
            assert!(registry_roots(&values(value), &roots).is_err(), "{value}");
            assert!(client_certificates(&values(value)).is_err(), "{value}");
        }
        for value in ["a.example=/x.pem", "a.example=/x.pem,/y.pem,/z.pem"] {
            let message = client_certificates(&values(value)).unwrap_err().to_string();
            assert!(message.contains("/path/to/cert,/path/to/key") && message.contains(value), "{message}");
        }
        let message = registry_roots(&values("a.example=/nonexistent.pem"), &roots).unwrap_err().to_string();
        assert!(message.contains("/nonexistent.pem"), "{message}");
    }
}
