//! A build that must fail, through both faces, and what may be left of it: nothing.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use zuwai_testkit::Registry;
use zuwai_testkit::base::Base;
use zuwai_testkit::command::{clean, run};
use zuwai_testkit::registry::PASSWORD;

/// A context, a directory for outputs, one for the builder's files, and a registry.
pub struct Scene {
    dir: tempfile::TempDir,
    pub registry: Registry,
    /// `DOCKER_CONFIG`.
    pub credentials: Option<PathBuf>,
    /// Flags for both faces.
    pub flags: Vec<String>,
    /// What `-t` and `--destination` are; the registry's `out:1` if it is empty.
    pub destination: String,
    /// Megabytes of a disk of its own for this directory below the scene's.
    pub disk: Option<(&'static str, &'static str)>,
    /// Whether archives and files about the result are asked for too.
    pub outputs: bool,
    /// Whether the image is pushed.
    pub push: bool,
}

impl Scene {
    /// With a registry that lets everybody in, and has `busybox`.
    pub fn new() -> Self {
        let registry = Registry::plain();
        Base::Busybox.push(&registry);
        Self::with(registry)
    }

    /// With this registry.
    pub fn with(registry: Registry) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["context", "out", "state"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self {
            dir,
            registry,
            credentials: None,
            flags: Vec::new(),
            destination: String::new(),
            disk: None,
            outputs: true,
            push: true,
        }
    }

    /// A path of the scene.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file into the context.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path("context").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Builds this Dockerfile (`REGISTRY` is the registry) through both faces. Both must fail in the same words and with
    /// this exit code, and leave nothing. What they said, without what differs from run to run.
    pub fn fails(&self, dockerfile: &str, code: i32) -> String {
        self.file("Dockerfile", dockerfile.replace("REGISTRY", &self.registry.address()));
        self.fails_as_it_is(code)
    }

    /// As [`Scene::fails`], with what is in the context.
    pub fn fails_as_it_is(&self, code: i32) -> String {
        self.fail_each(code, Vec::new(), Vec::new())
    }

    /// As [`Scene::fails`], with flags that the faces have different names for.
    pub fn fails_each(&self, dockerfile: &str, executor: Vec<String>, zuwai: Vec<String>) -> String {
        self.file("Dockerfile", dockerfile.replace("REGISTRY", &self.registry.address()));
        self.fail_each(1, executor, zuwai)
    }

    /// What the executor alone says.
    pub fn said_by_executor(&self, dockerfile: &str) -> String {
        self.file("Dockerfile", dockerfile.replace("REGISTRY", &self.registry.address()));
        self.attempt("executor", &self.executor(), 1)
    }

    fn fail_each(&self, code: i32, executor: Vec<String>, zuwai: Vec<String>) -> String {
        let executor = self.attempt("executor", &[self.executor(), executor].concat(), code);
        let zuwai = self.attempt("zuwai", &[self.zuwai(), zuwai].concat(), code);
        let same = executor
            .replace("error building image: error building stage: ", "error: ")
            .replace("error building image: ", "error: ")
            .replace("--kaniko-dir", "--root-dir")
            .replace("--destination", "--tag");
        assert_eq!(zuwai, same, "the faces differ");
        executor
    }

    fn docker_config(&self) -> PathBuf {
        self.credentials.clone().unwrap_or_else(|| self.path("no-credentials"))
    }

    fn destination(&self) -> String {
        match self.destination.as_str() {
            "" => self.registry.reference("out:1"),
            name => name.replace("REGISTRY", &self.registry.address()),
        }
    }

    fn executor(&self) -> Vec<String> {
        let out = |name: &str| self.path("out").join(name).display().to_string();
        let mut arguments = vec![
            "--verbosity=error".to_owned(),
            format!("--kaniko-dir={}", self.path("state").display()),
            format!("--context={}", self.path("context").display()),
            format!("--destination={}", self.destination()),
        ];
        if !self.push {
            arguments.push("--no-push".to_owned());
        }
        if self.outputs {
            arguments.push(format!("--tar-path={}", out("image.tar")));
            arguments.push(format!("--oci-layout-path={}", out("layout")));
            arguments.push(format!("--digest-file={}", out("digest")));
        }
        arguments.extend(self.flags.iter().cloned());
        arguments
    }

