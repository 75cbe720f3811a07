//! A tar reader and writer that share nothing with the ones under test.
//!
//! The reader knows ustar, PAX (paths, sizes, owners, extended attributes) and GNU's long names; what it does not know, it
//! panics at. The writer makes what the tests' own layers need, in ustar with PAX records for extended attributes.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use sha2::{Digest as _, Sha256};

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path without leading `./` or `/` and without a trailing `/`; empty for the root.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time in seconds, as the header has it.
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The name as the header or the PAX record has it.
    pub name: Vec<u8>,
    /// Keys of its PAX records.
    pub pax: Vec<String>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file: its size and the SHA-256 of its content.
    File {
        /// Bytes.
        size: u64,
        /// SHA-256 of the content, in hex.
        digest: String,
    },
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// A hard link to the entry of this path.
    Link(Vec<u8>),
    /// A character device.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// All entries of an uncompressed tar stream.
///
/// # Panics
/// If it is not a tar archive, or has something this reader does not know.
pub fn read(mut stream: impl Read) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut pax: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let (mut long_name, mut long_link) = (None, None);
    let mut header = [0_u8; 512];
    loop {
        stream.read_exact(&mut header).expect("a tar archive ends with two empty blocks");
        if header.iter().all(|&byte| byte == 0) {
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
            return entries;
        }
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(at, &b)| u64::from(if (148..156).contains(&at) { b' ' } else { b }))
            .sum();
        assert_eq!(sum, number(&header[148..156]), "checksum of a tar header");
        let kind = header[156];
        let size =
            pax.get("size").map_or_else(|| number(&header[124..136]), |size| text(size).parse().unwrap());
        if matches!(kind, b'x' | b'g' | b'L' | b'K') {
            let bytes = content(&mut stream, size);
            match kind {
                b'x' => pax = records(&bytes),
                b'L' => long_name = Some(until_nul(&bytes).to_vec()),
                b'K' => long_link = Some(until_nul(&bytes).to_vec()),
                _ => {}
            }
            continue;
        }
        let mut short = until_nul(&header[..100]).to_vec();
        if &header[257..263] == b"ustar\0" && header[345] != 0 {
            short = [until_nul(&header[345..500]), b"/", &short[..]].concat();
        }
        let name = pax.get("path").cloned().or(long_name.take()).unwrap_or(short);
        let link = pax
            .get("linkpath")
            .cloned()
            .or(long_link.take())
            .unwrap_or_else(|| until_nul(&header[157..257]).to_vec());
        let device = || (number(&header[329..337]) as u32, number(&header[337..345]) as u32);
        let kind = match kind {
            b'0' | 0 | b'7' if name.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => {
                let digest = hash(&mut stream, size);
                Kind::File { size, digest }
            }
            b'1' => Kind::Link(clean(&link)),
            b'2' => Kind::Symlink(link),
            b'3' => Kind::Character(device().0, device().1),
            b'4' => Kind::Block(device().0, device().1),
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => panic!("a tar entry of type {:?}", char::from(other)),
        };
        let id = |key: &str, range: &[u8]| {
            pax.get(key).map_or_else(|| number(range), |id| text(id).parse().unwrap())
        };
        let xattrs = pax
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("SCHILY.xattr.")?.to_owned(), value.clone())))
            .collect();
        entries.push(Entry {
            path: clean(&name),
            kind,
            mode: number(&header[100..108]) as u32 & 0o7777,
            uid: id("uid", &header[108..116]),
            gid: id("gid", &header[116..124]),
            mtime: number(&header[136..148]) as i64,
            xattrs,
            name,
            pax: std::mem::take(&mut pax).into_keys().collect(),
        });
    }
}

/// A path without `.` components, leading and trailing slashes.
#[must_use]
pub fn clean(path: &[u8]) -> Vec<u8> {
    path.split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect::<Vec<_>>()
        .join(&b'/')
}

fn content(stream: &mut impl Read, size: u64) -> Vec<u8> {
    assert!(size < 1 << 20, "a tar header of {size} bytes");
    let mut bytes = vec![0; size.next_multiple_of(512) as usize];
    stream.read_exact(&mut bytes).unwrap();
    bytes.truncate(size as usize);
    bytes
}

fn hash(stream: &mut impl Read, size: u64) -> String {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let (mut left, mut padded) = (size, size.next_multiple_of(512));
    while padded > 0 {
        let want = padded.min(buffer.len() as u64) as usize;
        stream.read_exact(&mut buffer[..want]).unwrap();
        let real = left.min(want as u64);
        hasher.update(&buffer[..real as usize]);
        left -= real;
        padded -= want as u64;
    }
    hex(&hasher.finalize())
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Octal text, or GNU's base-256.
fn number(field: &[u8]) -> u64 {
    if field[0] & 0x80 != 0 {
        return field
            .iter()
            .enumerate()
            .fold(0, |sum, (at, &b)| (sum << 8) | u64::from(if at == 0 { b & 0x7f } else { b }));
    }
    let digits = text(until_nul(field)).trim().to_owned();
    if digits.is_empty() { 0 } else { u64::from_str_radix(&digits, 8).unwrap() }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text in a tar header")
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
fn records(mut bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|&byte| byte == b' ').unwrap();
        let length: usize = text(&bytes[..space]).parse().unwrap();
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|&byte| byte == b'=').unwrap();
        records.insert(text(&record[..equals]).to_owned(), record[equals + 1..].to_vec());
        bytes = &bytes[length..];
    }
    records
}

/// Writes a tar archive, entry by entry.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
}

