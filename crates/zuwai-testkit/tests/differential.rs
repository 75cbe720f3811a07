//! Every Dockerfile of `cases/` is built by Zuwai and by BuildKit, and the images are the same: see [`zuwai_testkit::compare`].
//!
//! `ZUWAI_CASE=part,of,names` takes only some cases. What a failing run leaves to look at is said with the failure.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use zuwai_testkit::base::{self, Base};
use zuwai_testkit::case::{Case, Prepared};
use zuwai_testkit::compare::{compare, compare_results, report};
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{Need, ORACLE, PODMAN, needs};
use zuwai_testkit::oracle::Oracle;
use zuwai_testkit::podman::{Environment, Podman};
use zuwai_testkit::private;
use zuwai_testkit::registry::Registry;
use zuwai_testkit::web::{WEB, Web};
use zuwai_testkit::zuwai::{self, Build};

/// A way to build.
struct Way {
    /// As `not-in` files have it.
    name: &'static str,
    /// What the program's log says about where commands run, and on what.
    isolation: &'static [&'static str],
    /// Builds a case into a folder.
    build: fn(&Prepared, &Path) -> Build,
}

/// Namespaces and overlays of layers.
const OVERLAY: &[&str] = &["namespaces", "; overlay"];

/// Namespaces and private directories: the state directory is on a container's own overlay, which holds no further one.
const SCANNED: &[&str] = &["namespaces", "; no overlay"];

#[test]
fn builds_on_this_machine_equal_buildkit() {
    every_case_equals_buildkit(
        private::ROOT,
        &Way { name: "machine", isolation: OVERLAY, build: zuwai::build },
    );
}

#[test]
fn builds_of_an_ordinary_user_equal_buildkit() {
    every_case_equals_buildkit(
        private::USER,
        &Way { name: "user", isolation: OVERLAY, build: zuwai::build_as_user },
    );
}

#[test]
fn builds_in_dockers_default_container_equal_buildkit() {
    let build = |case: &Prepared, output: &Path| build_in_container(Environment::Docker, case, output);
    every_case_equals_buildkit(PODMAN, &Way { name: "docker", isolation: &["in-place"], build });
}

#[test]
fn builds_in_kubernetes_default_container_equal_buildkit() {
    let build = |case: &Prepared, output: &Path| build_in_container(Environment::Kubernetes, case, output);
    every_case_equals_buildkit(PODMAN, &Way { name: "kubernetes", isolation: SCANNED, build });
}

fn build_in_container(environment: Environment, case: &Prepared, output: &Path) -> Build {
    std::fs::create_dir_all(output).unwrap();
    let mut arguments = vec![
        "--context=dir:///case/context".to_owned(),
        "--dockerfile=/case/Dockerfile".to_owned(),
        "--no-push".to_owned(),
        "--oci-layout-path=/output/image".to_owned(),
    ];
    // The one flag that the executor knows by another name.
    let flags = case.flags_at(Path::new("/case"));
    arguments.extend(flags.iter().map(|flag| flag.replace("--platform", "--custom-platform")));
    let mounts = [(case.folder.as_path(), "/case"), (output, "/output")];
    let finished = Podman::shared().execute(environment, &mounts, &arguments);
    Build::of(&finished, &output.join("image"))
}

/// What all ways share: each case is made ready once, and built once by BuildKit.
struct Scene {
    cases: Vec<(Case, OnceLock<Ready>)>,
    work: PathBuf,
    registry: Registry,
    web: Web,
}

/// A case with what BuildKit makes of it.
struct Ready {
    case: Prepared,
    theirs: Result<Image, String>,
}

impl Scene {
    fn shared() -> &'static Self {
        static SCENE: OnceLock<Scene> = OnceLock::new();
        SCENE.get_or_init(|| {
            let registry = Registry::plain();
            base::push_all(&registry);
            let work = Oracle::shared().folder().join("cases");
            std::fs::create_dir_all(&work).unwrap();
            let web = Web::start(&work);
            let cases = Case::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases"));
            Self {
                cases: cases.into_iter().map(|case| (case, OnceLock::new())).collect(),
                work,
                registry,
                web,
            }
        })
    }

    /// The case at this place of the list, unless it is excluded.
    fn ready(&self, way: &Way, at: usize) -> Option<&Ready> {
        let (case, ready) = &self.cases[at];
        if let Some(reason) = case.excluded(way.name) {
            eprintln!("{}: {} left out: {reason}", way.name, case.name);
            return None;
        }
        Some(ready.get_or_init(|| {
            let case = case.prepare(&self.work, &self.registry.address(), &self.web.address());
            private::give_to_user(&case.folder);
            let dockerfile = case.same.as_ref().unwrap_or(&case.dockerfile);
            let output = case.folder.join("buildkit");
            let theirs = Oracle::shared().build(&case.context, dockerfile, &case.flags, &output);
            if let Ok(image) = &theirs {
                image.share_blobs(&self.work.join("blobs"));
            }
            Ready { case, theirs }
        }))
    }
}

