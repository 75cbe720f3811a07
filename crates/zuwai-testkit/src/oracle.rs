//! A real BuildKit to compare with: the Docker Engine of Debian testing, in a root and in namespaces of its own.
//!
//! Its root (700 MB) is made once and kept; a daemon is started once in a test process and ends with it. Images come out
//! through BuildKit's own exporter as OCI layouts, with no attestations.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::cache::{kept, run_directory};
use crate::command::{Finished, must_run, program, run};
use crate::image::Image;
use crate::server::Server;

/// A running BuildKit.
#[derive(Debug)]
pub struct Oracle {
    /// The daemon's process id outside of its PID namespace.
    daemon: u32,
    folder: PathBuf,
    _server: Server,
}

/// Enters a mount namespace whose root is `$1`, with the folder `$2` at `/d`. A plain chroot is not enough: runc wants to
/// remount `/`.
const START: &str = r#"
    set -e
    root=$1 folder=$2
    mount --bind "$root" "$root"
    mount -t tmpfs shared "$root/mnt"
    mkdir "$root/mnt/old" "$root/mnt/d"
    mount --bind "$folder" "$root/mnt/d"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs tmp "$root/tmp"
    mount -t tmpfs run "$root/run"
    mount -t tmpfs lib "$root/var/lib/docker"
    mount --bind "$folder/data" "$root/var/lib/docker"
    if [ -e /etc/resolv.conf ]; then touch "$root/etc/resolv.conf"; mount --bind /etc/resolv.conf "$root/etc/resolv.conf"; fi
    cd "$root"
    pivot_root . mnt/old
    umount -l /mnt/old
    exec dockerd --config-file /mnt/d/daemon.json -H unix:///mnt/d/docker.sock
"#;

const DAEMON: &str = r#"{
    "features": {"containerd-snapshotter": true}, "insecure-registries": ["127.0.0.0/8"],
    "iptables": false, "ip6tables": false, "bridge": "none"
}"#;

impl Oracle {
    /// The one of this test process.
    ///
    /// # Panics
    /// If it cannot be made or does not start.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Oracle> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Where its contexts are to be: a folder that both it and the tests see.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.join("work")
    }

    fn start() -> Self {
        let root = kept("oracle-root-3", |root| {
            must_run(
                program("mmdebstrap")
                    .args(["--quiet", "--variant=minbase", "--aptopt=Acquire::Check-Valid-Until \"false\""])
                    .args([
                        "--include=docker.io,docker-cli,docker-buildx,ca-certificates,iptables,xz-utils,git",
                        "testing",
                    ])
                    .arg(root),
            );
            std::fs::create_dir_all(root.join("var/lib/docker")).unwrap();
        });
        std::fs::create_dir_all(root.join("var/lib/docker")).unwrap();
        let folder = run_directory().join("oracle");
        for name in ["data", "work"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        std::fs::write(folder.join("daemon.json"), DAEMON).unwrap();
        // In a PID namespace all of it, containerd and what it runs, ends at once with the process that unshare keeps.
        let arguments = [
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--propagation",
            "private",
            "bash",
            "-c",
            START,
            "-",
        ];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
        arguments.extend([root.display().to_string(), folder.display().to_string()]);
        let mut server = Server::start_to_be_killed("unshare", &arguments, &folder);
        let socket = folder.join("docker.sock");
        server.wait_until(Duration::from_secs(60), |_| {
            let ping =
                run(program("curl").args(["-sf", "http://localhost/_ping", "--unix-socket"]).arg(&socket));
            (ping.code == 0).then_some(())
        });
        let children = format!("/proc/{0}/task/{0}/children", server.id());
        let daemon =
            std::fs::read_to_string(children).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        Self { daemon, folder, _server: server }
    }

    /// Builds the Dockerfile `file` on the context `context`, both in [`Oracle::folder`], with further flags of
    /// `docker buildx build`, into `output`, there too.
    ///
    /// # Errors
    /// What BuildKit printed, if the build failed.
    pub fn build(
        &self,
        context: &Path,
        file: &Path,
        flags: &[String],
        output: &Path,
    ) -> Result<Image, String> {
        let mut command = self.buildx();
        command.args(["--network=host", "--provenance=false", "--output"]);
        command.arg(format!("type=oci,tar=false,dest={}", self.inside(output)));
        command.arg("--file").arg(self.inside(file)).args(flags.iter().map(|flag| self.inside_flag(flag)));
        command.arg(self.inside(context));
        let finished = run(&mut command);
        if finished.code == 0 { Ok(Image::layout(output)) } else { Err(finished.all()) }
    }

    /// Checks the Dockerfile in the context `context`, which is in [`Oracle::folder`]; standard output is the document of
    /// `docker buildx build --call=check,format=json`.
    #[must_use]
    pub fn check(&self, context: &Path, flags: &[String]) -> Finished {
        let mut command = self.buildx();
        command.arg("--call=check,format=json").args(flags).arg(self.inside(context));
        run(&mut command)
    }

    /// `docker buildx build`, without any flags.
    fn buildx(&self) -> Command {
        let mut command = self.docker();
        command.args(["buildx", "build", "--progress=plain"]);
        command
    }

    /// `docker`, of this engine. It sees registries of the tests, and of files those in [`Oracle::folder`] ([`Oracle::inside`]).
    #[must_use]
    pub fn docker(&self) -> Command {
        let mut command = program("nsenter");
        command.args(["--mount", "--root", "--pid", "--target", &self.daemon.to_string()]);
        command.args([
            "env",
            "-i",
            "DOCKER_HOST=unix:///mnt/d/docker.sock",
            "HOME=/tmp",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "docker",
        ]);
        command
    }

    /// A flag whose value may name a place in the folder.
    fn inside_flag(&self, flag: &str) -> String {
        flag.replace(&self.folder.display().to_string(), "/mnt/d")
    }

    /// Where the engine sees a path in [`Oracle::folder`].
    ///
    /// # Panics
    /// If it is not there.
    #[must_use]
    pub fn inside(&self, path: &Path) -> String {
        let relative = path
            .strip_prefix(&self.folder)
            .unwrap_or_else(|_| panic!("{} is not in the oracle's folder", path.display()));
        Path::new("/mnt/d").join(relative).display().to_string()
    }
}
