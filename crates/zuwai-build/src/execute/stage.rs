//! One stage: its base, its steps, its layers.

use zuwai_dockerfile::Diagnostic;
use zuwai_dockerfile::redact::without_passwords;
use zuwai_rootfs::{ChangeSet, Root};

use super::base::StageLayer;
use super::image_layers::ImageLayers;
use super::remote::Fetched;
use super::run_mounts::Sources;
use super::stacked::StackedTree;
use super::stage_tree::StageTree;
use super::step::{self, Host};
use super::trees::Beginning;
use super::{Executor, base, copy, layer, remote};
use crate::error::{BuildError, StepError};
use crate::plan::{Action, Base, CopyAction, CopySource, StagePlan, Step, Tree};

/// A stage that is being built.
pub struct StageBuild<'e, 'a> {
    executor: &'e Executor<'a>,
    position: usize,
    stage: &'e StagePlan,
    tree: Option<StageTree>,
    layers: Vec<StageLayer>,
}

impl<'e, 'a> StageBuild<'e, 'a> {
    /// The stage at a position of the plan; all that it needs is finished.
    pub fn new(executor: &'e Executor<'a>, position: usize) -> Self {
        let stage = &executor.plan.stages[position];
        Self { executor, position, stage, tree: None, layers: Vec::new() }
    }

    /// Builds it, keeps its tree for those that need it, and gives its layers, lowest first.
    ///
    /// # Errors
    /// When a step fails, or the build is told to stop.
    pub fn build(mut self) -> Result<Vec<StageLayer>, BuildError> {
        self.announce();
        self.begin()?;
        if let Some(tree) = self.tree.as_mut().filter(|_| self.executor.request.single_snapshot) {
            tree.begin_single()?;
        }
        if let Base::Directory(name) = &self.stage.base {
            let layer = self.files_of_context(name);
            let layer = layer.map_err(|source| {
                let context = name.clone();
                BuildError::Files { context, source: Box::new(source) }
            })?;
            self.add(layer);
        }
        for step in &self.stage.steps {
            self.executor.check()?;
            tracing::info!("{}", without_passwords(&step.text));
            if step.action.makes_layer() {
                let layer = self.layer(step).map_err(|error| self.step_error(step, error))?;
                self.add(layer);
            }
        }
        if self.executor.request.single_snapshot && self.stage.makes_layer() {
            let layer = self.single_layer();
            let failed =
                |source| BuildError::SingleLayer { stage: self.stage.label(), source: Box::new(source) };
            self.add([layer.map_err(failed)?]);
        }
        if let Some(tree) = self.tree {
            self.executor.trees.finish(self.position, tree);
        }
        Ok(self.layers)
    }

    /// Adds a layer that is finished.
    fn add(&mut self, layers: impl IntoIterator<Item = StageLayer>) {
        for layer in layers {
            if self.executor.is_of_image(self.position) {
                self.executor.network.early.begin(&layer);
            }
            self.layers.push(layer);
        }
    }

    fn announce(&self) {
        let stage = self.stage;
        let base_position = match &stage.base {
            Base::Stage(position) => i64::try_from(*position).unwrap_or(-1),
            _ => -1,
        };
        tracing::info!(
            "Building stage '{}' [idx: '{}', base-idx: '{base_position}']",
            stage.base_name,
            stage.number
        );
        tracing::info!("Executing {} build triggers", stage.triggers);
    }

    /// Whether a later stage reads this one's files.
    fn is_read(&self) -> bool {
        self.executor.plan.stages.iter().any(|stage| stage.reads(self.position))
    }

    /// Whether this one's files are to be left in `/`.
    fn is_materialized(&self) -> bool {
        self.executor.request.materialize && self.position + 1 == self.executor.plan.stages.len()
    }

