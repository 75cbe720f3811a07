//! The kept corpus of the fuzz target `dockerignore`, checked as fuzzing checks it; see docs/fuzzing.md.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, on files of its own project"
)]

#[path = "../../../fuzz/src/dockerignore.rs"]
mod dockerignore;
#[path = "../../../fuzz/src/moby.rs"]
mod moby;

#[test]
fn dockerignore_holds_for_its_corpus() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/dockerignore");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        dockerignore::check(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 50, "only {count} inputs");
}
