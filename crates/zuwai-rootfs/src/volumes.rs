//! The volumes that the user of a container mounted into it, which commands see with namespaces too.
//!
//! Which of a container's mounts these are is told by where they are: what the runtime mounts has fixed places. What is
//! never a command's to see (credentials, tokens, the builder's own files) is not handed in, and hidden where a volume
//! holds it, also where that is mounted a second time: the kernel lists which part of which file system each mount is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::fs::Dir;
use serde::{Deserialize, Serialize};
use zuwai_layer::ImagePath;

use crate::mounts::Mount;
use crate::root::Root;

/// What runtimes mount, what kaniko's images have of their own, and where tokens of service accounts are; with all
/// below. `/var/run` is another directory than `/run` in images that lack the usual link.
const NEVER: [&str; 14] = [
    "/.dockerenv",
    "/busybox",
    "/dev",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/kaniko",
    "/proc",
    "/run/.containerenv",
    "/run/podman-init",
    "/run/secrets",
    "/sbin/docker-init",
    "/sys",
    "/var/run/secrets",
];

/// Where podman and CRI-O give a container with a read-only root something to write on: the image's own directories
/// serve a build better, because what a command leaves there belongs into the layer.
const SCRATCH: [&str; 4] = ["/run", "/tmp", "/var/run", "/var/tmp"];

/// A mount with all that is mounted below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where it is mounted, and is to be seen: absolute, without links.
    pub path: OsString,
    /// What below it must not be seen: absolute, without links.
    pub hidden: Vec<OsString>,
}

impl Volume {
    /// Whether the image's own files at this place are what a command in `workdir` means: the image has content here, or
    /// it has this directory and the command works in it. (`WORKDIR /workspace` is common, and so is a context mounted
    /// there.)
    #[must_use]
    pub fn gives_way_to(&self, root: &Root, workdir: &ImagePath) -> bool {
        let Ok(path) = ImagePath::clamped(self.path.as_encoded_bytes()) else { return true };
        match root.open_directory(&path).map(Dir::new) {
            Ok(Ok(mut names)) => {
                let has_content = names
                    .any(|name| name.is_ok_and(|name| !matches!(name.file_name().to_bytes(), b"." | b"..")));
                has_content || workdir.starts_with(&path)
            }
            _ => matches!(root.open_file(&path), Ok(Some(_))),
        }
    }
}

/// Chooses the user's volumes among the mounts of a container. `own` are the builder's files and directories, and
/// credentials: absolute, without links.
#[must_use]
pub fn choose(mounts: &[Mount], own: &[PathBuf]) -> Vec<Volume> {
    let never: Vec<&Path> = NEVER.iter().map(Path::new).chain(own.iter().map(PathBuf::as_path)).collect();
    let again = seen_again(mounts, &never);
    let never: Vec<&Path> = never.into_iter().chain(again.iter().map(PathBuf::as_path)).collect();
    let mut points: Vec<&Path> = mounts
        .iter()
        .filter(|mount| mount.point != Path::new("/"))
        .filter(|mount| mount.kind != "tmpfs" || !SCRATCH.iter().any(|path| mount.point == Path::new(path)))
        .map(|mount| mount.point.as_path())
        .filter(|point| !never.iter().any(|never| point.starts_with(never)))
        .collect();
    // What is mounted below a volume comes with it.
    outermost(&mut points);
    let hidden = |point: &Path| {
        let mut below: Vec<&Path> = never.iter().copied().filter(|path| path.starts_with(point)).collect();
        outermost(&mut below);
        below.into_iter().map(Into::into).collect()
    };
    points.into_iter().map(|point| Volume { path: point.into(), hidden: hidden(point) }).collect()
}

/// Where else the files at these paths, and what is mounted below them, are seen. A name at which something else was
/// mounted over them is among these too.
fn seen_again(mounts: &[Mount], paths: &[&Path]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        let below = mounts.iter().filter(|mount| mount.point.starts_with(path));
        let parts = below.map(|mount| (&mount.device, mount.root.clone())).chain(part(mounts, path));
        for (device, part) in parts {
            found.extend(mounts.iter().filter(|mount| mount.device == *device).filter_map(|mount| {
                match part.strip_prefix(&mount.root) {
                    Ok(rest) => Some(mount.point.components().chain(rest.components()).collect()),
                    Err(_) => mount.root.starts_with(&part).then(|| mount.point.clone()),
                }
            }));
        }
    }
    found.retain(|path: &PathBuf| path != Path::new("/"));
    found
}

/// Which part of which file system a path is: that of the innermost mount it is on, the last of several at one point.
fn part<'a>(mounts: &'a [Mount], path: &Path) -> Option<(&'a String, PathBuf)> {
    let on = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    let mount = on.max_by_key(|mount| mount.point.as_os_str().len())?;
    let rest = path.strip_prefix(&mount.point).ok()?;
    Some((&mount.device, mount.root.components().chain(rest.components()).collect()))
}

