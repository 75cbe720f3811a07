//! What the tests of this crate share: reading a tar whole, and making odd ones by hand.
#![allow(dead_code, reason = "no test file uses everything")]

use std::io::Read as _;

use zuwai_layer::entry::Xattrs;
use zuwai_layer::{Entry, EntryKind, ImagePath, LayerError, LayerItem, LayerReader};

/// Every item of a layer with its content.
pub fn read_all(tar: &[u8]) -> Result<Vec<(LayerItem, Vec<u8>)>, LayerError> {
    collect(LayerReader::new(tar))
}

/// The same of any reader, read in pieces of odd length.
pub fn collect<R: std::io::Read>(
    mut reader: LayerReader<R>,
) -> Result<Vec<(LayerItem, Vec<u8>)>, LayerError> {
    let mut items = Vec::new();
    while let Some(item) = reader.next()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map_err(LayerError::Read)?;
        items.push((item, content));
    }
    Ok(items)
}

pub fn path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

/// An ordinary entry: mode 0644, root's, of 1970.
pub fn entry(name: &str, kind: EntryKind) -> Entry {
    Entry { path: path(name), kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: Xattrs::new() }
}

pub fn file(name: &str, size: u64) -> Entry {
    entry(name, EntryKind::File { size })
}

/// A header made by hand.
pub struct RawHeader([u8; 512]);

impl RawHeader {
    pub fn new(name: &[u8], flag: u8, size: u64) -> Self {
        let mut header = Self([0; 512]);
        header.set(0, name).set(257, b"ustar\x0000").set(156, &[flag]);
        header
            .set(100, b"0000644\0")
            .set(108, b"0000000\0")
            .set(116, b"0000000\0")
            .set(136, b"00000000000\0");
        header.set(124, format!("{size:011o}\0").as_bytes());
        header
    }

    pub fn set(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn link(mut self, target: &[u8]) -> Self {
        self.set(157, target);
        self
    }

    /// The block with its checksum.
    pub fn block(&self) -> Vec<u8> {
        let mut block = self.0;
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block.to_vec()
    }
}

/// A header and its content, padded.
pub fn member(header: &RawHeader, content: &[u8]) -> Vec<u8> {
    let mut bytes = header.block();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// An extended header of records that are already formed.
pub fn extended(records: &[u8]) -> Vec<u8> {
    member(&RawHeader::new(b"PaxHeaders.0/x", b'x', records.len() as u64), records)
}

/// One PAX record.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let length = (body..).find(|length| body + length.to_string().len() == *length).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// Members and the end mark.
pub fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = members.concat();
    tar.resize(tar.len() + 1024, 0);
    tar
}
