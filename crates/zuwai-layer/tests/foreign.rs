//! Other tools' archives are read, and other tools read ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{RawHeader, archive, collect, entry, extended, file, member, path, read_all, record};
use zuwai_layer::{Entry, EntryKind, LayerItem, LayerReader, LayerWriter};

fn run(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    feed.join().unwrap().unwrap();
    output.stdout
}

fn read(tar: &[u8]) -> BTreeMap<String, (Entry, Vec<u8>)> {
    let items = collect(LayerReader::archive(tar)).unwrap();
    let entries = items.into_iter().map(|(item, content)| match item {
        LayerItem::Entry(entry) => (entry.path.to_string(), (entry, content)),
        other => panic!("{other:?}"),
    });
    entries.collect()
}

/// A tree with what the formats differ in.
fn tree(directory: &Path) {
    std::fs::create_dir(directory.join("sub")).unwrap();
    std::fs::write(directory.join("sub/plain"), "content").unwrap();
    std::fs::write(directory.join("sub").join("é雪"), "unicode").unwrap();
    let deep = directory.join("d".repeat(80)).join("e".repeat(80));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("f"), "deep").unwrap();
    std::fs::hard_link(directory.join("sub/plain"), directory.join("sub/plain2")).unwrap();
    std::os::unix::fs::symlink("../sub/plain", directory.join("sub/symlink")).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_234_567_890_900);
    std::fs::File::options()
        .write(true)
        .open(directory.join("sub/plain"))
        .unwrap()
        .set_modified(old)
        .unwrap();
}

#[test]
fn gnu_tar_is_read_in_all_its_formats() {
    let directory = tempfile::tempdir().unwrap();
    tree(directory.path());
    for format in ["ustar", "pax", "gnu", "oldgnu"] {
        let mut command = Command::new("tar");
        command.arg(format!("--format={format}")).args([
            "--owner=:1234",
            "--group=:5678",
            "--sort=name",
            "-c",
            ".",
        ]);
        let tar = run(command.current_dir(directory.path()), b"");
        let entries = read(&tar);
        assert_eq!(entries.len(), 9, "{format}: {:?}", entries.keys());
        let (root, _) = &entries["/"];
        assert_eq!(root.kind, EntryKind::Directory);
        let (plain, content) = &entries["/sub/plain"];
        assert_eq!(content, b"content");
        assert_eq!((plain.uid, plain.gid, plain.mtime), (1234, 5678, 1_234_567_890), "{format}");
        let mode = std::fs::metadata(directory.path().join("sub/plain")).unwrap().mode();
        assert_eq!(plain.mode, mode & 0o7777);
        assert_eq!(entries["/sub/é雪"].1, b"unicode");
        assert_eq!(entries[&format!("/{}/{}/f", "d".repeat(80), "e".repeat(80))].1, b"deep", "{format}");
        assert_eq!(entries["/sub/plain2"].0.kind, EntryKind::Hardlink { target: path("sub/plain") });
        assert_eq!(entries["/sub/symlink"].0.kind, EntryKind::Symlink { target: b"../sub/plain".to_vec() });
    }
}

#[test]
fn sparse_files_of_gnu_tar_are_read_whole() {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("sparse");
    let file = std::fs::File::create(&name).unwrap();
    // More pieces than fit one header.
    for number in 0..40u64 {
        std::os::unix::fs::FileExt::write_all_at(
            &file,
            format!("piece {number}").as_bytes(),
            number * 131_072,
        )
        .unwrap();
    }
    file.set_len(8_000_000).unwrap();
    drop(file);
    let whole = std::fs::read(&name).unwrap();
    for options in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        std::fs::write(directory.path().join("z-after"), "after").unwrap();
        let mut command = Command::new("tar");
        command.args(options).args(["-S", "-c", "sparse", "z-after"]);
        let tar = run(command.current_dir(directory.path()), b"");
        assert!(tar.len() < 1_000_000, "{options:?} was not sparse");
        let entries = read(&tar);
        assert_eq!(entries["/sparse"].0.kind, EntryKind::File { size: 8_000_000 }, "{options:?}");
        assert!(entries["/sparse"].1 == whole, "{options:?}");
        assert_eq!(entries["/z-after"].1, b"after");
        // Skipped, it is as long as it lies in the archive.
        let mut reader = LayerReader::archive(tar.as_slice());
        reader.next().unwrap();
        assert!(
            matches!(reader.next().unwrap(), Some(LayerItem::Entry(entry)) if entry.path == path("z-after"))
        );
    }
}

