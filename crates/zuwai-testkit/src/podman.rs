//! Podman with storage and configuration of its own, and the environments that people run builds in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::base::Base;
use crate::command::{Finished, must_run, program, run};
use crate::registry::Registry;
use crate::zuwai::{ExecutorImage, build_executor_image};

/// An environment: what a container may do in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Docker's default, and containerd's RuntimeDefault: Docker's capabilities, its seccomp profile; no namespaces.
    Docker,
    /// Kubernetes' default: the same capabilities, no seccomp profile.
    Kubernetes,
    /// Podman's default: fewer capabilities, a profile that lets namespaces through.
    Podman,
}

/// All of them.
pub const ENVIRONMENTS: [Environment; 3] =
    [Environment::Docker, Environment::Kubernetes, Environment::Podman];

const CAPABILITIES: &str = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,MKNOD,NET_RAW,SETGID,SETUID,SETFCAP,SETPCAP,NET_BIND_SERVICE,SYS_CHROOT,KILL,AUDIT_WRITE";

/// Docker's own default seccomp profile, from moby's profiles/seccomp/default.json.
pub const DOCKER_PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/docker-default.json");

impl Environment {
    /// The flags of `podman run` that make it.
    #[must_use]
    pub fn flags(self) -> Vec<String> {
        let with = |profile: &str| {
            let flags = ["--cap-drop", "ALL", "--cap-add", CAPABILITIES, "--security-opt"];
            flags.into_iter().map(str::to_owned).chain([format!("seccomp={profile}")]).collect()
        };
        match self {
            Self::Docker => with(DOCKER_PROFILE),
            Self::Kubernetes => with("unconfined"),
            Self::Podman => Vec::new(),
        }
    }
}

/// A podman of this test process.
#[derive(Debug)]
pub struct Podman {
    dir: PathBuf,
}

impl Podman {
    /// The one of this test process. Nothing outside of the run's folder is read or changed but `/etc/containers/policy.json`.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Podman> = OnceLock::new();
        SHARED.get_or_init(Self::configure)
    }

    fn configure() -> Self {
        // Its exit code comes 20 seconds late where the path of its storage is longer than about 50 bytes.
        let dir = crate::cache::short_directory().to_owned();
        std::fs::create_dir_all(dir.join("tmp")).unwrap();
        // runc because Debian's crun refuses a hybrid cgroup tree; limits because the default asks for more than a
        // container on a build machine may have.
        let configuration = format!(
            r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "host"
default_capabilities = [
  "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
tmp_dir = "{dir}/tmp"
infra_image = "localhost/pause:latest"
infra_command = "/pause"
"#,
            dir = dir.display()
        );
        std::fs::write(dir.join("containers.conf"), configuration).unwrap();
        std::fs::write(
            dir.join("registries.conf"),
            "unqualified-search-registries = []\n[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n",
        )
        .unwrap();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{0}/root\"\nrunroot = \"{0}/run\"\n",
            dir.display()
        );
        std::fs::write(dir.join("storage.conf"), storage).unwrap();
        Self { dir }
    }

    /// `podman` with its own storage and configuration.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = program("podman");
        command.env("CONTAINERS_CONF", self.dir.join("containers.conf"));
        command.env("CONTAINERS_REGISTRIES_CONF", self.dir.join("registries.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.dir.join("storage.conf"));
        command
    }

    /// Plays a file of Kubernetes objects; the pod's own container is of [`Base::Pause`].
    pub fn play(&self, file: &Path) -> Finished {
        static LOADED: OnceLock<()> = OnceLock::new();
        LOADED.get_or_init(|| {
            self.load(&format!("oci:{}:latest", Base::Pause.layout().display()), "localhost/pause:latest")
        });
        run(self.command().args(["play", "kube", "--network=host"]).arg(file))
    }

    /// Loads an archive that skopeo can read, or an `oci:` layout, as the image `name`.
    ///
    /// # Panics
    /// If it cannot be loaded.
    pub fn load(&self, source: &str, name: &str) {
        let printed = must_run(self.command().args(["pull", "--quiet", source]));
        let id = printed.lines().last().unwrap_or_default().trim().to_owned();
        must_run(self.command().args(["tag", &id, name]));
    }

    /// Pulls an image from a registry of the tests, and gives its reference.
    ///
    /// # Panics
    /// If it cannot be pulled.
    pub fn pull(&self, registry: &Registry, name: &str) -> String {
        let reference = registry.reference(name);
        must_run(self.command().args(["pull", "--quiet", "--tls-verify=false", &reference]));
        reference
    }

    /// Runs a container to its end. `flags` are of `podman run`, `arguments` for the image's entry point.
    pub fn run<A: AsRef<str>>(&self, flags: &[String], image: &str, arguments: &[A]) -> Finished {
        self.run_by(None, flags, image, arguments)
    }

    /// As [`Podman::run`], by another runtime than runc.
    pub fn run_by<A: AsRef<str>>(
        &self,
        runtime: Option<&Path>,
        flags: &[String],
        image: &str,
        arguments: &[A],
    ) -> Finished {
        let mut command = self.command();
        if let Some(runtime) = runtime {
            command.arg("--runtime").arg(runtime);
        }
        command.args(["run", "--rm", "--network=host"]).args(flags).arg(image);
        command.args(arguments.iter().map(AsRef::as_ref));
        run(&mut command)
    }

    /// The executor image built by the program under test, loaded once a test process.
    pub fn executor(&self) -> &'static str {
        static LOADED: OnceLock<&str> = OnceLock::new();
        LOADED.get_or_init(|| {
            self.load_executor(ExecutorImage::Plain, "localhost/zuwai/executor:test");
            "localhost/zuwai/executor:test"
        })
    }

    /// The same with a shell.
    pub fn debug_executor(&self) -> &'static str {
        static LOADED: OnceLock<&str> = OnceLock::new();
        LOADED.get_or_init(|| {
            self.load_executor(ExecutorImage::Debug, "localhost/zuwai/executor:test-debug");
            "localhost/zuwai/executor:test-debug"
        })
    }

    fn load_executor(&self, image: ExecutorImage, name: &str) {
        let archive = self.dir.join(format!("executor-{}.tar", image.tag()));
        build_executor_image(image, &archive);
        self.load(&format!("docker-archive:{}", archive.display()), name);
    }

    /// Runs the executor in an environment, with host folders mounted.
    pub fn execute<A: AsRef<str>>(
        &self,
        environment: Environment,
        mounts: &[(&Path, &str)],
        arguments: &[A],
    ) -> Finished {
        let mut flags = environment.flags();
        for (host, inside) in mounts {
            flags.extend(["-v".to_owned(), format!("{}:{inside}", host.display())]);
        }
        self.run(&flags, self.executor(), arguments)
    }
}
