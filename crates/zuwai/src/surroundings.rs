//! Where the program finds itself, read at its start: afterwards the files around it may be an image's.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use zuwai_build::Surroundings;
use zuwai_rootfs::container;
use zuwai_rootfs::signals::Interrupt;

use crate::environment::Environment;

/// Most bytes of a resolver configuration that are of use.
const RESOLV_CONF_LIMIT: u64 = 64 << 10;

/// Reads the surroundings of a build.
pub fn read(environment: &Environment, docker_config: &Path) -> Surroundings {
    Surroundings {
        container: container::detect(|name| environment.get(name).map(str::to_owned)),
        keep_out: own_paths(docker_config),
        resolv_conf: resolv_conf(Path::new("/etc/resolv.conf")),
        interrupt: Interrupt::new(),
    }
}

/// What in `/` is this program's own when it builds in place: itself, and the directories where kaniko's users mount
/// credentials and certificates.
fn own_paths(docker_config: &Path) -> Vec<PathBuf> {
    let mut own = vec![PathBuf::from("/kaniko"), docker_config.to_owned()];
    own.extend(std::env::current_exe());
    own
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
        let own = own_paths(Path::new("/root/.docker"));
        for path in [Path::new("/kaniko"), Path::new("/root/.docker"), &std::env::current_exe().unwrap()] {
            assert!(own.iter().any(|kept| kept == path), "{}", path.display());
        }
    }

    #[test]
    fn a_resolver_configuration_is_read_with_a_limit_and_may_be_missing() {
        assert!(resolv_conf(Path::new("/no/such/file")).is_empty());
        assert_eq!(resolv_conf(Path::new("/dev/zero")).len(), 64 << 10);
    }
}
