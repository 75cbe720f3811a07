//! From the flags of `zuwai build` as they were typed to the build they mean.

use std::path::PathBuf;

use zuwai_build::request::{BuildRequest, Outputs};
use zuwai_layer::compression::{Compression, Level};
use zuwai_oci::platform::Platform;
use zuwai_oci::reference::Reference;
use zuwai_rootfs::step_mount::StepNetwork;

use super::output::{self, Output};
use crate::environment::Environment;
use crate::error::ProgramError;
use crate::executor::request::isolation;
use crate::moving::family_for;
use crate::pflag::Parsed;
use crate::source;
use crate::{build_contexts, building, pairs, registries, secrets, ssh};

/// A build, and what is to be said after it.
#[derive(Debug)]
pub struct Meaning {
    /// The build.
    pub build: BuildRequest,
    /// The OCI layout the image goes to because no other place was given.
    pub default_layout: Option<PathBuf>,
}

/// The build that the flags mean.
///
/// # Errors
/// When flags contradict each other, or what they name is not there.
pub fn from_flags(flags: &Parsed, context: &str, environment: &Environment) -> Result<Meaning, ProgramError> {
    let root_dir = root_directory(flags, environment)?;
    let (outputs, default_layout) = outputs(flags, &root_dir)?;
    let platform = match flags.list("platform") {
        [] => None,
        [platform] => Some(
            Platform::parse(platform)
                .map_err(|source| ProgramError::Platform { flag: "--platform", source })?,
        ),
        _ => return Err(ProgramError::NotSupported("more than one --platform".to_owned())),
    };
    let (context, dockerfile) = source::context_and_dockerfile(context, flags.text("file"))?;
    let build = BuildRequest {
        dockerfile,
        context,
        build_contexts: build_contexts::read(flags.list("build-context"))?,
        target: flags.non_empty("target").map(str::to_owned),
        build_args: build_args(flags, environment)?,
        labels: pairs::labels(flags.list("label"))?,
        platform,
        host_platform: Platform::host(),
        isolation: isolation(flags),
        network: if flags.text("network") == "none" { StepNetwork::None } else { StepNetwork::Host },
        force: flags.bool("force"),
        root_dir,
        secrets: secrets::read(flags.list("secret"), environment)?,
        ssh: ssh::read(flags.list("ssh"), environment)?,
        materialize: false,
        created: building::now(),
        compression: match flags.text("compression") {
            "zstd" => Compression::Zstd,
            "none" => Compression::None,
            _ => Compression::Gzip,
        },
        family: family_for(flags.text("format"), flags.text("compression"))?,
        level: Level::new(i32::try_from(flags.int("compression-level")).unwrap_or(i32::MAX)),
        single_snapshot: false,
        ignore_paths: Vec::new(),
        registry: registries::options(flags, environment, &docker_config(environment))?,
        outputs,
        threads: building::threads(),
        jobs: building::jobs(flags.int("jobs")),
        proxy_env: Vec::new(),
    };
    Ok(Meaning { build, default_layout })
}

/// The build arguments; `SOURCE_DATE_EPOCH` of the environment is one, as with buildx.
fn build_args(flags: &Parsed, environment: &Environment) -> Result<Vec<(String, String)>, ProgramError> {
    const EPOCH: &str = "SOURCE_DATE_EPOCH";
    let inherited = environment.get(EPOCH).map(|value| (EPOCH.to_owned(), value.to_owned()));
    let given = pairs::build_arguments(flags.list("build-arg"), environment)?;
    // The last of a name wins.
    Ok(inherited.into_iter().chain(given).collect())
}

/// Where credentials are, as docker has it.
pub fn docker_config(environment: &Environment) -> PathBuf {
    // Without a home not the working directory: what lies there is somebody else's.
    environment.docker_config(|| environment.home().unwrap_or_else(|| PathBuf::from("/")).join(".docker"))
}

/// Where builds keep their files.
///
/// # Errors
/// When neither a flag nor the environment says so.
pub fn root_directory(flags: &Parsed, environment: &Environment) -> Result<PathBuf, ProgramError> {
    match flags.non_empty("root-dir") {
        Some(path) => Ok(source::absolute(path)),
        None => Ok(environment.data_home().ok_or(ProgramError::NoRootDirectory)?.join("zuwai")),
    }
}

