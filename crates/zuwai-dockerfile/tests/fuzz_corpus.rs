//! The kept corpora of the fuzz targets `parse`, `expand` and `mount`, checked as fuzzing checks them; see
//! docs/fuzzing.md.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, on files of its own project"
)]
#![allow(clippy::cast_possible_truncation, reason = "spans are 32 bits wide")]

#[path = "../../../fuzz/src/expand.rs"]
mod expand;
#[path = "../../../fuzz/src/input.rs"]
mod input;
#[path = "../../../fuzz/src/mount.rs"]
mod mount;
#[path = "../../../fuzz/src/parse.rs"]
mod parse;
#[path = "../../../fuzz/src/spans.rs"]
mod spans;

fn check_corpus(target: &str, check: fn(&[u8])) {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        check(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 50, "only {count} inputs");
}

#[test]
fn parse_holds_for_its_corpus() {
    check_corpus("parse", parse::check);
}

#[test]
fn expand_holds_for_its_corpus() {
    check_corpus("expand", expand::check);
}

#[test]
fn mount_holds_for_its_corpus() {
    check_corpus("mount", mount::check);
}
