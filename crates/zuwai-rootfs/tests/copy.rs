//! What `COPY` makes of each case, as a real BuildKit (Docker Engine 28.5, buildx 0.29) did it.
//!
//! Owners and devices need root; without it these tests say that they are skipped.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed; skipped tests say so"
)]

mod tree;

use tree::{Lab, SKIPPED};
use zuwai_layer::ImagePath;
use zuwai_rootfs::copy::{CopyOptions, InlineFile, ModeChange, Source, SourceTree, copy_all, copy_inline};

/// A `COPY` and what the image's tree is after it.
struct Case {
    name: &'static str,
    /// `COPY` lines, each with its flags.
    copies: &'static [&'static str],
    /// The tree, or the error.
    expected: Result<&'static [&'static str], &'static str>,
}

const fn ok(name: &'static str, copies: &'static [&'static str], tree: &'static [&'static str]) -> Case {
    Case { name, copies, expected: Ok(tree) }
}

const fn error(name: &'static str, copies: &'static [&'static str], error: &'static str) -> Case {
    Case { name, copies, expected: Err(error) }
}

const DIR: &[&str] = &[
    "d 0755 0:0 old x",
    "l 0777 0:0 x/dangling -> /abs/none",
    "- 0644 0:0 old x/f 2",
    "- 0644 0:0 old x/f-hard 2",
    "l 0777 0:0 x/link -> f",
    "d 0700 0:0 old x/sub {user.s}",
    "- 0666 0:0 old x/sub/g",
];

const CASES: &[Case] = &[
    ok(
        "parents are made",
        &["a.txt /new/parent/a"],
        &["d 0755 0:0 new", "d 0755 0:0 new/parent", "- 4755 0:0 old new/parent/a {user.k}"],
    ),
    ok(
        "several files into a directory",
        &["a.txt b.txt /t/"],
        &["d 0755 0:0 t", "- 4755 0:0 old t/a.txt {user.k}", "- 0640 0:0 old t/b.txt"],
    ),
    ok("several files onto one name: the last stays", &["a.txt b.txt /x"], &["- 0640 0:0 old x"]),
    ok("the destination of a directory gets its time, not its mode or attributes", &["dir /x"], DIR),
    ok("a slash behind the destination changes nothing for a directory", &["dir /x/"], DIR),
    ok("a slash behind the source changes nothing", &["dir/ /x"], DIR),
    ok("a dot behind the source changes nothing", &["dir/. /x"], DIR),
    ok("the source is cleaned by name", &["dir/sub/.. /x"], DIR),
    ok("a link to a directory is followed", &["dirlink /x"], DIR),
    ok("an absolute link is followed inside the source", &["abslink /x"], DIR),
    ok("a matched link to a directory is followed", &["many/r* /x/"], DIR),
    ok("a link on the way is followed", &["dirlink/sub /x"], &["d 0755 0:0 old x", "- 0666 0:0 old x/g"]),
    ok(
        "a link to a file keeps its own name",
        &["filelink /x/"],
        &["d 0755 0:0 x", "- 4755 0:0 old x/filelink {user.k}"],
    ),
    ok("a link with too many parents is clamped", &["uplink /x"], &["- 4755 0:0 old x {user.k}"]),
    ok("a source with too many parents is clamped", &["../../a.txt /x"], &["- 4755 0:0 old x {user.k}"]),
    ok("a slash behind a file source changes nothing", &["a.txt/ /x"], &["- 4755 0:0 old x {user.k}"]),
    ok("an empty directory", &["empty /x"], &["d 0755 0:0 old x"]),
    ok("a pipe", &["fifo /x"], &["p 0644 0:0 x"]),
    ok("a device", &["dev /x"], &["c 0644 0:0 x 1,3"]),
    ok("a socket is left out", &["sock /x"], &[]),
    ok(
        "a number counts for parents without its special bits",
        &["--chmod=4711 --chown=7:8 dir /x/y"],
        &[
            "d 0711 7:8 x",
            "d 0711 7:8 old x/y",
            "l 0777 7:8 x/y/dangling -> /abs/none",
            "- 4711 7:8 old x/y/f 2",
            "- 4711 7:8 old x/y/f-hard 2",
            "l 0777 7:8 x/y/link -> f",
            "d 4711 7:8 old x/y/sub {user.s}",
            "- 4711 7:8 old x/y/sub/g",
        ],
    ),
    ok(
        "a symbolic mode counts for what is copied only",
        &["--chmod=a-w,+X dir/sub /x/y", "--chmod=+t,u+s b.txt /p/q"],
        &["d 0755 0:0 p", "- 5640 0:0 old p/q", "d 0755 0:0 x", "d 0755 0:0 old x/y", "- 0444 0:0 old x/y/g"],
    ),
    ok(
        "mode zero",
        &["--chmod=0 dir/sub /x/y"],
        &["d 0000 0:0 x", "d 0000 0:0 old x/y", "- 0000 0:0 old x/y/g"],
    ),
    ok(
        "a destination that is there keeps owner and mode, directories in it do not",
        &["--chown=5:6 --chmod=0711 dir /x", "--chown=8:8 --chmod=0777 dir /x"],
        &[
            "d 0711 5:6 old x",
            "l 0777 8:8 x/dangling -> /abs/none",
            "- 0777 8:8 old x/f 2",
            "- 0777 8:8 old x/f-hard 2",
            "l 0777 8:8 x/link -> f",
            "d 0777 8:8 old x/sub {user.s}",
            "- 0777 8:8 old x/sub/g",
        ],
    ),
    ok(
        "a file goes into a directory that is there",
        &["dir/sub /x", "b.txt /x"],
        &["d 0755 0:0 x", "- 0640 0:0 old x/b.txt", "- 0666 0:0 old x/g"],
    ),
    ok(
        "a file replaces one name of a hard link",
        &["dir /x", "b.txt /x/f-hard"],
        &[
            "d 0755 0:0 x",
            "l 0777 0:0 x/dangling -> /abs/none",
            "- 0644 0:0 old x/f",
            "- 0640 0:0 old x/f-hard",
            "l 0777 0:0 x/link -> f",
            "d 0700 0:0 old x/sub {user.s}",
            "- 0666 0:0 old x/sub/g",
        ],
    ),
    ok("owner of a replaced file", &["a.txt /x", "--chown=4:4 b.txt /x"], &["- 0640 4:4 old x"]),
    error(
        "a directory onto a file",
        &["a.txt /x", "dir /x"],
        "cannot copy into /x: it is there and is not a directory",
    ),
    error(
        "a file below a file",
        &["a.txt /x", "a.txt /x/y"],
        "cannot copy into /x: it is there and is not a directory",
    ),
    error(
        "a file as a directory",
        &["a.txt /x", "b.txt /x/"],
        "cannot copy into /x: it is there and is not a directory",
    ),
    error(
        "a file over a directory in a tree",
        &["dir/sub /y/f", "dir /y"],
        "cannot replace directory /y/f with a file",
    ),
    error(
        "a link over a directory in a tree",
        &["t2 /x", "tl /x"],
        "cannot replace directory /x/l with a file",
    ),
    error(
        "a directory over a link in a tree",
        &["tl /x", "t2 /x"],
        "cannot copy into /x/l: it is there and is not a directory",
    ),
    error(
        "a directory over a file in a tree",
        &["t6 /x", "t2 /x"],
        "cannot copy into /x/l: it is there and is not a directory",
    ),
    error(
        "a file over a directory of its name",
        &["t2 /x", "t6/l /x/"],
        "cannot replace directory /x/l with a file",
    ),
    ok(
        "a file replaces a link in a tree",
        &["tl /x", "t6 /x"],
        &["d 0755 0:0 x", "- 0644 0:0 x/l", "d 0755 0:0 old x/real", "- 0644 0:0 x/real/x"],
    ),
    ok(
        "a file replaces a link of its name in the destination",
        &["tl /x", "t6/l /x/"],
        &["d 0755 0:0 x", "- 0644 0:0 x/l", "d 0755 0:0 old x/real", "- 0644 0:0 x/real/x"],
    ),
    ok(
        "a link replaces a file in a tree",
        &["t6 /x", "tl /x"],
        &["d 0755 0:0 old x", "l 0777 0:0 x/l -> real", "d 0755 0:0 old x/real", "- 0644 0:0 x/real/x"],
    ),
    ok(
        "a destination that is a link to a directory",
        &["tl /x", "dir/sub /x/l", "b.txt /x/l", "b.txt /x/l/deep/er"],
        &[
            "d 0755 0:0 old x",
            "l 0777 0:0 x/l -> real",
            "d 0755 0:0 x/real",
            "- 0640 0:0 old x/real/b.txt",
            "d 0755 0:0 x/real/deep",
            "- 0640 0:0 old x/real/deep/er",
            "- 0666 0:0 old x/real/g",
            "- 0644 0:0 x/real/x",
        ],
    ),
    ok(
        "a destination that is a link to a file",
        &["t7 /x", "--chmod=0600 --chown=3:3 b.txt /x/link"],
        &[
            "d 0755 0:0 x",
            "l 0777 0:0 x/dangling -> /abs/none",
            "- 0600 3:3 old x/f",
            "l 0777 0:0 x/link -> f",
        ],
    ),
    ok(
        "a destination that is a link to nowhere",
        &["t7 /x", "b.txt /x/dangling"],
        &[
            "d 0755 0:0 abs",
            "- 0640 0:0 old abs/none",
            "d 0755 0:0 old x",
            "l 0777 0:0 x/dangling -> /abs/none",
            "- 0644 0:0 x/f",
            "l 0777 0:0 x/link -> f",
        ],
    ),
    ok(
        "a parent that is a link to nowhere",
        &["t7 /x", "b.txt /x/dangling/y"],
        &[
            "d 0755 0:0 abs",
            "d 0755 0:0 abs/none",
            "- 0640 0:0 old abs/none/y",
            "d 0755 0:0 old x",
            "l 0777 0:0 x/dangling -> /abs/none",
            "- 0644 0:0 x/f",
            "l 0777 0:0 x/link -> f",
        ],
    ),
    ok(
        "a directory onto a link to nowhere",
        &["t7 /x", "dir/sub /x/dangling"],
        &[
            "d 0755 0:0 abs",
            "d 0755 0:0 old abs/none",
            "- 0666 0:0 old abs/none/g",
            "d 0755 0:0 old x",
            "l 0777 0:0 x/dangling -> /abs/none",
            "- 0644 0:0 x/f",
            "l 0777 0:0 x/link -> f",
        ],
    ),
    ok(
        "an absolute link in the target does not leave it",
        &["t3 /x", "b.txt /x/real/y"],
        &["d 0755 0:0 etc", "- 0640 0:0 old etc/y", "d 0755 0:0 old x", "l 0777 0:0 x/real -> /etc"],
    ),
    ok(
        "hard links are not kept between sources",
        &["dir/f dir/f-hard /h/"],
        &["d 0755 0:0 h", "- 0644 0:0 old h/f", "- 0644 0:0 old h/f-hard"],
    ),
    ok("a wildcard that matches nothing", &["nomatch* /never/x/"], &[]),
    error("a wildcard below what is not there", &["none/* /x/"], "\"/none\": not found"),
    error("a wildcard below a file", &["a.txt/* /x/"], "\"/a.txt\": not found"),
    ok("a wildcard matches in order", &["*.txt /x"], &["- 0640 0:0 old x"]),
    ok("a wildcard with an absolute path", &["/b* /x/"], &["d 0755 0:0 x", "- 0640 0:0 old x/b.txt"]),
    ok("a wildcard with a slash behind it", &["em*/ /x/"], &["d 0755 0:0 old x"]),
    ok("wildcards do not follow links on the way", &["dirl*/f /x/"], &[]),
    ok("links before a wildcard are followed", &["tl/l/* /x/"], &["d 0755 0:0 x", "- 0644 0:0 x/x"]),
    ok("a wildcard on the way", &["many/*/f /x/"], &["d 0755 0:0 x", "- 0644 0:0 x/f"]),
    ok("two stars are one", &["many/**/f /x/"], &["d 0755 0:0 x", "- 0644 0:0 x/f"]),
    ok("an escaped star", &["st\\*r /x/"], &["d 0755 0:0 x", "- 0644 0:0 x/st*r"]),
    ok("a class", &["w[[]1]/x /b/"], &["d 0755 0:0 b", "- 0644 0:0 b/x"]),
    error("a malformed class", &["[ /x"], "\"[\" is not a valid wildcard"),
    error("a malformed class below a directory", &["dir/[a /x"], "\"dir/[a\" is not a valid wildcard"),
    error("a source that is not there", &["none /x"], "\"/none\": not found"),
    error("a source below what is not there", &["dir/none/z /x"], "\"/dir/none/z\": not found"),
    error("a source below a file", &["a.txt/b /x"], "\"/a.txt/b\": not found"),
    error("a link to nowhere", &["deadlink /x"], "\"/deadlink\": not found"),
    error("a matched link to nowhere", &["dead* /x/"], "\"/deadlink\": not found"),
    error("a link to itself", &["self /x"], "too many symbolic links"),
    ok("a dot behind the destination", &["b.txt /x/."], &["d 0755 0:0 x", "- 0640 0:0 old x/b.txt"]),
    ok("the destination is cleaned by name", &["b.txt /x/y/.."], &["- 0640 0:0 old x"]),
    ok(
        "slashes in the destination",
        &["b.txt //q//r//"],
        &["d 0755 0:0 q", "d 0755 0:0 q/r", "- 0640 0:0 old q/r/b.txt"],
    ),
    ok("the root as destination", &["b.txt /", "dir/sub /"], &["- 0640 0:0 old b.txt", "- 0666 0:0 old g"]),
    ok(
        "a name given thrice",
        &["b.txt /x/b.txt/b.txt/"],
        &[
            "d 0755 0:0 x",
            "d 0755 0:0 x/b.txt",
            "d 0755 0:0 x/b.txt/b.txt",
            "- 0640 0:0 old x/b.txt/b.txt/b.txt",
        ],
    ),
];

#[test]
fn copies_are_as_buildkits() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    for Case { name, copies, expected } in CASES {
        let target = lab.target();
        let mut result = Ok(());
        for line in *copies {
            result = result.and_then(|()| target.copy(&lab.context(), line));
        }
        match (result, expected) {
            (Ok(()), Ok(tree)) => assert_eq!(target.listing(), *tree, "{name}"),
            (Err(message), Err(part)) => assert!(message.contains(part), "{name}: {message}"),
            (result, _) => panic!("{name}: {result:?}"),
        }
    }
}

#[test]
fn what_a_stage_owns_is_kept() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let stage = lab.target();
    stage.copy(&lab.context(), "--chown=1:2 --chmod=2750 dir /q/d").unwrap();
    stage.copy(&lab.context(), "--chown=1:2 --chmod=4755 a.txt /q/").unwrap();
    let target = lab.target();
    target.copy(&stage.as_stage(), "/ /x/y").unwrap();
    assert_eq!(
        target.listing(),
        [
            "d 0755 0:0 x",
            "d 0755 0:0 x/y",
            "d 0750 1:2 x/y/q",
            "- 4755 1:2 old x/y/q/a.txt {user.k}",
            "d 0750 1:2 old x/y/q/d",
            "l 0777 1:2 x/y/q/d/dangling -> /abs/none",
            "- 2750 1:2 old x/y/q/d/f 2",
            "- 2750 1:2 old x/y/q/d/f-hard 2",
            "l 0777 1:2 x/y/q/d/link -> f",
            "d 2750 1:2 old x/y/q/d/sub {user.s}",
            "- 2750 1:2 old x/y/q/d/sub/g",
        ]
    );
}

#[test]
fn directories_in_an_existing_destination_take_the_sources_metadata() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let stage = lab.target();
    stage.copy(&lab.context(), "--chown=5:6 --chmod=0711 t6 /s/x").unwrap();
    let target = lab.target();
    target.copy(&lab.context(), "dir/sub /s/x/sub").unwrap();
    target.copy(&stage.as_stage(), "/s /s").unwrap();
    assert_eq!(
        target.listing(),
        [
            "d 0755 0:0 s",
            "d 0711 5:6 s/x",
            "- 0711 5:6 s/x/l",
            "d 0755 0:0 old s/x/sub",
            "- 0666 0:0 old s/x/sub/g",
        ]
    );
}

