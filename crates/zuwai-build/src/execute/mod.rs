//! Doing what a plan says.
//!
//! - [`trees`]: where the trees of stages and images are
//! - [`stage_tree`]: one of them
//! - [`contexts`]: the build context, and those that have names
//! - [`base`]: layers of bases, fetched and unpacked
//! - [`layer`]: a step's changes become a blob in the store
//! - [`step`]: RUN and WORKDIR; [`run_mounts`]: what a RUN's mounts show; [`cache_mounts`]: caches among them
//! - [`copy`]: COPY and ADD; [`remote`]: sources of ADD that are elsewhere

pub mod base;
pub mod cache_mounts;
pub mod contexts;
pub mod copy;
pub mod layer;
pub mod remote;
pub mod run_mounts;
pub mod stage_tree;
pub mod step;
pub mod step_output;
pub mod trees;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;

use tokio::runtime::Runtime;
use zuwai_dockerfile::{Diagnostic, Dockerfile};
use zuwai_layer::ImagePath;
use zuwai_oci::config::Created;
use zuwai_oci::image::Image;
use zuwai_oci::media_type::Family;
use zuwai_oci::registry::Registry;
use zuwai_oci::store::Store;
use zuwai_rootfs::command::HOSTNAME;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::{ChangeSet, KeepOut, Root};

use self::base::StageLayer;
use self::cache_mounts::CacheMounts;
use self::contexts::Contexts;
use self::remote::Fetched;
use self::run_mounts::Sources;
use self::trees::Trees;
use crate::error::{BuildError, StepError};
use crate::images::RegistryImages;
use crate::plan::builder_args::BuilderArgs;
use crate::plan::{Action, Base, CopyAction, CopySource, Plan, StagePlan, Step, Tree};
use crate::redact::without_passwords;
use crate::request::{BuildRequest, Surroundings};
use crate::state_dir::StateDir;

/// What reaches registries.
#[derive(Clone, Copy)]
pub struct Network<'a> {
    /// Its threads.
    pub runtime: &'a Runtime,
    /// The client.
    pub registry: &'a Registry,
    /// The images that were resolved.
    pub images: &'a RegistryImages<'a>,
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