/// The script reads or writes a tar on standard input or output with Python's tarfile.
fn python(script: &str, input: &[u8]) -> Vec<u8> {
    run(Command::new("python3").args(["-c", script]), input)
}

#[test]
fn python_is_read_in_all_its_formats() {
    for format in ["PAX", "GNU", "USTAR"] {
        let script = format!(
            r#"
import io, sys, tarfile
tar = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.{format}_FORMAT)
def add(name, type=tarfile.REGTYPE, content=b"", **fields):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = type, len(content), 1000
    for key, value in fields.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(content))
add("dir", tarfile.DIRTYPE, mode=0o1777)
add("dir/setuid", content=b"x" * 1000, mode=0o4755, uid=7, gid=8)
add("dir/null", tarfile.CHRTYPE, devmajor=1, devminor=3)
add("dir/disk", tarfile.BLKTYPE, devmajor=8, devminor=17)
add("dir/pipe", tarfile.FIFOTYPE)
add("dir/link", tarfile.LNKTYPE, linkname="dir/setuid")
add("dir/" + "n" * 90, content=b"long")
if "{format}" != "USTAR":
    add("dir/large", uid=3000000, gid=4000000000, mtime=8589934592 * 2)
    add("dir/" + "n" * 200, content=b"longer")
    add("dir/long-link", tarfile.SYMTYPE, linkname="t" * 300)
if "{format}" == "PAX":
    add("dir/before-1970", mtime=-5.5)
    add("dir/fraction", mtime=5.75)
    add("dir/attributes", pax_headers={{"SCHILY.xattr.user.k": "line\nline", "SCHILY.xattr.user.empty": "", "comment": "c"}})
tar.close()
"#
        );
        let entries = read(&python(&script, b""));
        let kind = |name: &str| entries[name].0.kind.clone();
        assert_eq!(entries["/dir"].0.mode, 0o1777);
        let (setuid, content) = &entries["/dir/setuid"];
        assert_eq!((setuid.mode, setuid.uid, setuid.gid, setuid.mtime), (0o4755, 7, 8, 1000));
        assert_eq!(content, &[b'x'; 1000]);
        assert_eq!(kind("/dir/null"), EntryKind::CharDevice { major: 1, minor: 3 });
        assert_eq!(kind("/dir/disk"), EntryKind::BlockDevice { major: 8, minor: 17 });
        assert_eq!(kind("/dir/pipe"), EntryKind::Fifo);
        assert_eq!(kind("/dir/link"), EntryKind::Hardlink { target: path("dir/setuid") });
        assert_eq!(entries[&format!("/dir/{}", "n".repeat(90))].1, b"long");
        if format != "USTAR" {
            let large = &entries["/dir/large"].0;
            assert_eq!((large.uid, large.gid, large.mtime), (3_000_000, 4_000_000_000, 17_179_869_184));
            assert_eq!(entries[&format!("/dir/{}", "n".repeat(200))].1, b"longer");
            assert_eq!(kind("/dir/long-link"), EntryKind::Symlink { target: vec![b't'; 300] });
        }
        if format == "PAX" {
            assert_eq!(entries["/dir/before-1970"].0.mtime, -6);
            assert_eq!(entries["/dir/fraction"].0.mtime, 5);
            let xattrs = &entries["/dir/attributes"].0.xattrs;
            assert_eq!(xattrs[&b"user.k"[..]], b"line\nline");
            assert_eq!(xattrs[&b"user.empty"[..]], b"");
        }
    }
}