#[test]
fn file_capabilities_come_from_stages_and_not_from_contexts() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let stage = lab.target();
    lab.set_capability(&stage.path().join("cap"));
    let target = lab.target();
    target.copy(&stage.as_stage(), "cap /x").unwrap();
    target.copy(&stage.as_stage(), "--chown=1:1 --chmod=700 cap /y").unwrap();
    target.copy(&stage.as_context(&tree::Everything), "cap /z").unwrap();
    assert_eq!(
        target.listing(),
        [
            "- 0755 0:0 old x {security.capability}",
            "- 0700 1:1 old y {security.capability}",
            "- 0755 0:0 old z"
        ]
    );
}

#[test]
fn excluded_directories_are_made_for_what_they_hold() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let filter = tree::Only { pruned: &[b"b", b"top.md"], passed: &[b"a"] };
    let options = CopyOptions { owner: Some((8, 8)), exclude: Some(&filter), ..CopyOptions::default() };
    let fresh = lab.target();
    fresh.copy_with(&lab.context(), &["exdir"], "/x", &options).unwrap();
    let expected = ["d 0755 8:8 old x", "d 0755 8:8 x/a", "- 0644 8:8 old x/a/keep"];
    assert_eq!(fresh.listing(), expected, "made with the source's mode, and the time of their making");
    let existing = lab.target();
    existing.copy(&lab.context(), "--chown=9:9 --chmod=0711 t6 /x/a").unwrap();
    existing.copy_with(&lab.context(), &["exdir"], "/x", &options).unwrap();
    let expected = ["d 0711 9:9 old x", "d 0755 9:9 x/a", "- 0644 8:8 old x/a/keep", "- 0711 9:9 x/a/l"];
    assert_eq!(existing.listing(), expected, "one that is there takes the mode alone");
    let empty = lab.target();
    let nothing = tree::Only { pruned: &[b"keep", b"b", b"top.md"], passed: &[b"a"] };
    let options = CopyOptions { exclude: Some(&nothing), owner: Some((0, 0)), ..CopyOptions::default() };
    empty.copy_with(&lab.context(), &["exdir"], "/x", &options).unwrap();
    assert_eq!(empty.listing(), ["d 0755 0:0 old x"]);
}

