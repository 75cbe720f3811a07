//! Which stages are needed, and in which order.

use std::collections::BTreeMap;
use std::sync::Arc;

use zuwai_dockerfile::{Diagnostic, Diagnostics, Dockerfile, Expander};
use zuwai_oci::config::{Created, ImageConfig};
use zuwai_oci::platform::Platform;
use zuwai_rootfs::step_mount::StepNetwork;

use super::globals::{Globals, globals};
use super::naming::{self, FromBase, Named, resolve_from};
use super::stage::StageBuilder;
use super::{Base, ImageKey, Plan, StagePlan, Tree, files_row, history};
use crate::error::BuildError;
use crate::named_context::NamedContexts;

/// What a plan is made from besides the Dockerfile.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Build arguments, by name.
    pub build_args: BTreeMap<String, String>,
    /// The stage that is asked for, by name.
    pub target: Option<String>,
    /// The platform that the build runs on.
    pub host: Platform,
    /// The platform to build for.
    pub platform: Platform,
    /// Proxy variables that every `RUN` gets.
    pub proxy_env: Vec<(String, String)>,
    /// The time of new history rows.
    pub created: Created,
    /// The network of a RUN that asks for none of its own.
    pub network: StepNetwork,
    /// What stands in place of images and stages (`--build-context`).
    pub contexts: NamedContexts,
    /// Every stage makes one layer of all it changes.
    pub single_snapshot: bool,
}

/// Gives the configurations of images. The one thing a plan asks for while it is made, because ONBUILD triggers and
/// environments of bases decide what a stage does.
pub trait Images {
    /// The configuration of an image.
    ///
    /// # Errors
    /// When the image cannot be had.
    fn config(&self, image: &ImageKey) -> Result<Arc<ImageConfig>, BuildError>;
}

/// An image that is to be had.
#[derive(Debug, Clone)]
pub struct WantedImage {
    /// Its name as the Dockerfile has it.
    pub name: String,
    /// The image.
    pub image: ImageKey,
    /// Where the Dockerfile names it, in words for the case that it cannot be had.
    pub at: Option<Diagnostics>,
}

/// Makes the plan.
///
/// # Errors
/// When the Dockerfile is wrong, names a stage that is not there or a feature that is not supported yet, or a base's
/// configuration cannot be had.
pub fn plan(dockerfile: &Dockerfile, inputs: &Inputs, images: &dyn Images) -> Result<Plan, BuildError> {
    let target = target_stage(dockerfile, inputs.target.as_deref())?;
    let globals =
        globals(dockerfile, &inputs.build_args, inputs.target.as_deref(), &inputs.host, &inputs.platform)?;
    let mut planner =
        Planner { dockerfile, inputs, images, globals, stages: Vec::new(), places: BTreeMap::new() };
    planner.stage(target)?;
    let mut stages = planner.stages;
    let missing = files_row::missing_row(&stages, dockerfile.stages.len(), inputs);
    if let Some(target) = stages.last_mut() {
        target.config.history.extend(missing);
    }
    Ok(Plan { stages })
}

/// The images that the target is sure to need, as far as the Dockerfile alone tells (a base's triggers may add more):
/// they can be asked for all at once before the plan is made.
///
/// # Errors
/// When the Dockerfile is wrong.
pub fn images_to_expect(dockerfile: &Dockerfile, inputs: &Inputs) -> Result<Vec<WantedImage>, BuildError> {
    let target = target_stage(dockerfile, inputs.target.as_deref())?;
    let globals =
        globals(dockerfile, &inputs.build_args, inputs.target.as_deref(), &inputs.host, &inputs.platform)?;
    let (mut expected, mut seen, mut open) = (Vec::new(), vec![false; dockerfile.stages.len()], vec![target]);
    while let Some(number) = open.pop() {
        if std::mem::replace(&mut seen[number], true) {
            continue;
        }
        let from = resolve_from(dockerfile, number, &globals, inputs)?;
        match from.base {
            FromBase::Scratch | FromBase::Directory(_) => {}
            FromBase::Stage(number) => open.push(number),
            FromBase::Image(image) => {
                let span = dockerfile.stages[number].from.image.span;
                let at = Diagnostic::error(span, "this image cannot be used").in_source(&dockerfile.source);
                expected.push(WantedImage { name: from.name, image: *image, at: Some(at) });
            }
        }
        if from.is_replaced {
            continue;
        }
        for instruction in &dockerfile.stages[number].instructions {
            let sources = naming::sources(dockerfile, instruction, number, inputs)
                .map_err(|diagnostic| diagnostic.in_source(&dockerfile.source))?;
            for (from, source) in sources {
                match source {
                    Named::Stage(number) => open.push(number),
                    Named::Scratch | Named::Directory(_) => {}
                    Named::Image(image) => {
                        let at = Diagnostic::error(from.span, "this image cannot be used")
                            .with_help(help_for_image(&from.text, inputs))
                            .in_source(&dockerfile.source);
                        expected.push(WantedImage { name: from.text, image: *image, at: Some(at) });
                    }
                }
            }
        }
    }
    Ok(expected)
}

