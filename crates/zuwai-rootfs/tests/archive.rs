//! What `ADD` makes of local archives, as a real BuildKit (Docker Engine 28.5, buildx 0.29) did it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed; skipped tests say so"
)]

mod tree;

use std::path::Path;

use tree::{Lab, OLD, SKIPPED, Target};
use zuwai_layer::{ImagePath, Xattrs};

/// A tar, written by hand so that it can be as odd as needed: each line is a type, mode, owner, name and content, link
/// text or device.
fn tar(lines: &[&str]) -> Vec<u8> {
    let mut tar = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, mode, uid, name, rest @ ..] = words.as_slice() else { panic!("{line}") };
        let text = rest.first().copied().unwrap_or_default();
        let (content, link) = if *kind == "0" { (text, "") } else { ("", text) };
        let mut header = [0_u8; 512];
        let mut field =
            |at: usize, value: &str| header[at..at + value.len()].copy_from_slice(value.as_bytes());
        field(0, name);
        field(100, &format!("{:07o}", u32::from_str_radix(mode, 8).unwrap()));
        let uid: u32 = uid.parse().unwrap();
        field(108, &format!("{uid:07o}"));
        field(116, &format!("{:07o}", uid + 1));
        field(124, &format!("{:011o}", content.len()));
        field(136, &format!("{OLD:011o}"));
        field(148, "        ");
        field(156, kind);
        field(157, link);
        field(257, "ustar\x0000");
        field(329, "0000001");
        field(337, "0000003");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(content.as_bytes());
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

const BASIC: &[&str] = &[
    "5 0700 9 ./",
    "5 2750 3 ./d",
    "0 4755 3 ./d/f f",
    "2 0777 3 ./d/l f",
    "1 0644 3 ./d/h ./d/f",
    "0 0644 3 imp/lied/x x",
    "3 0644 3 dev",
    "6 0644 3 fifo",
    "0 0644 3 .wh.gone",
    "2 0777 3 abs /d",
];

/// The last entry of a hard link sets owner and mode of the file.
const EXTRACTED: &[&str] = &[
    "d 0755 0:0 x",
    "d 0755 0:0 x/y",
    "- 0644 3:4 old x/y/.wh.gone",
    "l 0777 3:4 x/y/abs -> /d",
    "d 2750 3:4 old x/y/d",
    "- 0644 3:4 old x/y/d/f 2",
    "- 0644 3:4 old x/y/d/h 2",
    "l 0777 3:4 x/y/d/l -> f",
    "c 0644 3:4 old x/y/dev 1,3",
    "p 0644 3:4 old x/y/fifo",
    "d 0755 0:0 x/y/imp",
    "d 0755 0:0 x/y/imp/lied",
    "- 0644 3:4 old x/y/imp/lied/x",
];

struct AddLab {
    lab: Lab,
    stage: Target,
}

impl AddLab {
    fn new() -> Option<Self> {
        let lab = Lab::new()?;
        let stage = lab.target();
        Some(Self { lab, stage })
    }

    fn put(&self, name: &str, content: &[u8]) {
        let path = self.stage.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
    }

    /// Adds to a target; `e/d/f` and the link `e/dl` are there already.
    fn add(&self, target: &Target, line: &str) -> Result<Vec<String>, String> {
        target.run(&self.stage.as_stage(), &format!("--extract {line}"))
    }

