//! The program under test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::case::Prepared;
use crate::command::{Finished, clean, must_run, run};
use crate::image::Image;
use crate::need::find_program;
use crate::private::{Caller, PLACE, zuwai_in};

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

/// What came of building a case.
#[derive(Debug)]
pub struct Build {
    /// The image, or what a failing build printed.
    pub image: Result<Image, String>,
    /// Everything it printed.
    pub log: String,
}

impl Build {
    /// Of a program that has ended, and was to write a layout to `output`.
    ///
    /// # Panics
    /// If it succeeded and there is none.
    #[must_use]
    pub fn of(finished: &Finished, output: &Path) -> Self {
        let log = finished.all();
        let image = match finished.code {
            0 => Ok(Image::layout(output)),
            code => Err(format!("exit code {code}\n{log}")),
        };
        Self { image, log }
    }

    /// What it said about where commands run, without the time of the line.
    pub fn isolation(&self) -> impl Iterator<Item = &str> {
        self.log.lines().filter_map(|line| line.find("Isolation: ").map(|at| &line[at..]))
    }
}

/// Builds a case with `zuwai build` on this machine into a layout in `output`.
#[must_use]
pub fn build(case: &Prepared, output: &Path) -> Build {
    let finished = run(zuwai().args(arguments(case, &case.folder, "root-dir", output)));
    Build::of(&finished, output)
}

/// The same as an ordinary user, to whom the case's folder belongs; `output` is to be in it.
///
/// # Panics
/// If it is not.
#[must_use]
pub fn build_as_user(case: &Prepared, output: &Path) -> Build {
    let place = Path::new(PLACE);
    let inside = place.join(output.strip_prefix(&case.folder).unwrap());
    let mut command = zuwai_in(&case.folder, Caller::User);
    Build::of(&run(command.args(arguments(case, place, "user-root-dir", &inside))), output)
}

/// The arguments of `zuwai build` where the case's folder is at `place`. What it keeps from build to build is the case's own.
fn arguments(case: &Prepared, place: &Path, root_dir: &str, output: &Path) -> Vec<OsString> {
    let at = |path: &Path| place.join(path.strip_prefix(&case.folder).unwrap()).into_os_string();
    let mut arguments: Vec<OsString> = vec!["build".into(), "--root-dir".into(), place.join(root_dir).into()];
    arguments.extend(["-f".into(), at(&case.dockerfile), "-o".into()]);
    arguments.push(format!("type=oci,dest={},tar=false", output.display()).into());
    arguments.extend(case.flags_at(place).into_iter().map(OsString::from));
    arguments.push(at(&case.context));
    arguments
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