/// A layer with everything that another tool may stumble over.
fn layer() -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    let mut add = |entry: Entry, content: &[u8]| writer.entry(&entry, content).unwrap();
    add(Entry { mode: 0o755, ..entry("", EntryKind::Directory) }, b"");
    add(Entry { mode: 0o1777, ..entry("d", EntryKind::Directory) }, b"");
    add(Entry { mode: 0o4755, mtime: 1_234_567_890, ..file("d/plain", 7) }, b"content");
    add(entry("d/plain-link", EntryKind::Hardlink { target: path("d/plain") }), b"");
    add(entry("d/symlink", EntryKind::Symlink { target: "/é".into() }), b"");
    add(entry("d/symlink-long", EntryKind::Symlink { target: vec![b't'; 300] }), b"");
    let mut attributes = file("d/x-attributes", 0);
    attributes.xattrs.insert(b"user.k".to_vec(), b"line\nline\0=".to_vec());
    attributes.xattrs.insert(b"security.capability".to_vec(), b"\x01\0\0\x02\0 \0\0".to_vec());
    add(attributes, b"");
    add(Entry { uid: 3_000_000, gid: u32::MAX, mtime: -5, ..file("d/x-large", 0) }, b"");
    add(file(&format!("e/{}/{}", "n".repeat(120), "m".repeat(90)), 4), b"long");
    add(file(&format!("e/{}", "o".repeat(255)), 6), b"longer");
    add(file("e/é雪", 7), b"unicode");
    writer.whiteout(&path("gone")).unwrap();
    writer.finish().unwrap()
}

#[test]
fn python_reads_what_is_written() {
    let script = r#"
import sys, tarfile
tar = tarfile.open(fileobj=sys.stdin.buffer, mode="r|")
for info in tar:
    content = tar.extractfile(info).read().decode() if info.isreg() else ""
    attributes = {k: v for k, v in info.pax_headers.items() if "xattr" in k}
    print(info.name, info.type.decode(), oct(info.mode), info.uid, info.gid, int(info.mtime), info.linkname, content,
          sorted(attributes.items()), sep="|")
"#;
    let listed = String::from_utf8(python(script, &layer())).unwrap();
    let expected = [
        ".|5|0o755|0|0|0|||[]".to_owned(),
        "d|5|0o1777|0|0|0|||[]".into(),
        "d/plain|0|0o4755|0|0|1234567890||content|[]".into(),
        "d/plain-link|1|0o644|0|0|0|d/plain||[]".into(),
        "d/symlink|2|0o644|0|0|0|/é||[]".into(),
        format!("d/symlink-long|2|0o644|0|0|0|{}||[]", "t".repeat(300)),
        r"d/x-attributes|0|0o644|0|0|0|||[('SCHILY.xattr.security.capability', '\x01\x00\x00\x02\x00 \x00\x00'), ('SCHILY.xattr.user.k', 'line\nline\x00=')]".into(),
        "d/x-large|0|0o644|3000000|4294967295|-5|||[]".into(),
        format!("e/{}/{}|0|0o644|0|0|0||long|[]", "n".repeat(120), "m".repeat(90)),
        format!("e/{}|0|0o644|0|0|0||longer|[]", "o".repeat(255)),
        "e/é雪|0|0o644|0|0|0||unicode|[]".into(),
        ".wh.gone|0|0o0|0|0|0|||[]".into(),
    ];
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn gnu_tar_unpacks_what_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("tar");
    command.args(["-x", "-f", "-", "--no-same-owner", "-p"]).env("LC_ALL", "C.UTF-8");
    run(command.current_dir(directory.path()), &layer());
    let root = directory.path();
    let plain = std::fs::metadata(root.join("d/plain")).unwrap();
    assert_eq!((plain.mode() & 0o7777, plain.mtime(), plain.nlink()), (0o4755, 1_234_567_890, 2));
    assert_eq!(std::fs::read_link(root.join("d/symlink")).unwrap(), Path::new("/é"));
    assert_eq!(std::fs::metadata(root.join("d/x-large")).unwrap().mtime(), -5);
    assert_eq!(std::fs::read(root.join("e/é雪")).unwrap(), b"unicode");
    assert_eq!(std::fs::read(root.join("e").join("n".repeat(120)).join("m".repeat(90))).unwrap(), b"long");
    assert_eq!(std::fs::read(root.join("e").join("o".repeat(255))).unwrap(), b"longer");
}

