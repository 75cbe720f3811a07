//! Layers from entries to blobs: the same bytes on any number of threads, and bytes that stay as they are.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{self, Cursor, Read, Write};
use std::process::{Command, Stdio};

use support::{collect, entry, file, path, read_all};
use zuwai_layer::build::TarSink;
use zuwai_layer::compression::decompress;
use zuwai_layer::{
    Compression, Digest, Entry, EntryKind, LayerBuilder, LayerError, LayerReader, LayerSummary, Level,
};

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

/// A layer of some files, `length` bytes in all, written in pieces of odd length.
fn build(compression: Compression, level: Level, threads: usize, length: usize) -> (Vec<u8>, LayerSummary) {
    let mut layer = LayerBuilder::new(Vec::new(), compression, level, threads);
    fill(&mut layer, length).unwrap();
    layer.finish().unwrap()
}

fn fill<W: Write + Send + 'static>(layer: &mut LayerBuilder<W>, length: usize) -> Result<(), LayerError> {
    layer.entry(&Entry { mode: 0o755, ..entry("d", EntryKind::Directory) }, io::empty())?;
    layer.opaque(&path("d"))?;
    let mut left = length;
    let mut number = 0;
    while left > 0 {
        let size = left.min(700_000 + number);
        layer.entry(&file(&format!("d/{number:05}"), size as u64), Pattern(number).take(size as u64))?;
        left -= size;
        number += 1;
    }
    layer.whiteout(&path("e"))
}

/// Endless bytes with some order in them.
struct Pattern(usize);

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(9973);
        for byte in &mut buffer[..length] {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = b"etaoin shrdlu\n\0\0"[self.0 >> 60];
        }
        Ok(length)
    }
}

fn uncompressed(blob: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    decompress(Cursor::new(blob.to_vec())).unwrap().read_to_end(&mut tar).unwrap();
    tar
}

#[test]
fn an_empty_layer_has_the_well_known_diff_id() {
    for compression in ALL {
        let (blob, summary) =
            LayerBuilder::new(Vec::new(), compression, Level::default(), 2).finish().unwrap();
        assert_eq!(
            summary.diff_id.to_string(),
            "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
        );
        assert_eq!(summary.uncompressed_size, 1024);
        assert_eq!(uncompressed(&blob), [0; 1024]);
    }
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    for compression in ALL {
        // Within a block (1 MiB, 4 MiB for Zstandard), at its end, and several.
        for length in [0, 100_000, 1 << 20, 5_000_000, 13_000_000] {
            let (blob, summary) = build(compression, Level::default(), 1, length);
            assert_eq!(summary.digest, Digest::of(&blob));
            assert_eq!(summary.size, blob.len() as u64);
            let tar = uncompressed(&blob);
            assert_eq!(summary.diff_id, Digest::of(&tar));
            assert_eq!(summary.uncompressed_size, tar.len() as u64);
            for threads in [0, 2, 3, 4, 5, 6, 7, 8] {
                let (again, same) = build(compression, Level::default(), threads, length);
                assert!(again == blob && same == summary, "{compression:?} {length} {threads}");
            }
        }
    }
}

#[test]
fn blocks_end_where_they_should() {
    let mut bytes = vec![0; (8 << 20) + 1];
    Pattern(1).read_exact(&mut bytes).unwrap();
    for compression in ALL {
        for length in [1, 2, 4, 8].into_iter().flat_map(|mib| [(mib << 20) - 1, mib << 20, (mib << 20) + 1]) {
            let mut sink = TarSink::new(Vec::new(), compression, Level::new(1), 2);
            // In pieces that do not divide a block.
            bytes[..length].chunks(333_333).try_for_each(|piece| sink.write_all(piece)).unwrap();
            let (blob, summary) = sink.finish().unwrap();
            assert!(uncompressed(&blob) == bytes[..length], "{compression:?} {length}");
            assert_eq!(summary.uncompressed_size, length as u64);
            if compression == Compression::Gzip {
                let members = blob.windows(10).filter(|start| *start == &blob[..10]).count();
                assert_eq!(members, length.div_ceil(1 << 20), "members of {length}");
            }
        }
    }
}

#[test]
fn a_layer_of_many_blocks_reads_back() {
    for compression in ALL {
        let (blob, _) = build(compression, Level::default(), 3, 4_000_000);
        let items = collect(LayerReader::new(decompress(Cursor::new(blob)).unwrap())).unwrap();
        assert_eq!(items.len(), 9);
        assert_eq!(items.iter().map(|(_, content)| content.len()).sum::<usize>(), 4_000_000);
        let mut expected = vec![0; items[2].1.len()];
        Pattern(0).read_exact(&mut expected).unwrap();
        assert!(items[2].1 == expected);
    }
}