    /// Finds the layers of the base, and makes its tree if that is needed.
    fn begin(&mut self) -> Result<(), BuildError> {
        let (executor, stage) = (self.executor, self.stage);
        self.layers = match &stage.base {
            Base::Scratch | Base::Directory(_) => Vec::new(),
            Base::Image(image) => base::image_layers(image, executor.store, executor.network)?,
            Base::Stage(below) => executor.layers(*below).to_vec(),
        };
        self.begin_tree()?;
        // Only now it is known what of the base is fetched to be unpacked, and need not be fetched a second time.
        if !matches!(stage.base, Base::Stage(_)) && executor.is_of_image(self.position) {
            self.layers.iter().for_each(|layer| executor.network.early.begin(layer));
        }
        Ok(())
    }

    /// Makes the stage's tree if that is needed.
    fn begin_tree(&mut self) -> Result<(), BuildError> {
        let (executor, stage) = (self.executor, self.stage);
        let is_read = self.is_read();
        match stage.steps.iter().find(|step| step.action.makes_layer()) {
            Some(step) => {
                tracing::info!("Unpacking rootfs as cmd {} requires it.", without_passwords(&step.text));
            }
            None if stage.makes_layer() => {
                tracing::info!("Copying the files of the context {}.", stage.base_name);
            }
            None if is_read => tracing::info!("Unpacking rootfs as a later stage copies from it."),
            None if self.is_materialized() => {
                tracing::info!("Unpacking rootfs as --materialize asks for it.");
            }
            None => {
                tracing::info!("Skipping unpacking as no commands require it.");
                return Ok(());
            }
        }
        self.tree = Some(match executor.trees.layers() {
            Some(unpacked) => self.stacked(unpacked)?,
            None => self.scanned()?,
        });
        Ok(())
    }

    /// The stage begins with a stack of layers: that of the stage below, or its base's.
    fn stacked(&self, unpacked: &ImageLayers) -> Result<StageTree, BuildError> {
        let executor = self.executor;
        if let Base::Stage(below) = &self.stage.base
            && let Some(below) = executor.trees.stage(*below)
            && let StageTree::Stacked(tree) = &*below
        {
            return Ok(StageTree::Stacked(tree.clone()));
        }
        let name = &self.stage.base_name;
        let stack = unpacked.stack(&self.layers, name, executor.store, executor.network)?;
        Ok(StageTree::Stacked(StackedTree::new(stack)?))
    }

    /// The stage begins with its base's files in one directory.
    fn scanned(&self) -> Result<StageTree, BuildError> {
        let (executor, plan) = (self.executor, self.executor.plan);
        let below = match &self.stage.base {
            // Stages that are built beside this one may still read it.
            Base::Stage(below)
                if plan.is_sole_use(*below, self.position, |user| executor.is_finished(user)) =>
            {
                Some(*below)
            }
            _ => None,
        };
        let in_use = |other: usize| plan.last_use(other).is_some_and(|last| last >= self.position);
        match executor.trees.begin(self.position, below, in_use)? {
            Beginning::Continued(tree) => Ok(StageTree::Scanned(tree)),
            Beginning::Empty(mut tree) => {
                let (layers, name) = (&self.layers, &self.stage.base_name);
                tree.unpacked(base::unpack_layers(
                    &tree.root,
                    layers,
                    name,
                    executor.store,
                    executor.network,
                )?)?;
                Ok(StageTree::Scanned(tree))
            }
        }
    }

    /// The one layer of all that the stage has changed.
    fn single_layer(&mut self) -> Result<StageLayer, StepError> {
        tracing::info!("Taking snapshot of full filesystem...");
        let changes = self.tree()?.all_changes()?;
        self.write(changes)
    }

