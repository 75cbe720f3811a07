//! Whether this is a container.
//!
//! Building in place replaces the files of the system it runs in, which only a container can bear. There is no call that
//! asks; there are the traces that runtimes leave, the same ones that kaniko looks for.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::mounts;

/// Files and directories that only a runtime puts there.
const MARKS: [(&str, &str); 5] = [
    ("run/.containerenv", "podman"),
    (".dockerenv", "docker"),
    ("var/run/secrets/kubernetes.io/serviceaccount", "kubernetes"),
    ("run/secrets/kubernetes.io/serviceaccount", "kubernetes"),
    ("run/systemd/container", "systemd"),
];

/// What names of control groups give a runtime away.
const GROUPS: [&str; 11] = [
    "docker",
    "kubepods",
    "kube",
    "containerd",
    "libpod",
    "podman",
    "crio",
    "garden",
    "rkt",
    "nspawn",
    "lxc",
];

/// Looks for the traces of a container and names the first found. `environment` reads the program's own environment.
pub fn detect(environment: impl Fn(&str) -> Option<String>) -> Option<String> {
    detect_in(Path::new("/"), environment)
}

fn detect_in(root: &Path, environment: impl Fn(&str) -> Option<String>) -> Option<String> {
    for (mark, runtime) in MARKS {
        if root.join(mark).symlink_metadata().is_ok() {
            return Some(format!("{runtime} (/{mark} is there)"));
        }
    }
    if let Some(runtime) = environment("container").filter(|name| !name.is_empty()) {
        return Some(format!("{runtime} (the variable container says so)"));
    }
    if environment("KUBERNETES_SERVICE_HOST").is_some() {
        return Some("kubernetes (the variable KUBERNETES_SERVICE_HOST is set)".to_owned());
    }
    let variables = read(&root.join("proc/1/environ"));
    let named = variables.split('\0').find_map(|variable| variable.strip_prefix("container="));
    if let Some(runtime) = named.filter(|name| !name.is_empty()) {
        return Some(format!("{runtime} (the first process has container={runtime})"));
    }
    let by_groups = ["self", "1"].iter().find_map(|process| {
        let groups = read(&root.join(format!("proc/{process}/cgroup")));
        let found = groups.lines().find_map(runtime_of);
        found.map(|runtime| format!("{runtime} (/proc/{process}/cgroup says so)"))
    });
    by_groups.or_else(|| {
        own_network_files(root).then(|| "oci (/etc/hosts and /etc/resolv.conf are mounts)".to_owned())
    })
}

/// Whether a runtime has mounted the files that say where the network is, as all of them do. In a pod that mounts no
/// token and whose control group is hidden this is the one trace.
fn own_network_files(root: &Path) -> bool {
    let mounts = mounts::parse(read(&root.join("proc/self/mountinfo")).as_bytes()).unwrap_or_default();
    ["/etc/hosts", "/etc/resolv.conf"]
        .iter()
        .all(|path| mounts.iter().any(|mount| mount.point == Path::new(path)))
}

/// `4:memory:/kubepods/besteffort/pod1/x`. A service of the runtime itself, as `/system.slice/docker.service`, is none.
fn runtime_of(line: &str) -> Option<&'static str> {
    let path = line.splitn(3, ':').nth(2)?;
    if path.ends_with(".service") {
        return None;
    }
    GROUPS.into_iter().find(|name| path.contains(name))
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What cannot be read has no traces.
        let _ = file.take(64 << 10).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn detected(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let variable = |wanted: &str| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        };
        let found = detect_in(directory.path(), variable)?;
        found.split_once(' ').map(|(runtime, _)| runtime.to_owned())
    }

    #[test]
    fn runtimes_are_known_by_their_traces() {
        type Traces<'a> = &'a [(&'a str, &'a str)];
        let network = "1 2 8:1 /h /etc/hosts rw - ext4 /dev/sda1 rw\n3 2 8:1 /r /etc/resolv.conf rw - ext4 /dev/sda1 rw\n";
        let cases: [(&str, Traces<'_>, Traces<'_>); 9] = [
            ("oci", &[("proc/self/mountinfo", network)], &[]),
            ("docker", &[(".dockerenv", "")], &[]),
            ("podman", &[("run/.containerenv", "")], &[]),
            ("kubernetes", &[("var/run/secrets/kubernetes.io/serviceaccount", "")], &[]),
            ("kubernetes", &[], &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]),
            ("kube", &[], &[("container", "kube")]),
            ("oci", &[("proc/1/environ", "A=b\0container=oci\0")], &[]),
            ("docker", &[("proc/self/cgroup", "12:pids:/docker/0123\n0::/\n")], &[]),
            ("kubepods", &[("proc/1/cgroup", "3:cpu:/\n4:memory:/kubepods/besteffort/pod1\n")], &[]),
        ];
        for (runtime, files, variables) in cases {
            assert_eq!(detected(files, variables).as_deref(), Some(runtime), "{files:?} {variables:?}");
        }
    }

    #[test]
    fn a_machine_is_no_container() {
        let files = [
            ("proc/self/cgroup", "0::/user.slice/user-1000.slice/session-2.scope\n"),
            ("proc/1/cgroup", "0::/init.scope\n1:x:/system.slice/docker.service\n"),
            ("proc/1/environ", "HOME=/\0TERM=linux\0"),
            ("proc/self/mountinfo", "1 2 8:1 /r /etc/resolv.conf rw - ext4 /dev/sda1 rw\n"),
        ];
        assert_eq!(detected(&files, &[("container", "")]), None);
    }
}
