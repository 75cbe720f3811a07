//! BuildKit's build checks with what a build knows: its arguments, its platforms, its bases, its ignore file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use zuwai_context::ignore::Ignore;
use zuwai_dockerfile::lint::{self, BaseImage, Report};
use zuwai_dockerfile::predefined::is_platform_arg;
use zuwai_dockerfile::{Diagnostic, Dockerfile, Source, Span};
use zuwai_oci::config::{Created, ImageConfig};
use zuwai_oci::platform::Platform;
use zuwai_oci::reference::Reference;
use zuwai_rootfs::step_mount::StepNetwork;

use crate::error::BuildError;
use crate::named_context::NamedContexts;
use crate::plan::globals::globals;
use crate::plan::planner::{self, Images, Inputs};
use crate::plan::{Base, ImageKey, Plan, StagePlan};
use crate::request::DockerfileSource;

/// A Dockerfile that is only checked: nothing is fetched, nothing is run.
#[derive(Debug)]
pub struct CheckRequest {
    /// Where the Dockerfile comes from.
    pub dockerfile: DockerfileSource,
    /// The directory whose ignore file counts, if there is one.
    pub context: Option<PathBuf>,
    /// The stage to check with all that it needs; every stage if `None`.
    pub target: Option<String>,
    /// `--build-arg` in order; the last of a name wins.
    pub build_args: Vec<(String, String)>,
    /// The platform to build for; the host's if `None`.
    pub platform: Option<Platform>,
    /// The platform this program runs on.
    pub host_platform: Platform,
}

/// A Dockerfile that was checked.
#[derive(Debug)]
pub struct Checked {
    /// Its text.
    pub source: Arc<Source>,
    /// What was found.
    pub report: Report,
}

/// Checks a Dockerfile without building it.
///
/// # Errors
/// When the Dockerfile cannot be read, is none, or the build argument that chooses checks makes no sense.
pub fn check(request: &CheckRequest) -> Result<Checked, BuildError> {
    let dockerfile = crate::read_dockerfile(&request.dockerfile)?;
    let path = crate::dockerfile_path(&request.dockerfile);
    let platform = request.platform.as_ref().unwrap_or(&request.host_platform);
    let build = Build {
        build_args: request.build_args.iter().cloned().collect(),
        target: request.target.as_deref(),
        all_stages: true,
        host: &request.host_platform,
        platform,
        bases: BTreeMap::new(),
        ignore: ignore(request.context.as_deref(), path),
    };
    let mut report = build.check(&dockerfile)?;
    if report.error.is_none() {
        report.error = mistake(&dockerfile, request, platform);
    }
    Ok(Checked { source: dockerfile.source, report })
}

/// What the checks do not look at and a build refuses: values of EXPOSE, STOPSIGNAL, `--chmod` and the like.
fn mistake(dockerfile: &Dockerfile, request: &CheckRequest, platform: &Platform) -> Option<Diagnostic> {
    let inputs = Inputs {
        build_args: request.build_args.iter().cloned().collect(),
        target: request.target.clone(),
        host: request.host_platform.clone(),
        platform: platform.clone(),
        proxy_env: Vec::new(),
        created: Created::at(Timestamp::UNIX_EPOCH),
        network: StepNetwork::Host,
        contexts: NamedContexts::default(),
        single_snapshot: false,
    };
    match planner::plan(dockerfile, &inputs, &UnknownImages) {
        Err(BuildError::Dockerfile(mistakes)) => mistakes.list.into_iter().next(),
        _ => None,
    }
}

/// Images of which nothing is known.
struct UnknownImages;

impl Images for UnknownImages {
    fn config(&self, image: &ImageKey) -> Result<Arc<ImageConfig>, BuildError> {
        Ok(Arc::new(ImageConfig::empty(&image.platform)))
    }
}

