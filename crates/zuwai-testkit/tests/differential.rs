//! Every Dockerfile of `cases/` is built by Zuwai and by BuildKit, and the images are the same: see [`zuwai_testkit::compare`].
//!
//! `ZUWAI_CASE=part,of,names` takes only some cases. What a failing run leaves to look at is said with the failure.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use zuwai_testkit::base::{self, Base};
use zuwai_testkit::case::{Case, Prepared};
use zuwai_testkit::compare::{compare, compare_results, report};
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{ORACLE, PODMAN, needs};
use zuwai_testkit::oracle::Oracle;
use zuwai_testkit::podman::{Environment, Podman};
use zuwai_testkit::registry::Registry;
use zuwai_testkit::web::{WEB, Web};
use zuwai_testkit::zuwai;

type Build = dyn Fn(&Prepared, &Path) -> Result<Image, String> + Sync;

#[test]
fn builds_on_this_machine_equal_buildkit() {
    if needs(ORACLE) && needs(WEB) && needs(Base::Debian.needs()) && needs(Base::Alpine.needs()) {
        every_case_equals_buildkit("machine", &zuwai::build);
    }
}

#[test]
fn builds_in_dockers_default_container_equal_buildkit() {
    in_container("docker", Environment::Docker);
}

#[test]
fn builds_in_kubernetes_default_container_equal_buildkit() {
    in_container("kubernetes", Environment::Kubernetes);
}

fn in_container(name: &str, environment: Environment) {
    if needs(ORACLE)
        && needs(WEB)
        && needs(PODMAN)
        && needs(Base::Debian.needs())
        && needs(Base::Alpine.needs())
    {
        every_case_equals_buildkit(name, &move |case, output| build_in_container(environment, case, output));
    }
}

fn build_in_container(environment: Environment, case: &Prepared, output: &Path) -> Result<Image, String> {
    std::fs::create_dir_all(output).unwrap();
    let mut arguments = vec![
        "--context=dir:///case/context".to_owned(),
        "--dockerfile=/case/Dockerfile".to_owned(),
        "--no-push".to_owned(),
        "--oci-layout-path=/output/image".to_owned(),
    ];
    // The one flag that the executor knows by another name.
    let folder = case.folder.display().to_string();
    let flags = case.flags.iter().map(|flag| flag.replace("--platform", "--custom-platform"));
    arguments.extend(flags.map(|flag| flag.replace(&folder, "/case")));
    let mounts = [(case.folder.as_path(), "/case"), (output, "/output")];
    let finished = Podman::shared().execute(environment, &mounts, &arguments);
    match finished.code {
        0 => Ok(Image::layout(&output.join("image"))),
        code => Err(format!("exit code {code}\n{}", finished.all())),
    }
}

fn every_case_equals_buildkit(way: &str, build: &Build) {
    let (oracle, registry) = (Oracle::shared(), Registry::plain());
    base::push_all(&registry);
    let work = oracle.folder().join(way);
    std::fs::create_dir_all(&work).unwrap();
    let web = Web::start(&work);
    let mut cases = Case::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases"));
    cases.retain(|case| {
        let reason = case.excluded(way);
        if let Some(reason) = &reason {
            eprintln!("{way}: {} left out: {reason}", case.name);
        }
        reason.is_none()
    });
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let case = case.prepare(&work, &registry.address(), &web.address());
                    match check(oracle, &case, build) {
                        Ok(()) => drop(std::fs::remove_dir_all(&case.folder)),
                        Err(why) => drop(failures.lock().unwrap().insert(case.name.clone(), why)),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    for (name, why) in &failures {
        eprintln!("--- {name}\n{why}");
    }
    eprintln!("{way}: {} cases, {} of them not as BuildKit builds them", cases.len(), failures.len());
    for name in failures.keys() {
        eprintln!("  {name}");
    }
    assert!(failures.is_empty(), "{} of {} cases differ from BuildKit ({way})", failures.len(), cases.len());
}

fn check(oracle: &Oracle, case: &Prepared, build: &Build) -> Result<(), String> {
    let ours =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| build(case, &case.folder.join("zuwai"))))
            .unwrap_or_else(|_| Err("the image cannot be read (see the panic above)".to_owned()));
    let dockerfile = case.same.as_ref().unwrap_or(&case.dockerfile);
    let theirs = oracle.build(&case.context, dockerfile, &case.flags, &case.folder.join("buildkit"));
    match (&case.expected_error, theirs, ours) {
        (None, Err(error), _) => Err(format!("BuildKit does not build this case: {}", tail(&error))),
        (None, Ok(_), Err(error)) => Err(format!("the build failed: {}", tail(&error))),
        (None, Ok(theirs), Ok(ours)) => {
            let base = shared_layers(&theirs, &ours);
            let problems: Vec<_> =
                ours.problems(base).iter().map(|problem| format!("  {problem}\n")).collect();
            let differences =
                if case.same.is_some() { compare_results(&theirs, &ours) } else { compare(&theirs, &ours) };
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
