//! containerd with its CRI plugin, as Kubernetes' kubelet uses it: a pod is asked for over the container runtime interface.
//!
//! A request is a message of `data/cri.proto`, written as text, encoded by `protoc` and sent by `curl` as gRPC wants it: over
//! HTTP/2, with five bytes before it (not compressed, and its length).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::base::Base;
use crate::command::{Finished, must_run, program};
use crate::need::Need;
use crate::server::Server;

/// What it needs of the machine.
pub const CONTAINERD: &[Need] = &[
    Need::Root,
    Need::Program("containerd"),
    Need::Program("ctr"),
    Need::Program("runc"),
    Need::Program("skopeo"),
    Need::Program("protoc"),
    Need::Program("curl"),
];

const PAUSE: &str = "localhost/pause:latest";

/// How long a container may run.
const LIMIT: Duration = Duration::from_secs(120);

/// What the kubelet has hidden of `/proc` and `/sys`, and made read-only there: the runtime does as it is told.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 6] =
    ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A running containerd.
#[derive(Debug)]
pub struct Containerd {
    dir: PathBuf,
    _server: Server,
}

impl Containerd {
    /// Starts one with a folder of its own.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let dir = crate::cache::short_directory().join("containerd");
        std::fs::create_dir_all(dir.join("log")).unwrap();
        let configuration = format!(
            r#"
version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{dir}/socket"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_tcp_service = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{dir}/cni"
conf_dir = "{dir}/cni"
"#,
            dir = dir.display()
        );
        std::fs::write(dir.join("config.toml"), configuration).unwrap();
        let arguments = ["-c".to_owned(), dir.join("config.toml").display().to_string()];
        let mut server = Server::start("containerd", &arguments, &dir, |_| {});
        let socket = dir.join("socket");
        let probe = dir.clone();
        server.wait_until(Duration::from_secs(30), |_| {
            let mut ctr = ctr(&probe);
            let ready = socket.exists() && crate::command::run(ctr.args(["version"])).code == 0;
            ready.then_some(())
        });
        let containerd = Self { dir, _server: server };
        containerd.load(&format!("oci:{}:latest", Base::Pause.layout().display()), PAUSE);
        containerd
    }

    /// Loads what skopeo can read as the image `name`.
    ///
    /// # Panics
    /// If it cannot be loaded.
    pub fn load(&self, source: &str, name: &str) {
        let archive = self.dir.join("image.tar");
        let _ = std::fs::remove_file(&archive);
        must_run(
            program("skopeo")
                .args(["copy", "--quiet", source])
                .arg(format!("docker-archive:{}:{name}", archive.display())),
        );
        must_run(ctr(&self.dir).args(["--namespace=k8s.io", "images", "import"]).arg(&archive));
    }

    /// Runs a pod with one container, with the node's network and Kubernetes' `RuntimeDefault` seccomp profile, to its end.
    /// `mounts` are folders of the host and where the container sees them.
    ///
    /// # Panics
    /// If containerd refuses anything of that, or the container does not end.
    pub fn run_pod<A: AsRef<str>>(&self, image: &str, mounts: &[(&Path, &str)], arguments: &[A]) -> Finished {
        static PODS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = PODS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = self.dir.join("log").join(number.to_string());
        std::fs::create_dir_all(&log).unwrap();
        let namespaces = "namespace_options { network: 2 pid: 1 }";
        let pod = format!(
            "metadata {{ name: 'build-{number}' uid: '{number}' namespace: 'default' }} log_directory: {} \
             linux {{ security_context {{ {namespaces} }} }}",
            quoted(&log.display().to_string())
        );
        let id = self.ask("RunPodSandbox", &format!("config {{ {pod} }}"));
        let id = field(&id, "pod_sandbox_id").expect("the pod's name").to_owned();
        let listed = |name: &str, values: &[&str]| {
            values.iter().map(|value| format!("{name}: {} ", quoted(value))).collect::<String>()
        };
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let mounts: String = mounts
            .iter()
            .map(|(host, inside)| {
                let host = quoted(&host.display().to_string());
                format!("mounts {{ container_path: {} host_path: {host} }} ", quoted(inside))
            })
            .collect();
        let security = format!(
            "capabilities {{}} {namespaces} {}{}seccomp {{ profile_type: 0 }}",
            listed("masked_paths", &MASKED),
            listed("readonly_paths", &READ_ONLY)
        );
        let container = format!(
            "metadata {{ name: 'zuwai' }} image {{ image: {} }} {}{mounts}log_path: 'log' linux {{ security_context {{ {security} }} }}",
            quoted(image),
            listed("args", &arguments),
        );
        let request = format!("pod_sandbox_id: '{id}' config {{ {container} }} sandbox_config {{ {pod} }}");
        let created = self.ask("CreateContainer", &request);
        let container =
            format!("container_id: '{}'", field(&created, "container_id").expect("the container's name"));
        self.ask("StartContainer", &container);
        let code = self.wait(&container);
        self.ask("StopPodSandbox", &format!("pod_sandbox_id: '{id}'"));
        self.ask("RemovePodSandbox", &format!("pod_sandbox_id: '{id}'"));
        let written = std::fs::read_to_string(log.join("log")).unwrap();
        Finished { code, stdout: stream(&written, "stdout"), stderr: stream(&written, "stderr") }
    }

    fn wait(&self, container: &str) -> i32 {
        let start = Instant::now();
        loop {
            let status = self.ask("ContainerStatus", container);
            if field(&status, "state") == Some("2") {
                return field(&status, "exit_code").map_or(0, |code| code.parse().unwrap());
            }
            assert!(start.elapsed() < LIMIT, "the container does not end: {status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One call of the runtime service; request and answer as text.
    fn ask(&self, call: &str, request: &str) -> String {
        let answer = match call {
            "StartContainer" | "StopPodSandbox" | "RemovePodSandbox" => "Empty".to_owned(),
            call => format!("{call}Response"),
        };
        let message = piped(protoc().arg(format!("--encode=runtime.v1.{call}Request")), request.as_bytes());
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(message);
        let mut curl = program("curl");
        curl.args(["--silent", "--show-error", "--http2-prior-knowledge", "--include", "--max-time", "60"]);
        curl.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-"]);
        curl.arg("--unix-socket").arg(self.dir.join("socket"));
        curl.arg(format!("http://localhost/runtime.v1.RuntimeService/{call}"));
        let reply = piped(&mut curl, &framed);
        let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(reply.len(), |at| at + 4);
        let (headers, body) = reply.split_at(end);
        let said = String::from_utf8_lossy(&reply);
        assert!(String::from_utf8_lossy(headers).contains("200") && body.len() >= 5, "{call}: {said}");
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap());
        let message = &body[5..5 + usize::try_from(length).unwrap()];
        let decoded = piped(protoc().arg(format!("--decode=runtime.v1.{answer}")), message);
        String::from_utf8(decoded).unwrap()
    }
}

fn ctr(dir: &Path) -> Command {
    let mut ctr = program("ctr");
    ctr.arg("--address").arg(dir.join("socket"));
    ctr
}

fn protoc() -> Command {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    let data = DATA.get_or_init(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("data"));
    let mut protoc = program("protoc");
    protoc.arg("--proto_path").arg(data).arg(data.join("cri.proto"));
    protoc
}

/// What a program that must succeed makes of its input.
fn piped(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    output.stdout
}

/// As text messages have strings.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The value of the first field of this name in a text message.
fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = message.lines().filter_map(|line| line.trim().split_once(": "));
    fields.find(|(field, _)| *field == name).map(|(_, value)| value.trim_matches('"'))
}

/// One of the two streams of a log as the interface has it: `TIME stdout F text`, where `P` says that the line goes on.
fn stream(log: &str, wanted: &str) -> String {
    let mut text = String::new();
    for line in log.lines() {
        let mut parts = line.splitn(4, ' ').skip(1);
        let (stream, tag, rest) = (parts.next(), parts.next(), parts.next());
        if stream == Some(wanted) {
            text += rest.unwrap_or_default();
            text += if tag == Some("P") { "" } else { "\n" };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_taken_apart() {
        let log = "2026-01-01T00:00:00Z stdout P one \n2026-01-01T00:00:00Z stderr F other\n2026-01-01T00:00:00Z stdout F line\n";
        assert_eq!(stream(log, "stdout"), "one line\n");
        assert_eq!(stream(log, "stderr"), "other\n");
    }

    #[test]
    fn fields_are_found_in_text_messages() {
        let message = "status {\n  state: 2\n  exit_code: 42\n}\nname: \"a b\"\n";
        assert_eq!(field(message, "exit_code"), Some("42"));
        assert_eq!(field(message, "name"), Some("a b"));
        assert_eq!(field(message, "code"), None);
    }
}