/// Logs what the checks find in a build; `plan` is the build's, if it could be made.
///
/// # Errors
/// When there are findings and they are to fail the build.
pub(crate) fn warn(
    dockerfile: &Dockerfile,
    inputs: &Inputs,
    plan: Option<&Plan>,
    images: &dyn Images,
    ignore: Option<Ignore>,
) -> Result<(), BuildError> {
    let stages = plan.map_or(&[][..], |plan| &plan.stages);
    let build = Build {
        build_args: inputs.build_args.clone(),
        target: inputs.target.as_deref(),
        all_stages: false,
        host: &inputs.host,
        platform: &inputs.platform,
        bases: stages.iter().filter_map(|stage| base(stage, images)).collect(),
        ignore,
    };
    let report = build.check(dockerfile)?;
    for warning in report.warnings() {
        tracing::warn!("{}", warning.render(&dockerfile.source));
    }
    match violation(&report) {
        Some(violation) => Err(violation.in_source(&dockerfile.source).into()),
        None => Ok(()),
    }
}

/// The ignore file of a context. One that cannot be read is the context's error, not the checks'.
pub(crate) fn ignore(context: Option<&Path>, dockerfile: Option<&Path>) -> Option<Ignore> {
    Ignore::read(context?, dockerfile).ok()
}

/// The error that findings are where `error=true` was asked for, at the first of them.
fn violation(report: &Report) -> Option<Diagnostic> {
    let first = report.findings.iter().map(|finding| finding.span).min()?;
    let help = "`error=true` makes warnings fail the build; mend them, or leave checks out with skip=";
    Some(Diagnostic::error(first, report.violation()?).with_help(help))
}

/// What is known of the image that a stage is built on.
fn base(stage: &StagePlan, images: &dyn Images) -> Option<(usize, BaseImage)> {
    let Base::Image(image) = &stage.base else { return None };
    let config = images.config(image).ok()?;
    Some((stage.number, base_image(&config, image)))
}

fn base_image(config: &ImageConfig, image: &ImageKey) -> BaseImage {
    let variables = config.config.env.iter().map(|variable| crate::plan::scope::split_variable(variable));
    let found = Platform::new(&config.os, &config.architecture, &config.variant).normalised();
    let expected = image.platform.normalised();
    let matches = found.os == expected.os && found.architecture == expected.architecture;
    BaseImage {
        environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        has_shell: !config.config.shell.is_empty(),
        platform_mismatch: (!matches)
            .then(|| lint::PlatformMismatch { found: found.to_string(), expected: expected.to_string() }),
    }
}

struct Build<'a> {
    build_args: BTreeMap<String, String>,
    target: Option<&'a str>,
    all_stages: bool,
    host: &'a Platform,
    platform: &'a Platform,
    bases: BTreeMap<usize, BaseImage>,
    ignore: Option<Ignore>,
}

impl Build<'_> {
    fn platform_args(&self, dockerfile: &Dockerfile) -> BTreeMap<String, String> {
        // An argument that cannot be expanded is found again by the checks.
        let globals = globals(dockerfile, &BTreeMap::new(), self.target, self.host, self.platform);
        globals.unwrap_or_default().into_iter().filter(|(name, _)| is_platform_arg(name)).collect()
    }

    fn check(self, dockerfile: &Dockerfile) -> Result<Report, BuildError> {
        let platform_args = self.platform_args(dockerfile);
        let is_ignored =
            self.ignore.map(|ignore| move |path: &str| ignore.patterns.excludes(path.as_bytes()));
        let inputs = lint::Inputs {
            build_args: self.build_args,
            platform_args,
            target: self.target,
            all_stages: self.all_stages,
            bases: self.bases,
            is_ignored: is_ignored.as_ref().map(|is_ignored| is_ignored as &dyn Fn(&str) -> bool),
            is_image_name: &|name| Reference::parse(name).is_ok(),
            platform_parts: &|text| {
                let platform = Platform::parse(text).ok()?.normalised();
                Some((platform.os, platform.architecture))
            },
        };
        let wrong = |message| Diagnostic::error(Span::default(), message).in_source(&dockerfile.source);
        Ok(lint::check(dockerfile, &inputs).map_err(wrong)?)
    }
}
