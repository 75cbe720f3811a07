//! What a build will do: a pure function of the Dockerfile, its arguments and the configurations of the bases.
//!
//! Nothing is run, read from disk or fetched here; [`crate::execute`] does what the plan says. Stages that the target
//! does not need are not in it.
//!
//! In reading order:
//! - [`scope`]: which value a variable has where
//! - [`builder_args`]: build arguments that speak to the builder
//! - [`globals`]: arguments that exist before the first FROM
//! - [`history`]: the rows of an image's history
//! - [`stage`]: one stage's instructions become steps and a configuration
//! - [`ports`], [`signals`]: what EXPOSE and STOPSIGNAL take
//! - `run`: RUN; [`mounts`]: what it mounts
//! - `transfer`: COPY and ADD
//! - `naming`: what the names of FROM and `--from` mean
//! - `image_source`: where an image is; `files_row`: history of a named context's files
//! - [`planner`]: which stages are needed, in which order

pub mod builder_args;
mod files_row;
pub mod globals;
pub mod history;
mod image_source;
pub mod mounts;
mod naming;
pub mod planner;
pub mod ports;
mod run;
pub mod scope;
pub mod signals;
pub mod stage;
mod transfer;

use std::collections::BTreeSet;

use zuwai_context::remote::{Checksum, RemoteSource};
use zuwai_dockerfile::Span;
use zuwai_layer::ImagePath;
use zuwai_oci::config::ImageConfig;
use zuwai_oci::platform::Platform;
use zuwai_rootfs::step_mount::StepNetwork;

pub use self::image_source::ImageSource;
pub use self::mounts::{RunMount, RunMountKind};

/// A build's stages, each after all it builds on.
#[derive(Debug)]
pub struct Plan {
    /// The stages that are needed; the target is the last.
    pub stages: Vec<StagePlan>,
}

impl Plan {
    /// The stage whose image is the result.
    pub fn target(&self) -> Option<&StagePlan> {
        self.stages.last()
    }

    /// Whether the stage at `position`, which builds on the one `below`, does not read that one's tree, and all others that
    /// need it are finished: then it can go on in it.
    pub fn is_sole_use(&self, below: usize, position: usize, is_finished: impl Fn(usize) -> bool) -> bool {
        let mut others = (0..self.stages.len()).filter(|other| *other != position);
        !self.stages[position].reads(below)
            && others.all(|other| is_finished(other) || !self.needs(other).contains(&below))
    }

    /// The stages that the one at `position` builds on or reads.
    pub fn needs(&self, position: usize) -> BTreeSet<usize> {
        let stage = &self.stages[position];
        let base = match &stage.base {
            Base::Stage(below) => Some(*below),
            _ => None,
        };
        let read = stage.trees().filter_map(|tree| match tree {
            Tree::Stage(read) => Some(*read),
            _ => None,
        });
        read.chain(base).collect()
    }

    /// The position of the last stage that reads this one's tree or builds on it.
    pub fn last_use(&self, position: usize) -> Option<usize> {
        self.stages.iter().rposition(|stage| stage.base == Base::Stage(position) || stage.reads(position))
    }
}

/// One stage of a plan.
#[derive(Debug)]
pub struct StagePlan {
    /// Its number in the Dockerfile.
    pub number: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The base as FROM names it, variables replaced.
    pub base_name: String,
    /// What it builds on.
    pub base: Base,
    /// The platform it is built for.
    pub platform: Platform,
    /// How many ONBUILD triggers of its base it runs.
    pub triggers: usize,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// The finished image's configuration, but for the layers' diff IDs and the times.
    pub config: ImageConfig,
    /// The variables at its end, where a stage built on this one goes on.
    pub scope: scope::Scope,
}

impl StagePlan {
    /// Whether the stage has a layer of its own, and so needs a tree.
    pub fn makes_layer(&self) -> bool {
        matches!(self.base, Base::Directory(_)) || self.steps.iter().any(|step| step.action.makes_layer())
    }

    /// Whether a step reads the tree of the stage at this position.
    pub fn reads(&self, position: usize) -> bool {
        self.trees().any(|tree| *tree == Tree::Stage(position))
    }

    /// What people call the stage: its name, else its number.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.number.to_string())
    }

    /// The trees that the steps read besides the stage's own.
    pub fn trees(&self) -> impl Iterator<Item = &Tree> {
        self.steps.iter().flat_map(|step| step.action.trees())
    }
}

