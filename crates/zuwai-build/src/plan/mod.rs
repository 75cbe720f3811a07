//! What a build will do: a pure function of the Dockerfile, its arguments and the configurations of the bases.
//!
//! Nothing is run, read from disk or fetched here; [`crate::execute`] does what the plan says. Stages that the target
//! does not need are not in it.
//!
//! In reading order:
//! - [`scope`]: which value a variable has where
//! - [`globals`]: arguments that exist before the first FROM
//! - [`history`]: the rows of an image's history
//! - [`stage`]: one stage's instructions become steps and a configuration
//! - [`ports`], [`signals`]: what EXPOSE and STOPSIGNAL take
//! - `transfer`: COPY and ADD
//! - [`planner`]: which stages are needed, in which order

pub mod globals;
pub mod history;
pub mod planner;
pub mod ports;
pub mod scope;
pub mod signals;
pub mod stage;
mod transfer;

use zuwai_dockerfile::Span;
use zuwai_layer::ImagePath;
use zuwai_oci::config::ImageConfig;
use zuwai_oci::platform::Platform;
use zuwai_oci::reference::Reference;

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

    /// Whether the stage at `position` builds on the one `below`, and neither itself nor a later one reads that one's
    /// tree: then it can go on in it.
    pub fn is_last_use(&self, below: usize, position: usize) -> bool {
        let stage = &self.stages[position];
        self.last_use(below) == Some(position)
            && stage.steps.iter().all(|step| step.action.tree() != Some(&Tree::Stage(below)))
    }

    /// The position of the last stage that reads this one's tree or builds on it.
    pub fn last_use(&self, position: usize) -> Option<usize> {
        self.stages.iter().rposition(|stage| {
            stage.base == Base::Stage(position)
                || stage.steps.iter().any(|step| step.action.tree() == Some(&Tree::Stage(position)))
        })
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

/// What a stage builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image.
    Image(Box<ImageKey>),
    /// The stage at this position of the plan.
    Stage(usize),
}

/// An image for a platform: what a base or `COPY --from` asks a registry for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageKey {
    /// The image.
    pub reference: Reference,
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

    /// The tree that the step reads besides its own.
    pub fn tree(&self) -> Option<&Tree> {
        match self {
            Self::Copy(copy) => Some(&copy.from),
            _ => None,
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
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyAction {
    /// Where the sources are.
    pub from: Tree,
    /// Paths and patterns, relative to the tree's root.
    pub sources: Vec<String>,
    /// An absolute path; a trailing slash says that it is a directory.
    pub destination: String,
    /// `--chown`
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<String>,
    /// Unpacks sources that are archives, as `ADD` does.
    pub unpack_archives: bool,
}

/// A tree that files are copied from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// The build context.
    Context,
    /// The stage at this position of the plan.
    Stage(usize),
    /// An image.
    Image(Box<ImageKey>),
}

/// `WORKDIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkdirAction {
    /// The directory.
    pub path: ImagePath,
    /// `USER` in force, who owns what is made.
    pub user: String,
}
