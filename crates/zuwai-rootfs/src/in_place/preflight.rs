//! What building in place needs, looked at before anything is moved.

use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use crate::survey::capability::{Capabilities, Capability, names};

/// What building takes beside being root: images with nothing but root's files can be built without.
const WANTED: [Capability; 5] =
    [Capability::Chown, Capability::DacOverride, Capability::Fowner, Capability::Setgid, Capability::Setuid];

/// Why nothing can be built in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// The root cannot be written.
    #[error(
        "building in place writes to {root}, which is read-only here: let the container's root file system be written \
         (without readOnlyRootFilesystem or --read-only), or build where namespaces can be had, with the state directory on \
         a volume", root = root.display()
    )]
    ReadOnly {
        /// The root.
        root: PathBuf,
    },
    /// The root belongs to somebody else.
    #[error(
        "building in place replaces the files of {root}, which user {uid} may not: run the container as root, or build where \
         namespaces can be had", root = root.display()
    )]
    NotRoot {
        /// The root.
        root: PathBuf,
        /// Who this is.
        uid: u32,
    },
    /// Something cannot be looked at.
    #[error("cannot look at {path}", path = path.display())]
    Look {
        /// What.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
}

/// Looks at a root that a build wants to have, and gives what capabilities this process lacks, each with what cannot be
/// done without it: images with nothing but root's files can be built all the same.
///
/// # Errors
/// When nothing can be built there.
pub fn check(root: &Path) -> Result<Vec<String>, PreflightError> {
    let flags = rustix::fs::statvfs(root)
        .map_err(|error| PreflightError::Look { path: root.to_owned(), source: error.into() })?
        .f_flag;
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Err(PreflightError::ReadOnly { root: root.to_owned() });
    }
    let uid = rustix::process::geteuid();
    if !uid.is_root() {
        return Err(PreflightError::NotRoot { root: root.to_owned(), uid: uid.as_raw() });
    }
    Ok(missing(Capabilities::effective()))
}

/// What of [`WANTED`] is not there, each with what that prevents.
fn missing(has: Capabilities) -> Vec<String> {
    let missing = has.missing(&WANTED);
    missing.into_iter().map(|it| format!("{} ({})", names(&[it]), it.prevents())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        for (effective, names) in [
            ("00000000a80425fb", &[][..]),
            ("ffffffffffffffff", &[]),
            ("00000000a80425fa", &["CAP_CHOWN"]),
            ("00000000a8042539", &["CAP_DAC_OVERRIDE", "CAP_SETGID", "CAP_SETUID"]),
            (
                "0000000000000000",
                &["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID"],
            ),
        ] {
            let found = missing(Capabilities::from_hex(effective));
            let found: Vec<&str> = found.iter().filter_map(|text| text.split(' ').next()).collect();
            assert_eq!(found, names, "{effective}");
        }
    }

    #[test]
    fn a_root_that_cannot_be_written_is_refused() {
        // Of the kernel's own, and read-only in every container that has it.
        let error = PreflightError::ReadOnly { root: "/".into() }.to_string();
        assert!(error.contains("readOnlyRootFilesystem"), "{error}");
        assert!(matches!(check(Path::new("/no/such/root")), Err(PreflightError::Look { .. })));
    }
}
