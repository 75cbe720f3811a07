//! From `executor`'s flags as they were typed to the build they mean, with kaniko's checks in kaniko's order.

use std::path::PathBuf;

use zuwai_build::request::{BuildRequest, Outputs};
use zuwai_layer::compression::{Compression, Level};
use zuwai_oci::platform::Platform;
use zuwai_rootfs::isolation::Isolation;
use zuwai_rootfs::step_mount::StepNetwork;

use crate::environment::Environment;
use crate::error::ProgramError;
use crate::moving::family_for;
use crate::pflag::Parsed;
use crate::source::{self, LookFirst};
use crate::{build_contexts, building, pairs, registries, secrets, ssh};

/// The build that the flags mean.
///
/// # Errors
/// When flags contradict each other, or what they name is not there.
pub fn from_flags(flags: &Parsed, environment: &Environment) -> Result<BuildRequest, ProgramError> {
    let no_push = flags.bool("no-push");
    let destinations = flags.list("destination");
    if !no_push && destinations.is_empty() {
        return Err(ProgramError::NoDestination);
    }
    let names = destinations.iter().map(|name| building::name_for("--destination", name));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    for file in ["image-name-with-digest-file", "image-name-tag-with-digest-file"] {
        if names.is_empty() && flags.non_empty(file).is_some() {
            return Err(ProgramError::NoDestinationFor(file));
        }
    }
    let (push, names) = if no_push { (Vec::new(), names) } else { (names, Vec::new()) };
    let target = match flags.list("target") {
        [] => None,
        [target] => Some(target.clone()),
        _ => return Err(ProgramError::NotSupported("more than one --target".to_owned())),
    };
    let platform = flags.non_empty("custom-platform").map(Platform::parse).transpose();
    let platform = platform.map_err(|source| ProgramError::Platform { flag: "--custom-platform", source })?;

    let context = source::context_directory(flags.text("context"), flags.text("context-sub-path"))?;
    let dockerfile = source::dockerfile(flags.text("dockerfile"), Some(&context), LookFirst::Context)?;

    let path = |name: &str| flags.non_empty(name).map(source::absolute);
    Ok(BuildRequest {
        dockerfile,
        context: Some(context),
        build_contexts: build_contexts::read(flags.list("build-context"))?,
        target,
        build_args: pairs::build_arguments(flags.list("build-arg"), environment)?,
        labels: pairs::labels(flags.list("label"))?,
        platform,
        host_platform: Platform::host(),
        isolation: isolation_to_stay(flags)?,
        network: StepNetwork::Host,
        force: flags.bool("force"),
        root_dir: source::absolute(flags.non_empty("kaniko-dir").unwrap_or("/kaniko")),
        secrets: secrets::read(flags.list("secret"), environment)?,
        ssh: ssh::read(flags.list("ssh"), environment)?,
        materialize: materialize(flags),
        created: building::now(),
        compression: match flags.text("compression") {
            "zstd" => Compression::Zstd,
            _ => Compression::Gzip,
        },
        family: family_for(flags.text("image-format"), flags.text("compression"))?,
        level: Level::new(i32::try_from(flags.int("compression-level")).unwrap_or(i32::MAX)),
        single_snapshot: flags.bool("single-snapshot"),
        ignore_paths: flags.list("ignore-path").iter().map(PathBuf::from).collect(),
        registry: registries::options(flags, environment, &docker_config(environment))?,
        outputs: Outputs {
            push,
            docker_archive: path("tar-path"),
            oci_archive: None,
            oci_layout: path("oci-layout-path"),
            names,
            tags: Vec::new(),
            ignore_immutable_tags: flags.bool("push-ignore-immutable-tag-errors"),
            digest_file: path("digest-file"),
            image_name_with_digest_file: path("image-name-with-digest-file"),
            image_name_tag_with_digest_file: path("image-name-tag-with-digest-file"),
            check_push_permission: !no_push && !flags.bool("skip-push-permission-check"),
        },
        threads: building::threads(),
        jobs: building::jobs(flags.int("jobs")),
        // kaniko gave RUN none of its own environment; proxies come as build arguments.
        proxy_env: Vec::new(),
    })
}

/// Where credentials are, as kaniko had it.
pub fn docker_config(environment: &Environment) -> PathBuf {
    environment.docker_config(|| PathBuf::from("/kaniko/.docker"))
}

/// Whether the image's files are to stay in `/`. What is to be cleaned up afterwards does not stay.
pub fn materialize(flags: &Parsed) -> bool {
    flags.bool("materialize") && !flags.bool("cleanup")
}

/// Where RUN runs. The flag's type has checked the word.
pub fn isolation(flags: &Parsed) -> Isolation {
    match flags.text("isolation") {
        "namespaces" => Isolation::Namespaces,
        "in-place" => Isolation::InPlace,
        _ => Isolation::Auto,
    }
}