    fn target(&self) -> Target {
        let target = self.lab.target();
        let at = |name: &str| target.path().join(name);
        std::fs::create_dir_all(at("e/d")).unwrap();
        std::fs::write(at("e/d/f"), "orig").unwrap();
        std::os::unix::fs::symlink("d", at("e/dl")).unwrap();
        for (path, mode) in [("e", 0o755), ("e/d", 0o755), ("e/d/f", 0o644)] {
            std::fs::set_permissions(at(path), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
        target
    }
}

#[test]
fn archives_are_extracted_whatever_their_compression() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    lab.put("basic.tar", &tar(BASIC));
    for (name, program) in [
        ("plain", None),
        ("gz", Some("gzip")),
        ("bz2", Some("bzip2")),
        ("xz", Some("xz")),
        ("zst", Some("zstd")),
    ] {
        if let Some(program) = program {
            let input = std::fs::File::open(lab.stage.path().join("basic.tar")).unwrap();
            let output = std::process::Command::new(program).arg("-c").stdin(input).output();
            let Ok(output) = output else {
                eprintln!("SKIPPED: {program} is not installed");
                continue;
            };
            lab.put(name, &output.stdout);
        } else {
            lab.put(name, &tar(BASIC));
        }
        let target = lab.lab.target();
        lab.add(&target, &format!("{name} /x/y")).unwrap();
        assert_eq!(target.listing(), EXTRACTED, "{name}");
    }
}

#[test]
fn owner_concerns_what_is_in_the_archive_and_mode_does_not() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    lab.put("a", &tar(&["5 2750 3 d", "0 4755 3 d/f f", "0 0644 3 imp/x x"]));
    let target = lab.lab.target();
    lab.add(&target, "--chown=5:6 --chmod=0700 a /x/y").unwrap();
    assert_eq!(
        target.listing(),
        [
            "d 0755 5:6 x",
            "d 0755 5:6 x/y",
            "d 2750 5:6 old x/y/d",
            "- 4755 5:6 old x/y/d/f",
            "d 0755 0:0 x/y/imp",
            "- 0644 5:6 old x/y/imp/x",
        ]
    );
}

#[test]
fn parents_that_an_archive_does_not_name_inherit_the_group_alone() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    lab.put("a", &tar(&["0 0644 3 imp/lied/x x"]));
    let target = lab.lab.target();
    std::fs::create_dir(target.path().join("g")).unwrap();
    std::os::unix::fs::chown(target.path().join("g"), Some(5), Some(6)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o2775);
    std::fs::set_permissions(target.path().join("g"), mode).unwrap();
    lab.add(&target, "a /g/new").unwrap();
    assert_eq!(
        target.listing(),
        [
            "d 2775 5:6 g",
            "d 2755 0:6 g/new",
            "d 0755 0:6 g/new/imp",
            "d 0755 0:0 g/new/imp/lied",
            "- 0644 3:4 old g/new/imp/lied/x",
        ]
    );
}

/// What is in `e` after an archive was added to it, or the error.
type Outcome = Result<&'static [&'static str], &'static str>;