#[test]
fn excludes_do_not_concern_sources_that_are_files() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let filter = tree::Only { pruned: &[b"a.txt"], passed: &[] };
    let options = CopyOptions { owner: Some((0, 0)), exclude: Some(&filter), ..CopyOptions::default() };
    let target = lab.target();
    target.copy_with(&lab.context(), &["a.txt"], "/x", &options).unwrap();
    assert_eq!(target.listing(), ["- 4755 0:0 old x {user.k}"]);
}

#[test]
fn inline_files_are_written_with_exact_modes() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let target = lab.target();
    let files =
        [InlineFile { name: b"EOF", content: b"hi\n" }, InlineFile { name: b"FOO", content: b"foo\n" }];
    copy_inline(&target.root(), &files, b"/h/", &CopyOptions::default()).unwrap();
    let mode = ModeChange::parse("4700").unwrap();
    let options = CopyOptions { owner: Some((1, 2)), mode: Some(&mode), ..CopyOptions::default() };
    copy_inline(&target.root(), &files[..1], b"/r/s/file", &options).unwrap();
    assert_eq!(
        target.listing(),
        [
            "d 0755 0:0 h",
            "- 0644 0:0 h/EOF",
            "- 0644 0:0 h/FOO",
            "d 0700 1:2 r",
            "d 0700 1:2 r/s",
            "- 4700 1:2 r/s/file",
        ]
    );
    assert_eq!(std::fs::read_to_string(target.path().join("h/FOO")).unwrap(), "foo\n");
}