fn every_case_equals_buildkit(own_needs: &[Need], way: &Way) {
    let all = [ORACLE, WEB, own_needs, Base::Debian.needs(), Base::Alpine.needs()];
    if !all.into_iter().all(needs) {
        return;
    }
    let scene = Scene::shared();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let (built, isolations) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= scene.cases.len() {
                        break;
                    }
                    let Some(ready) = scene.ready(way, at) else { continue };
                    built.fetch_add(1, Ordering::Relaxed);
                    let output = ready.case.folder.join(way.name);
                    let build = build(way, &ready.case, &output);
                    isolations.lock().unwrap().extend(build.isolation().map(str::to_owned));
                    match check(ready, build) {
                        Ok(()) => drop(std::fs::remove_dir_all(&output)),
                        Err(why) => drop(failures.lock().unwrap().insert(ready.case.name.clone(), why)),
                    }
                }
            });
        }
    });
    let (cases, failures) = (built.into_inner(), failures.into_inner().unwrap());
    for (name, why) in &failures {
        eprintln!("--- {name} ({})\n{why}", scene.work.join(name).display());
    }
    eprintln!("{}: {cases} cases, {} of them not as BuildKit builds them", way.name, failures.len());
    for name in failures.keys() {
        eprintln!("  {name}");
    }
    let isolations = isolations.into_inner().unwrap();
    for line in &isolations {
        eprintln!("{}: {line}", way.name);
    }
    let meant = |line: &&String| way.isolation.iter().all(|text| line.contains(text));
    assert!(
        isolations.iter().all(|line| meant(&line)),
        "{} is to be built with {:?}",
        way.name,
        way.isolation
    );
    assert!(failures.is_empty(), "{} of {cases} cases differ from BuildKit ({})", failures.len(), way.name);
}

/// Builds a case; a test that stops in between is a failed build.
fn build(way: &Way, case: &Prepared, output: &Path) -> Build {
    std::panic::catch_unwind(|| (way.build)(case, output)).unwrap_or_else(|_| Build {
        image: Err("the image cannot be read (see the panic above)".to_owned()),
        log: String::new(),
    })
}

fn check(ready: &Ready, build: Build) -> Result<(), String> {
    let (case, ours) = (&ready.case, build.image);
    match (&case.expected_error, &ready.theirs, ours) {
        (None, Err(error), _) => Err(format!("BuildKit does not build this case: {}", tail(error))),
        (None, Ok(_), Err(error)) => Err(format!("the build failed: {}", tail(&error))),
        (None, Ok(theirs), Ok(ours)) => {
            let base = shared_layers(theirs, &ours);
            let problems: Vec<_> =
                ours.problems(base).iter().map(|problem| format!("  {problem}\n")).collect();
            let differences =
                if case.same.is_some() { compare_results(theirs, &ours) } else { compare(theirs, &ours) };
            let differences = if differences.is_empty() {
                String::new()
            } else {
                report(&differences, "BuildKit", "Zuwai", 25)
            };
            let text = problems.concat() + &differences;
            if text.is_empty() { Ok(()) } else { Err(text) }
        }
        (Some(_), Ok(_), _) => Err("BuildKit builds this case, which is to fail".to_owned()),
        (Some(_), Err(_), Ok(_)) => Err("the build succeeded and is to fail".to_owned()),
        (Some(expected), Err(_), Err(error)) => {
            let missing: Vec<_> = expected.iter().filter(|text| !error.contains(text.as_str())).collect();
            if missing.is_empty() {
                Ok(())
            } else {
                Err(format!("the error lacks {missing:?}:\n{}", tail(&error)))
            }
        }
    }
}

/// How many layers of the two are the same bytes: those of the base.
fn shared_layers(left: &Image, right: &Image) -> usize {
    left.layers.iter().zip(&right.layers).take_while(|(a, b)| a.digest == b.digest).count()
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    format!("\n    {}", lines[lines.len().saturating_sub(12)..].join("\n    "))
}
