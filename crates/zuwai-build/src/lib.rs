//! The solver: from a [`BuildRequest`] to a finished image in every place it was asked for.
//!
//! It reads the Dockerfile, plans, does what the plan says and writes the image. It knows no flags, reads neither
//! environment nor clock, and leaves nothing behind but what was asked for.
//!
//! In reading order:
//! - [`request`], [`secret`], [`ssh`]: what the user asked for
//! - [`named_context`]: what stands in place of images and stages
//! - [`plan`]: what will be done, a pure function
//! - [`images`]: the bases, resolved once each
//! - [`checks`]: what is worth a warning; [`format`](mod@format): whether the image can have its format
//! - [`execute`]: doing it: trees, steps, layers
//! - [`output`], [`promised_file`], [`immutable_tag`]: registries, archives, layouts, digest files
//! - [`transfer`]: images from place to place, without a build
//! - [`state_dir`], [`error`], [`hint`]: what the user can do about an error

pub mod checks;
pub mod error;
pub mod execute;
pub mod format;
pub mod hint;
pub mod images;
pub mod immutable_tag;
pub mod named_context;
pub mod output;
pub mod plan;
pub mod promised_file;
pub mod request;
pub mod secret;
pub mod ssh;
pub mod state_dir;
mod stopping;
pub mod transfer;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;
use tokio::runtime::Runtime;
use zuwai_dockerfile::Dockerfile;
use zuwai_layer::Digest;
use zuwai_oci::config::Created;
use zuwai_oci::image::Image;
use zuwai_oci::registry::Registry;
use zuwai_oci::store::Store;

pub use error::BuildError;
pub use request::{BuildRequest, CommandOutput, DockerfileSource, Outputs, Surroundings};

use crate::execute::early_push::EarlyPush;
use crate::execute::{Executor, Network, Work};
use crate::images::RegistryImages;
use crate::plan::builder_args::BuilderArgs;
use crate::plan::planner::{self, Inputs};
use crate::state_dir::StateDir;
use crate::stopping::unless_stopped;

/// No Dockerfile is longer than this many bytes.
const DOCKERFILE_LIMIT: u64 = 16 << 20;

/// A finished build.
#[derive(Debug)]
pub struct BuildResult {
    /// The digest of the image's manifest.
    pub digest: Digest,
    /// The digest of its configuration, which docker calls the image ID.
    pub config_digest: Digest,
    /// Digest and compressed size in bytes of each layer, lowest first.
    pub layers: Vec<(Digest, u64)>,
}

/// Builds an image and writes it to every output.
///
/// # Errors
/// Whatever stops the build; nothing is pushed then, and no archive is half written.
pub fn build(request: &BuildRequest, surroundings: &Surroundings) -> Result<BuildResult, BuildError> {
    let dockerfile = read_dockerfile(&request.dockerfile)?;
    let runtime = network_runtime()?;
    let registry = Registry::new(request.registry.clone())?;
    if request.outputs.check_push_permission {
        for reference in &request.outputs.push {
            runtime
                .block_on(unless_stopped(&surroundings.interrupt, registry.check_push_permission(reference)))?
                .map_err(|source| BuildError::PushPermission { source: Box::new(source) })?;
        }
    }
    let build_args = request.build_args.iter().cloned().collect();
    let builder_args = BuilderArgs::read(&build_args)?;
    let created = builder_args.source_date_epoch.unwrap_or(request.created);
    let created = Created::at(Timestamp::from_second(created).unwrap_or_default());
    let inputs = Inputs {
        build_args,
        target: request.target.clone(),
        host: request.host_platform.clone(),
        platform: request.platform.clone().unwrap_or_else(|| request.host_platform.clone()),
        proxy_env: request.proxy_env.clone(),
        created: created.clone(),
        network: request.network,
        contexts: request.build_contexts.clone(),
        single_snapshot: request.single_snapshot,
    };
    let images = RegistryImages::new(&runtime, &registry);
    let plan = planner::images_to_expect(&dockerfile, &inputs)
        .and_then(|expected| images.resolve(&expected))
        .and_then(|()| planner::plan(&dockerfile, &inputs, &images));
    let ignore = checks::ignore(request.context.as_deref(), dockerfile_path(&request.dockerfile));
    let checked = checks::warn(&dockerfile, &inputs, plan.as_ref().ok(), &images, ignore);
    let plan = plan?;
    checked?;
    format::check(request, &plan, &images)?;

    let state = StateDir::create(&request.root_dir)?;
    state.remove_when_given_up(&surroundings.interrupt);
    let store = Store::create(state.path().join("store"))?;
    let closing = store.clone();
    surroundings.interrupt.when_raised(move || closing.close());
    let early = EarlyPush::new(&runtime, &registry, &store, &request.outputs);
    let network = Network { runtime: &runtime, registry: &registry, images: &images, early: &early };
    let work = Work { dockerfile: &dockerfile, plan: &plan, builder_args: &builder_args };
    let executor = Executor::new(request, surroundings, work, network, &store, &state)?;
    let image = executor.run(&created)?;
    surroundings.interrupt.check().map_err(BuildError::Interrupted)?;
    std::thread::scope(|scope| {
        // The trees go while the image is sent.
        scope.spawn(|| state.remove_directory(StateDir::TREES));
        output::write(&request.outputs, &image, &store, &runtime, &registry, &surroundings.interrupt)
    })?;
    Ok(result(&image))
}

/// The threads that talk to registries.
fn network_runtime() -> Result<Runtime, BuildError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("network")
        .enable_all()
        .build()
        .map_err(BuildError::Runtime)
}

fn result(image: &Image) -> BuildResult {
    BuildResult {
        digest: image.digest(),
        config_digest: image.config_digest(),
        layers: image.layers().iter().map(|layer| (layer.digest, layer.size)).collect(),
    }
}

/// The Dockerfile's place, where it is a file.
fn dockerfile_path(source: &DockerfileSource) -> Option<&Path> {
    match source {
        DockerfileSource::Path(path) => Some(path),
        DockerfileSource::Text { .. } => None,
    }
}

fn read_dockerfile(source: &DockerfileSource) -> Result<Dockerfile, BuildError> {
    match source {
        DockerfileSource::Text { name, bytes } => Ok(zuwai_dockerfile::parse(name, bytes)?),
        DockerfileSource::Path(path) => {
            let failed = |source| BuildError::ReadDockerfile { path: path.clone(), source };
            let mut bytes = Vec::new();
            File::open(path)
                .and_then(|file| file.take(DOCKERFILE_LIMIT + 1).read_to_end(&mut bytes))
                .map_err(failed)?;
            if bytes.len() as u64 > DOCKERFILE_LIMIT {
                return Err(BuildError::DockerfileTooLong { path: path.clone(), limit: DOCKERFILE_LIMIT });
            }
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            Ok(zuwai_dockerfile::parse(&name, &bytes)?)
        }
    }
}