#[test]
fn the_name_of_an_inline_file_is_one_name() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let write = |name: &str, target: &tree::Target| {
        let file = InlineFile { name: name.as_bytes(), content: b"hi" };
        copy_inline(&target.root(), &[file], b"/x/", &CopyOptions::default())
            .map_err(|error| error.to_string())
    };
    for (name, made) in [("/abs", "abs"), ("./x", "x"), ("a*b", "a*b")] {
        let target = lab.target();
        write(name, &target).unwrap();
        assert_eq!(target.listing(), ["d 0755 0:0 x".to_owned(), format!("- 0644 0:0 x/{made}")]);
    }
    for name in ["a/b", ".", "..", "../../x/y"] {
        let target = lab.target();
        let error = write(name, &target).unwrap_err();
        assert!(error.contains("cannot be the name of a here-document"), "{name}: {error}");
        assert_eq!(target.listing(), [""; 0]);
    }
}

#[test]
fn sources_of_all_kinds_are_copied_in_order() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let fetched = lab.target();
    std::fs::write(fetched.path().join("b.*"), "fetched").unwrap();
    let path = ImagePath::new("b.*").unwrap();
    let stage = fetched.as_stage();
    let inline = InlineFile { name: b"b.txt", content: b"inline" };
    let file = Source::Fetched { tree: stage, path: &path, extract: true };
    let text = Source::Path(lab.context(), b"b.txt");
    for (sources, expected) in
        [([text, Source::Inline(inline), file], "inline"), ([file, Source::Inline(inline), text], "b.txt")]
    {
        let target = lab.target();
        let changes = copy_all(&target.root(), &sources, b"/x/", &CopyOptions::default()).unwrap();
        assert_eq!(changes.len(), 3);
        assert_eq!(tree::read(&target.path().join("x/b.txt")), expected.as_bytes());
        assert_eq!(tree::read(&target.path().join("x/b.*")), b"fetched");
    }
}

