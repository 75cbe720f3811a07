//! A case of the differential tests: a Dockerfile with its context.
//!
//! A folder with `Dockerfile` and, where needed: `context/`; `setup`, a shell script run in the copy of the context to make what
//! git does not keep (modes, owners, links); `args`, build flags, one a line; `expect-error`, texts that the error must have, one
//! a line, where the build has to fail; `not-in`, a line `WAY: REASON` for a way to build (`machine`, `user`,
//! `docker`, `kubernetes`) where the case cannot hold;
//! `Dockerfile.same`, where BuildKit's frontend of the day does not know what the case uses: what BuildKit builds in its place, by
//! other means, to the same files. It begins with a comment that says where the rule is documented.
//!
//! In Dockerfiles and `args`, `registry.test/` stands for the registry of the run, `web.test/` for the folder `www/` beside the
//! context on a web server, and `git.test/` for the repositories in it. `setup` makes what is there, and may write `../args`.
//! In `args`, `case.test/` stands for the case's folder, wherever a builder sees it.

use std::path::{Path, PathBuf};

use crate::command::{must, must_run, program};

/// A case as it is in the project.
#[derive(Debug, Clone)]
pub struct Case {
    /// The folder's name.
    pub name: String,
    folder: PathBuf,
}

/// A case copied to where it can be built.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The case's name.
    pub name: String,
    /// The folder that holds everything else.
    pub folder: PathBuf,
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// The context.
    pub context: PathBuf,
    /// Build flags, as `docker buildx build` and `zuwai build` take them: `--build-arg=A=b`, `--target=x`.
    pub flags: Vec<String>,
    /// What a failing build must say; `None` if it must succeed.
    pub expected_error: Option<Vec<String>>,
    /// What BuildKit builds in its place: the files must be the same then, and the configuration but for the history.
    pub same: Option<PathBuf>,
}

impl Prepared {
    /// The flags where the case's folder is seen at `place`.
    #[must_use]
    pub fn flags_at(&self, place: &Path) -> Vec<String> {
        let (folder, place) = (self.folder.display().to_string(), place.display().to_string());
        self.flags.iter().map(|flag| flag.replace(&folder, &place)).collect()
    }
}

impl Case {
    /// All cases in a folder whose names contain what the environment variable `ZUWAI_CASE` says, by name.
    ///
    /// # Panics
    /// If the folder cannot be read.
    #[must_use]
    pub fn all(folder: &Path) -> Vec<Self> {
        let wanted = std::env::var("ZUWAI_CASE").unwrap_or_default();
        let entries =
            std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut cases: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("Dockerfile").exists())
            .map(|entry| Self { name: entry.file_name().into_string().unwrap(), folder: entry.path() })
            .filter(|case| wanted.split(',').any(|wanted| case.name.contains(wanted)))
            .collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    /// Why it cannot hold in this way to build, if it cannot.
    #[must_use]
    pub fn excluded(&self, way: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.folder.join("not-in")).ok()?;
        text.lines().find_map(|line| line.strip_prefix(way)?.strip_prefix(": ").map(str::to_owned))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Copies it into `work`, which the web server at `web` serves, and makes it ready for `registry` (both
    /// `127.0.0.1:PORT`).
    ///
    /// # Panics
    /// If its setup fails.
    #[must_use]
    pub fn prepare(&self, work: &Path, registry: &str, web: &str) -> Prepared {
        let folder = work.join(&self.name);
        must_run(program("cp").args(["-a", "--no-preserve=ownership"]).arg(&self.folder).arg(&folder));
        let context = folder.join("context");
        std::fs::create_dir_all(&context).unwrap();
        // Whoever checked the project out, with whatever umask: the same modes.
        must("chmod", ["-R".to_owned(), "u=rwX,go=rX".to_owned(), context.display().to_string()]);
        let setup = folder.join("setup");
        if setup.exists() {
            must_run(program("sh").arg("-e").arg(&setup).current_dir(&context));
        }
        let localised = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name)).ok();
            text.map(|text| {
                text.replace("registry.test/", &format!("{registry}/"))
                    .replace("case.test/", &format!("{}/", folder.display()))
                    .replace("web.test/", &format!("{web}/{}/www/", self.name))
                    .replace("git.test/", &format!("{web}/git/{}/www/", self.name))
            })
        };
        let dockerfile = folder.join("Dockerfile");
        std::fs::write(&dockerfile, localised("Dockerfile").unwrap()).unwrap();
        let same = localised("Dockerfile.same").map(|text| {
            let path = folder.join("Dockerfile.same");
            std::fs::write(&path, text).unwrap();
            path
        });
        let lines = |text: String| {
            text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        Prepared {
            name: self.name.clone(),
            dockerfile,
            context,
            flags: localised("args").map(lines).unwrap_or_default(),
            expected_error: localised("expect-error").map(lines),
            same,
            folder,
        }
    }
}
