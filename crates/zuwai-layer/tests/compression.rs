//! Compressed streams in: every format, every way to be broken.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{self, Cursor, Read, Write as _};

use support::{RawHeader, archive, extended, member, record};
use zuwai_layer::compression::{DecompressError, Detected, decompress, detect, is_tar};

/// Bytes that compress, but not to nothing.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"abcdefgh\n"[(state >> 24) as usize % 9]
    })
    .take(length)
    .collect()
}

fn compressed(format: Detected, bytes: &[u8]) -> Vec<u8> {
    match format {
        Detected::Plain => bytes.to_vec(),
        Detected::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Detected::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Detected::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Detected::Zstd => zstd::bulk::compress(bytes, 1).unwrap(),
    }
}

const COMPRESSED: [Detected; 4] = [Detected::Gzip, Detected::Bzip2, Detected::Xz, Detected::Zstd];

fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    decompress(Cursor::new(bytes))?.read_to_end(&mut read)?;
    Ok(read)
}

fn decompress_error(result: io::Result<Vec<u8>>) -> DecompressError {
    let error = result.unwrap_err();
    *error.into_inner().unwrap().downcast::<DecompressError>().unwrap()
}

#[test]
fn every_format_is_told_and_decoded() {
    for length in [0, 1, 9, 10, 11, 1000, 3_000_000] {
        let bytes = sample(length);
        for format in [Detected::Plain].into_iter().chain(COMPRESSED) {
            let stream = compressed(format, &bytes);
            assert_eq!(detect(&stream), format);
            assert!(read(stream).unwrap() == bytes, "{format:?} {length}");
        }
    }
}

#[test]
fn streams_may_follow_one_another() {
    for format in COMPRESSED {
        let parts = [sample(100_000), Vec::new(), sample(7)];
        let stream: Vec<u8> = parts.iter().flat_map(|part| compressed(format, part)).collect();
        assert!(read(stream).unwrap() == parts.concat(), "{format:?}");
    }
}

#[test]
fn garbage_after_a_stream_is_an_error_as_in_go() {
    for format in COMPRESSED {
        for garbage in [&b"garbage after the end"[..], &[0; 512]] {
            let mut stream = compressed(format, &sample(1000));
            stream.extend_from_slice(garbage);
            // xz allows its streams to be padded with zeros, four bytes at a time.
            if format == Detected::Xz && garbage[0] == 0 {
                assert_eq!(read(stream).unwrap(), sample(1000));
            } else {
                assert!(read(stream).is_err(), "{format:?} {garbage:?}");
            }
        }
    }
}

#[test]
fn a_truncated_stream_says_so_wherever_it_is_cut() {
    for format in COMPRESSED {
        let stream = compressed(format, &sample(3000));
        for cut in 11..stream.len() {
            let error = decompress_error(read(stream[..cut].to_vec()));
            assert!(matches!(error, DecompressError::Truncated { .. }), "{format:?} {cut}: {error:?}");
        }
    }
}

#[test]
fn a_changed_stream_is_corrupt() {
    for format in COMPRESSED {
        let bytes = sample(100_000);
        let mut stream = compressed(format, &bytes);
        let middle = stream.len() / 2;
        stream[middle] ^= 0x55;
        match read(stream) {
            // A Zstandard frame of this kind has no checksum.
            Ok(read) => assert!(format == Detected::Zstd && read != bytes, "{format:?}"),
            Err(error) => {
                let error = error.into_inner().unwrap().downcast::<DecompressError>().unwrap();
                assert!(error.to_string().ends_with("is corrupt"), "{format:?}: {error}");
            }
        }
    }
}

#[test]
fn windows_beyond_the_limit_are_refused() {
    // A frame that asks for a window of 2^28 bytes, and an xz stream for a dictionary of 1 GiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x90];
    frame.extend_from_slice(&[1, 0, 0]);
    assert!(matches!(decompress_error(read(frame)), DecompressError::Corrupt { format: "zstd", .. }));
    // An encoder for that dictionary would take gigabytes: the size is put into the header of a small one's stream,
    // where the header's checksum has to follow.
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(1 << 20);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let stream =
        liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(b"content").unwrap();
    let mut bytes = encoder.finish().unwrap();
    assert_eq!(bytes[14..17], [0x21, 0x01, 0x10]);
    bytes[16] = 0x24;
    let mut checksum = flate2::Crc::new();
    checksum.update(&bytes[12..20]);
    bytes[20..24].copy_from_slice(&checksum.sum().to_le_bytes());
    let error = decompress_error(read(bytes));
    assert!(
        matches!(&error, DecompressError::Corrupt { format: "xz", source } if source.to_string().contains("emory")),
        "{error:?}"
    );
}

#[test]
fn a_source_that_fails_comes_through_as_it_is() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::ConnectionReset, "peer went away"))
        }
    }
    for format in COMPRESSED {
        let stream = compressed(format, &sample(500_000));
        let source = Cursor::new(stream[..stream.len() / 2].to_vec()).chain(Broken);
        let error = decompress(source).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "peer went away", "{format:?}");
    }
    assert!(decompress(Broken).is_err());
    assert!(is_tar(Broken).is_err());
}

#[test]
fn only_what_begins_with_a_tar_header_is_a_tar() {
    let tar = archive(&[member(&RawHeader::new(b"f", b'0', 0), b"")]);
    let with_pax = archive(&[extended(&record("path", b"g")), member(&RawHeader::new(b"f", b'0', 0), b"")]);
    let outside = archive(&[member(&RawHeader::new(b"../f", b'0', 0), b"")]);
    let text = b"not a tar, however long it is ".repeat(100);
    for (bytes, expected) in [
        (&tar[..], true),
        (&tar[..512], true),
        (&with_pax, true),
        // It is one, and will be refused as one.
        (&outside, true),
        (&text, false),
        (&tar[..511], false),
        (b"", false),
        // As for BuildKit: an archive of nothing is a file.
        (&[0; 1024], false),
    ] {
        assert_eq!(is_tar(bytes).unwrap(), expected, "{} bytes", bytes.len());
        for format in COMPRESSED {
            assert_eq!(
                is_tar(&*compressed(format, bytes)).unwrap(),
                expected,
                "{format:?} {} bytes",
                bytes.len()
            );
        }
    }
    for broken in
        [&b"\x1f\x8b\x08garbage that is no gzip"[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"]
    {
        assert!(!is_tar(broken).unwrap(), "{broken:?}");
    }
}
