//! How registries are reached: from flags and environment to [`RegistryOptions`], read before anything is unpacked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use zuwai_oci::registry::{RegistryOptions, TlsRootSources, TlsRoots};

use crate::credentials;
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::pflag::Parsed;

/// Where kaniko's users mount certificate authorities.
const KANIKO_CERTIFICATES: &str = "/kaniko/ssl/certs";

/// The options of the flags that all faces share, with certificates and credentials loaded.
///
/// # Errors
/// When certificates that were named, or the credentials file, cannot be read.
pub fn options(
    flags: &Parsed,
    environment: &Environment,
    docker_config: &Path,
) -> Result<RegistryOptions, ProgramError> {
    let set = |name: &str| flags.list(name).iter().cloned().collect::<BTreeSet<String>>();
    Ok(RegistryOptions {
        insecure: flags.bool("insecure"),
        insecure_pull: flags.bool("insecure-pull"),
        insecure_registries: set("insecure-registry"),
        skip_tls_verify: flags.bool("skip-tls-verify"),
        skip_tls_verify_pull: flags.bool("skip-tls-verify-pull"),
        skip_tls_verify_registries: set("skip-tls-verify-registry"),
        tls_roots: TlsRoots::load(&tls_root_sources(environment))?,
        credentials: credentials::load(flags, environment, docker_config)?,
        proxies_from_environment: true,
        ..RegistryOptions::default()
    })
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
}
