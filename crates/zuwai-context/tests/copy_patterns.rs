//! What `COPY --exclude` and `COPY --parents` copy, as a real BuildKit did it: `--exclude` the Docker Engine 28.5, `--parents`
//! its frontend of the labs channel; that a source without wildcards has to be there is the rule of frontend 1.20.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use tempfile::TempDir;
use zuwai_context::Patterns;
use zuwai_context::patterns::only;
use zuwai_rootfs::copy::{CopyOptions, ModeChange, SourceTree, copy};
use zuwai_rootfs::path_filter::PathFilter;
use zuwai_rootfs::{KeepOut, Root};

fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
}

/// A directory of sources.
fn sources() -> TempDir {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (name, bits) in [
        ("d", 0o755),
        ("d/e", 0o755),
        ("d/sub", 0o750),
        ("d/sub/deep", 0o755),
        ("p", 0o700),
        ("p/q", 0o2750),
        ("p/q/r", 0o755),
        ("p2", 0o755),
        ("p2/q", 0o711),
    ] {
        std::fs::create_dir(at(name)).unwrap();
        mode(&at(name), bits);
    }
    for name in [
        "a.txt",
        "b.md",
        "d/1.txt",
        "d/2.md",
        "d/sub/3.txt",
        "d/sub/deep/4.txt",
        "d/sub/deep/5.md",
        "p/f.txt",
        "p/q/f.txt",
        "p/q/r/f.txt",
        "p2/q/g.txt",
    ] {
        std::fs::write(at(name), name).unwrap();
        mode(&at(name), 0o644);
    }
    symlink("p", at("link")).unwrap();
    symlink("a.txt", at("alink")).unwrap();
    directory
}

/// One `COPY` line without the instruction: flags, sources and destination.
fn run(context: &Path, target: &Path, line: &str) -> Result<(), String> {
    let (flags, words): (Vec<&str>, Vec<&str>) = line.split(' ').partition(|word| word.starts_with("--"));
    let excludes: Vec<&str> = flags.iter().filter_map(|flag| flag.strip_prefix("--exclude=")).collect();
    let exclude = Patterns::new(&excludes).unwrap();
    let chmod = flags.iter().find_map(|flag| flag.strip_prefix("--chmod="));
    let chmod = chmod.map(|text| ModeChange::parse(text).unwrap());
    let options = CopyOptions {
        mode: chmod.as_ref(),
        exclude: (!excludes.is_empty()).then_some(&exclude as &dyn PathFilter),
        parents: flags.contains(&"--parents").then_some(&only),
        ..CopyOptions::default()
    };
    let (destination, sources) = words.split_last().unwrap();
    let open = |path: &Path| Root::open(path.to_owned(), KeepOut::default()).unwrap();
    let (from, to) = (open(context), open(target));
    // The owner of what this process makes, root or not.
    let source = SourceTree { owner: None, ..SourceTree::stage(&from) };
    let me = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(target).unwrap());
    let group = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(target).unwrap());
    let options = CopyOptions { owner: Some((me, group)), ..options };
    copy(&to, source, sources, destination.as_bytes(), &options).map(drop).map_err(|error| error.to_string())
}

/// Every path below, sorted: kind, mode and path.
fn listing(top: &Path) -> Vec<String> {
    fn list(top: &Path, directory: &Path, lines: &mut Vec<String>) {
        let mut paths: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let metadata = path.symlink_metadata().unwrap();
            let kind = if metadata.is_dir() {
                'd'
            } else if metadata.is_symlink() {
                'l'
            } else {
                '-'
            };
            let bits = metadata.permissions().mode() & 0o7777;
            lines.push(format!("{kind} {bits:o} {}", path.strip_prefix(top).unwrap().display()));
            if kind == 'd' {
                list(top, &path, lines);
            }
        }
    }
    let mut lines = Vec::new();
    list(top, top, &mut lines);
    lines
}

