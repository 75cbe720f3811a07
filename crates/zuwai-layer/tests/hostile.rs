//! Archives made to do harm, or broken on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::Read;

use support::{RawHeader, archive, extended, file, member, path, read_all, record};
use zuwai_layer::reader::Limits;
use zuwai_layer::{EntryKind, LayerError, LayerItem, LayerReader};

fn error(tar: &[u8]) -> LayerError {
    match read_all(tar) {
        Ok(items) => panic!("was read: {items:?}"),
        Err(error) => error,
    }
}

/// The error with its causes, as a user sees it.
fn chain(error: &LayerError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn names_out_of_the_root_are_refused() {
    for name in ["..", "../etc/passwd", "a/../../etc/passwd", "/../etc/passwd", "./../../x"] {
        let tar = archive(&[member(&RawHeader::new(name.as_bytes(), b'0', 0), b"")]);
        assert!(matches!(error(&tar), LayerError::Name(_)), "{name}");
        let tar = archive(&[
            extended(&record("path", name.as_bytes())),
            member(&RawHeader::new(b"good", b'0', 0), b""),
        ]);
        assert!(matches!(error(&tar), LayerError::Name(_)), "{name} by PAX");
        let long = RawHeader::new(b"././@LongLink", b'L', name.len() as u64 + 1);
        let tar = archive(&[
            member(&long, format!("{name}\0").as_bytes()),
            member(&RawHeader::new(b"good", b'0', 0), b""),
        ]);
        assert!(matches!(error(&tar), LayerError::Name(_)), "{name} by GNU");
    }
}

#[test]
fn absolute_names_stay_inside() {
    let tar = archive(&[
        member(&RawHeader::new(b"/etc/f", b'0', 0), b""),
        member(&RawHeader::new(b"l", b'1', 0).link(b"/etc/f"), b""),
        member(&RawHeader::new(b"//etc//./g", b'0', 0), b""),
    ]);
    let items = read_all(&tar).unwrap();
    assert_eq!(items[0].0, LayerItem::Entry(file("etc/f", 0)));
    let LayerItem::Entry(link) = &items[1].0 else { panic!("{items:?}") };
    assert_eq!(link.kind, EntryKind::Hardlink { target: path("etc/f") });
    assert_eq!(items[2].0, LayerItem::Entry(file("etc/g", 0)));
}

#[test]
fn hard_links_out_of_the_root_are_refused_and_symbolic_ones_kept() {
    for target in ["../etc/shadow", "/../x", "a/../../x"] {
        let tar = archive(&[member(&RawHeader::new(b"l", b'1', 0).link(target.as_bytes()), b"")]);
        let error = error(&tar);
        assert!(matches!(error, LayerError::Hardlink { .. }), "{target}");
        assert!(chain(&error).contains("leaves the root"), "{}", chain(&error));
        let tar = archive(&[member(&RawHeader::new(b"l", b'2', 0).link(target.as_bytes()), b"")]);
        let LayerItem::Entry(link) = read_all(&tar).unwrap().remove(0).0 else { panic!() };
        assert_eq!(link.kind, EntryKind::Symlink { target: target.into() });
    }
    for flag in [b'1', b'2'] {
        let tar = archive(&[member(&RawHeader::new(b"l", flag, 0), b"")]);
        assert!(matches!(error(&tar), LayerError::Field { field: "link target", .. }));
    }
}

#[test]
fn names_with_nul_or_too_long_are_refused() {
    let by_pax = |key, value: &[u8], flag| {
        let header = RawHeader::new(b"good", flag, 0).link(b"good");
        archive(&[extended(&record(key, value)), member(&header, b"")])
    };
    assert!(matches!(error(&by_pax("path", b"a\0b", b'0')), LayerError::Name(_)));
    assert!(matches!(error(&by_pax("path", &[b'a'; 256], b'0')), LayerError::Name(_)));
    assert!(matches!(error(&by_pax("path", &b"a/".repeat(3000), b'0')), LayerError::Name(_)));
    assert!(matches!(error(&by_pax("linkpath", b"a\0b", b'1')), LayerError::Field { .. }));
    assert!(matches!(error(&by_pax("linkpath", b"a\0b", b'2')), LayerError::Field { .. }));
    assert!(matches!(error(&by_pax("linkpath", &[b'a'; 5000], b'2')), LayerError::Field { .. }));
    assert!(matches!(error(&by_pax("SCHILY.xattr.", b"v", b'0')), LayerError::Field { .. }));
    assert!(matches!(error(&by_pax("SCHILY.xattr.user.a\0b", b"v", b'0')), LayerError::Field { .. }));
    assert!(matches!(error(&by_pax("SCHILY.xattr.user.a", &[0; 70_000], b'0')), LayerError::Field { .. }));
}

#[test]
fn whiteouts_of_the_root_are_refused_in_layers_and_plain_names_in_archives() {
    for name in [".wh.", "./.wh.", "d/.wh..", "d/.wh...", "d/.wh.e/f"] {
        let tar = archive(&[member(&RawHeader::new(name.as_bytes(), b'0', 0), b"")]);
        assert!(matches!(error(&tar), LayerError::Marker(_)), "{name}");
        let item = LayerReader::archive(tar.as_slice()).next().unwrap();
        assert_eq!(item, Some(LayerItem::Entry(file(name, 0))));
    }
}

#[test]
fn sizes_that_overflow_are_refused_or_found_truncated() {
    let size = |field: &[u8; 12]| {
        let mut header = RawHeader::new(b"f", b'0', 0);
        header.set(124, field);
        archive(&[member(&header, b"")])
    };
    // 2^64 + 512, which a careless reader takes for 512.
    assert!(matches!(
        error(&size(b"\x80\0\0\x01\0\0\0\0\0\0\x02\0")),
        LayerError::Field { field: "size", .. }
    ));
    assert!(matches!(error(&size(&[0xff; 12])), LayerError::Field { .. } | LayerError::Header { .. }));
    assert!(matches!(
        error(&size(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")),
        LayerError::Read(_) | LayerError::Truncated { .. }
    ));
    assert!(matches!(error(&size(b"0000000x000\0")), LayerError::Header { .. }));
    let by_pax = |value: &[u8]| {
        archive(&[extended(&record("size", value)), member(&RawHeader::new(b"f", b'0', 0), b"")])
    };
    for value in ["-1", "", "0x10", "1e3", " 1", "+1", "18446744073709551616"] {
        assert!(matches!(error(&by_pax(value.as_bytes())), LayerError::Field { .. }), "{value:?}");
    }
    let mut reader = LayerReader::new(&*by_pax(b"18446744073709551615").leak());
    assert!(reader.next().unwrap().is_some());
    assert!(matches!(reader.next().unwrap_err(), LayerError::Truncated { .. }));
}

#[test]
fn owners_that_do_not_fit_are_refused() {
    for value in ["4294967296", "-1", "root"] {
        let tar = archive(&[
            extended(&record("uid", value.as_bytes())),
            member(&RawHeader::new(b"f", b'0', 0), b""),
        ]);
        assert!(matches!(error(&tar), LayerError::Field { .. }), "{value}");
    }
    let mut header = RawHeader::new(b"f", b'0', 0);
    header.set(116, &[0xff; 8]);
    assert!(matches!(
        error(&archive(&[member(&header, b"")])),
        LayerError::Field { .. } | LayerError::Header { .. }
    ));
}

#[test]
fn extended_headers_are_read_strictly_and_within_limits() {
    let file = || member(&RawHeader::new(b"f", b'0', 0), b"");
    for data in
        [&b"garbage"[..], b"99 path=x\n", b"8 path=x\n", b"10 path=xx\0", b"11 path=ab\n\0", b"6 =abc\n"]
    {
        let tar = archive(&[extended(data), file()]);
        assert!(matches!(error(&tar), LayerError::Field { .. } | LayerError::Header { .. }), "{data:?}");
    }
    // Just more than is allowed, and a size that claims the world.
    let large = record("comment", &vec![b'x'; 1 << 20]);
    assert!(matches!(error(&archive(&[extended(&large), file()])), LayerError::Header { .. }));
    let claims = RawHeader::new(b"x", b'x', 0o77777777777);
    assert!(matches!(error(&claims.block()), LayerError::Header { .. }));
    let claims = RawHeader::new(b"g", b'g', 0o77777777777);
    assert!(matches!(error(&claims.block()), LayerError::Header { .. }));
    let twice = extended(&record("path", b"a"));
    assert!(matches!(error(&archive(&[twice.clone(), twice.clone(), file()])), LayerError::Header { .. }));
    // Only headers about nothing.
    assert!(matches!(error(&archive(std::slice::from_ref(&twice))), LayerError::Header { .. }));
    // A long one that is allowed.
    let long = record("comment", &vec![b'x'; 900_000]);
    assert_eq!(read_all(&archive(&[extended(&long), file()])).unwrap().len(), 1);
}

#[test]
fn there_is_a_limit_to_entries() {
    let tar = archive(&vec![member(&RawHeader::new(b"f", b'0', 0), b""); 4]);
    let limits = |entries| Limits { entries, ..Limits::default() };
    let count = |limit| {
        let mut reader = LayerReader::with_limits(tar.as_slice(), limits(limit));
        std::iter::from_fn(|| reader.next().transpose()).collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(count(4).unwrap().len(), 4);
    assert!(matches!(count(3), Err(LayerError::TooManyEntries(3))));
}

#[test]
fn entries_of_no_known_type_are_refused_by_name() {
    for flag in [b'D', b'M', b'V', b'Z', b'8'] {
        let tar = archive(&[member(&RawHeader::new(b"odd", flag, 0), b"")]);
        let error = error(&tar);
        assert_eq!(error.to_string(), format!("entry \"odd\" has unknown type {:?}", char::from(flag)));
    }
}

#[test]
fn bytes_that_are_no_tar_are_refused() {
    for bytes in [&[b'x'; 512][..], &[b'x'; 5000], &[0xff; 1024]] {
        assert!(matches!(error(bytes), LayerError::Header { position: 0, .. }));
    }
    let mut tar = archive(&[member(&RawHeader::new(b"f", b'0', 3), b"abc")]);
    tar[0] = b'g'; // the checksum no longer fits
    assert!(matches!(error(&tar), LayerError::Header { .. }));
    let error = error(b"short");
    assert_eq!(error.to_string(), "archive is truncated: it ends inside a header, after 5 bytes");
}

#[test]
fn a_truncated_file_is_named() {
    let tar = archive(&[member(&RawHeader::new(b"d/f", b'0', 3000), &[1; 3000])]);
    let mut reader = LayerReader::new(&tar[..2000]);
    reader.next().unwrap();
    let told = "archive is truncated: it ends inside /d/f, after 2000 bytes";
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (std::io::ErrorKind::UnexpectedEof, told));
    let mut reader = LayerReader::new(&tar[..2000]);
    reader.next().unwrap();
    assert_eq!(reader.copy_content(&mut Vec::new()).unwrap_err().to_string(), told);
    // In the padding after the content, too.
    let mut reader = LayerReader::new(&tar[..512 + 3000]);
    reader.next().unwrap();
    reader.copy_content(&mut Vec::new()).unwrap().unwrap();
    assert!(matches!(reader.next(), Err(LayerError::Truncated { .. })));
}

#[test]
fn sizes_of_what_has_no_content_mean_nothing() {
    // As in Go's reader: else a link with a size would hide the entry after it.
    for flag in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        let tar = archive(&[
            member(&RawHeader::new(b"odd", flag, 700).link(b"f"), b""),
            member(&RawHeader::new(b"seen", b'0', 0), b""),
        ]);
        assert_eq!(read_all(&tar).unwrap()[1].0, LayerItem::Entry(file("seen", 0)), "{}", char::from(flag));
    }
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let sparse = |map: &str, size: &str, stored: &[u8]| {
        let records =
            [record("GNU.sparse.map", map.as_bytes()), record("GNU.sparse.size", size.as_bytes())].concat();
        archive(&[extended(&records), member(&RawHeader::new(b"f", b'0', stored.len() as u64), stored)])
    };
    assert_eq!(read_all(&sparse("2,3,7,1", "9", b"abcd")).unwrap()[0].1, b"\0\0abc\0\0d\0");
    for (map, size) in [
        ("2,3,4,1", "9"),
        ("7,1,2,3", "9"),
        ("2,3,7,1", "7"),
        ("2,3", "9"),
        ("18446744073709551615,4", "18446744073709551615"),
        ("2,3,7", "9"),
        ("a,b", "9"),
    ] {
        assert!(matches!(error(&sparse(map, size, b"abcd")), LayerError::Header { .. }), "{map}");
    }
    // A map without an end, in the form that stands before the content.
    let records = [
        record("GNU.sparse.major", b"1"),
        record("GNU.sparse.minor", b"0"),
        record("GNU.sparse.realsize", b"9"),
    ]
    .concat();
    let mut tar = extended(&records);
    tar.extend(RawHeader::new(b"f", b'0', 8 << 20).block());
    tar.resize(tar.len() + (8 << 20), b'1');
    assert!(matches!(error(&tar), LayerError::Header { .. }));
}

#[test]
fn a_source_that_fails_is_told_from_an_archive_that_ends() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "peer went away"))
        }
    }
    let tar = archive(&[member(&RawHeader::new(b"f", b'0', 3000), &[1; 3000])]);
    let mut reader = LayerReader::new((&tar[..1000]).chain(Broken));
    reader.next().unwrap();
    let LayerError::Read(error) = reader.next().unwrap_err() else { panic!() };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