/// What a stage builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image.
    Image(Box<ImageKey>),
    /// The stage at this position of the plan.
    Stage(usize),
    /// The files of the named context with this name.
    Directory(String),
}

/// An image for a platform: what a base or `COPY --from` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageKey {
    /// Where the image is.
    pub source: ImageSource,
    /// The platform.
    pub platform: Platform,
}

/// One instruction, its variables replaced.
#[derive(Debug, Clone)]
pub struct Step {
    /// The instruction as it stands in the Dockerfile, in one line.
    pub text: String,
    /// Where it stands; `None` for an ONBUILD trigger of a base.
    pub span: Option<Span>,
    /// What is to be done to the file system.
    pub action: Action,
}

/// What a step does to the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the configuration alone changes.
    Config,
    /// Runs a command.
    Run(RunAction),
    /// Copies files.
    Copy(CopyAction),
    /// Makes a directory.
    Workdir(WorkdirAction),
}

impl Action {
    /// Whether the step makes a layer.
    pub fn makes_layer(&self) -> bool {
        *self != Self::Config
    }

    /// The trees that the step reads besides its own.
    pub fn trees(&self) -> Vec<&Tree> {
        match self {
            Self::Copy(copy) => copy.reads_tree().then_some(&copy.from).into_iter().collect(),
            Self::Run(run) => run.mounts.iter().filter_map(RunMount::tree).collect(),
            Self::Workdir(_) | Self::Config => Vec::new(),
        }
    }
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAction {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment, but for HOME where that is not set.
    pub env: Vec<(String, String)>,
    /// `USER` in force, empty for root.
    pub user: String,
    /// `WORKDIR` in force.
    pub workdir: ImagePath,
    /// `--mount`, in order; a here-document that is executed as a file is the first.
    pub mounts: Vec<RunMount>,
    /// `--network`.
    pub network: StepNetwork,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyAction {
    /// Where the sources are that are paths.
    pub from: Tree,
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// An absolute path; a trailing slash says that it is a directory.
    pub destination: String,
    /// `--chown`
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<String>,
    /// `--exclude`, in order.
    pub exclude: Vec<String>,
    /// `--parents`
    pub parents: bool,
    /// `--link`: the layer does not depend on what is below it.
    pub link: bool,
    /// Files of the tree that are archives are unpacked: ADD without `--unpack=false`.
    pub unpack_archives: bool,
}

impl CopyAction {
    /// Copies a whole tree onto another one, as a stage begins that is built on a directory's files.
    pub fn everything(from: Tree) -> Self {
        Self {
            from,
            sources: vec![CopySource::Path(".".to_owned())],
            destination: "/".to_owned(),
            chown: None,
            chmod: None,
            exclude: Vec::new(),
            parents: false,
            link: false,
            unpack_archives: false,
        }
    }

    /// The sources that are paths or patterns of the tree.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().filter_map(|source| match source {
            CopySource::Path(path) => Some(path.as_str()),
            CopySource::Inline { .. } | CopySource::Remote(_) => None,
        })
    }

    /// Whether any source is in the tree.
    pub fn reads_tree(&self) -> bool {
        self.paths().next().is_some()
    }
}

/// A source of `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path or pattern, relative to the tree's root.
    Path(String),
    /// A here-document.
    Inline {
        /// The file's name.
        name: String,
        /// What it holds.
        content: String,
    },
    /// What ADD fetches.
    Remote(Box<RemoteCopy>),
}

/// A source of `ADD` that is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteCopy {
    /// Where it is.
    pub source: RemoteSource,
    /// `--checksum` of a file.
    pub checksum: Option<Checksum>,
    /// `--checksum` of a repository: its commit.
    pub commit: Option<String>,
    /// `--keep-git-dir`
    pub keep_git_dir: bool,
    /// `--unpack`: a file that is an archive is unpacked.
    pub unpack: bool,
}

impl RemoteCopy {
    /// All that is there, as it is.
    pub fn whole(source: RemoteSource) -> Self {
        Self { source, checksum: None, commit: None, keep_git_dir: false, unpack: false }
    }
}

/// A tree that files are copied from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// The build context.
    Context,
    /// The named context with this name.
    Directory(String),
    /// The stage at this position of the plan.
    Stage(usize),
    /// An image.
    Image(Box<ImageKey>),
    /// Nothing: `from=scratch`.
    Scratch,
}

/// `WORKDIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkdirAction {
    /// The directory.
    pub path: ImagePath,
    /// `USER` in force, who owns what is made.
    pub user: String,
}