fn check(cases: &[(&[&str], &[&str])]) {
    let context = sources();
    for (lines, expected) in cases {
        let target = TempDir::new().unwrap();
        for line in *lines {
            run(context.path(), target.path(), line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        assert_eq!(listing(target.path()), *expected, "{lines:?}");
    }
}

#[test]
fn excludes_count_from_the_directory_that_is_copied() {
    check(&[
        (
            &["--exclude=*.txt d /x"],
            &[
                "d 755 x",
                "- 644 x/2.md",
                "d 755 x/e",
                "d 750 x/sub",
                "- 644 x/sub/3.txt",
                "d 755 x/sub/deep",
                "- 644 x/sub/deep/4.txt",
                "- 644 x/sub/deep/5.md",
            ],
        ),
        (
            &["--exclude=**/*.txt d /x"],
            &[
                "d 755 x",
                "- 644 x/2.md",
                "d 755 x/e",
                "d 750 x/sub",
                "d 755 x/sub/deep",
                "- 644 x/sub/deep/5.md",
            ],
        ),
        (
            &["--exclude=d/1.txt --exclude=e --exclude=sub/ d /x"],
            &["d 755 x", "- 644 x/1.txt", "- 644 x/2.md"],
        ),
        (&["--exclude=/e --exclude=sub --exclude=*.* d /x"], &["d 755 x", "d 755 x/e"]),
        (
            &["--exclude=./1.txt --exclude=../d/2.md --exclude=sub d /x"],
            &["d 755 x", "- 644 x/2.md", "d 755 x/e"],
        ),
        (&["--exclude=** d /x"], &["d 755 x"]),
    ]);
}

#[test]
fn excludes_do_not_concern_files_named_or_matched() {
    check(&[
        (&["--exclude=*.txt a.txt b.md /x/"], &["d 755 x", "- 644 x/a.txt", "- 644 x/b.md"]),
        (&["--exclude=*.txt *.txt *.md /x/"], &["d 755 x", "- 644 x/a.txt", "- 644 x/b.md"]),
        (&["--exclude=*.txt a.txt /x"], &["- 644 x"]),
        (
            &["--exclude=1.txt --exclude=sub --exclude=e [ad]* /x/"],
            &["d 755 x", "- 644 x/2.md", "- 644 x/a.txt", "- 644 x/alink"],
        ),
    ]);
}

#[test]
fn exceptions_bring_their_directories() {
    let kept = &["d 755 x", "- 644 x/1.txt", "- 644 x/2.md", "d 755 x/e", "d 750 x/sub", "d 755 x/sub/deep"];
    let deep = &["- 644 x/sub/deep/4.txt", "- 644 x/sub/deep/5.md"];
    let all = [&kept[..], deep].concat();
    check(&[
        (&["--exclude=sub --exclude=!sub/deep d /x"], &all),
        (&["--exclude=sub --exclude=!sub/nothing --exclude=e d /x"], &kept[..3]),
        (
            &["--exclude=** --exclude=!**/*.md d /x"],
            &["d 755 x", "- 644 x/2.md", "d 750 x/sub", "d 755 x/sub/deep", deep[1]],
        ),
        // One that is made gets all of the source's metadata, one that is there its mode, without --chmod.
        (
            &["--chmod=a-w --exclude=** --exclude=!sub/3.txt d /x"],
            &["d 755 x", "d 550 x/sub", "- 444 x/sub/3.txt"],
        ),
        (
            &["--chmod=711 a.txt /x/sub/y", "--chmod=600 --exclude=** --exclude=!sub/3.txt d /x"],
            &["d 711 x", "d 750 x/sub", "- 600 x/sub/3.txt", "- 711 x/sub/y"],
        ),
    ]);
}

#[test]
fn parents_are_kept_below_the_pivot() {
    let q = &["d 755 x", "d 2750 x/q", "- 644 x/q/f.txt", "d 755 x/q/r", "- 644 x/q/r/f.txt"];
    check(&[
        (&["--parents p/q/f.txt /x"], &["d 755 x", "d 700 x/p", "d 2750 x/p/q", "- 644 x/p/q/f.txt"]),
        (&["--parents p/./q/f.txt /x/"], &q[..3]),
        (&["--parents p/./q /x/"], q),
        (&["--parents /p/./q/. /x"], q),
        (&["--parents p/./q/./ /x"], q),
        (&["--parents ./p/./*/f.txt /x"], &q[..3]),
        (&["--parents link/./q/f.txt /x"], &q[..3]),
        (&["--parents p*/./q/*.txt /x"], &["d 755 x", "d 711 x/q", "- 644 x/q/f.txt", "- 644 x/q/g.txt"]),
        (&["--parents ./b.md ../a.txt /x"], &["d 755 x", "- 644 x/a.txt", "- 644 x/b.md"]),
        (&["--parents alink link /x"], &["d 755 x", "l 777 x/alink", "l 777 x/link"]),
        (
            &["--parents **/f.txt /x"],
            &[
                "d 755 x",
                "d 700 x/p",
                "- 644 x/p/f.txt",
                "d 2750 x/p/q",
                "- 644 x/p/q/f.txt",
                "d 755 x/p/q/r",
                "- 644 x/p/q/r/f.txt",
            ],
        ),
        (&["--parents p/./**/r /x"], &["d 755 x", "d 2750 x/q", "d 755 x/q/r", "- 644 x/q/r/f.txt"]),
        (&["--parents p/./*/r/f.txt /x"], &["d 755 x", "d 2750 x/q", "d 755 x/q/r", "- 644 x/q/r/f.txt"]),
    ]);
}

#[test]
fn parents_meet_what_is_there_and_other_flags() {
    check(&[
        (
            &["--parents --chmod=4711 p/q/r /x/y"],
            &[
                "d 711 x",
                "d 711 x/y",
                "d 4711 x/y/p",
                "d 4711 x/y/p/q",
                "d 4711 x/y/p/q/r",
                "- 4711 x/y/p/q/r/f.txt",
            ],
        ),
        (
            &["--parents --chmod=u+w,g-w p/q/r /x"],
            &["d 755 x", "d 700 x/p", "d 2750 x/p/q", "d 755 x/p/q/r", "- 644 x/p/q/r/f.txt"],
        ),
        (
            &["--parents --exclude=**/r --exclude=*.txt p/q a.txt p/f.txt /x"],
            &["d 755 x", "d 700 x/p", "- 644 x/p/f.txt", "d 2750 x/p/q", "- 644 x/p/q/f.txt"],
        ),
        (
            &["--chmod=777 a.txt /x/p/q/y", "--parents --chmod=600 p/q/f.txt /x"],
            &["d 777 x", "d 700 x/p", "d 2750 x/p/q", "- 600 x/p/q/f.txt", "- 777 x/p/q/y"],
        ),
    ]);
}

#[test]
fn parents_of_nothing_make_the_destination_alone() {
    check(&[
        (&["--parents . /x"], &["d 755 x"]),
        (&["--parents p/./ /x"], &["d 755 x"]),
        (&["--parents **/nothing n*/z /x/y"], &["d 755 x", "d 755 x/y"]),
        (&["--parents link/*.txt /x"], &["d 755 x"]),
        (&["--parents n*/./z /x/y"], &[]),
        (&["--parents *.txt/./b /x/"], &["d 755 x", "- 644 x/a.txt"]),
    ]);
}

#[test]
fn sources_of_parents_without_wildcards_have_to_be_there() {
    let context = sources();
    for (line, expected) in [
        ("--parents nothing /x", "\"/nothing\": not found"),
        ("--parents p/nothing/z /x", "\"/p/nothing\": not found"),
        ("--parents p/./nothing /x", "\"/p/nothing\": not found"),
        ("--parents nothing/./z* /x", "\"/nothing\": not found"),
        ("--parents a.txt/./b /x", "\"/a.txt/b\": not found"),
        ("--parents a.txt nothing /x", "\"/nothing\": not found"),
        (
            "--parents link/f.txt /x",
            "\"/link/f.txt\": not found: --parents does not follow /link, a symbolic link",
        ),
        ("--parents p/[ /x", "\"p/[\" is not a valid wildcard"),
    ] {
        let target = TempDir::new().unwrap();
        let error = run(context.path(), target.path(), line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
        assert_eq!(listing(target.path()), [""; 0], "{line}");
    }
}