/// Mode, owner and attributes of an entry to write.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: Vec<(&'static str, Vec<u8>)>,
}

impl Attributes {
    /// Root's, with this mode.
    #[must_use]
    pub fn mode(mode: u32) -> Self {
        Self { mode, ..Self::default() }
    }

    /// With this owner and group.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// With this extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: &'static str, value: &[u8]) -> Self {
        self.xattrs.push((name, value.to_vec()));
        self
    }
}

impl<W: Write> Writer<W> {
    /// A writer of an archive into `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// A file.
    pub fn file(&mut self, path: &str, attributes: &Attributes, content: &[u8]) -> &mut Self {
        self.header(path, b'0', attributes, "", content.len() as u64, (0, 0));
        self.padded(content)
    }

    /// A directory.
    pub fn directory(&mut self, path: &str, attributes: &Attributes) -> &mut Self {
        self.header(&format!("{path}/"), b'5', attributes, "", 0, (0, 0))
    }

    /// A hard link to an earlier entry, whose attributes it repeats: containerd sets the file's mode from the last of them.
    pub fn link(&mut self, path: &str, attributes: &Attributes, target: &str) -> &mut Self {
        let attributes = Attributes { xattrs: Vec::new(), ..attributes.clone() };
        self.header(path, b'1', &attributes, target, 0, (0, 0))
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.header(path, b'2', &Attributes::mode(0o777), target, 0, (0, 0))
    }

    /// A named pipe.
    pub fn fifo(&mut self, path: &str, attributes: &Attributes) -> &mut Self {
        self.header(path, b'6', attributes, "", 0, (0, 0))
    }

    /// A character device.
    pub fn character(&mut self, path: &str, attributes: &Attributes, device: (u32, u32)) -> &mut Self {
        self.header(path, b'3', attributes, "", 0, device)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> W {
        self.out.write_all(&[0; 1024]).unwrap();
        self.out
    }

    fn padded(&mut self, content: &[u8]) -> &mut Self {
        self.out.write_all(content).unwrap();
        let padding = content.len().next_multiple_of(512) - content.len();
        self.out.write_all(&[0; 512][..padding]).unwrap();
        self
    }

    fn header(
        &mut self,
        path: &str,
        kind: u8,
        attributes: &Attributes,
        link: &str,
        size: u64,
        device: (u32, u32),
    ) -> &mut Self {
        let mut pax: Vec<(String, Vec<u8>)> = Vec::new();
        if path.len() > 99 || !path.is_ascii() {
            pax.push(("path".to_owned(), path.as_bytes().to_vec()));
        }
        pax.extend(
            attributes.xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.clone())),
        );
        if !pax.is_empty() {
            let body: Vec<u8> = pax.iter().flat_map(|(key, value)| record(key, value)).collect();
            self.block("PaxHeaders/entry", b'x', &Attributes::mode(0o644), "", body.len() as u64, (0, 0));
            self.padded(&body);
        }
        let short: String = path.chars().map(|c| if c.is_ascii() { c } else { '_' }).take(99).collect();
        self.block(&short, kind, attributes, link, size, device)
    }

    fn block(
        &mut self,
        path: &str,
        kind: u8,
        attributes: &Attributes,
        link: &str,
        size: u64,
        device: (u32, u32),
    ) -> &mut Self {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, path.as_bytes());
        put(100, format!("{:07o}", attributes.mode).as_bytes());
        put(108, format!("{:07o}", attributes.uid).as_bytes());
        put(116, format!("{:07o}", attributes.gid).as_bytes());
        put(124, format!("{size:011o}").as_bytes());
        put(136, format!("{:011o}", 1_700_000_000).as_bytes());
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", device.0).as_bytes());
        put(337, format!("{:07o}", device.1).as_bytes());
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.out.write_all(&header).unwrap();
        self
    }
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::{Attributes, Kind, Writer, read};

    #[test]
    fn reader_reads_what_the_writer_wrote() {
        let long = format!("deep/{}", "x".repeat(150));
        let mut tar = Writer::new(Vec::new());
        tar.directory("dir", &Attributes::mode(0o1777).owner(5, 6))
            .file("dir/file", &Attributes::mode(0o4755).xattr("user.k", b"a\nb"), b"hello")
            .link("dir/link", &Attributes::mode(0o4755), "dir/file")
            .symlink("sym", "/dir/file")
            .character("null", &Attributes::mode(0o666), (1, 3))
            .file(&long, &Attributes::mode(0o600), b"");
        let entries = read(&tar.finish()[..]);
        let names: Vec<_> =
            entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect();
        assert_eq!(names, ["dir", "dir/file", "dir/link", "sym", "null", &long]);
        assert_eq!((entries[0].mode, entries[0].uid, entries[0].gid), (0o1777, 5, 6));
        assert_eq!(entries[1].xattrs["user.k"], b"a\nb");
        assert!(matches!(&entries[1].kind, Kind::File { size: 5, digest } if digest.starts_with("2cf24dba")));
        assert_eq!(entries[2].kind, Kind::Link(b"dir/file".to_vec()));
        assert_eq!(entries[4].kind, Kind::Character(1, 3));
    }

    #[test]
    fn reader_reads_gnu_tar() {
        let dir = tempfile::tempdir().unwrap();
        let name = "n".repeat(120);
        std::fs::write(dir.path().join(&name), b"x").unwrap();
        let output = crate::command::program("tar")
            .args(["--format=gnu", "-cf", "-", &name])
            .current_dir(&dir)
            .output()
            .unwrap();
        assert_eq!(read(&output.stdout[..])[0].path, name.as_bytes());
    }
}