#[test]
fn gnu_tar_finds_names_that_are_no_text() {
    let name = zuwai_layer::ImagePath::new(b"\xff\xfe").unwrap();
    let mut writer = LayerWriter::new(Vec::new());
    writer.entry(&Entry { path: name.clone(), ..file("", 0) }, &b""[..]).unwrap();
    let tar = writer.finish().unwrap();
    assert!(matches!(&read_all(&tar).unwrap()[0].0, LayerItem::Entry(entry) if entry.path == name));
    let listed =
        run(Command::new("tar").args(["--quoting-style=literal", "--show-transformed-names", "-t"]), &tar);
    assert_eq!(listed, b"\xff\xfe\n");
}

#[test]
fn archives_of_old_and_odd_tools_are_read() {
    // Seventh Edition: no magic, directories are files with a slash.
    let mut directory = RawHeader::new(b"old/", 0, 0);
    directory.set(257, &[0; 8]);
    let mut old = RawHeader::new(b"old/f", 0, 3);
    old.set(257, &[0; 8]);
    let tar = archive(&[member(&directory, b""), member(&old, b"abc")]);
    let entries = read(&tar);
    assert_eq!(entries["/old"].0.kind, EntryKind::Directory);
    assert_eq!(entries["/old/f"].1, b"abc");
    // A contiguous file is a file.
    let tar = archive(&[member(&RawHeader::new(b"f", b'7', 3), b"abc")]);
    assert_eq!(read(&tar)["/f"].1, b"abc");
    // Headers for the whole archive (git archive) are passed over.
    let comment = record("comment", b"0123456789");
    let global = member(&RawHeader::new(b"pax_global_header", b'g', comment.len() as u64), &comment);
    let tar = archive(&[global, member(&RawHeader::new(b"f", b'0', 0), b"")]);
    assert_eq!(read(&tar).len(), 1);
    // Without an end mark, with half of one, and with a long one.
    let one = member(&RawHeader::new(b"f", b'0', 3), b"abc");
    for zeros in [0, 512, 1024, 10_240, 1_000_000] {
        let mut tar = one.clone();
        tar.resize(tar.len() + zeros, 0);
        assert_eq!(read(&tar).len(), 1, "{zeros}");
    }
    // Bytes after the mark are no entries, but they are read: digests cover them.
    let mut tar = archive(std::slice::from_ref(&one));
    tar.extend_from_slice(&one);
    tar.extend_from_slice(&b"anything".repeat(100_000));
    let mut reader = LayerReader::new(zuwai_layer::digest::DigestReader::new(tar.as_slice()));
    while reader.next().unwrap().is_some() {}
    let (_, digest, length) = reader.into_inner().finish();
    assert_eq!((digest, length), (zuwai_layer::Digest::of(&tar), tar.len() as u64));
    // The later of two records holds.
    let records = [record("path", b"a"), record("path", b"b"), record("mtime", b"7")].concat();
    let tar = archive(&[extended(&records), member(&RawHeader::new(b"f", b'0', 0), b"")]);
    assert_eq!(read(&tar)["/b"].0.mtime, 7);
}

#[test]
fn whiteouts_of_other_builders_are_read() {
    let members: Vec<Vec<u8>> =
        ["./", "./d/", "d/.wh..wh..opq", "d/kept", "d/.wh.gone", "/.wh.top", ".wh..wh.plnk/1.2"]
            .iter()
            .map(|name| {
                member(
                    &RawHeader::new(name.as_bytes(), if name.ends_with('/') { b'5' } else { b'0' }, 0),
                    b"",
                )
            })
            .collect();
    let items: Vec<LayerItem> =
        read_all(&archive(&members)).unwrap().into_iter().map(|(item, _)| item).collect();
    assert_eq!(
        items,
        [
            LayerItem::Entry(entry("", EntryKind::Directory)),
            LayerItem::Entry(entry("d", EntryKind::Directory)),
            LayerItem::Opaque(path("d")),
            LayerItem::Entry(file("d/kept", 0)),
            LayerItem::Whiteout(path("d/gone")),
            LayerItem::Whiteout(path("top")),
        ]
    );
}
