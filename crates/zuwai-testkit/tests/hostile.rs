//! Images that are made to harm what is outside of the root, built in every way: nothing outside changes, nothing hangs, and what
//! comes of it is BuildKit's image or an error that says why.
//!
//! `ZUWAI_ATTACK=part,of,names` takes only some attacks.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::disallowed_methods)]

#[path = "hostile/attack.rs"]
mod attack;
#[path = "hostile/bombs.rs"]
mod bombs;
#[path = "hostile/canary.rs"]
mod canary;
#[path = "hostile/links.rs"]
mod links;
#[path = "hostile/names.rs"]
mod names;
#[path = "hostile/nodes.rs"]
mod nodes;
#[path = "hostile/tar.rs"]
mod tar;
#[path = "hostile/ways.rs"]
mod ways;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use attack::{Attack, Expect};
use ways::{Built, Way};
use zuwai_testkit::base::Base;
use zuwai_testkit::command::{must, must_run, program};
use zuwai_testkit::compare::{compare, report};
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{Need, ORACLE, PODMAN, needs};
use zuwai_testkit::oracle::Oracle;
use zuwai_testkit::podman::Podman;
use zuwai_testkit::private;
use zuwai_testkit::registry::Registry;

#[test]
fn hostile_images_harm_nothing_on_this_machine() {
    every_attack(Way::Machine, private::ROOT);
}

#[test]
fn hostile_images_harm_nothing_of_an_ordinary_user() {
    every_attack(Way::User, private::USER);
}

#[test]
fn hostile_images_harm_nothing_in_kubernetes_default_container() {
    every_attack(Way::Kubernetes, PODMAN);
}

#[test]
fn hostile_images_harm_nothing_where_they_are_built_in_place() {
    every_attack(Way::Docker, PODMAN);
}

/// An attack that is ready: its image is in the registry, its Dockerfile and context in `work/case`.
struct Ready {
    attack: Attack,
    work: PathBuf,
    buildkit: OnceLock<Result<Image, String>>,
}

/// What all ways share.
struct Suite {
    attacks: Vec<OnceLock<Ready>>,
    registry: Registry,
}

impl Suite {
    fn shared() -> &'static Self {
        static SUITE: OnceLock<Suite> = OnceLock::new();
        SUITE.get_or_init(|| {
            let registry = Registry::plain();
            Base::Busybox.push(&registry);
            Self { attacks: attacks().iter().map(|_| OnceLock::new()).collect(), registry }
        })
    }

    fn ready(&self, at: usize) -> Option<&Ready> {
        let ready = self.attacks.get(at)?.get_or_init(|| {
            let attack = attacks().swap_remove(at);
            let work = Oracle::shared().folder().join("hostile").join(attack.name);
            let context = work.join("case/context");
            std::fs::create_dir_all(&context).unwrap();
            attack.push(&self.registry, &work);
            std::fs::write(context.join("f"), "from the context\n").unwrap();
            must_run(program("sh").args(["-e", "-c", attack.setup]).current_dir(&context));
            let image = self.registry.reference(&format!("hostile/{}", attack.name));
            let dockerfile = attack
                .dockerfile
                .replace("HOSTILE", &image)
                .replace("BUSYBOX", &self.registry.reference("busybox"));
            std::fs::write(work.join("case/Dockerfile"), dockerfile).unwrap();
            Ready { attack, work, buildkit: OnceLock::new() }
        });
        Some(ready)
    }
}

fn attacks() -> Vec<Attack> {
    let wanted = std::env::var("ZUWAI_ATTACK").unwrap_or_default();
    let mut attacks = links::attacks();
    attacks.extend(names::attacks());
    attacks.extend(nodes::attacks());
    attacks.extend(bombs::attacks());
    attacks.retain(|attack| wanted.split(',').any(|wanted| attack.name.contains(wanted)));
    attacks
}

fn every_attack(way: Way, own_needs: &[Need]) {
    if !needs(ORACLE) || !needs(own_needs) || !needs(&[Need::Program("busybox"), Need::Program("timeout")]) {
        return;
    }
    let suite = Suite::shared();
    let busybox = match way {
        Way::Machine | Way::User => String::new(),
        Way::Kubernetes | Way::Docker => Podman::shared().pull(&suite.registry, "busybox"),
    };
    let (next, isolated, failures) =
        (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(ready) = suite.ready(next.fetch_add(1, Ordering::Relaxed)) {
                    if ready.attack.room.is_some() && !way.takes_room() {
                        eprintln!(
                            "{way:?}: {} left out: it needs a file system with little room",
                            ready.attack.name
                        );
                        continue;
                    }
                    let built = way.build(&ready.work, ready.attack.room, &busybox);
                    isolated.fetch_or(built.text.contains(way.isolation()), Ordering::Relaxed);
                    let problems = problems(way, ready, &built);
                    must("rm", ["-rf".to_owned(), ready.work.join(format!("{way:?}")).display().to_string()]);
                    if !problems.is_empty() {
                        failures.lock().unwrap().insert(ready.attack.name, problems);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    for (name, problems) in &failures {
        eprintln!("--- {way:?} {name}\n  {}", problems.join("\n  "));
    }
    assert!(isolated.into_inner(), "no build said {:?}", way.isolation());
    let names: Vec<_> = failures.keys().collect();
    assert!(failures.is_empty(), "{way:?}: {} of {} attacks: {names:?}", failures.len(), suite.attacks.len());
}

/// What is wrong with what came of an attack.
fn problems(way: Way, ready: &Ready, built: &Built) -> Vec<String> {
    let mut problems: Vec<String> =
        built.changed.iter().take(10).map(|line| format!("outside: {line}")).collect();
    let said = built
        .text
        .lines()
        .rev()
        .take(12)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
        .join("\n    ");
    let mut problem = |text: String| problems.push(format!("{text}\n    {said}"));
    if built.text.contains("panicked") {
        problem("it panicked".to_owned());
    }
    if built.text.contains("Isolation: ") && !built.text.contains(way.isolation()) {
        problem(format!("no {:?}", way.isolation()));
    }
    match (ready.attack.expected(way), built.code) {
        (_, 124 | 137) => problem("it hung".to_owned()),
        (Expect::Same, 0) => problems.extend(differences(ready, built)),
        (Expect::Builds | Expect::Ends, 0) => {}
        (Expect::Fails(_), 0) => problem("the build succeeded".to_owned()),
        (Expect::Same | Expect::Builds, code) => problem(format!("the build failed with {code}")),
        (Expect::Ends | Expect::Fails(_), code) if code != 1 => problem(format!("exit code {code}")),
        (Expect::Ends, _) => {}
        (Expect::Fails(texts), _) => {
            let missing: Vec<_> = texts.iter().filter(|text| !built.text.contains(**text)).collect();
            if !missing.is_empty() {
                problem(format!("the error lacks {missing:?}"));
            }
        }
    }
    problems
}

fn differences(ready: &Ready, built: &Built) -> Vec<String> {
    let theirs = ready.buildkit.get_or_init(|| {
        let (case, output) = (ready.work.join("case"), ready.work.join("buildkit"));
        Oracle::shared().build(&case.join("context"), &case.join("Dockerfile"), &[], &output)
    });
    match (theirs, &built.image) {
        (Err(error), _) => vec![format!("BuildKit does not build it: {error}")],
        (Ok(_), None) => vec!["there is no image".to_owned()],
        (Ok(theirs), Some(ours)) => {
            let differences = compare(theirs, ours);
            if differences.is_empty() {
                Vec::new()
            } else {
                vec![report(&differences, "BuildKit", "Zuwai", 25)]
            }
        }
    }
}