    /// The layer that a step makes, unless the stage makes a single one.
    fn layer(&mut self, step: &Step) -> Result<Option<StageLayer>, StepError> {
        let executor = self.executor;
        let changes = match &step.action {
            Action::Run(action) => {
                let prepared = self.run_sources().prepare(&action.mounts)?;
                let host = Host {
                    name: &executor.hostname,
                    surroundings: executor.surroundings,
                    label: (executor.jobs > 1).then(|| self.stage.label()),
                    interrupt: &executor.interrupt,
                };
                step::run_command(&executor.trees, self.tree()?, action, prepared, &host)
            }
            Action::Copy(action) => {
                let fetched = self.fetch(action)?;
                let from = executor.tree(&action.from)?;
                let files =
                    copy::Files { from: from.as_deref(), contexts: &executor.contexts, fetched: &fetched };
                if action.link && !executor.request.single_snapshot {
                    return self.linked_layer(action, &files).map(Some);
                }
                self.tree()?.change(|root| copy::copy(root, root, action, &files))
            }
            Action::Workdir(action) => self.tree()?.change(|root| step::make_directory(root, action)),
            Action::Config => Ok(ChangeSet::default()),
        };
        self.changed(changes?)
    }

    /// The layer of a stage that begins with the files of a named context: all that its ignore file leaves.
    fn files_of_context(&mut self, name: &str) -> Result<Option<StageLayer>, StepError> {
        let action = CopyAction::everything(Tree::Directory(name.to_owned()));
        let files = copy::Files { from: None, contexts: &self.executor.contexts, fetched: &[] };
        let changes = self.tree()?.change(|root| copy::copy(root, root, &action, &files))?;
        self.changed(changes)
    }

    /// The layer of what a step has changed in the tree, unless the stage makes a single one.
    fn changed(&mut self, changes: ChangeSet) -> Result<Option<StageLayer>, StepError> {
        if self.executor.request.single_snapshot { Ok(None) } else { self.write(changes).map(Some) }
    }

    fn write(&mut self, mut changes: ChangeSet) -> Result<StageLayer, StepError> {
        let executor = self.executor;
        let tree = self.tree()?;
        executor.ignored.remove_from(&mut changes, tree.root());
        let (layer, fingerprints) = layer::write(tree.root(), &changes, executor.store, executor.request)?;
        tree.remember(fingerprints);
        Ok(layer)
    }

    /// The layer of `COPY --link`: made in an empty root, so that it does not depend on what is below, and put onto the
    /// tree as any layer is.
    fn linked_layer(
        &mut self,
        action: &CopyAction,
        files: &copy::Files<'_>,
    ) -> Result<StageLayer, StepError> {
        let executor = self.executor;
        let write = |root: &Root, below: &Root| {
            let mut changes = copy::copy(root, below, action, files)?;
            executor.ignored.remove_from(&mut changes, below);
            Ok(changes)
        };
        let layer = |root: &Root, changes: ChangeSet| {
            layer::write(root, &changes, executor.store, executor.request).map(|(layer, _)| layer)
        };
        match self.tree()? {
            StageTree::Stacked(tree) => {
                let (changes, root) = tree.link(write)?;
                layer(&root, changes)
            }
            StageTree::Scanned(tree) => {
                let root = executor.new_root()?;
                let changes = write(&root, &tree.root)?;
                let layer = layer(&root, changes)?;
                executor.trees.discard(root);
                tree.unpacked(base::unpack_layer(&tree.root, &layer, None, executor.store)?.into())?;
                Ok(layer)
            }
        }
    }

    fn tree(&mut self) -> Result<&mut StageTree, StepError> {
        self.tree.as_mut().ok_or(StepError::NoTree)
    }

    /// Brings the sources of ADD that are elsewhere.
    fn fetch(&self, action: &CopyAction) -> Result<Vec<Fetched>, StepError> {
        let executor = self.executor;
        let mut fetched = Vec::new();
        for source in &action.sources {
            if let CopySource::Remote(source) = source {
                let root = executor.new_root()?;
                fetched.push(remote::fetch(source, root, executor.network, executor.request)?);
            }
        }
        Ok(fetched)
    }

    /// What mounts can show.
    fn run_sources(&self) -> Sources<'_, 'a> {
        Sources { executor: self.executor }
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
                at: Diagnostic::error(span, "this step failed").in_source(&self.executor.dockerfile.source),
                source,
            },
            None => BuildError::Trigger { text: step.text.clone(), source },
        }
    }
}
