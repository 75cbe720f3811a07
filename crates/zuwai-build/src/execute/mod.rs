//! Doing what a plan says.
//!
//! - [`schedule`]: which stage is built when; [`stage`]: one of them
//! - [`trees`]: where the trees of stages and images are; [`in_place`]: the container's own `/`
//! - [`stage_tree`]: one of them; [`stacked`]: as a stack of layers, of which [`image_layers`] unpacks those of images;
//!   [`scanned`]: in a directory that is scanned
//! - [`made_once`]: what stages share
//! - [`contexts`]: the build context, and those that have names
//! - [`base`]: layers of bases, fetched and unpacked
//! - [`layer`]: a step's changes become a blob in the store; [`ignored`]: what of them does not
//! - [`step`]: RUN and WORKDIR; [`run_mounts`]: what a RUN's mounts show; [`cache_mounts`]: caches among them
//! - [`copy`]: COPY and ADD; [`remote`]: sources of ADD that are elsewhere

pub mod base;
pub mod cache_mounts;
pub mod contexts;
pub mod copy;
pub mod early_push;
pub mod ignored;
pub mod image_layers;
pub mod in_place;
pub mod layer;
mod made_once;
pub mod remote;
pub mod run_mounts;
pub mod scanned;
pub mod schedule;
pub mod stacked;
pub mod stage;
pub mod stage_tree;
pub mod step;
pub mod step_output;
pub mod trees;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::runtime::Runtime;
use zuwai_dockerfile::Dockerfile;
use zuwai_oci::config::Created;
use zuwai_oci::image::Image;
use zuwai_oci::registry::Registry;
use zuwai_oci::store::Store;
use zuwai_rootfs::Root;
use zuwai_rootfs::command::HOSTNAME;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::signals::Interrupt;

use self::base::StageLayer;
use self::cache_mounts::CacheMounts;
use self::contexts::Contexts;
use self::early_push::EarlyPush;
use self::ignored::Ignored;
use self::schedule::Schedule;
use self::stage::StageBuild;
use self::trees::Trees;
use crate::error::{BuildError, StepError};
use crate::images::RegistryImages;
use crate::plan::builder_args::BuilderArgs;
use crate::plan::{Action, Base, ImageKey, Plan, StagePlan, Tree};
use crate::request::{BuildRequest, Surroundings};
use crate::state_dir::StateDir;

/// The span in which a stage is built that others are built beside: its field `label` tells its lines from theirs.
pub const STAGE_SPAN: &str = "stage";

/// What reaches registries.
#[derive(Clone, Copy)]
pub struct Network<'a> {
    /// Its threads.
    pub runtime: &'a Runtime,
    /// The client.
    pub registry: &'a Registry,
    /// The images that were resolved.
    pub images: &'a RegistryImages<'a>,
    /// What is sent while the build goes on.
    pub early: &'a EarlyPush<'a>,
}

/// What is to be done.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// What the plan was made from, for errors.
    pub dockerfile: &'a Dockerfile,
    /// The plan.
    pub plan: &'a Plan,
    /// What build arguments say to the builder.
    pub builder_args: &'a BuilderArgs,
}

/// Builds the stages of a plan: what all of them share.
pub struct Executor<'a> {
    request: &'a BuildRequest,
    surroundings: &'a Surroundings,
    /// Raised when the build is told to stop, or a stage has failed.
    interrupt: Interrupt,
    /// The name of the host that commands see.
    hostname: String,
    dockerfile: &'a Dockerfile,
    plan: &'a Plan,
    /// How many stages are built side by side at most.
    jobs: usize,
    network: Network<'a>,
    store: &'a Store,
    contexts: Contexts,
    trees: Trees,
    /// What `--ignore-path` keeps out of layers.
    ignored: Ignored,
    /// The directories of cache mounts.
    caches: CacheMounts,
    /// The layers of each finished stage.
    layers: Vec<OnceLock<Vec<StageLayer>>>,
}

impl<'a> Executor<'a> {
    /// Opens the context, and settles where commands run if any stage needs a tree.
    ///
    /// # Errors
    /// When the context cannot be used, or there is no place where commands can run.
    pub fn new(
        request: &'a BuildRequest,
        surroundings: &'a Surroundings,
        work: Work<'a>,
        network: Network<'a>,
        store: &'a Store,
        state: &StateDir,
    ) -> Result<Self, BuildError> {
        let Work { dockerfile, plan, builder_args } = work;
        let needs_trees = request.materialize || plan.stages.iter().any(StagePlan::makes_layer);
        let trees = Trees::new(request, surroundings, state, needs_trees, plan.stages.len())?;
        let contexts = Contexts::open(request, plan, state, &trees, network)?;
        let side_by_side = if trees.mode() == Mode::InPlace { 1 } else { Schedule::new(plan).width() };
        let namespace = &builder_args.cache_mount_namespace;
        Ok(Self {
            request,
            surroundings,
            interrupt: surroundings.interrupt.part(),
            hostname: builder_args.sandbox_hostname.clone().unwrap_or_else(|| HOSTNAME.to_owned()),
            dockerfile,
            plan,
            jobs: request.jobs.min(side_by_side),
            network,
            store,
            contexts,
            caches: CacheMounts::new(&request.root_dir, namespace, trees.mode() == Mode::InPlace),
            trees,
            ignored: Ignored::new(&request.ignore_paths),
            layers: plan.stages.iter().map(|_| OnceLock::new()).collect(),
        })
    }