fn outputs(flags: &Parsed, root_dir: &std::path::Path) -> Result<(Outputs, Option<PathBuf>), ProgramError> {
    let mut names = Vec::new();
    for tag in flags.list("tag") {
        names.push(building::name_for("--tag", tag)?);
    }
    let mut outputs = Outputs::default();
    let mut push = flags.bool("push");
    for text in flags.list("output") {
        let parsed = output::parse(text)?;
        for name in &parsed.names {
            names.push(building::name_for("--output", name)?);
        }
        let taken = match parsed.output {
            Output::OciArchive(path) => outputs.oci_archive.replace(path).is_some(),
            Output::OciLayout(path) => outputs.oci_layout.replace(path).is_some(),
            Output::DockerArchive(path) => outputs.docker_archive.replace(path).is_some(),
            Output::Registry => {
                push = true;
                false
            }
        };
        if taken {
            return Err(ProgramError::NotSupported(format!("a second output of the kind of -o {text}")));
        }
    }
    if push && names.is_empty() {
        return Err(ProgramError::NoNameToPush);
    }
    let mut default_layout = None;
    if !push && flags.list("output").is_empty() {
        let directory = root_dir.join("images").join(layout_name(names.first()));
        default_layout = Some(directory.clone());
        outputs.oci_layout = Some(directory);
    }
    outputs.check_push_permission = push && !flags.bool("skip-push-permission-check");
    outputs.ignore_immutable_tags = flags.bool("push-ignore-immutable-tag-errors");
    *(if push { &mut outputs.push } else { &mut outputs.names }) = names;
    Ok((outputs, default_layout))
}

/// Where below `images/` the layout of an image of this name is. A layout is one image; tools that take
/// `oci:DIRECTORY:TAG` want no colon in the directory.
pub fn layout_name(name: Option<&Reference>) -> PathBuf {
    match name {
        Some(name) => {
            let repository = PathBuf::from(name.familiar_name().replace(':', "_"));
            repository.join(name.tag().unwrap_or("latest"))
        }
        None => PathBuf::from("untagged"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build_command::flags::BUILD;
    use crate::pflag::parse;

    fn meaning(arguments: &[&str]) -> Result<Meaning, ProgramError> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        let flags = parse(BUILD, arguments.iter().map(|argument| (*argument).to_owned())).unwrap();
        let environment = Environment::from_iter([("HOME".to_owned(), "/home/user".to_owned())]);
        from_flags(&flags, directory.path().to_str().unwrap(), &environment)
    }

    #[test]
    fn without_a_place_the_image_goes_to_a_layout_of_the_users_own() {
        let meaning = meaning(&[]).unwrap();
        let layout = PathBuf::from("/home/user/.local/share/zuwai/images/untagged");
        assert_eq!(meaning.build.outputs.oci_layout.as_ref(), Some(&layout));
        assert_eq!(meaning.default_layout, Some(layout));
        assert!(meaning.build.outputs.push.is_empty());
    }

    #[test]
    fn a_name_alone_does_not_push() {
        let meaning = meaning(&["-t", "hello", "--root-dir=/r"]).unwrap();
        assert_eq!(meaning.default_layout, Some(PathBuf::from("/r/images/hello/latest")));
        assert!(meaning.build.outputs.push.is_empty());
        assert_eq!(meaning.build.outputs.names.len(), 1);
        let with_port = layout_name(Some(&Reference::parse("localhost:5000/a/b:1").unwrap()));
        assert_eq!(with_port, PathBuf::from("localhost_5000/a/b/1"));
    }

    #[test]
    fn outputs_add_up_and_push_uses_all_names() {
        let meaning =
            meaning(&["-t", "a:1", "-t", "b", "--push", "-o", "type=oci,dest=x", "-o", "type=docker,dest=y"])
                .unwrap();
        let outputs = &meaning.build.outputs;
        assert_eq!(outputs.push.len(), 2);
        assert!(outputs.check_push_permission);
        assert_eq!(outputs.oci_archive, Some(source::absolute("x")));
        assert_eq!(outputs.docker_archive, Some(source::absolute("y")));
        assert!(meaning.default_layout.is_none() && outputs.oci_layout.is_none());
    }

    #[test]
    fn contradictions_are_errors() {
        for (arguments, expected) in [
            (&["--push"][..], "there is no name to push the image to"),
            (&["-t", "Not A Name"], "invalid image name for --tag"),
            (&["--platform=linux/amd64,linux/arm64"], "more than one --platform is not supported yet"),
            (&["-f", "missing"], "there is no Dockerfile at missing"),
            (&["-o", "type=oci,dest=a", "-o", "type=oci,dest=b"], "a second output"),
        ] {
            let error = meaning(arguments).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{arguments:?}: {error}");
        }
    }
}