/// As [`isolation`]; what is to stay in `/` is built there.
fn isolation_to_stay(flags: &Parsed) -> Result<Isolation, ProgramError> {
    match isolation(flags) {
        Isolation::Namespaces if materialize(flags) => Err(ProgramError::MaterializeInNamespaces),
        Isolation::Auto if materialize(flags) => Ok(Isolation::InPlace),
        isolation => Ok(isolation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::flags::EXECUTOR;
    use crate::pflag::parse;
    use zuwai_oci::media_type::Family;

    fn request(context: &std::path::Path, arguments: &[&str]) -> Result<BuildRequest, ProgramError> {
        let context = format!("--context={}", context.display());
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).chain([context]);
        from_flags(&parse(EXECUTOR, arguments).unwrap(), &Environment::default())
    }

    fn context() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        directory
    }

    #[test]
    fn flags_become_a_build() {
        let context = context();
        let request = request(
            context.path(),
            &[
                "-dlocalhost:5000/a:1",
                "--destination=b/c",
                "--build-arg=A=1",
                "--label=l=v",
                "--target=final",
                "--custom-platform=linux/arm/v7",
                "--compression=zstd",
                "--image-format=",
                "--tar-path=/t.tar",
                "--oci-layout-path=/layout",
                "--digest-file=/digest",
                "--insecure-registry=r:5000",
                "--skip-tls-verify",
                "--ignore-path=/x",
                "--kaniko-dir=/state",
            ],
        )
        .unwrap();
        assert_eq!(request.outputs.push.len(), 2);
        assert!(request.outputs.check_push_permission);
        assert_eq!(request.outputs.docker_archive, Some(PathBuf::from("/t.tar")));
        assert_eq!(request.outputs.oci_layout, Some(PathBuf::from("/layout")));
        assert_eq!(request.outputs.digest_file, Some(PathBuf::from("/digest")));
        assert_eq!(request.target.as_deref(), Some("final"));
        assert_eq!(request.platform, Some(Platform::new("linux", "arm", "v7")));
        assert_eq!((request.compression, request.family), (Compression::Zstd, Family::Oci));
        assert_eq!(request.ignore_paths, [PathBuf::from("/x")]);
        assert_eq!(request.root_dir, PathBuf::from("/state"));
        assert!(request.registry.insecure_registries.contains("r:5000"));
        assert!(request.registry.skip_tls_verify && !request.registry.insecure);
        assert!(request.proxy_env.is_empty());
    }

    #[test]
    fn what_stays_in_the_root_is_built_there() {
        let context = context();
        for (arguments, expected) in [
            (&["--no-push"][..], (Isolation::Auto, false)),
            (&["--no-push", "--materialize"], (Isolation::InPlace, true)),
            (&["--no-push", "--materialize", "--isolation=in-place"], (Isolation::InPlace, true)),
            (&["--no-push", "--materialize", "--cleanup"], (Isolation::Auto, false)),
            (&["--no-push", "--isolation=namespaces"], (Isolation::Namespaces, false)),
        ] {
            let request = request(context.path(), arguments).unwrap();
            assert_eq!((request.isolation, request.materialize), expected, "{arguments:?}");
        }
    }

    #[test]
    fn no_push_keeps_the_names_and_pushes_nothing() {
        let context = context();
        let request = request(context.path(), &["--no-push", "-d", "a:1"]).unwrap();
        assert!(request.outputs.push.is_empty() && !request.outputs.check_push_permission);
        assert_eq!(request.outputs.names.len(), 1);
    }

    #[test]
    fn contradictions_are_errors() {
        let context = context();
        for (arguments, expected) in [
            (&[][..], "you must provide --destination, or use --no-push"),
            (&["--tar-path=/x"], "you must provide --destination, or use --no-push"),
            (
                &["--no-push", "--image-name-with-digest-file=/x"],
                "you must provide --destination if setting --image-name-with-digest-file",
            ),
            (&["-d", "team/UPPER"], "invalid image name for --destination"),
            (&["-d", "a:not a tag"], "invalid image name for --destination"),
            (&["--no-push", "--target=a,b"], "more than one --target is not supported yet"),
            (&["--no-push", "--custom-platform=a/b/c/d"], "invalid value for --custom-platform"),
            (&["--no-push", "--label==x"], "invalid label \"=x\": its name is missing"),
            (&["--no-push", "--image-format=docker", "--compression=zstd"], "images in Docker's format"),
            (&["--no-push", "--dockerfile=nope"], "there is no Dockerfile at"),
            (
                &["--no-push", "--materialize", "--isolation=namespaces"],
                "--materialize leaves the image's files in this container's /",
            ),
        ] {
            let error = request(context.path(), arguments).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{arguments:?}: {error}");
        }
    }
}
