//! The debug image as GitLab's runner uses it: `image: {name: ..., entrypoint: [""]}`, the job's script on standard input of
//! whatever shell is found, the project below `/builds`, several builds in one job.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::io::Write as _;
use std::process::{Output, Stdio};

use tempfile::TempDir;
use zuwai_testkit::base::Base;
use zuwai_testkit::cache::scratch;
use zuwai_testkit::compare::{compare, report};
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{Need, PODMAN, REGISTRY, needs};
use zuwai_testkit::podman::{Environment, Podman};
use zuwai_testkit::registry::Registry;

/// How the runner finds a shell.
const DETECT: &str = "if [ -x /usr/local/bin/bash ]; then exec /usr/local/bin/bash; elif [ -x /bin/bash ]; then exec /bin/bash; \
                      elif [ -x /bin/sh ]; then exec /bin/sh; elif [ -x /busybox/sh ]; then exec /busybox/sh; \
                      else echo shell not found; exit 1; fi";

const DOCKERFILE: &str = "FROM REGISTRY/busybox AS one
RUN mkdir /made && echo one > /made/one && rm -rf /home
FROM REGISTRY/busybox
COPY --from=one /made /made
COPY app.txt /srv/
RUN test ! -e /kaniko/notes && echo two > /made/two
";

/// What a job does: files everywhere, a build that fails, builds that do not, and tools and files after each.
const JOB: &str = r#"
set -eo pipefail
export CI_PROJECT_DIR=/builds/group/app
mkdir -p "$CI_PROJECT_DIR" "$HOME" /usr/local/bin /cache
cd "$CI_PROJECT_DIR"
mkdir -p /kaniko/.docker && echo '{"auths":{}}' > /kaniko/.docker/config.json
printf '%s' "$DOCKERFILE" > Dockerfile
echo app > app.txt
printf 'FROM %s/busybox\nRUN rm -rf /bin /busybox /usr; exit 9\n' "$REGISTRY" > Dockerfile.failing
printf '#!/busybox/sh\necho tool of the job\n' > /usr/local/bin/tool && chmod 755 /usr/local/bin/tool
echo home > "$HOME/.jobrc"; echo tmp > /tmp-of-job; echo cached > /cache/thing
check() {
    [ "$(tool)" = "tool of the job" ] && [ "$(cat "$HOME/.jobrc" /tmp-of-job /cache/thing | tr '\n' ' ')" = "home tmp cached " ]
    [ "$PWD" = "$CI_PROJECT_DIR" ] && [ "$(ls -a | tr '\n' ' ')" = ". .. Dockerfile Dockerfile.failing app.txt " ]
    [ "$(sed s/app/APP/ app.txt)" = APP ] && [ ! -e /made ] && [ ! -e /.zuwai ] && [ -x /busybox/sh ] && [ -L /bin/sh ]
    grep -q auths /kaniko/.docker/config.json
    echo "checked after $1"
}
build() { /kaniko/executor --context "$CI_PROJECT_DIR" --insecure "$@"; }
check nothing
build --dockerfile Dockerfile --destination "$REGISTRY/$NAME:1"; check one
build --dockerfile Dockerfile.failing --no-push && exit 1; check failing
build --dockerfile Dockerfile --destination "$REGISTRY/$NAME:2"; check two
cd / && executor --context "dir://$CI_PROJECT_DIR" --insecure --destination "$REGISTRY/$NAME:3"; cd "$CI_PROJECT_DIR"; check three
echo "job succeeded"
"#;

fn run_job(environment: Environment, volumes: &[&str], variables: &[(&str, &str)]) -> Output {
    let podman = Podman::shared();
    let mut command = podman.command();
    command.args(["run", "--rm", "-i", "--network=host", "--entrypoint="]).args(environment.flags());
    for volume in volumes {
        command.args(["-v", volume]);
    }
    for (name, value) in variables {
        command.arg("-e").arg(format!("{name}={value}"));
    }
    command.args([podman.debug_executor(), "sh", "-c", DETECT]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(JOB.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// An image in a registry, and the directory that it is read from.
fn fetched(registry: &Registry, name: &str) -> (TempDir, Image) {
    let dir = scratch("fetched");
    registry.fetch(name, dir.path());
    let image = Image::skopeo(dir.path());
    (dir, image)
}

#[test]
fn a_job_of_several_builds_keeps_its_files_and_tools() {
    if !needs(PODMAN) || !needs(REGISTRY) || !needs(&[Need::Program("busybox")]) {
        return;
    }
    let registry = Registry::plain();
    Base::Busybox.push(&registry);
    let context = scratch("gitlab");
    let dockerfile = DOCKERFILE.replace("REGISTRY", &registry.address());
    std::fs::write(context.path().join("Dockerfile"), &dockerfile).unwrap();
    std::fs::write(context.path().join("app.txt"), "app\n").unwrap();
    let destination = format!("--destination={}", registry.reference("fresh:1"));
    let fresh = Podman::shared().execute(
        Environment::Docker,
        &[(context.path(), "/context")],
        &["--context=/context", "--insecure", &destination],
    );
    assert_eq!(fresh.code, 0, "{}", fresh.all());
    let (_fresh_dir, fresh) = fetched(&registry, "fresh:1");
    // Runners mount the project's directory, or have it in the container's own file system.
    for (environment, volumes) in [
        (Environment::Docker, &["/builds", "/cache"][..]),
        (Environment::Docker, &[]),
        (Environment::Kubernetes, &["/builds"]),
    ] {
        let name = format!("job-{environment:?}-{}", volumes.len()).to_lowercase();
        let address = registry.address();
        let variables = [("REGISTRY", address.as_str()), ("NAME", &name), ("DOCKERFILE", &dockerfile)];
        let ran = run_job(environment, volumes, &variables);
        let printed =
            format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(
            ran.status.success() && printed.contains("job succeeded"),
            "{environment:?} {volumes:?}: {printed}"
        );
        for tag in 1..=3 {
            let (_dir, built) = fetched(&registry, &format!("{name}:{tag}"));
            let differences = compare(&fresh, &built);
            let shown = report(&differences, "fresh", "of the job", 20);
            assert!(differences.is_empty(), "{name}:{tag}\n{shown}");
        }
    }
}
