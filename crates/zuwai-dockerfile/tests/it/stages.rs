//! Stages by name and number.

use zuwai_dockerfile::{Dockerfile, parse};

fn dockerfile() -> Dockerfile {
    parse("Dockerfile", b"FROM a AS Build\nFROM b\nFROM c AS test\nFROM build AS test\n").unwrap()
}

#[test]
fn stages_are_found_by_name_without_case_and_by_number() {
    let dockerfile = dockerfile();
    let index = |name: &str| dockerfile.stage(name).map(|stage| stage.index);
    assert_eq!(index("build"), Some(0));
    assert_eq!(index("BUILD"), Some(0));
    assert_eq!(index("1"), Some(1));
    assert_eq!(index("3"), Some(3));
    assert_eq!(index("4"), None);
    assert_eq!(index("-1"), None);
    assert_eq!(index("none"), None);
}

#[test]
fn of_two_stages_with_one_name_the_last_counts_that_a_from_line_sees() {
    let dockerfile = dockerfile();
    assert_eq!(dockerfile.stage_named("test", 4).map(|stage| stage.index), Some(3));
    assert_eq!(dockerfile.stage_named("test", 3).map(|stage| stage.index), Some(2));
    assert_eq!(dockerfile.stage_named("test", 2).map(|stage| stage.index), None);
}

#[test]
fn a_wrong_name_gets_the_nearest_stage_as_a_suggestion() {
    assert_eq!(dockerfile().stage_suggestion("biuld"), Some("build"));
    assert_eq!(dockerfile().stage_suggestion("nginx"), None);
}