#[test]
fn a_fetched_directory_is_the_destination_that_is_not_there() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let root = ImagePath::root();
    let mode = ModeChange::parse("g-rx,u+s").unwrap();
    let options = CopyOptions { mode: Some(&mode), ..CopyOptions::default() };
    let fetched = lab.target();
    fetched.copy(&lab.context(), "t6 /").unwrap();
    std::fs::set_permissions(fetched.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (destination, expected) in [("/x", "d 4705 0:0 x"), ("/x/", "d 0755 0:0 x")] {
        let target = lab.target();
        let source = Source::Fetched { tree: fetched.as_stage(), path: &root, extract: false };
        copy_all(&target.root(), &[source], destination.as_bytes(), &options).unwrap();
        assert_eq!(target.listing(), [expected, "- 4604 0:0 x/l"], "{destination}");
    }
}

#[test]
fn directories_made_in_one_with_set_group_id_inherit_it() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let target = lab.target();
    target.copy(&lab.context(), "--chown=5:6 --chmod=2775 many /").unwrap();
    for line in [
        "b.txt /p/new/deep/b",
        "dir/sub /p/dest",
        "--chown=7:8 b.txt /p/owned/b",
        "--chmod=0700 b.txt /p/moded/b",
    ] {
        target.copy(&lab.context(), line).unwrap();
    }
    zuwai_rootfs::copy::directory::make_directories(&target.root(), &ImagePath::new("p/work").unwrap(), None)
        .unwrap();
    let mut listing = target.listing();
    listing.retain(|line| line.contains(" p"));
    assert_eq!(
        listing,
        [
            "d 2775 5:6 p",
            "d 2755 0:6 old p/dest",
            "- 0666 0:0 old p/dest/g",
            "- 2775 5:6 p/f",
            "d 2700 0:6 p/moded",
            "- 0700 0:0 old p/moded/b",
            "d 2755 0:6 p/new",
            "d 2755 0:6 p/new/deep",
            "- 0640 0:0 old p/new/deep/b",
            "d 2755 7:8 p/owned",
            "- 0640 7:8 old p/owned/b",
            "d 2755 0:6 p/work",
        ]
    );
}

