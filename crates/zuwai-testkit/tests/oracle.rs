//! The oracle and the comparer, before anything of Zuwai is compared: the same build twice is equal, another one is not.

// Stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use zuwai_testkit::base::Base;
use zuwai_testkit::compare::compare;
use zuwai_testkit::image::Image;
use zuwai_testkit::need::{ORACLE, needs};
use zuwai_testkit::oracle::Oracle;
use zuwai_testkit::registry::Registry;

fn build(oracle: &Oracle, dockerfile: &str, dir: &Path, name: &str) -> Image {
    let file = dir.join(format!("{name}.Dockerfile"));
    std::fs::write(&file, dockerfile).unwrap();
    oracle.build(dir, &file, &["--no-cache".to_owned()], &dir.join(name)).unwrap()
}

fn folder(oracle: &Oracle) -> PathBuf {
    let dir = oracle.folder().join("self");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn same_build_is_equal_and_a_changed_one_is_not() {
    if !needs(ORACLE) {
        return;
    }
    let (oracle, registry) = (Oracle::shared(), Registry::plain());
    Base::Busybox.push(&registry);
    let dir = folder(oracle);
    let from = registry.reference("busybox");
    let text = format!(
        "FROM {from}\nENV A=1\nRUN echo hello > /greeting && chmod 4711 /greeting && ln /greeting /second\n"
    );
    let first = build(oracle, &text, &dir, "first");
    assert_eq!(compare(&first, &build(oracle, &text, &dir, "second")), []);
    assert_eq!(first.problems(first.layers.len()), Vec::<String>::new());

    let changed = text.replace("4711", "711").replace("A=1", "A=2").replace("ln /g", "cp /g");
    let places: Vec<_> = compare(&first, &build(oracle, &changed, &dir, "third"))
        .into_iter()
        .map(|difference| difference.place)
        .collect();
    for expected in ["config.config.Env", "/greeting mode", "/greeting hard link with", "/second mode"] {
        assert!(places.iter().any(|place| place == expected), "{expected} not in {places:#?}");
    }
}
