//! What a tar header means in a layer.

use tar_core::EntryType;
use tar_core::parse::ParsedEntry;

use crate::entry::{Entry, EntryKind, LayerItem, Xattrs};
use crate::error::LayerError;
use crate::path::{ImagePath, PathError};
use crate::pax;

/// The prefix of a whiteout's name (OCI image spec, layer.md#whiteouts).
pub(crate) const WHITEOUT: &[u8] = b".wh.";

/// The name that hides what lower layers have in its directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// The prefix of AUFS's own files, which old layers still hold and every engine leaves out.
const AUFS: &[u8] = b".wh..wh.";

/// Longest name and value of an extended attribute that Linux takes.
const XATTR_NAME: usize = 255;
const XATTR_VALUE: usize = 64 << 10;

/// The item a header stands for; `None` for what is to be left out.
///
/// `markers` says whether whiteouts have a meaning. The size of a file is the header's, or `sparse` for a sparse one.
pub(crate) fn item(
    parsed: &ParsedEntry<'_>,
    sparse: Option<u64>,
    markers: bool,
) -> Result<Option<LayerItem>, LayerError> {
    let name: &[u8] = &parsed.path;
    let fields = Fields::read(parsed)?;
    if markers && let Some(marker) = marker(name)? {
        return Ok(marker.into_item());
    }
    let path = ImagePath::new(name).map_err(LayerError::Name)?;
    let kind = kind(parsed, &path, sparse)?;
    Ok(Some(LayerItem::Entry(Entry {
        path,
        kind,
        mode: parsed.mode & 0o7777,
        uid: fields.uid,
        gid: fields.gid,
        mtime: fields.mtime,
        xattrs: xattrs(parsed)?,
    })))
}

/// Whether an entry has content in the archive. Others may carry a size that means nothing, as in Go's reader.
pub(crate) fn has_content(parsed: &ParsedEntry<'_>) -> bool {
    !matches!(
        parsed.entry_type,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo
    )
}

fn kind(parsed: &ParsedEntry<'_>, path: &ImagePath, sparse: Option<u64>) -> Result<EntryKind, LayerError> {
    let target = || {
        let target = parsed.link_target.as_deref().unwrap_or_default();
        let usable = !target.is_empty() && target.len() < 4096 && !target.contains(&0);
        usable.then_some(target).ok_or_else(|| field(parsed, "link target", target))
    };
    let major = parsed.dev_major.unwrap_or_default();
    let minor = parsed.dev_minor.unwrap_or_default();
    let kind = match parsed.entry_type {
        // Before there was a type for directories they were files with a slash at the end.
        EntryType::Regular if parsed.header.as_bytes()[156] == 0 && parsed.path.ends_with(b"/") => {
            EntryKind::Directory
        }
        EntryType::Regular | EntryType::Continuous => EntryKind::File { size: sparse.unwrap_or(parsed.size) },
        EntryType::GnuSparse if sparse.is_some() => EntryKind::File { size: sparse.unwrap_or(parsed.size) },
        EntryType::Directory => EntryKind::Directory,
        EntryType::Symlink => EntryKind::Symlink { target: target()?.to_vec() },
        EntryType::Link => EntryKind::Hardlink {
            target: ImagePath::new(target()?)
                .map_err(|source| LayerError::Hardlink { path: path.clone(), source })?,
        },
        EntryType::Char => EntryKind::CharDevice { major, minor },
        EntryType::Block => EntryKind::BlockDevice { major, minor },
        EntryType::Fifo => EntryKind::Fifo,
        other => {
            return Err(LayerError::Kind { path: shown(&parsed.path), kind: char::from(other.to_byte()) });
        }
    };
    if sparse.is_some() && !matches!(kind, EntryKind::File { .. }) {
        return Err(field(parsed, "sparse map", b"of what is not a file"));
    }
    Ok(kind)
}

fn xattrs(parsed: &ParsedEntry<'_>) -> Result<Xattrs, LayerError> {
    let mut xattrs = Xattrs::new();
    for (name, value) in &parsed.xattrs {
        if name.is_empty() || name.len() > XATTR_NAME || name.contains(&0) || value.len() > XATTR_VALUE {
            return Err(field(parsed, "extended attribute", name));
        }
        xattrs.insert(name.to_vec(), value.to_vec());
    }
    Ok(xattrs)
}

/// What a layer does with a name that begins with `.wh.`.
enum Marker {
    Whiteout(ImagePath),
    Opaque(ImagePath),
    LeftOut,
}

impl Marker {
    fn into_item(self) -> Option<LayerItem> {
        match self {
            Self::Whiteout(path) => Some(LayerItem::Whiteout(path)),
            Self::Opaque(path) => Some(LayerItem::Opaque(path)),
            Self::LeftOut => None,
        }
    }
}