/// Leaves paths that are not below others. They are ordered by their names, so that a directory comes right before
/// everything in it.
fn outermost(paths: &mut Vec<&Path>) {
    paths.sort_unstable();
    paths.dedup_by(|path, before| path.starts_with(before));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::parse;

    const PODMAN: &[u8] = br"131 59 254:0 /c/merged / rw,relatime - overlay overlay rw,lowerdir=/l
132 131 0:22 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs rw
133 131 0:49 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
134 131 0:50 / /dev rw,nosuid,noexec - tmpfs tmpfs rw,size=65536k,mode=755
135 131 254:0 /home/u/vol /volume rw,relatime - ext4 /dev/vda rw,discard
136 131 254:0 /home/u/one.conf /conf/one.conf ro,relatime - ext4 /dev/vda rw,discard
137 134 0:51 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666
139 131 254:0 /rr/vfs-containers/f8f0/userdata/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda rw
140 131 254:0 /rr/vfs-containers/f8f0/userdata/hosts /etc/hosts rw,relatime - ext4 /dev/vda rw,discard
141 134 0:46 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=64000k
142 131 254:0 /rr/vfs-containers/f8f0/userdata/.containerenv /run/.containerenv rw,relatime - ext4 /dev/vda rw
143 131 254:0 /rr/vfs-containers/f8f0/userdata/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw,discard
144 132 0:59 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
60 133 0:49 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw
92 133 0:50 /null /proc/keys rw,nosuid,noexec - tmpfs tmpfs rw,size=65536k,mode=755
";

    const PODMAN_READ_ONLY: &[u8] = br"131 59 254:0 /root / ro,relatime - ext4 /dev/vda rw,discard
134 131 0:49 / /run rw,nosuid,nodev,relatime - tmpfs tmpfs rw
133 131 254:0 /home/u/vol /volume rw,relatime - ext4 /dev/vda rw,discard
137 131 0:51 / /tmp rw,nosuid,nodev,relatime - tmpfs tmpfs rw
140 131 254:0 /home/u/two /tmp/two ro,relatime - ext4 /dev/vda rw,discard
142 131 0:61 / /var/tmp rw,nosuid,nodev,relatime - tmpfs tmpfs rw
";

    const DOCKER: &[u8] = br"1063 935 0:64 / / rw,relatime master:441 - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
1064 1063 0:67 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1065 1063 0:68 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755,inode64
1068 1067 0:30 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate
1071 1063 8:1 /home/u/app /workspace rw,relatime - ext4 /dev/sda1 rw,discard,errors=remount-ro
1072 1063 8:1 /home/u/config.json /kaniko/.docker/config.json ro,relatime - ext4 /dev/sda1 rw,discard
1073 1063 8:1 /var/lib/docker/containers/5c0e/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/sda1 rw,discard
1074 1063 8:1 /var/lib/docker/containers/5c0e/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw,discard
1075 1063 8:1 /var/lib/docker/containers/5c0e/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw,discard
1076 1063 8:1 /usr/bin/docker-init /sbin/docker-init ro,relatime - ext4 /dev/sda1 rw,discard
1077 1063 8:1 /var/lib/docker/volumes/m2/_data /root/.m2 rw,relatime master:1 - ext4 /dev/sda1 rw,discard
1078 1063 8:1 /var/lib/docker/volumes/busybox/_data /busybox rw,relatime master:1 - ext4 /dev/sda1 rw,discard
1079 1063 0:26 /docker.sock /run/docker.sock rw,nosuid,nodev,noexec,relatime master:12 - tmpfs tmpfs rw,mode=755
1080 1071 8:1 /home/u/cache /workspace/cache rw,relatime - ext4 /dev/sda1 rw,discard,errors=remount-ro
951 1064 0:67 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - proc proc rw
";

    const KUBERNETES: &[u8] = br"2913 2467 0:351 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
2914 2913 0:353 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
2915 2913 0:354 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
2919 2918 0:29 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw
2920 2913 259:1 /var/lib/kubelet/pods/0a1b/volumes/kubernetes.io~empty-dir/home /tekton/home rw,noatime - xfs /dev/nvme0n1p1 rw
2921 2913 259:3 / /workspace/source rw,relatime - ext4 /dev/nvme1n1 rw
2922 2913 0:341 / /certificates ro,relatime - tmpfs tmpfs rw,size=8388608k
2923 2913 0:342 / /kaniko/.docker ro,relatime - tmpfs tmpfs rw,size=8388608k
2924 2913 259:1 /var/lib/kubelet/pods/0a1b/etc-hosts /etc/hosts rw,noatime - xfs /dev/nvme0n1p1 rw
2925 2915 259:1 /var/lib/kubelet/pods/0a1b/containers/kaniko/6f93 /dev/termination-log rw,noatime - xfs /dev/nvme0n1p1 rw
2926 2913 259:1 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/99/hostname /etc/hostname rw,noatime - xfs /dev/nvme0n1p1 rw
2927 2913 259:1 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/99/resolv.conf /etc/resolv.conf rw,noatime - xfs /dev/nvme0n1p1 rw
2928 2915 0:338 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k
2929 2913 0:340 / /run/secrets/kubernetes.io/serviceaccount ro,relatime - tmpfs tmpfs rw,size=8388608k
2930 2913 0:343 / /var/run/secrets/eks.amazonaws.com/serviceaccount ro,relatime - tmpfs tmpfs rw,size=8388608k
";

    #[test]
    fn the_users_volumes_are_chosen_and_nothing_else() {
        for (name, text, own, expected) in [
            ("podman", PODMAN, &[][..], &[("/conf/one.conf", &[][..]), ("/volume", &[])][..]),
            ("podman, read-only", PODMAN_READ_ONLY, &[], &[("/tmp/two", &[]), ("/volume", &[])]),
            (
                "docker",
                DOCKER,
                &["/kaniko", "/kaniko/executor"],
                &[("/root/.m2", &[]), ("/run/docker.sock", &[]), ("/workspace", &[])],
            ),
            (
                "kubernetes",
                KUBERNETES,
                &["/tekton/home/.docker", "/tekton/home/.docker/config.json"],
                &[
                    ("/certificates", &[]),
                    ("/tekton/home", &["/tekton/home/.docker"]),
                    ("/workspace/source", &[]),
                ],
            ),
            (
                "state and credentials on volumes",
                KUBERNETES,
                &["/workspace/source", "/certificates", "/tekton"],
                &[],
            ),
        ] {
            let own: Vec<PathBuf> = own.iter().map(PathBuf::from).collect();
            let expected: Vec<Volume> = expected
                .iter()
                .map(|(path, hidden)| Volume {
                    path: path.into(),
                    hidden: hidden.iter().map(Into::into).collect(),
                })
                .collect();
            assert_eq!(choose(&parse(text).unwrap(), &own), expected, "{name}");
        }
    }

    /// Credentials, the state and a token on volumes that are there a second time: whole, in part, or within another.
    const TWICE: &[u8] = br"1 0 0:64 / / rw - overlay overlay rw
2 1 8:1 /home/u/.docker /kaniko/.docker ro - ext4 /dev/sda1 rw
3 1 8:1 /home/u/.docker /second ro - ext4 /dev/sda1 rw
4 1 8:1 /home/u /home ro - ext4 /dev/sda1 rw
5 1 8:1 /home/u/.docker/sub /part ro - ext4 /dev/sda1 rw
6 1 8:1 /home/u/.dockers /like-it ro - ext4 /dev/sda1 rw
7 1 8:2 /home/u/.docker /other-disk ro - ext4 /dev/sdb1 rw
8 1 8:3 /vol /data rw - ext4 /dev/sdc1 rw
9 1 8:3 /vol /mirror rw - ext4 /dev/sdc1 rw
10 1 0:40 / /run/secrets/kubernetes.io/serviceaccount ro - tmpfs tmpfs rw
11 1 0:40 / /token ro - tmpfs tmpfs rw
12 1 8:1 /etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw
";

    #[test]
    fn what_is_mounted_a_second_time_is_recognised() {
        let own = ["/kaniko".into(), "/data/state".into()];
        let volumes = choose(&parse(TWICE).unwrap(), &own);
        let shown: Vec<(&str, Vec<&str>)> = volumes
            .iter()
            .map(|volume| {
                let hidden = volume.hidden.iter().map(|path| path.to_str().unwrap()).collect();
                (volume.path.to_str().unwrap(), hidden)
            })
            .collect();
        let expected = [
            ("/data", vec!["/data/state"]),
            ("/home", vec!["/home/.docker"]),
            ("/like-it", vec![]),
            ("/mirror", vec!["/mirror/state"]),
            ("/other-disk", vec![]),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_a_volume_holds_of_tokens_is_hidden() {
        let text = b"1 2 8:1 /x /run rw - ext4 /dev/sda1 rw\n3 2 8:1 /y /running rw - ext4 /dev/sda1 rw\n";
        let volumes = choose(&parse(text.as_slice()).unwrap(), &["/run/state".into()]);
        let hidden = ["/run/.containerenv", "/run/podman-init", "/run/secrets", "/run/state"];
        assert_eq!(volumes[0].hidden, hidden);
        assert_eq!((volumes[1].path.to_str(), volumes[1].hidden.len()), (Some("/running"), 0));
    }
}