/// Digests of layers that were published stay valid only as long as the same files give the same bytes. A change of
/// these is a change of every cache key and of every reproducible build: it belongs in the change log.
#[test]
fn known_layers_have_known_digests() {
    let (_, summary) = build(Compression::None, Level::default(), 2, 3_000_000);
    let diff_id = "sha256:ab22ed780523a45ce66f24ffb58c0e4bff40abdaab5c29bc4bc8ae04afc1094c";
    assert_eq!(summary.diff_id.to_string(), diff_id);
    for (compression, level, digest) in [
        (Compression::None, Level::default(), diff_id),
        (
            Compression::Gzip,
            Level::default(),
            "sha256:1fb1547add104eeba0b5c929c26c8decb44511dbba9cee3d304ebf813233815b",
        ),
        (
            Compression::Gzip,
            Level::new(6),
            "sha256:e20f30b29b48ffb84db719fae79abc1b706e3a14844cddc8f43abfe8802d17e5",
        ),
        (
            Compression::Zstd,
            Level::default(),
            "sha256:af6afa4475fd3608114a48ad96e481539b099c822e9f6459dc920f612d2521cc",
        ),
    ] {
        let (_, summary) = build(compression, level, 2, 3_000_000);
        assert_eq!(summary.digest.to_string(), digest, "{compression:?} {level:?}");
    }
}

#[test]
fn levels_are_obeyed() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let size = |level| build(compression, Level::new(level), 2, 2_000_000).1.size;
        assert_ne!(size(9), size(1), "{compression:?}");
        assert_eq!(size(100), size(i32::MAX), "{compression:?}");
    }
}

#[test]
fn gzip_itself_takes_what_is_written() {
    let (blob, summary) = build(Compression::Gzip, Level::default(), 2, 3_000_000);
    // No name, no time: nothing of the moment it was made.
    assert_eq!(blob[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    for arguments in [&["-t"][..], &["-dc"]] {
        let mut gzip = Command::new("gzip")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("gzip is not there");
        let mut stdin = gzip.stdin.take().unwrap();
        let bytes = blob.clone();
        let feed = std::thread::spawn(move || stdin.write_all(&bytes));
        let output = gzip.wait_with_output().unwrap();
        feed.join().unwrap().unwrap();
        assert!(output.status.success());
        if arguments == ["-dc"] {
            assert_eq!(Digest::of(&output.stdout), summary.diff_id);
        }
    }
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(blob.as_slice()).read_to_end(&mut tar).unwrap();
    assert_eq!(Digest::of(&tar), summary.diff_id);
}

/// A disk with little room.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_whenever_it_is_full() {
    for compression in ALL {
        for (room, length) in [(0, 0), (100, 0), (100, 900_000), (0, 30_000_000), (1_000_000, 30_000_000)] {
            let mut layer = LayerBuilder::new(Full(room), compression, Level::default(), 3);
            let error = match fill(&mut layer, length) {
                Ok(()) => layer.finish().map(|(_, summary)| summary).unwrap_err(),
                Err(error) => {
                    assert!(layer.finish().is_err(), "a broken layer was finished");
                    error
                }
            };
            let LayerError::Write(error) = error else { panic!("{error:?}") };
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{compression:?} {room} {length}");
        }
    }
}

#[test]
fn a_layer_that_is_given_up_lets_go_of_its_sink() {
    struct Alive(std::sync::mpsc::Sender<()>);
    impl Write for Alive {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut layer = LayerBuilder::new(Alive(sender), Compression::Gzip, Level::default(), 3);
    fill(&mut layer, 5_000_000).unwrap();
    drop(layer);
    while receiver.try_recv().is_ok() {}
    assert_eq!(receiver.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
}

#[test]
fn a_tar_of_another_tool_goes_through_unchanged() {
    let (tar, _) = build(Compression::None, Level::default(), 2, 3_000_000);
    let mut sink = TarSink::new(Vec::new(), Compression::Gzip, Level::default(), 2);
    io::copy(&mut tar.as_slice(), &mut sink).unwrap();
    let (blob, summary) = sink.finish().unwrap();
    assert!(uncompressed(&blob) == tar);
    assert_eq!(summary.diff_id, Digest::of(&tar));
    assert_eq!(read_all(&tar).unwrap().len(), 8);
}
