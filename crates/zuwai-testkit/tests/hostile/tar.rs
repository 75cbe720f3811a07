//! Layers written byte by byte: any name, any number, any type, also what no tar program would write.

/// A tar archive in the making.
#[derive(Debug, Default)]
pub struct Tar {
    bytes: Vec<u8>,
}

/// One entry of it.
#[derive(Debug)]
pub struct Entry {
    name: Vec<u8>,
    flag: u8,
    link: Vec<u8>,
    mode: u64,
    owner: (u64, u64),
    mtime: u64,
    device: (u64, u64),
    content: Vec<u8>,
    claimed: Option<u64>,
    pax: Vec<u8>,
}

impl Tar {
    /// An entry with any type flag.
    pub fn add(&mut self, entry: Entry) -> &mut Self {
        if !entry.pax.is_empty() {
            let header = entry_of(b"PaxHeaders/x", b'x').content(&entry.pax);
            self.block(&header);
        }
        self.block(&entry);
        self
    }

    /// A file.
    pub fn file(&mut self, name: &str, content: &str) -> &mut Self {
        self.add(file(name).content(content.as_bytes()))
    }

    /// A directory.
    pub fn directory(&mut self, name: &str) -> &mut Self {
        self.add(directory(name))
    }

    /// A symbolic link.
    pub fn symlink(&mut self, name: &str, target: &str) -> &mut Self {
        self.add(entry_of(name.as_bytes(), b'2').link(target))
    }

    /// A hard link.
    pub fn hardlink(&mut self, name: &str, target: &str) -> &mut Self {
        self.add(entry_of(name.as_bytes(), b'1').link(target))
    }

    /// A named pipe.
    pub fn fifo(&mut self, name: &str) -> &mut Self {
        self.add(entry_of(name.as_bytes(), b'6'))
    }

    /// A marker: `.wh.NAME`, `.wh..wh..opq`.
    pub fn marker(&mut self, name: &str) -> &mut Self {
        self.file(name, "")
    }

    /// Ends without the end mark, as a stream that broke off.
    pub fn broken_off(self) -> Vec<u8> {
        self.bytes
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }

    fn block(&mut self, entry: &Entry) {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8], room: usize| {
            let length = bytes.len().min(room);
            header[at..at + length].copy_from_slice(&bytes[..length]);
        };
        put(0, &entry.name, 100);
        put(100, &number(entry.mode, 8), 8);
        put(108, &number(entry.owner.0, 8), 8);
        put(116, &number(entry.owner.1, 8), 8);
        put(124, &number(entry.claimed.unwrap_or(entry.content.len() as u64), 12), 12);
        put(136, &number(entry.mtime, 12), 12);
        put(148, b"        ", 8);
        put(156, &[entry.flag], 1);
        put(157, &entry.link, 100);
        put(257, b"ustar\x0000", 8);
        put(329, &number(entry.device.0, 8), 8);
        put(337, &number(entry.device.1, 8), 8);
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend(header);
        self.bytes.extend(&entry.content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }
}

/// A regular file.
pub fn file(name: &str) -> Entry {
    entry_of(name.as_bytes(), b'0')
}

/// A directory.
pub fn directory(name: &str) -> Entry {
    entry_of(format!("{name}/").as_bytes(), b'5').mode(0o755)
}

/// A device node: `b'3'` a character device, `b'4'` a block device.
pub fn device(name: &str, flag: u8, major: u64, minor: u64) -> Entry {
    let mut entry = entry_of(name.as_bytes(), flag).mode(0o666);
    entry.device = (major, minor);
    entry
}

/// An entry of any type, 0644, of root, from 2023. A name that is too long for the header goes into an extended one.
pub fn entry_of(name: &[u8], flag: u8) -> Entry {
    let entry = Entry {
        name: name.to_vec(),
        flag,
        link: Vec::new(),
        mode: 0o644,
        owner: (0, 0),
        mtime: 1_700_000_000,
        device: (0, 0),
        content: Vec::new(),
        claimed: None,
        pax: Vec::new(),
    };
    if name.len() > 100 { entry.pax("path", name) } else { entry }
}

impl Entry {
    pub fn link(mut self, target: &str) -> Self {
        self.link = target.as_bytes().to_vec();
        if target.len() > 100 { self.pax("linkpath", target.as_bytes()) } else { self }
    }

    pub fn mode(mut self, mode: u64) -> Self {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// Seconds, as the 64-bit number that a negative one is.
    pub fn mtime(mut self, seconds: i64) -> Self {
        self.mtime = seconds.cast_unsigned();
        self
    }

    pub fn content(mut self, content: &[u8]) -> Self {
        self.content = content.to_vec();
        self
    }

    /// The size that the header says, whatever follows.
    pub fn claim(mut self, size: u64) -> Self {
        self.claimed = Some(size);
        self
    }

    /// A PAX record, with any bytes.
    pub fn pax(mut self, key: &str, value: &[u8]) -> Self {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.pax.extend([format!("{length} {key}=").as_bytes(), value, b"\n"].concat());
        self
    }

    /// An extended attribute, as GNU tar and Docker write it.
    pub fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }
}

/// Octal where it fits, else GNU's base-256.
fn number(value: u64, room: usize) -> Vec<u8> {
    let octal = format!("{value:0width$o}", width = room - 1);
    if octal.len() < room {
        return octal.into_bytes();
    }
    let fill = if value >> 63 == 1 { 0xff } else { 0 };
    let mut bytes: Vec<u8> =
        std::iter::repeat_n(fill, room.saturating_sub(8)).chain(value.to_be_bytes()).collect();
    bytes = bytes.split_off(bytes.len() - room);
    bytes[0] |= 0x80;
    bytes
}