/// Builds the stages of a plan, one after the other.
pub struct Executor<'a> {
    request: &'a BuildRequest,
    surroundings: &'a Surroundings,
    /// The name of the host that commands see.
    hostname: String,
    dockerfile: &'a Dockerfile,
    plan: &'a Plan,
    network: Network<'a>,
    store: &'a Store,
    contexts: Contexts,
    trees: Trees,
    /// What `--ignore-path` keeps out of layers.
    ignored: KeepOut,
    /// The directories of cache mounts.
    caches: CacheMounts,
    /// The layers of each finished stage.
    layers: Vec<Vec<StageLayer>>,
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
        let needs_trees = plan.stages.iter().any(StagePlan::makes_layer);
        let mut trees = Trees::new(request, surroundings, state, needs_trees)?;
        let contexts = Contexts::open(request, plan, state, &mut trees, network)?;
        let ignored = request
            .ignore_paths
            .iter()
            .filter_map(|path| ImagePath::clamped(path.as_os_str().as_bytes()).ok());
        let ignored = KeepOut::new(ignored);
        let namespace = &builder_args.cache_mount_namespace;
        Ok(Self {
            request,
            surroundings,
            hostname: builder_args.sandbox_hostname.clone().unwrap_or_else(|| HOSTNAME.to_owned()),
            dockerfile,
            plan,
            network,
            store,
            contexts,
            caches: CacheMounts::new(&request.root_dir, namespace, trees.mode() == Mode::InPlace),
            trees,
            ignored,
            layers: Vec::new(),
        })
    }

    /// Builds every stage and puts the target's image together.
    ///
    /// # Errors
    /// When a stage cannot be built.
    pub fn run(mut self, created: &Created) -> Result<Image, BuildError> {
        self.announce();
        for position in 0..self.plan.stages.len() {
            self.stage(position)?;
            for earlier in 0..=position {
                if self.plan.last_use(earlier).is_none_or(|last| last <= position) {
                    self.trees.release(earlier)?;
                }
            }
        }
        self.trees.finish()?;
        self.image(created)
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

    fn stage(&mut self, position: usize) -> Result<(), BuildError> {
        let stage = &self.plan.stages[position];
        let base_position = match &stage.base {
            Base::Stage(position) => i64::try_from(*position).unwrap_or(-1),
            _ => -1,
        };
        tracing::info!(
            "Building stage '{}' [idx: '{}', base-idx: '{base_position}']",
            stage.base_name,
            stage.number
        );
        let mut layers = match &stage.base {
            Base::Scratch | Base::Directory(_) => Vec::new(),
            Base::Image(image) => base::image_layers(image, self.store, self.network)?,
            Base::Stage(below) => self.layers[*below].clone(),
        };
        tracing::info!("Executing {} build triggers", stage.triggers);
        let first_layer = stage.steps.iter().find(|step| step.action.makes_layer());
        let is_read = self.plan.stages.iter().any(|stage| stage.reads(position));
        match first_layer {
            Some(step) => {
                tracing::info!("Unpacking rootfs as cmd {} requires it.", without_passwords(&step.text))
            }
            None if stage.makes_layer() => {
                tracing::info!("Copying the files of the context {}.", stage.base_name);
            }
            None if is_read => tracing::info!("Unpacking rootfs as a later stage copies from it."),
            None => tracing::info!("Skipping unpacking as no commands require it."),
        }
        if stage.makes_layer() || is_read {
            let below = match &stage.base {
                Base::Stage(below) if self.plan.is_last_use(*below, position) => Some(*below),
                _ => None,
            };
            let in_use = |other: usize| self.plan.last_use(other).is_some_and(|last| last >= position);
            if !self.trees.take_over(position, below) {
                let tree = self.trees.open(position, in_use)?;
                let seen =
                    base::unpack_layers(&tree.root, &layers, &stage.base_name, self.store, self.network)?;
                tree.fingerprints = seen.fingerprints;
                tree.hidden = seen.hidden;
            }
        }
        if let Base::Directory(name) = &stage.base {
            let layer = self.files_of_context(position, name);
            layers.push(layer.map_err(|source| {
                let context = name.clone();
                BuildError::Files { context, source: Box::new(source) }
            })?);
        }
        for step in &stage.steps {
            self.surroundings.interrupt.check().map_err(BuildError::Interrupted)?;
            tracing::info!("{}", without_passwords(&step.text));
            if step.action.makes_layer() {
                let layer = self.layer(position, step).map_err(|error| self.step_error(step, error))?;
                layers.push(layer);
            }
        }
        self.layers.push(layers);
        Ok(())
    }

    /// The layer that a step makes.
    fn layer(&mut self, position: usize, step: &Step) -> Result<StageLayer, StepError> {
        for tree in step.action.trees() {
            self.open_tree(tree).map_err(|error| StepError::Build(Box::new(error)))?;
        }
        let changes = match &step.action {
            Action::Run(action) => {
                let prepared = self.run_sources().prepare(&action.mounts)?;
                let host = step::Host {
                    name: &self.hostname,
                    surroundings: self.surroundings,
                    threads: self.request.threads,
                };
                step::run_command(&mut self.trees, position, action, prepared, &host)
            }
            Action::Copy(action) if action.link => return self.linked_layer(position, action),
            Action::Copy(action) => {
                let fetched = self.fetch(action)?;
                copy::copy_files(&mut self.trees, position, action, &self.contexts, &fetched)
            }
            Action::Workdir(action) => step::make_directory(&mut self.trees, position, action),
            Action::Config => Ok(ChangeSet::default()),
        };
        self.changed(position, changes?)
    }

    /// The layer of a stage that begins with the files of a named context: all that its ignore file leaves.
    fn files_of_context(&mut self, position: usize, name: &str) -> Result<StageLayer, StepError> {
        let action = CopyAction::everything(Tree::Directory(name.to_owned()));
        let changes = copy::copy_files(&mut self.trees, position, &action, &self.contexts, &[])?;
        self.changed(position, changes)
    }

    /// The layer of what changed in a stage's tree.
    fn changed(&mut self, position: usize, mut changes: ChangeSet) -> Result<StageLayer, StepError> {
        changes.changes.retain(|path, _| !self.ignored.covers(path));
        let tree = self.trees.stage_mut(position).ok_or(StepError::NoTree)?;
        let (layer, fingerprints) = layer::write(&tree.root, &changes, self.store, self.request)?;
        tree.remember(fingerprints);
        Ok(layer)
    }

    /// The layer of `COPY --link`: made in an empty root, so that it does not depend on what is below, and put onto the
    /// tree as any layer is.
    fn linked_layer(&mut self, position: usize, action: &CopyAction) -> Result<StageLayer, StepError> {
        let fetched = self.fetch(action)?;
        let root = self.new_root()?;
        let tree = self.trees.stage(position).ok_or(StepError::NoTree)?;
        let mut changes = copy::copy_onto(&root, &tree.root, &self.trees, action, &self.contexts, &fetched)?;
        changes.changes.retain(|path, _| !self.ignored.covers(path));
        let (layer, _) = layer::write(&root, &changes, self.store, self.request)?;
        self.trees.discard(root);
        let tree = self.trees.stage_mut(position).ok_or(StepError::NoTree)?;
        let unpacked = base::unpack_layer(&tree.root, &layer, None, self.store)?;
        tree.hidden.extend(unpacked.hidden);
        // The index learns what came; the changes themselves are in the layer already.
        tree.rescan(self.request.threads)?;
        tree.remember(unpacked.fingerprints);
        Ok(layer)
    }

    /// Brings the sources of ADD that are elsewhere.
    fn fetch(&mut self, action: &CopyAction) -> Result<Vec<Fetched>, StepError> {
        let mut fetched = Vec::new();
        for source in &action.sources {
            if let CopySource::Remote(source) = source {
                fetched.push(remote::fetch(source, self.new_root()?, self.network, self.request)?);
            }
        }
        Ok(fetched)
    }

    fn new_root(&mut self) -> Result<Root, StepError> {
        self.trees.new_root().map_err(|error| StepError::Build(Box::new(error)))
    }

    /// What mounts can show.
    fn run_sources(&mut self) -> Sources<'_> {
        Sources {
            trees: &mut self.trees,
            contexts: &self.contexts,
            images: self.network.images,
            layers: &self.layers,
            secrets: &self.request.secrets,
            agents: &self.request.ssh,
            caches: &self.caches,
            interrupt: &self.surroundings.interrupt,
        }
    }

    /// Makes a tree that a step reads, if that is not done by another stage.
    fn open_tree(&mut self, tree: &Tree) -> Result<(), BuildError> {
        match tree {
            Tree::Image(image) => self.open_image(image),
            Tree::Scratch => self.trees.open_empty(),
            Tree::Context | Tree::Directory(_) | Tree::Stage(_) => Ok(()),
        }
    }

    /// Unpacks an image that files are copied from, once.
    fn open_image(&mut self, image: &crate::plan::ImageKey) -> Result<(), BuildError> {
        if self.trees.image(image).is_some() {
            return Ok(());
        }
        let layers = base::image_layers(image, self.store, self.network)?;
        let root = self.trees.open_image(image)?;
        base::unpack_layers(root, &layers, &image.source.familiar(), self.store, self.network)?;
        Ok(())
    }

    fn step_error(&self, step: &Step, error: StepError) -> BuildError {
        // A mount that is at fault has a place of its own.
        let (span, error) = match error {
            StepError::Mount { span, source } => (span.or(step.span), *source),
            error => (step.span, error),
        };
        let source = Box::new(error);
        match span {
            Some(span) => BuildError::Step {
                at: Diagnostic::error(span, "this step failed").in_source(&self.dockerfile.source),
                source,
            },
            None => BuildError::Trigger { text: step.text.clone(), source },
        }
    }

    fn image(&self, created: &Created) -> Result<Image, BuildError> {
        let (Some(stage), Some(layers)) = (self.plan.target(), self.layers.last()) else {
            unreachable!("a plan has a stage: its target");
        };
        let mut config = stage.config.clone();
        config.created = Some(created.clone());
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        config.config.labels.extend(self.request.labels.iter().cloned());
        let descriptors: Vec<_> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let mut image = Image::assemble(Family::Oci, config, &descriptors, BTreeMap::new())?;
        for layer in layers {
            if let Some(origin) = &layer.origin {
                image.origins.insert(layer.descriptor.digest, origin.clone());
            }
        }
        Ok(image)
    }
}