    fn zuwai(&self) -> Vec<String> {
        let out = |name: &str| self.path("out").join(name).display().to_string();
        let mut arguments = vec![
            "build".to_owned(),
            "--quiet".to_owned(),
            format!("--root-dir={}", self.path("state").display()),
            format!("--tag={}", self.destination()),
        ];
        if self.push {
            arguments.push("--push".to_owned());
        }
        if self.outputs {
            arguments.push(format!("--output=type=docker,dest={}", out("image.tar")));
            arguments.push(format!("--output=type=oci,tar=false,dest={}", out("layout")));
            arguments.push(format!("--iidfile={}", out("id")));
        }
        arguments.extend(self.flags.iter().cloned());
        arguments.push(self.path("context").display().to_string());
        arguments
    }

    fn attempt(&self, name: &str, arguments: &[String], code: i32) -> String {
        let mut command = match self.disk {
            None => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_zuwai"));
                command.arg0(name);
                command
            }
            Some((directory, size)) => {
                let mut command = Command::new("unshare");
                // What is left on the disk is looked at before it goes with the mount namespace.
                let script = r#"mount -t tmpfs -o "size=$1" none "$2" || exit 99; place=$2; name=$3; shift 3
                    bash -c 'exec -a "$0" "$@"' "$name" "$@"; code=$?
                    find "$place" -mindepth 1 | sed 's/^/LEFT BEHIND: /' >&2; exit $code"#;
                command.args(["--mount", "sh", "-c", script, "sh", size]);
                command.arg(self.path(directory)).args([name, env!("CARGO_BIN_EXE_zuwai")]);
                command
            }
        };
        clean(&mut command);
        command.args(arguments).env("DOCKER_CONFIG", self.docker_config());
        let before = self.left();
        let finished = run(&mut command);
        let said = finished.all();
        assert_eq!(finished.code, code, "{name} {arguments:?}:\n{said}");
        assert_eq!(finished.stdout, "", "{name} {arguments:?}:\n{said}");
        for never in ["panicked", "LEFT BEHIND", PASSWORD, "cGFzcyB3b3Jk"] {
            assert!(!said.contains(never), "{name} {arguments:?}: {never}:\n{said}");
        }
        assert_eq!(self.left(), before, "{name} {arguments:?} left something:\n{said}");
        for request in self.registry.requests() {
            // Layers are sent before the image is whole; nobody sees them without a manifest.
            let of_image = request.starts_with("PUT /v2/out/") && request.contains("/manifests/");
            let pushed = of_image && request.ends_with(" 201");
            assert!(!pushed, "{name} {arguments:?} pushed: {request}\n{said}");
        }
        self.stable(&said)
    }

    /// Outputs and the builder's files.
    fn left(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for directory in ["out", "state"] {
            walk(&self.path(directory), &mut found);
        }
        found.sort();
        found
    }

    /// Without addresses, paths of this run and digests.
    fn stable(&self, said: &str) -> String {
        let real = self.dir.path().canonicalize().unwrap();
        let said = said
            .replace(&self.registry.address(), "REGISTRY")
            .replace(&self.docker_config().display().to_string(), "DOCKER_CONFIG")
            .replace(&real.display().to_string(), "SCENE")
            .replace(&self.dir.path().display().to_string(), "SCENE");
        let platform = format!("linux/{}", zuwai_testkit::base::architecture());
        let said = said.replace(&platform, "PLATFORM");
        let said = without(&said, "sha256:", |c| c.is_ascii_hexdigit());
        without(&said, "ingest/", |c| c.is_ascii_digit() || c == '-')
    }
}

/// Puts an ellipsis in the place of what follows `mark`.
fn without(text: &str, mark: &str, varies: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(mark);
    let mut stable = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        stable += mark;
        let rest = part.trim_start_matches(&varies);
        if rest.len() < part.len() {
            stable += "…";
        }
        stable += rest;
    }
    stable
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.clone());
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found);
        }
    }
}

/// Several cases in one text.
pub fn transcript(cases: impl IntoIterator<Item = (impl Into<String>, String)>) -> String {
    cases.into_iter().map(|(name, said)| format!("# {}\n{said}\n", name.into())).collect()
}