#[test]
fn nothing_is_written_when_a_later_source_is_missing() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let target = lab.target();
    let error = target.copy(&lab.context(), "b.txt none /x/").unwrap_err();
    assert_eq!(error, "\"/none\": not found");
    assert_eq!(target.listing(), [""; 0]);
}

#[test]
fn the_change_set_is_what_was_written() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let target = lab.target();
    assert_eq!(target.changes(&lab.context(), "b.txt /n/p/b"), ["/n", "/n/p", "/n/p/b"]);
    assert_eq!(
        target.changes(&lab.context(), "b.txt /n/p/c"),
        ["/n/p", "/n/p/c"],
        "the directory's time changed"
    );
    assert_eq!(target.changes(&lab.context(), "dir/sub /n/p"), ["/n/p", "/n/p/g"]);
    assert_eq!(target.changes(&lab.context(), "b.txt /"), ["/b.txt"], "the root has no entry");
    assert_eq!(target.changes(&lab.context(), "sock /s"), [""; 0]);
    assert_eq!(target.changes(&lab.context(), "nothing* /s/"), [""; 0]);
}

#[test]
fn a_mount_point_in_a_copied_tree_is_in_the_layer_as_the_tree_has_it() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let source = lab.target_keeping_out(&[]);
    for name in ["proc", "sys"] {
        std::fs::create_dir_all(source.path().join("dir").join(name)).unwrap();
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
    std::fs::set_permissions(source.path().join("dir/proc"), mode).unwrap();
    std::fs::write(source.path().join("dir/sys/full"), "").unwrap();
    let target = lab.target_keeping_out(&["x/proc", "x/sys"]);
    std::fs::create_dir_all(target.path().join("x/proc")).unwrap();
    let root = source.root();
    let changes = target.copy_with(&SourceTree::stage(&root), &["/dir"], "/x", &CopyOptions::default());
    assert_eq!(changes.unwrap(), ["/x", "mount point /x/proc 555"]);
}

