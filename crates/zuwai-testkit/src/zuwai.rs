//! The program under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::case::Prepared;
use crate::command::{clean, must_run, run};
use crate::image::Image;
use crate::need::find_program;

/// The binary: `ZUWAI_BIN`, else the one cargo built beside the running test.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let beside = || {
            let test = std::env::current_exe().unwrap();
            test.parent().and_then(Path::parent).unwrap().join("zuwai")
        };
        let path = std::env::var_os("ZUWAI_BIN").map_or_else(beside, PathBuf::from);
        assert!(
            path.is_file(),
            "{} is not there: run `cargo build -p zuwai`, or set ZUWAI_BIN",
            path.display()
        );
        path
    })
}

/// The program with a clean environment.
#[must_use]
pub fn zuwai() -> Command {
    let mut command = Command::new(binary());
    clean(&mut command);
    command
}

/// Builds a case with `zuwai build` on this machine into a layout in `output`.
///
/// # Errors
/// What it printed, if the build failed.
pub fn build(case: &Prepared, output: &Path) -> Result<Image, String> {
    let mut command = zuwai();
    // What it keeps from build to build is the case's own.
    command.arg("build").arg("--root-dir").arg(case.folder.join("root-dir"));
    command.arg("-f").arg(&case.dockerfile).arg("-o");
    command.arg(format!("type=oci,dest={},tar=false", output.display())).args(&case.flags).arg(&case.context);
    let finished = run(&mut command);
    match finished.code {
        0 => Ok(Image::layout(output)),
        code => Err(format!("exit code {code}\n{}", finished.all())),
    }
}

/// The images that are made of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorImage {
    /// The executor alone: `deploy/Dockerfile`.
    Plain,
    /// With a shell: `deploy/Dockerfile.debug`. It needs the program `busybox`, which must be a static one.
    Debug,
}

impl ExecutorImage {
    /// The tag after `zuwai/executor:`.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Plain => "dev",
            Self::Debug => "debug",
        }
    }
}

/// Builds an executor image with the program itself, as `make` does, into the docker archive `archive` with its tag.
///
/// # Panics
/// If that fails.
pub fn build_executor_image(image: ExecutorImage, archive: &Path) {
    let work = crate::cache::scratch("executor");
    let kaniko = work.path().join("kaniko");
    std::fs::create_dir_all(kaniko.join("ssl/certs")).unwrap();
    std::fs::create_dir_all(kaniko.join(".docker")).unwrap();
    std::fs::copy(binary(), kaniko.join("executor")).unwrap();
    for name in ["warmer", "zuwai"] {
        std::fs::hard_link(kaniko.join("executor"), kaniko.join(name)).unwrap();
    }
    let roots = must_run(zuwai().arg("ca-roots"));
    std::fs::write(kaniko.join("ssl/certs/ca-certificates.crt"), roots).unwrap();
    let dockerfile = match image {
        ExecutorImage::Plain => "Dockerfile",
        ExecutorImage::Debug => {
            let busybox = find_program("busybox").expect("busybox");
            std::fs::create_dir(work.path().join("busybox")).unwrap();
            std::fs::copy(busybox, work.path().join("busybox/busybox")).unwrap();
            "Dockerfile.debug"
        }
    };
    let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(dockerfile);
    must_run(
        zuwai()
            .args(["build", "-t", &format!("zuwai/executor:{}", image.tag()), "-f"])
            .arg(dockerfile)
            .arg("-o")
            .arg(format!("type=docker,dest={}", archive.display()))
            .arg(work.path()),
    );
}