const CASES: &[(&str, &[&str], Outcome)] = &[
    (
        "a file replaces a directory",
        &["0 0644 3 d now"],
        Ok(&["d 0755 0:0 e", "- 0644 3:4 old e/d", "l 0777 0:0 e/dl -> d"]),
    ),
    (
        "a link replaces a directory",
        &["2 0777 3 d other"],
        Ok(&["d 0755 0:0 e", "l 0777 3:4 e/d -> other", "l 0777 0:0 e/dl -> d"]),
    ),
    (
        "a directory takes the archive's metadata",
        &["5 0711 7 d"],
        Ok(&["d 0755 0:0 e", "d 0711 7:8 old e/d", "- 0644 0:0 e/d/f", "l 0777 0:0 e/dl -> d"]),
    ),
    (
        "links lead no further than the destination",
        &["2 0777 3 l /tgt", "0 0644 3 l/f thru"],
        Ok(&[
            "d 0755 0:0 e",
            "d 0755 0:0 e/d",
            "- 0644 0:0 e/d/f",
            "l 0777 0:0 e/dl -> d",
            "l 0777 3:4 e/l -> /tgt",
            "d 0755 0:0 e/tgt",
            "- 0644 3:4 old e/tgt/f",
        ]),
    ),
    (
        "links that climb are clamped",
        &["2 0777 3 l ../../../../t", "0 0644 3 l/f thru"],
        Ok(&[
            "d 0755 0:0 e",
            "d 0755 0:0 e/d",
            "- 0644 0:0 e/d/f",
            "l 0777 0:0 e/dl -> d",
            "l 0777 3:4 e/l -> ../../../../t",
            "d 0755 0:0 e/t",
            "- 0644 3:4 old e/t/f",
        ]),
    ),
    (
        "a directory replaced by a link is not entered any more",
        &["0 0644 3 d/g g", "2 0777 3 d o", "0 0644 3 d/h h"],
        Ok(&[
            "d 0755 0:0 e",
            "l 0777 3:4 e/d -> o",
            "l 0777 0:0 e/dl -> d",
            "d 0755 0:0 e/o",
            "- 0644 3:4 old e/o/h",
        ]),
    ),
    (
        "an absolute name is counted from the destination",
        &["0 0644 3 /d/f new"],
        Ok(&["d 0755 0:0 e", "d 0755 0:0 e/d", "- 0644 3:4 old e/d/f", "l 0777 0:0 e/dl -> d"]),
    ),
    (
        "the last of a name stays",
        &["0 0644 3 d/f 1", "0 0600 3 d/f 22", "5 0755 3 D", "0 0644 3 D file"],
        Ok(&[
            "d 0755 0:0 e",
            "- 0644 3:4 old e/D",
            "d 0755 0:0 e/d",
            "- 0600 3:4 old e/d/f",
            "l 0777 0:0 e/dl -> d",
        ]),
    ),
    (
        "a replaced file leaves its other names",
        &["1 0644 3 h d/f", "0 0644 3 d/f ff"],
        Ok(&[
            "d 0755 0:0 e",
            "d 0755 0:0 e/d",
            "- 0644 3:4 old e/d/f",
            "l 0777 0:0 e/dl -> d",
            "- 0644 3:4 old e/h",
        ]),
    ),
    ("a name above the destination", &["0 0644 3 ../evil e"], Err("leaves the root")),
    ("a name that climbs", &["0 0644 3 a/../../evil e"], Err("leaves the root")),
    ("a hard link to nothing", &["1 0644 3 h missing"], Err("its target /missing is not there")),
    (
        "a hard link to a path counted from the image",
        &["1 0644 3 h /e/d/f"],
        Err("its target /e/d/f is not there"),
    ),
    ("a hard link that climbs", &["1 0644 3 h ../e/d/f"], Err("leaves the root")),
    ("a file as a parent", &["0 0644 3 d/f/x x"], Err("is not a directory")),
];

#[test]
fn entries_meet_what_is_there_as_in_buildkit() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    for (name, lines, expected) in CASES {
        lab.put("a", &tar(lines));
        let target = lab.target();
        match (lab.add(&target, "a /e"), expected) {
            (Ok(_), Ok(tree)) => assert_eq!(target.listing(), *tree, "{name}"),
            (Err(message), Err(part)) => assert!(message.contains(part), "{name}: {message}"),
            (result, _) => panic!("{name}: {result:?}"),
        }
        let outside: Vec<_> = std::fs::read_dir(target.path().parent().unwrap()).unwrap().flatten().collect();
        assert!(outside.iter().all(|entry| entry.file_name() != "evil"), "{name}");
    }
}

#[test]
fn what_is_no_archive_is_copied() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    lab.put("empty.tar", &[0; 1024]);
    lab.put("text", &[b'x'; 600]);
    lab.put("nothing", b"");
    let target = lab.lab.target();
    lab.add(&target, "empty.tar text nothing /x/").unwrap();
    assert_eq!(
        target.listing(),
        ["d 0755 0:0 x", "- 0600 0:0 x/empty.tar", "- 0600 0:0 x/nothing", "- 0600 0:0 x/text"]
    );
}

#[test]
fn archives_in_directories_are_copied_and_matched_ones_extracted() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    std::fs::create_dir(lab.stage.path().join("w")).unwrap();
    lab.put("w/1.tar", &tar(&["0 0644 3 f 1"]));
    lab.put("w/2.tar", &tar(&["0 0600 3 f 2"]));
    std::os::unix::fs::symlink("w/1.tar", lab.stage.path().join("link")).unwrap();
    for (line, names) in [
        ("w /x/", &["d 0755 0:0 x", "- 0600 0:0 x/1.tar", "- 0600 0:0 x/2.tar"][..]),
        ("w/*.tar /x/", &["d 0755 0:0 x", "- 0600 3:4 old x/f"]),
        ("link /x", &["d 0755 0:0 x", "- 0644 3:4 old x/f"]),
    ] {
        let target = lab.lab.target();
        lab.add(&target, line).unwrap();
        assert_eq!(target.listing(), names, "{line}");
    }
}

