//! The environments that builds are tried in are what they say, the base images run in them, and `docs/environments.md` says
//! what can be built where: each of its cells is a build that was run.
//!
//! `ZUWAI_UPDATE=1` writes the page; else a page that is not what was seen fails. `ZUWAI_PLACE=Docker,gVisor` takes only some
//! environments, and leaves the page alone.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

#[path = "environments/build.rs"]
mod build;
#[path = "environments/page.rs"]
mod page;
#[path = "environments/place.rs"]
mod place;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use build::BUILDS;
use page::Row;
use place::{FOLDER, PLACES, Place, Runtimes};
use serde_json::Value;
use zuwai_testkit::base::{ALL, Base, available};
use zuwai_testkit::cache::scratch;
use zuwai_testkit::compare::{compare, report};
use zuwai_testkit::containerd::CONTAINERD;
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{Need, PODMAN, REGISTRY, needs};
use zuwai_testkit::podman::{ENVIRONMENTS, Environment, Podman};
use zuwai_testkit::registry::Registry;
use zuwai_testkit::runsc::RUNSC;

fn load(base: Base) -> String {
    let name = format!("localhost/{}:environments", base.name());
    Podman::shared().load(&format!("oci:{}:latest", base.layout().display()), &name);
    name
}

#[test]
fn capabilities_and_namespaces_are_those_of_docker_kubernetes_and_podman() {
    if !needs(PODMAN) {
        return;
    }
    let image = load(Base::Busybox);
    let script = "grep CapEff /proc/self/status; if unshare -Urm true 2>/dev/null; then echo namespaces; else echo none; fi";
    for environment in ENVIRONMENTS {
        let ran = Podman::shared().run(&environment.flags(), &image, &["sh", "-c", script]);
        let expected = match environment {
            Environment::Docker => "CapEff:\t00000000a80425fb\nnone\n",
            Environment::Kubernetes => "CapEff:\t00000000a80425fb\nnamespaces\n",
            Environment::Podman => "CapEff:\t00000000800405fb\nnamespaces\n",
        };
        assert_eq!(ran.stdout, expected, "{environment:?}: {}", ran.all());
    }
}

#[test]
fn every_base_image_runs() {
    if !needs(PODMAN) || !needs(REGISTRY) || !needs(Base::Debian.needs()) || !needs(Base::Alpine.needs()) {
        return;
    }
    for base in ALL {
        assert!(available(base));
        let entry = ["--entrypoint", "/bin/sh"].map(str::to_owned);
        let ran = Podman::shared().run(
            &entry,
            &load(base),
            &["-c", "cat /etc/passwd && ls -d /odd /files /data 2>/dev/null || true"],
        );
        assert!(ran.code == 0 && ran.stdout.contains("root:x:0:0"), "{base:?}: {}", ran.all());
    }
}

/// What came of a build: the image, or what was printed.
type Built = Result<Image, String>;

#[test]
fn the_table_of_environments_is_what_is_seen_in_them() {
    let programs = [Need::Program("dpkg-deb"), Need::Program("setcap")];
    let wanted = [PODMAN, REGISTRY, CONTAINERD, RUNSC, Base::Debian.needs(), &programs];
    if !wanted.into_iter().all(needs) {
        return;
    }
    let (registry, runtimes) = (Registry::plain(), Runtimes::start());
    Base::Busybox.push(&registry);
    Base::Debian.push(&registry);
    build::push_small(&registry.address());
    let work = scratch("environments");
    build::write_context(&work.path().join("context"), &registry.address());
    let chosen = std::env::var("ZUWAI_PLACE").ok();
    // The first is what the others are compared with.
    let is_chosen = |number: usize| {
        number == 0
            || chosen.as_ref().is_none_or(|names| names.split(',').any(|name| name == PLACES[number].name))
    };
    let places: Vec<usize> = (0..PLACES.len()).filter(|number| is_chosen(*number)).collect();
    let built = build_everything(&runtimes, work.path(), &places);
    let mut wrong = Vec::new();
    let mut rows = Vec::new();
    for place in places {
        let report = examine(&runtimes, work.path(), &PLACES[place]);
        rows.push(row(place, &built, &report, &mut wrong));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if chosen.is_none() {
        page::check(&page::render(&rows));
    }
}

fn build_everything(runtimes: &Runtimes, work: &Path, places: &[usize]) -> BTreeMap<(usize, usize), Built> {
    let cells: Vec<_> =
        places.iter().flat_map(|place| (0..BUILDS.len()).map(|build| (*place, build))).collect();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&(place, build)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let built = build_in(runtimes, work, &PLACES[place], build);
                    results.lock().unwrap().insert((place, build), built);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

fn build_in(runtimes: &Runtimes, work: &Path, place: &Place, number: usize) -> Built {
    let folder = folder_in(work);
    let context = folder.join("context");
    std::fs::create_dir(&context).unwrap();
    for file in std::fs::read_dir(work.join("context")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), context.join(file.file_name())).unwrap();
    }
    let arguments = [
        format!("--context=dir://{FOLDER}/context"),
        format!("--dockerfile={FOLDER}/context/Dockerfile.{number}"),
        "--no-push".to_owned(),
        format!("--oci-layout-path={FOLDER}/out/image"),
        format!("--secret=id=word,src={FOLDER}/context/word"),
    ];
    let finished = place.execute(runtimes, &folder, &arguments);
    match finished.code {
        0 => Ok(Image::layout(&folder.join("out/image"))),
        code => Err(format!("exit code {code}\n{}", finished.all())),
    }
}

