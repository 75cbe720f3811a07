//! Where the program finds itself, read at its start: afterwards the files around it may be an image's.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use zuwai_build::{CommandOutput, Surroundings};
use zuwai_rootfs::signals::Interrupt;
use zuwai_rootfs::volumes::{self, Volume};
use zuwai_rootfs::{container, mounts};

use crate::clouds;
use crate::credentials;
use crate::environment::Environment;

/// Most bytes of a resolver configuration that are of use.
const RESOLV_CONF_LIMIT: u64 = 64 << 10;

/// Reads the surroundings of a build.
pub fn read(environment: &Environment, docker_config: &Path) -> Surroundings {
    Surroundings {
        container: container::detect(|name| environment.get(name).map(str::to_owned)),
        keep_out: own_paths(docker_config, environment),
        resolv_conf: resolv_conf(Path::new("/etc/resolv.conf")),
        volumes: Vec::new(),
        command_output: CommandOutput::Stdout,
        interrupt: Interrupt::new(),
    }
}

/// As [`read`], and for kaniko's users: their commands see the volumes of the container that the build runs in, but for
/// the files that `secrets` names. On a machine nothing was mounted for the build, and nothing is handed in.
pub fn read_with_volumes(
    environment: &Environment,
    docker_config: &Path,
    state: &Path,
    secrets: &[PathBuf],
) -> Surroundings {
    let mut surroundings = read(environment, docker_config);
    // An agent is asked for as long as the build goes on; other secrets have been read.
    let is_socket = |path: &&PathBuf| path.metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    surroundings.keep_out.extend(secrets.iter().filter(is_socket).cloned());
    if surroundings.container.is_some() {
        // Its real name must be known before anything can be built there; that it cannot be made is said there.
        let _ = std::fs::create_dir_all(state);
        let own = surroundings.keep_out.iter().chain(secrets).map(PathBuf::as_path).chain([state]);
        surroundings.volumes = volumes(own);
    }
    surroundings
}

fn volumes<'a>(own: impl Iterator<Item = &'a Path>) -> Vec<Volume> {
    let mounts = mounts::list().unwrap_or_else(|error| {
        tracing::warn!("RUN will not see any volumes: cannot list what is mounted: {error}");
        Vec::new()
    });
    let own: Vec<PathBuf> =
        own.flat_map(|path| [path.canonicalize(), std::path::absolute(path)]).flatten().collect();
    let mut volumes = volumes::choose(&mounts, &own);
    // A mount may lie on a name that is gone; and of a link it is the target that is hidden.
    let is_real = |path: &OsString| Path::new(path).canonicalize().is_ok_and(|real| real == Path::new(path));
    volumes.retain(|volume| is_real(&volume.path));
    for volume in &mut volumes {
        volume.hidden.retain(is_real);
        tracing::debug!("RUN sees the volume {}", volume.path.display());
    }
    volumes
}

/// What in `/` is this program's own when it builds in place: itself, and the directories where kaniko's users mount
/// credentials and certificates; those of clouds where they are there, for an image may have such a directory too.
fn own_paths(docker_config: &Path, environment: &Environment) -> Vec<PathBuf> {
    let mut own = vec![PathBuf::from("/kaniko"), docker_config.to_owned()];
    own.extend(std::env::current_exe());
    own.extend(credentials::podman_files(environment).into_iter().filter(|path| path.exists()));
    own.extend(cloud_credentials(environment).into_iter().filter(|path| path.exists()));
    own
}

/// Where the clouds' own tools look for credentials.
fn cloud_credentials(environment: &Environment) -> Vec<PathBuf> {
    const DIRECTORIES: [&str; 3] = [".aws", ".azure", ".config/gcloud"];
    const FILES: [&str; 8] = [
        "GOOGLE_APPLICATION_CREDENTIALS",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "CLOUDSDK_CONFIG",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_CLIENT_CERTIFICATE_PATH",
    ];
    let home = environment.home().unwrap_or_else(|| PathBuf::from("/root"));
    let files = FILES.into_iter().filter_map(|name| environment.non_empty(name)).map(PathBuf::from);
    // What is in those files may name others.
    let tokens = [clouds::aws(environment).token_files(), clouds::google(environment).token_files()].concat();
    DIRECTORIES
        .into_iter()
        .map(|name| home.join(name))
        .chain(files)
        .chain(tokens)
        .filter(|path| path.is_absolute())
        .collect()
}

/// What name servers there are. Without such a file the resolvers' own default holds, here and in the image.
fn resolv_conf(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(RESOLV_CONF_LIMIT).read_to_end(&mut text));
    if let Err(error) = read {
        tracing::debug!("cannot read {}: {error}", path.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builders_own_files_are_kept_out() {
        let own = own_paths(Path::new("/root/.docker"), &Environment::default());
        let program = std::env::current_exe().unwrap();
        for path in [Path::new("/kaniko"), Path::new("/root/.docker"), program.as_path()] {
            assert!(own.iter().any(|kept| kept == path), "{}", path.display());
        }
    }

    #[test]
    fn the_clouds_credentials_are_known() {
        let variables = [
            ("HOME", "/home/me"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/secret/key.json"),
            ("AWS_CONFIG_FILE", ""),
        ];
        let environment =
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let expected = ["/home/me/.aws", "/home/me/.azure", "/home/me/.config/gcloud", "/secret/key.json"];
        assert_eq!(cloud_credentials(&environment), expected.map(PathBuf::from));
    }

    #[test]
    fn the_files_that_the_clouds_files_name_are_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let account = r#"{"type": "external_account", "credential_source": {"file": "/subject/token"}}"#;
        std::fs::write(path("google"), account).unwrap();
        std::fs::write(path("aws"), "[profile a]\nweb_identity_token_file = /web/token\n").unwrap();
        let (google, aws) = (path("google"), path("aws"));
        let variables = [
            ("GOOGLE_APPLICATION_CREDENTIALS", google.as_str()),
            ("AWS_CONFIG_FILE", aws.as_str()),
            ("AZURE_CLIENT_CERTIFICATE_PATH", "/azure.pem"),
        ];
        let environment =
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let found = cloud_credentials(&environment);
        for expected in [&google, &aws, "/subject/token", "/web/token", "/azure.pem"] {
            assert!(found.contains(&PathBuf::from(expected)), "{expected}: {found:?}");
        }
    }

    #[test]
    fn a_resolver_configuration_is_read_with_a_limit_and_may_be_missing() {
        assert!(resolv_conf(Path::new("/no/such/file")).is_empty());
        assert_eq!(resolv_conf(Path::new("/dev/zero")).len(), 64 << 10);
    }
}
