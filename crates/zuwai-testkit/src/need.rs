//! What a test needs of the machine, and what happens where it is not there.

use std::path::PathBuf;

/// Something a test cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The user is root.
    Root,
    /// A program of this name is on the PATH.
    Program(&'static str),
}

/// The programs that podman needs here, and podman.
pub const PODMAN: &[Need] =
    &[Need::Root, Need::Program("podman"), Need::Program("runc"), Need::Program("skopeo")];

/// What a registry with images in it needs.
pub const REGISTRY: &[Need] = &[Need::Program("docker-registry"), Need::Program("skopeo")];

/// What the BuildKit to compare with needs.
pub const ORACLE: &[Need] = &[
    Need::Root,
    Need::Program("mmdebstrap"),
    Need::Program("docker-registry"),
    Need::Program("skopeo"),
    Need::Program("unshare"),
    Need::Program("nsenter"),
];

/// True if all of `needs` is there. If not, says on the terminal why the test is skipped, and where
/// `ZUWAI_TEST_REQUIRE_ALL=1` is set, panics instead.
#[must_use]
pub fn needs(needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(missing).collect();
    if missing.is_empty() {
        return true;
    }
    skip(&format!("needs {}", missing.join(", ")))
}

/// Says that a test is skipped and why; panics where nothing may be skipped. Always false.
pub fn skip(reason: &str) -> bool {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    assert!(
        std::env::var_os("ZUWAI_TEST_REQUIRE_ALL").is_none_or(|value| value.is_empty() || value == "0"),
        "{test}: would be skipped ({reason}), and ZUWAI_TEST_REQUIRE_ALL is set"
    );
    // Past libtest's capture, so that a skipped test is seen to be skipped.
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{test}: skipped: {reason}");
    false
}

fn missing(need: &Need) -> Option<String> {
    match need {
        Need::Root => (!is_root()).then(|| "root".to_owned()),
        Need::Program(name) => find_program(name).is_none().then(|| format!("the program {name}")),
    }
}

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Where a program is: on the PATH, or in a directory for the administrator's programs.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}
