//! The environments of the table: what a container may do in each, and how a test gets there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zuwai_testkit::command::{Finished, run};
use zuwai_testkit::containerd::Containerd;
use zuwai_testkit::podman::{DOCKER_PROFILE, Environment, Podman};
use zuwai_testkit::{runsc, zuwai};

/// Where a container sees the folder of a build.
pub const FOLDER: &str = "/build";

/// An environment.
pub struct Place {
    /// Its name in the table.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    way: Way,
    flags: fn() -> Vec<String>,
    /// Whether the state directory is on a volume; else it is in the container's own root.
    volume: bool,
}

enum Way {
    Machine,
    Podman,
    Gvisor,
    Pod,
}

const fn podman(name: &'static str, about: &'static str, flags: fn() -> Vec<String>) -> Place {
    Place { name, about, way: Way::Podman, flags, volume: false }
}

const fn on_volume(place: Place) -> Place {
    Place { volume: true, ..place }
}

/// All of them; the first is what the others' images are compared with.
pub static PLACES: [Place; 15] = [
    on_volume(Place {
        name: "a machine",
        about: "no container, as root",
        way: Way::Machine,
        flags: Vec::new,
        volume: true,
    }),
    podman(
        "Docker",
        "Docker's default: its capabilities and seccomp profile, which refuses `unshare`; so is containerd's and CRI-O's RuntimeDefault",
        || Environment::Docker.flags(),
    ),
    podman("Kubernetes", "Kubernetes' default pod: no seccomp profile", || Environment::Kubernetes.flags()),
    on_volume(podman(
        "Kubernetes, volume",
        "the same, with the state directory (`KANIKO_DIR`) on a volume such as an `emptyDir`",
        || Environment::Kubernetes.flags(),
    )),
    podman("podman", "podman's default", || Environment::Podman.flags()),
    podman("OpenShift anyuid", "CRI-O's capabilities under the SCC `anyuid`, and RuntimeDefault", || {
        let capabilities = "CHOWN,DAC_OVERRIDE,FOWNER,FSETID,SETGID,SETUID,SETPCAP,NET_BIND_SERVICE";
        words(&["--cap-drop=ALL", &format!("--cap-add={capabilities}"), &docker_profile()])
    }),
    on_volume(podman("all dropped", "uid 0 with `capabilities: {drop: [ALL]}`, and RuntimeDefault", || {
        words(&["--cap-drop=ALL", &docker_profile()])
    })),
    on_volume(podman("all dropped, unconfined", "the same without a seccomp profile", || {
        words(&["--cap-drop=ALL", "--security-opt=seccomp=unconfined"])
    })),
    on_volume(podman("non-root", "`runAsUser: 1000` in Kubernetes' default pod", || {
        Environment::Kubernetes.flags().into_iter().chain(words(&["--user=1000"])).collect()
    })),
    on_volume(podman(
        "restricted",
        "the Pod Security Standard `restricted`: uid 1000, all capabilities dropped, `allowPrivilegeEscalation: false`, RuntimeDefault",
        || words(&["--user=1000", "--cap-drop=ALL", "--security-opt=no-new-privileges", &docker_profile()]),
    )),
    on_volume(podman("restricted, unconfined", "the same with `seccompProfile: {type: Unconfined}`", || {
        let flags = ["--user=1000", "--cap-drop=ALL", "--security-opt=no-new-privileges"];
        words(&[flags[0], flags[1], flags[2], "--security-opt=seccomp=unconfined"])
    })),
    podman("user namespace", "`hostUsers: false` in Kubernetes' default pod", || {
        Environment::Kubernetes.flags().into_iter().chain(words(&["--uidmap=0:100000:65536"])).collect()
    }),
    on_volume(podman("read-only root", "`readOnlyRootFilesystem: true` in Kubernetes' default pod", || {
        Environment::Kubernetes.flags().into_iter().chain(words(&["--read-only"])).collect()
    })),
    Place {
        name: "gVisor",
        about: "`runtimeClassName: gvisor`: the kernel is `runsc`",
        way: Way::Gvisor,
        flags: Vec::new,
        volume: false,
    },
    Place {
        name: "CRI pod",
        about: "containerd asked by its CRI plugin, as the kubelet does, for a pod with RuntimeDefault",
        way: Way::Pod,
        flags: Vec::new,
        volume: false,
    },
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn docker_profile() -> String {
    format!("--security-opt=seccomp={DOCKER_PROFILE}")
}

/// What the places need that run other runtimes than podman's.
pub struct Runtimes {
    containerd: Containerd,
}

/// The name of the executor's image in containerd.
const IMAGE: &str = "localhost/zuwai/executor:test";

impl Runtimes {
    pub fn start() -> Self {
        let containerd = Containerd::start();
        let archive = zuwai_testkit::cache::scratch("executor-image");
        let file = archive.path().join("executor.tar");
        zuwai::build_executor_image(zuwai::ExecutorImage::Plain, &file);
        containerd.load(&format!("docker-archive:{}", file.display()), IMAGE);
        Self { containerd }
    }
}

impl Place {
    /// Runs the executor here with `arguments`, in which [`FOLDER`] stands for `folder`; anybody may write there.
    pub fn execute(&self, runtimes: &Runtimes, folder: &Path, arguments: &[String]) -> Finished {
        let state = folder.join("state");
        for directory in [folder, &folder.join("out"), &state] {
            std::fs::create_dir_all(directory).unwrap();
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let mut arguments = arguments.to_vec();
        if self.volume {
            arguments.push(format!("--kaniko-dir={FOLDER}/state"));
        }
        let mut flags = (self.flags)();
        flags.extend(["-v".to_owned(), format!("{}:{FOLDER}", folder.display())]);
        let podman = Podman::shared();
        match self.way {
            Way::Machine => {
                let here = folder.display().to_string();
                let arguments = arguments.iter().map(|argument| argument.replace(FOLDER, &here));
                run(zuwai::zuwai().arg("executor").args(arguments))
            }
            Way::Podman => podman.run(&flags, podman.executor(), &arguments),
            Way::Gvisor => podman.run_by(Some(&runsc::runtime()), &flags, podman.executor(), &arguments),
            Way::Pod => runtimes.containerd.run_pod(IMAGE, &[(folder, FOLDER)], &arguments),
        }
    }
}