/// A folder for one call, which goes with the others: of an image, layers are read when they are compared.
fn folder_in(work: &Path) -> PathBuf {
    tempfile::Builder::new().prefix("cell-").tempdir_in(work).unwrap().keep()
}

/// What `executor doctor` says there.
fn examine(runtimes: &Runtimes, work: &Path, place: &Place) -> Value {
    let folder = folder_in(work);
    let finished = place.execute(runtimes, &folder, &["doctor".to_owned(), "--format=json".to_owned()]);
    let left: Vec<_> = std::fs::read_dir(folder.join("state")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{}: the doctor left {left:?}", place.name);
    let report: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}: {}", place.name, finished.all()));
    let runs = verdict(&report, "run").is_none();
    assert_eq!(finished.code, i32::from(!runs), "{}: {}", place.name, finished.all());
    report
}

/// Why something cannot be had, in the doctor's words.
fn verdict<'a>(report: &'a Value, ability: &str) -> Option<&'a str> {
    let abilities = report["abilities"].as_array().unwrap();
    let found =
        abilities.iter().find(|it| it["name"] == ability).unwrap_or_else(|| panic!("no {ability}: {report}"));
    let text = found["text"].as_str().unwrap();
    // What it is about stands before the reason.
    (found["state"] != "ok").then(|| text.split_once(": ").map_or(text, |(_, reason)| reason))
}

/// Holds what was built against what the doctor says, and against the image that the first place has.
fn row<'a>(
    place: usize,
    built: &BTreeMap<(usize, usize), Built>,
    report: &Value,
    wrong: &mut Vec<String>,
) -> Row<'a> {
    let name = PLACES[place].name;
    let mut failures = Vec::new();
    for (number, build) in BUILDS.iter().enumerate() {
        let cell = format!("{name}: {}", build.name);
        let why_not = build.needs.iter().find_map(|ability| verdict(report, ability));
        match (&built[&(place, number)], why_not) {
            (Ok(image), None) => wrong.extend(differing(&cell, built[&(0, number)].as_ref(), image)),
            (Err(_), Some(reason)) => failures.push((number, reason.to_owned())),
            (Ok(_), Some(reason)) => wrong.push(format!("{cell} succeeds, and the doctor says: {reason}")),
            (Err(printed), None) => {
                wrong.push(format!("{cell} fails, and the doctor finds nothing:\n{printed}"))
            }
        }
    }
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let overlay = if report["overlay"] == true { ", overlay" } else { "" };
    let lines = |value: &Value| value.as_array().unwrap().iter().map(text).collect();
    let advice = report["advice"].as_array().unwrap();
    Row {
        place: &PLACES[place],
        isolation: text(&report["isolation"]) + overlay,
        failures,
        advice: advice.iter().map(|it| (text(&it["gives"]), lines(&it["pod"]))).collect(),
    }
}

fn differing(cell: &str, reference: Result<&Image, &String>, image: &Image) -> Option<String> {
    let reference = match reference {
        Ok(reference) => reference,
        Err(printed) => return Some(format!("{cell}: cannot be built on the machine:\n{printed}")),
    };
    let differences = compare(reference, image);
    let text = || format!("{cell} is another image:\n{}", report(&differences, "a machine", "here", 10));
    (!differences.is_empty()).then(text)
}