#[test]
fn archives_of_a_context_keep_their_owners_and_files_do_not() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    lab.put("a", &tar(&["0 0644 3 f 1"]));
    lab.put("b", b"text");
    std::os::unix::fs::chown(lab.stage.path().join("b"), Some(5), Some(5)).unwrap();
    let target = lab.lab.target();
    target.run(&lab.stage.as_source(), "--extract a b /x/").unwrap();
    assert_eq!(target.listing(), ["d 0755 0:0 x", "- 0600 0:0 x/b", "- 0644 3:4 old x/f"]);
}

#[test]
fn a_truncated_archive_is_an_error() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    let whole = tar(&["0 0644 3 f content", "0 0644 3 g content"]);
    lab.put("a", &whole[..1400]);
    let message = lab.add(&lab.lab.target(), "a /x").unwrap_err();
    assert!(message.contains("cannot extract /a") && message.contains("truncated"), "{message}");
}

#[test]
fn a_destination_that_is_a_file_is_an_error() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    lab.put("a", &tar(&["0 0644 3 f content"]));
    let message = lab.add(&lab.target(), "a /e/d/f").unwrap_err();
    assert!(message.contains("cannot copy into /e/d/f"), "{message}");
}

#[test]
fn the_change_set_holds_deletions_only_below_directories_that_stay() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    lab.put("file", &tar(&["0 0644 3 d now"]));
    let target = lab.target();
    assert_eq!(lab.add(&target, "file /e").unwrap(), ["/e", "/e/d"]);
    lab.put("again", &tar(&["0 0644 3 d now", "5 0755 3 d", "0 0644 3 d/new x"]));
    let target = lab.target();
    assert_eq!(lab.add(&target, "again /e").unwrap(), ["/e", "/e/d", "-/e/d/f", "/e/d/new"]);
}

#[test]
fn what_is_kept_out_is_not_extracted() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    lab.put("a", &tar(&["0 0644 3 etc/hosts x", "0 0644 3 etc/other x", "0 0644 3 mnt/deep/x x"]));
    let target = lab.lab.target_keeping_out(&["etc/hosts", "mnt/deep"]);
    std::fs::create_dir_all(target.path().join("mnt/deep")).unwrap();
    let changes = lab.add(&target, "a /").unwrap();
    assert_eq!(changes, ["/etc", "/etc/other"]);
    assert!(!target.path().join("mnt/deep/x").exists());
    assert!(!target.path().join("etc/hosts").exists());
    assert!(target.path().join("etc/other").exists());
    lab.put("b", &tar(&["0 0644 3 mnt x"]));
    let message = lab.add(&target, "b /").unwrap_err();
    assert!(message.contains("cannot copy to /mnt when building in place"), "{message}");
}

#[test]
fn attributes_of_the_archive_are_set() {
    let Some(lab) = AddLab::new() else { return eprintln!("{SKIPPED}") };
    let path = ImagePath::new("f").unwrap();
    let xattrs = Xattrs::from([(b"user.k".to_vec(), b"v".to_vec())]);
    let kind = zuwai_layer::EntryKind::File { size: 1 };
    let entry = zuwai_layer::Entry { path, kind, mode: 0o755, uid: 1, gid: 2, mtime: OLD, xattrs };
    let mut writer = zuwai_layer::LayerWriter::new(Vec::new());
    writer.entry(&entry, &b"x"[..]).unwrap();
    lab.put("a", &writer.finish().unwrap());
    let target = lab.lab.target();
    lab.add(&target, "a /").unwrap();
    assert_eq!(target.listing(), ["- 0755 1:2 old f {user.k}"]);
    assert_eq!(tree::read(Path::new(&target.path().join("f"))), b"x");
}