fn marker(name: &[u8]) -> Result<Option<Marker>, LayerError> {
    let end = name.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    let name = &name[..end];
    let (directory, base) = match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (&b""[..], name),
    };
    let invalid = || LayerError::Marker(shown(name));
    for component in directory.split(|byte| *byte == b'/') {
        if component.starts_with(AUFS) {
            return Ok(Some(Marker::LeftOut));
        }
        if component.starts_with(WHITEOUT) {
            return Err(invalid());
        }
    }
    let Some(hidden) = base.strip_prefix(WHITEOUT) else { return Ok(None) };
    let directory = ImagePath::new(directory).map_err(LayerError::Name)?;
    if base == OPAQUE {
        return Ok(Some(Marker::Opaque(directory)));
    }
    if base.starts_with(AUFS) {
        return Ok(Some(Marker::LeftOut));
    }
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(invalid());
    }
    // `join` would resolve a name as it does any path; one component cannot but be appended.
    directory
        .join(hidden)
        .map(|path| Some(Marker::Whiteout(path)))
        .map_err(|error: PathError| LayerError::Name(error))
}

/// The numbers of a header, with the extended header's in their place.
struct Fields {
    uid: u32,
    gid: u32,
    mtime: i64,
}

impl Fields {
    fn read(parsed: &ParsedEntry<'_>) -> Result<Self, LayerError> {
        let header = parsed.header.as_bytes();
        let mut mtime = None;
        let mut sized = false;
        // The parser is told to pass over numbers that it cannot read (it takes no negative times): they are
        // checked here.
        for record in pax::records(parsed.pax.unwrap_or_default()) {
            let record = record.map_err(|()| field(parsed, "PAX header", b"with a malformed record"))?;
            let read = match record.key {
                b"size" => {
                    sized = true;
                    pax::number(record.value).is_some()
                }
                b"uid" | b"gid" => pax::number(record.value).is_some(),
                b"mtime" => {
                    mtime = pax::seconds(record.value);
                    mtime.is_some()
                }
                _ => true,
            };
            if !read {
                return Err(field(parsed, "PAX number", record.value));
            }
        }
        // The parser drops the upper bytes of a binary number that does not fit.
        for (name, range, signed) in [
            ("uid", 108..116, false),
            ("gid", 116..124, false),
            ("size", 124..136, false),
            ("mtime", 136..148, true),
        ] {
            let bytes = &header[range];
            let fits = binary(bytes).is_none_or(|value| value.is_some_and(|value| signed || value >= 0));
            if !(fits || sized && name == "size") {
                return Err(field(parsed, name, bytes));
            }
        }
        let id = |name, value: u64| {
            u32::try_from(value).map_err(|_| field(parsed, name, value.to_string().as_bytes()))
        };
        Ok(Self {
            uid: id("uid", parsed.uid)?,
            gid: id("gid", parsed.gid)?,
            // A binary time of GNU tar may be negative: its lower eight bytes are what the parser read.
            mtime: mtime.unwrap_or(parsed.mtime as i64),
        })
    }
}

/// The number in a field in GNU tar's binary form (base-256, two's complement); `None` if the field is not in that
/// form, `Some(None)` if the number does not fit.
fn binary(field: &[u8]) -> Option<Option<i64>> {
    let first = *field.first().filter(|first| **first & 0x80 != 0)?;
    // The top bit is the mark, the next one the sign.
    let negative = first & 0x40 != 0;
    let start = i128::from(first & 0x7f) - if negative { 0x80 } else { 0 };
    let value = field[1..].iter().try_fold(start, |value, byte| {
        value.checked_mul(256).and_then(|value| value.checked_add(i128::from(*byte)))
    });
    Some(value.and_then(|value| i64::try_from(value).ok()))
}

fn field(parsed: &ParsedEntry<'_>, field: &'static str, value: &[u8]) -> LayerError {
    LayerError::Field { path: shown(&parsed.path), field, value: shown(value) }
}

/// A name for a message: readable, and not longer than a line or two.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Result<Option<LayerItem>, LayerError> {
        marker(name.as_bytes()).map(|marker| marker.and_then(Marker::into_item))
    }

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    #[test]
    fn markers_name_what_they_hide() {
        for (name, item) in [
            ("a/b", None),
            (".wh.a", Some(LayerItem::Whiteout(path("a")))),
            ("./d/.wh.a", Some(LayerItem::Whiteout(path("d/a")))),
            ("/d/.wh.a/", Some(LayerItem::Whiteout(path("d/a")))),
            ("d/.wh...a", Some(LayerItem::Whiteout(path("d/..a")))),
            (".wh..wh..opq", Some(LayerItem::Opaque(path("")))),
            ("d/e/.wh..wh..opq", Some(LayerItem::Opaque(path("d/e")))),
            (".wh..wh.plnk/8.1", None),
            (".wh..wh.aufs", None),
        ] {
            assert_eq!(parse(name).unwrap(), item, "{name}");
        }
        let long = "n".repeat(255);
        assert_eq!(parse(&format!(".wh.{long}")).unwrap(), Some(LayerItem::Whiteout(path(&long))));
    }

    #[test]
    fn markers_that_hide_the_root_or_a_parent_are_refused() {
        for name in [".wh.", "d/.wh.", "d/.wh..", "d/.wh...", ".wh...", "d/.wh.x/file", "../.wh.x"] {
            assert!(parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn binary_numbers_keep_their_sign_and_their_bounds() {
        for (field, value) in [
            (&b"0000644\0"[..], None),
            (&[0x80, 0, 0, 0, 0, 0, 1, 0], Some(Some(256))),
            (&[0xff; 12], Some(Some(-1))),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb], Some(Some(-5))),
            (&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0], Some(None)),
            (&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], Some(None)),
            (&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Some(None)),
        ] {
            assert_eq!(binary(field), value, "{field:x?}");
        }
    }
}
