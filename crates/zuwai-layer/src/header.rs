//! Writing tar headers: ustar, and PAX extended headers only for what ustar cannot say.
//!
//! The fields and the order of the records are those of Go's `archive/tar`, which containerd and BuildKit write
//! layers with.

use std::collections::BTreeMap;

use crate::entry::Xattrs;
use crate::pax;

const NAME: usize = 100;
const PREFIX: usize = 155;

/// A header to be written.
pub(crate) struct Header<'a> {
    /// The name as it stands in the archive, a directory's with its slash.
    pub(crate) name: &'a [u8],
    pub(crate) flag: u8,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) link: &'a [u8],
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Option<&'a Xattrs>,
}

/// A field of a header that tar has no way to hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unrepresentable {
    pub(crate) field: &'static str,
    pub(crate) value: String,
}

/// Appends the blocks of a header: an extended one before it where needed.
pub(crate) fn append(out: &mut Vec<u8>, header: &Header<'_>) -> Result<(), Unrepresentable> {
    let mut records: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut block = Block::new(header.flag);

    match split(header.name) {
        Some((prefix, name)) => {
            block.text(345, PREFIX, prefix);
            block.text(0, NAME, name);
        }
        None => {
            records.insert(b"path".to_vec(), header.name.to_vec());
            block.text(0, NAME, &ascii(header.name));
        }
    }
    if header.link.len() <= NAME && header.link.is_ascii() {
        block.text(157, NAME, header.link);
    } else {
        records.insert(b"linkpath".to_vec(), header.link.to_vec());
        block.text(157, NAME, &ascii(header.link));
    }
    block.octal(100, 8, u64::from(header.mode));
    for (key, at, length, value) in [
        ("uid", 108, 8, i128::from(header.uid)),
        ("gid", 116, 8, i128::from(header.gid)),
        ("size", 124, 12, i128::from(header.size)),
        ("mtime", 136, 12, i128::from(header.mtime)),
    ] {
        let fits = u64::try_from(value).ok().filter(|value| *value <= largest(length));
        if fits.is_none() {
            records.insert(key.into(), value.to_string().into_bytes());
        }
        block.octal(at, length, fits.unwrap_or(0));
    }
    for (field, at, value) in [("device major", 329, header.device.0), ("device minor", 337, header.device.1)]
    {
        if u64::from(value) > largest(8) {
            return Err(Unrepresentable { field, value: value.to_string() });
        }
        block.octal(at, 8, u64::from(value));
    }
    for (name, value) in header.xattrs.into_iter().flatten() {
        // A reader splits a record at its first equals sign, and keywords are text.
        if name.is_empty() || name.contains(&b'=') || name.contains(&0) || std::str::from_utf8(name).is_err()
        {
            let value = String::from_utf8_lossy(name).into_owned();
            return Err(Unrepresentable { field: "extended attribute name", value });
        }
        records.insert([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone());
    }

    if !records.is_empty() {
        extended(out, header.name, &records);
    }
    out.extend_from_slice(&block.finish());
    Ok(())
}

fn extended(out: &mut Vec<u8>, name: &[u8], records: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut data = Vec::new();
    for (key, value) in records {
        pax::append(&mut data, key, value);
    }
    let trimmed = name.strip_suffix(b"/").unwrap_or(name);
    let (directory, base) = match trimmed.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&trimmed[..=slash], &trimmed[slash + 1..]),
        None => (&b""[..], trimmed),
    };
    let mut block = Block::new(b'x');
    block.text(0, NAME, &ascii(&[directory, b"PaxHeaders.0/", base].concat()));
    for (at, length) in [(100, 8), (108, 8), (116, 8), (136, 12)] {
        block.octal(at, length, 0);
    }
    block.octal(124, 12, data.len() as u64);
    out.extend_from_slice(&block.finish());
    out.extend_from_slice(&data);
    out.resize(out.len().next_multiple_of(512), 0);
}

/// The largest number that fits a field in octal, with its NUL.
const fn largest(length: usize) -> u64 {
    (1 << (3 * (length - 1))) - 1
}

/// A name that fits ustar, as prefix and name; the slash between them is not written.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= NAME {
        return Some((b"", name));
    }
    let end =
        if name.len() > PREFIX + 1 { PREFIX + 1 } else { name.len() - usize::from(name.ends_with(b"/")) };
    let slash = name[..end].iter().rposition(|byte| *byte == b'/').filter(|at| *at > 0)?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (!rest.is_empty() && rest.len() <= NAME && prefix.len() <= PREFIX).then_some((prefix, rest))
}

/// What readers without PAX get to see of a name.
fn ascii(name: &[u8]) -> Vec<u8> {
    let mut name: Vec<u8> = name.iter().copied().filter(u8::is_ascii).take(NAME).collect();
    while name.len() > 1 && name.ends_with(b"/") {
        name.pop();
    }
    name
}

struct Block([u8; 512]);

impl Block {
    fn new(flag: u8) -> Self {
        let mut block = Self([0; 512]);
        block.0[156] = flag;
        block.text(257, 8, b"ustar\x0000");
        block
    }

    fn text(&mut self, at: usize, length: usize, text: &[u8]) {
        let text = &text[..text.len().min(length)];
        self.0[at..at + text.len()].copy_from_slice(text);
    }

    /// Digits to the field's length, less one for a NUL.
    fn octal(&mut self, at: usize, length: usize, mut value: u64) {
        for byte in self.0[at..at + length - 1].iter_mut().rev() {
            *byte = b'0' + (value & 7) as u8;
            value >>= 3;
        }
    }

    fn finish(mut self) -> [u8; 512] {
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        self.octal(148, 7, sum);
        self.0[154] = 0;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_go_splits_them() {
        let long = |directory: usize, name: usize, tail: &str| {
            format!("{}/{}{tail}", "d".repeat(directory), "n".repeat(name)).into_bytes()
        };
        for (name, prefix) in [
            (b"short".to_vec(), Some(0)),
            (vec![b'n'; 100], Some(0)),
            (vec![b'n'; 101], None),
            (long(10, 99, ""), Some(10)),
            (long(10, 100, ""), Some(10)),
            (long(10, 101, ""), None),
            (long(155, 100, ""), Some(155)),
            (long(156, 10, ""), None),
            (long(10, 99, "/"), Some(10)),
            (long(10, 100, "/"), None),
            ("é".as_bytes().to_vec(), None),
        ] {
            let split = split(&name);
            assert_eq!(split.map(|(prefix, _)| prefix.len()), prefix, "{}", String::from_utf8_lossy(&name));
        }
    }

    #[test]
    fn a_device_number_beyond_tar_is_refused() {
        let header = |device| Header {
            name: b"null",
            flag: b'3',
            mode: 0o666,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: b"",
            device,
            xattrs: None,
        };
        assert_eq!(append(&mut Vec::new(), &header((0o7777777, 1))), Ok(()));
        assert_eq!(append(&mut Vec::new(), &header((1, 0o10000000))).unwrap_err().field, "device minor");
    }
}