#[test]
fn what_is_kept_out_is_neither_read_nor_written() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let source = lab.context_keeping_out(&["dir/sub", "a.txt"]);
    let target = lab.target_keeping_out(&["x/f", "mnt"]);
    std::fs::create_dir_all(target.path().join("mnt")).unwrap();
    target.copy(&source.as_source(), "dir /x").unwrap();
    let expected = [
        "d 0700 0:0 mnt",
        "d 0755 0:0 old x",
        "l 0777 0:0 x/dangling -> /abs/none",
        "- 0644 0:0 old x/f-hard",
        "l 0777 0:0 x/link -> f",
    ];
    assert_eq!(target.listing(), expected);
    for (line, message) in [
        ("a.txt /y", "\"/a.txt\": not found"),
        ("filelink /y", "\"/filelink\": not found"),
        ("dir/sub/g /y", "\"/dir/sub/g\": not found"),
        ("b.txt /mnt", "cannot copy to /mnt/b.txt when building in place"),
        ("b.txt /mnt/deep/x", "cannot copy to /mnt/deep when building in place"),
        ("empty /mnt", "cannot copy to /mnt when building in place"),
    ] {
        let error = target.copy(&source.as_source(), line).unwrap_err();
        assert!(error.contains(message), "{line}: {error}");
    }
}

