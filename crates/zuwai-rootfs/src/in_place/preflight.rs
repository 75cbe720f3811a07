//! What building in place needs, looked at before anything is moved.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

/// Capabilities by their numbers in capabilities(7), and what cannot be done without each.
const WANTED: [(u32, &str, &str); 5] = [
    (0, "CAP_CHOWN", "give files of images the owners that they have there"),
    (1, "CAP_DAC_OVERRIDE", "read and replace files of other owners"),
    (3, "CAP_FOWNER", "set modes and times of files of other owners"),
    (6, "CAP_SETGID", "run commands as the groups of a USER"),
    (7, "CAP_SETUID", "run commands as a USER"),
];

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
    let status = Path::new("/proc/self/status");
    let look = |path: &Path| {
        let path = path.to_owned();
        move |source| PreflightError::Look { path, source }
    };
    let flags = rustix::fs::statvfs(root).map_err(|error| look(root)(error.into()))?.f_flag;
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Err(PreflightError::ReadOnly { root: root.to_owned() });
    }
    let uid = rustix::process::geteuid();
    if !uid.is_root() {
        return Err(PreflightError::NotRoot { root: root.to_owned(), uid: uid.as_raw() });
    }
    Ok(missing(&fs::read_to_string(status).map_err(look(status))?))
}

/// What of [`WANTED`] the text of a `status` file (proc(5)) does not have. One without capabilities, of a kernel that has
/// none, lacks nothing.
fn missing(status: &str) -> Vec<String> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()) else {
        return Vec::new();
    };
    let lacks = WANTED.iter().filter(|(number, ..)| effective >> number & 1 == 0);
    lacks.map(|(_, name, what)| format!("{name} (to {what})")).collect()
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
            let found = missing(&format!("Name:\tx\nCapPrm:\t0\nCapEff:\t{effective}\nCapBnd:\t0\n"));
            let found: Vec<&str> = found.iter().filter_map(|text| text.split(' ').next()).collect();
            assert_eq!(found, names, "{effective}");
        }
        assert!(missing("Name:\tx\n").is_empty());
    }

    #[test]
    fn a_root_that_cannot_be_written_is_refused() {
        // Of the kernel's own, and read-only in every container that has it.
        let error = PreflightError::ReadOnly { root: "/".into() }.to_string();
        assert!(error.contains("readOnlyRootFilesystem"), "{error}");
        assert!(matches!(check(Path::new("/no/such/root")), Err(PreflightError::Look { .. })));
    }
}