    /// Builds every stage, independent ones side by side, and puts the target's image together.
    ///
    /// # Errors
    /// When a stage cannot be built.
    pub fn run(self, created: &Created) -> Result<Image, BuildError> {
        self.announce();
        let schedule = Schedule::new(self.plan);
        let failure = Mutex::new(None);
        let work = || {
            while let Some(position) = schedule.next() {
                let label = || tracing::info_span!(STAGE_SPAN, label = self.plan.stages[position].label());
                let _span = (self.jobs > 1).then(|| label().entered());
                if let Err(error) = self.stage(position, &schedule)
                    && schedule.stop()
                {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    // What other stages do is for nothing.
                    self.interrupt.abandon();
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.jobs {
                scope.spawn(work);
            }
            work();
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        self.trees.close()?;
        self.image(created)
    }

    /// Builds one stage, and lets go of what nobody needs any more.
    fn stage(&self, position: usize, schedule: &Schedule) -> Result<(), BuildError> {
        let layers = StageBuild::new(self, position).build()?;
        let _ = self.layers[position].set(layers);
        for unneeded in schedule.finished(position) {
            self.trees.release(unneeded)?;
        }
        Ok(())
    }

    /// Whether a stage is finished, and reads nothing any more.
    fn is_finished(&self, position: usize) -> bool {
        self.layers[position].get().is_some()
    }

    /// Whether a stage's layers are of the image to be: the target's, and those of the stages it stands on.
    fn is_of_image(&self, position: usize) -> bool {
        let mut below = self.plan.stages.len().checked_sub(1);
        while let Some(at) = below.filter(|at| *at != position) {
            below = match self.plan.stages[at].base {
                Base::Stage(under) => Some(under),
                _ => None,
            };
        }
        below.is_some()
    }

    /// The layers of a finished stage.
    fn layers(&self, position: usize) -> &[StageLayer] {
        self.layers[position].get().map_or(&[], Vec::as_slice)
    }

    /// An error if the build was told to stop.
    fn check(&self) -> Result<(), BuildError> {
        self.interrupt.check().map_err(BuildError::Interrupted)
    }

    /// The lines with which kaniko says what depends on what.
    fn announce(&self) {
        let mut read: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for stage in &self.plan.stages {
            if let Some(name) = &stage.name {
                tracing::info!("Resolved base name {} to {name}", stage.base_name);
            }
            for step in &stage.steps {
                if let Action::Copy(copy) = &step.action
                    && let Tree::Stage(position) = copy.from
                {
                    let number = self.plan.stages[position].number;
                    read.entry(number).or_default().extend(copy.paths());
                }
            }
        }
        let read: Vec<String> =
            read.iter().map(|(number, sources)| format!("{number}:[{}]", sources.join(" "))).collect();
        tracing::info!("Built cross stage deps: map[{}]", read.join(" "));
    }

    /// The files of a stage, an image or nothing, made now if that is not done by another stage; `None` for contexts.
    fn tree(&self, tree: &Tree) -> Result<Option<Arc<Root>>, StepError> {
        let found = match tree {
            Tree::Context | Tree::Directory(_) => return Ok(None),
            Tree::Stage(position) => {
                let stage = self.trees.stage(*position).ok_or(StepError::NoTree)?;
                Ok(Arc::clone(stage.root()))
            }
            Tree::Image(image) => self.trees.image(image, || self.unpack_image(image)),
            Tree::Scratch => self.trees.empty(),
        };
        found.map(Some).map_err(|error| StepError::Build(Box::new(error)))
    }

    fn unpack_image(&self, image: &ImageKey) -> Result<Root, BuildError> {
        let layers = base::image_layers(image, self.store, self.network)?;
        let name = image.source.familiar();
        if let Some(unpacked) = self.trees.layers() {
            let stack = unpacked.stack(&layers, &name, self.store, self.network)?;
            return stack.view().map_err(BuildError::Isolation);
        }
        let root = self.trees.new_root()?;
        base::unpack_layers(&root, &layers, &name, self.store, self.network)?;
        Ok(root)
    }

    fn new_root(&self) -> Result<Root, StepError> {
        self.trees.new_root().map_err(|error| StepError::Build(Box::new(error)))
    }

    fn image(&self, created: &Created) -> Result<Image, BuildError> {
        let (Some(stage), Some(layers)) = (self.plan.target(), self.layers.last().and_then(OnceLock::get))
        else {
            unreachable!("a plan has a stage: its target");
        };
        let mut config = stage.config.clone();
        config.created = Some(created.clone());
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        config.config.labels.extend(self.request.labels.iter().cloned());
        let descriptors: Vec<_> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let mut image = Image::assemble(self.request.family, config, &descriptors, BTreeMap::new())?;
        for layer in layers {
            if let Some(origin) = &layer.origin {
                image.origins.insert(layer.descriptor.digest, origin.clone());
            }
        }
        Ok(image)
    }
}
