//! What a context holds after its ignore file, and the digest of that.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;
use zuwai_context::scan::{Entry, Totals, entries, excluded, subtree, totals};
use zuwai_context::{Context, digest};
use zuwai_layer::{Digest, ImagePath};
use zuwai_rootfs::KeepOut;

/// Few and many, to be compared.
const THREADS: [usize; 2] = [1, 4];

fn make(ignore: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    for name in ["a/b/f", "a/b/g.log", "a/c", "d/x", "d/y", "n/m/deep/f", "top.md", "vendor/n/f", "vendor/ok"]
    {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    }
    symlink("b/f", directory.path().join("a/link")).unwrap();
    std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
    if !ignore.is_empty() {
        fs::write(directory.path().join(".dockerignore"), ignore).unwrap();
    }
    directory
}

fn open(directory: &Path) -> Context {
    Context::open(directory, None, KeepOut::default()).unwrap()
}

fn paths(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.path.as_bytes().to_vec()).unwrap()).collect()
}

/// As Docker Engine 28.5 sends them.
#[test]
fn what_is_not_excluded_is_there_with_the_directories_above() {
    for (ignore, expected) in [
        ("*\n!a/b/f\n", "a a/b a/b/f"),
        ("*\n!n\nn/m\n", "n"),
        ("*\n!**/ok\n", "vendor vendor/ok"),
        ("d\n!d/x\nd\n**/*.log\na\nn\nvendor\n", ".dockerignore d d/x top.md"),
        ("**/n\n!vendor\na\nd\n*.md\n", ".dockerignore vendor vendor/ok"),
        ("**\n", ""),
    ] {
        let directory = make(ignore);
        let context = open(directory.path());
        for threads in THREADS {
            let found = entries(&context, threads).unwrap();
            assert_eq!(paths(&found).join(" "), expected, "{ignore:?}");
            assert_eq!(totals(&context, threads).unwrap(), Totals::of(&found), "{ignore:?}");
        }
    }
}

#[test]
fn totals_count_by_type() {
    let directory = make("");
    let counted = totals(&open(directory.path()), 2).unwrap();
    let expected = Totals { files: 9, bytes: 58, directories: 8, links: 1, others: 0 };
    assert_eq!(counted, expected);
}

#[test]
fn excluded_paths_are_told_with_the_line() {
    let directory = make("# none\nd\n**/*.log\n\n!d/x\nn\n!n/none\nvendor/n\n");
    for threads in THREADS {
        let found: Vec<String> = excluded(&open(directory.path()), threads)
            .unwrap()
            .iter()
            .map(|found| {
                let line = found.line.as_ref().unwrap();
                let slash = if found.is_directory { "/" } else { "" };
                format!("{}{slash} {}:{}", found.path, line.number, String::from_utf8_lossy(&line.text))
            })
            .collect();
        let expected = ["/a/b/g.log 3:**/*.log", "/d/y 2:d", "/n/ 6:n", "/n/m/ 6:n", "/vendor/n/ 8:vendor/n"];
        assert_eq!(found, expected);
    }
}

#[test]
fn a_subtree_is_a_directory_with_all_in_it() {
    let directory = make("");
    let all = entries(&open(directory.path()), 2).unwrap();
    for (path, expected) in [("a/b", "a/b a/b/f a/b/g.log"), ("top.md", "top.md"), ("missing", "")] {
        assert_eq!(paths(subtree(&all, &ImagePath::new(path).unwrap())).join(" "), expected);
    }
    assert_eq!(subtree(&all, &ImagePath::root()).len(), all.len());
}

fn digest_of(directory: &Path, threads: usize) -> Digest {
    let context = open(directory);
    let entries = entries(&context, threads).unwrap();
    digest::digest(&context, &entries, (0, 0), threads).unwrap()
}

#[test]
fn the_digest_is_pinned_and_the_same_on_any_number_of_threads() {
    let directory = make("**/*.log\n");
    fs::remove_file(directory.path().join(".dockerignore")).unwrap();
    for name in ["a", "a/b", "d", "n", "n/m", "n/m/deep", "vendor", "vendor/n"] {
        fs::set_permissions(directory.path().join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    for threads in [1, 2, 8] {
        assert_eq!(digest_of(directory.path(), threads).to_string(), PINNED);
    }
}

const PINNED: &str = "sha256:aa39e3d4df264ac831be1a3aba24172ce2dbf2d18a9a9f9073684fe77c243cb9";

#[test]
fn the_digest_changes_with_what_copy_would_write_and_with_nothing_else() {
    let directory = make("*.md\n");
    let at = |name: &str| directory.path().join(name);
    let mut before = digest_of(directory.path(), 2);
    let mut changed = |expected: bool, what: &str| {
        let after = digest_of(directory.path(), 2);
        assert_eq!(after != before, expected, "{what}");
        before = after;
    };
    let time = fs::File::options().write(true).open(at("a/c")).unwrap();
    time.set_modified(std::time::UNIX_EPOCH).unwrap();
    changed(false, "a time");
    fs::write(at("top.md"), "other").unwrap();
    changed(false, "an excluded file");
    fs::write(at("a/c"), "A/c").unwrap();
    changed(true, "content");
    fs::set_permissions(at("a/c"), PermissionsExt::from_mode(0o600)).unwrap();
    changed(true, "a mode");
    fs::remove_file(at("a/link")).unwrap();
    symlink("b/g", at("a/link")).unwrap();
    changed(true, "a link's target");
    fs::rename(at("d/x"), at("d/z")).unwrap();
    changed(true, "a name");
    fs::create_dir(at("empty")).unwrap();
    changed(true, "an empty directory");
}

#[test]
fn a_file_that_is_gone_is_an_error_that_names_it() {
    let directory = make("");
    let context = open(directory.path());
    let all = entries(&context, 2).unwrap();
    fs::remove_file(directory.path().join("a/c")).unwrap();
    let error = digest::digest(&context, &all, (0, 0), 2).unwrap_err();
    assert_eq!(error.to_string(), "/a/c does not exist");
}