/// Why a name that is no stage's is an image's.
fn help_for_image(name: &str, inputs: &Inputs) -> String {
    match inputs.contexts.find(name) {
        Some(_) => format!("--build-context puts this image in place of {name:?}"),
        None => format!("no stage before this one is named {name:?}, so it is an image"),
    }
}

fn target_stage(dockerfile: &Dockerfile, target: Option<&str>) -> Result<usize, BuildError> {
    match target {
        None => Ok(dockerfile.stages.len().saturating_sub(1)),
        Some(name) => dockerfile
            .stage_named(name, dockerfile.stages.len())
            .map(|stage| stage.index)
            .ok_or_else(|| BuildError::UnknownTarget {
                target: name.to_owned(),
                known: dockerfile
                    .stages
                    .iter()
                    .filter_map(|stage| stage.from.name.as_ref())
                    .map(|name| name.text.clone())
                    .collect(),
            }),
    }
}

struct Planner<'a> {
    dockerfile: &'a Dockerfile,
    inputs: &'a Inputs,
    images: &'a dyn Images,
    globals: Globals,
    stages: Vec<StagePlan>,
    /// Where stages of the Dockerfile are in the plan. A stage leads to earlier ones only, so none leads back to itself.
    places: BTreeMap<usize, usize>,
}

impl Planner<'_> {
    /// Plans a stage after everything it needs, and gives its position.
    fn stage(&mut self, number: usize) -> Result<usize, BuildError> {
        if let Some(position) = self.places.get(&number) {
            return Ok(*position);
        }
        let from = resolve_from(self.dockerfile, number, &self.globals, self.inputs)?;
        let (base, platform, mut builder) = match from.base {
            FromBase::Scratch => {
                let builder = StageBuilder::new(ImageConfig::empty(&from.platform), false);
                (Base::Scratch, from.platform, builder)
            }
            FromBase::Stage(number) => {
                let position = self.stage(number)?;
                let below = &self.stages[position];
                let builder = StageBuilder::on_stage(below.config.clone(), below.scope.clone());
                (Base::Stage(position), below.platform.clone(), builder)
            }
            FromBase::Directory(name) => {
                let builder = StageBuilder::new(ImageConfig::empty(&from.platform), false);
                (Base::Directory(name), from.platform, builder)
            }
            FromBase::Image(image) => {
                let config = self.images.config(&image)?;
                let platform = config.platform();
                (Base::Image(image), platform, StageBuilder::new(ImageConfig::clone(&config), true))
            }
        };
        let rows_below = builder.config.history.len();
        let mut triggers = builder.take_triggers(&from.name)?;
        let stage = &self.dockerfile.stages[number];
        let mut instructions = stage.instructions.as_slice();
        if from.is_replaced {
            triggers.clear();
            instructions = &[];
        }
        let written = instructions.iter().map(|instruction| (instruction, &self.dockerfile.source, false));
        let all = triggers.iter().map(|(instruction, source)| (instruction, source, true)).chain(written);
        let expander = Expander::new(self.dockerfile.directives.escape);
        for (instruction, source, is_trigger) in all {
            let named = naming::sources(self.dockerfile, instruction, number, self.inputs)
                .map_err(|diagnostic| diagnostic.in_source(source))?;
            let trees = named
                .into_iter()
                .map(|(_, named)| match named {
                    Named::Stage(number) => Ok(Tree::Stage(self.stage(number)?)),
                    Named::Image(image) => Ok(Tree::Image(image)),
                    Named::Directory(name) => Ok(Tree::Directory(name)),
                    Named::Scratch => Ok(Tree::Scratch),
                })
                .collect::<Result<Vec<_>, BuildError>>()?;
            let context = super::stage::Context {
                globals: &self.globals,
                build_args: &self.inputs.build_args,
                proxy_env: &self.inputs.proxy_env,
                created: &self.inputs.created,
                network: self.inputs.network,
            };
            builder
                .instruction(instruction, &expander, &context, trees, !is_trigger)
                .map_err(|diagnostic| BuildError::from(diagnostic.in_source(source)))?;
        }
        let position = self.stages.len();
        self.places.insert(number, position);
        let (steps, mut config, scope) = builder.finish();
        if self.inputs.single_snapshot {
            history::one_layer(config.history.get_mut(rows_below..).unwrap_or_default());
        }
        self.stages.push(StagePlan {
            number,
            name: stage.from.name.as_ref().map(|name| name.text.clone()),
            base_name: from.name,
            base,
            platform,
            triggers: triggers.len(),
            steps,
            config,
            scope,
        });
        Ok(position)
    }
}