#[test]
fn a_sparse_file_keeps_its_holes_and_content() {
    use std::io::{Seek as _, Write as _};
    use std::os::unix::fs::MetadataExt as _;
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let stage = lab.target();
    let mut file = std::fs::File::create(stage.path().join("sparse")).unwrap();
    file.seek(std::io::SeekFrom::Start(8 << 20)).unwrap();
    file.write_all(&[7; 300_000]).unwrap();
    file.set_len(16 << 20).unwrap();
    let dense: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(stage.path().join("dense"), &dense).unwrap();
    let target = lab.target();
    target.copy(&stage.as_stage(), "sparse dense /x/").unwrap();
    let copied = std::fs::metadata(target.path().join("x/sparse")).unwrap();
    assert_eq!(copied.len(), 16 << 20);
    assert!(copied.blocks() * 512 < 4 << 20, "{} blocks", copied.blocks());
    for name in ["sparse", "dense"] {
        let [from, to] = [stage.path().join(name), target.path().join("x").join(name)];
        assert!(tree::read(&from) == tree::read(&to), "{name}");
    }
}

#[test]
fn deep_trees_are_copied() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let stage = lab.target();
    let deep = "d/".repeat(150) + "end";
    std::fs::create_dir_all(stage.path().join(&deep)).unwrap();
    let target = lab.target();
    assert_eq!(target.changes(&stage.as_stage(), "/ /x").len(), 152);
    assert!(target.path().join("x").join(&deep).is_dir());
}

#[test]
fn many_files_are_copied_and_told() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let stage = lab.target();
    for number in 0..3000 {
        std::fs::write(stage.path().join(format!("f{number}")), format!("{number}")).unwrap();
    }
    let target = lab.target();
    assert_eq!(target.changes(&stage.as_stage(), "/ /x").len(), 3001);
    assert_eq!(target.changes(&stage.as_stage(), "f29* /y/").len(), 112);
    assert_eq!(tree::read(&target.path().join("y/f2999")), b"2999");
}

#[test]
fn hostile_sources_and_targets_reach_nothing_outside() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let outside = lab.target();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let stage = lab.target();
    let link = |target: &tree::Target, text: &str, name: &str| {
        std::os::unix::fs::symlink(text, target.path().join(name)).unwrap();
    };
    let up = format!("../{}", outside.path().file_name().unwrap().to_str().unwrap());
    link(&stage, &up, "climbing");
    link(&stage, outside.path().to_str().unwrap(), "absolute");
    for source in [
        "climbing",
        "climbing/secret",
        "climbing/*",
        "absolute",
        "absolute/secret",
        "absolute/s*",
        "abs*/secret",
    ] {
        let target = lab.target();
        let result = target.copy(&stage.as_stage(), &format!("{source} /x/"));
        assert!(result.is_err() || target.listing().is_empty(), "{source}: {:?}", target.listing());
    }
    let target = lab.target();
    link(&target, &up, "climbing");
    link(&target, outside.path().to_str().unwrap(), "absolute");
    for destination in ["/climbing/secret", "/climbing", "/absolute/secret", "/absolute/new/"] {
        target.copy(&lab.context(), &format!("b.txt {destination}")).unwrap();
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(tree::read(&outside.path().join("secret")), b"secret");
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_path() {
    let Some(lab) = Lab::new() else { return eprintln!("{SKIPPED}") };
    let stage = lab.target();
    // A directory that is a symbolic link to itself cannot be opened by anybody, root included.
    std::os::unix::fs::symlink("loop", stage.path().join("loop")).unwrap();
    let error = lab.target().copy(&stage.as_stage(), "loop/x /y").unwrap_err();
    assert_eq!(error, "/loop/x: too many symbolic links");
}
