//! The sources of the copy tests, and listings of what was made of them.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use tempfile::TempDir;
use zuwai_layer::ImagePath;
use zuwai_rootfs::copy::{CopyOptions, ModeChange, SourceTree, copy};
use zuwai_rootfs::path_filter::{PathFilter, Verdict};
use zuwai_rootfs::{Change, KeepOut, Root};

pub const SKIPPED: &str = "SKIPPED: needs root, for owners and devices";

/// 2001-02-03T04:05:06Z, shown as `old`.
pub const OLD: i64 = 981_173_106;

/// `cap_net_raw=ep` as the kernel keeps it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A directory of sources, and room for targets.
pub struct Lab {
    directory: TempDir,
    context: Root,
}

impl Lab {
    /// `None` without the rights to make what the tests need.
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        // No mode may depend on it.
        rustix::process::umask(Mode::from_raw_mode(0o077));
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("context");
        make_context(&path);
        Some(Self { context: Root::open(path, KeepOut::default()).unwrap(), directory })
    }

    pub fn context(&self) -> SourceTree<'_> {
        SourceTree::context(&self.context, &Everything)
    }

    pub fn context_path(&self) -> &Path {
        self.context.host_path()
    }

    pub fn context_keeping_out(&self, paths: &[&str]) -> Target {
        Target { place: Place::At(self.context_path().to_owned()), keep_out: keep_out(paths), root: None }
            .opened()
    }

    pub fn target(&self) -> Target {
        self.target_keeping_out(&[])
    }

    pub fn target_keeping_out(&self, paths: &[&str]) -> Target {
        let directory = TempDir::new_in(self.directory.path()).unwrap();
        Target { place: Place::Own(directory), keep_out: keep_out(paths), root: None }.opened()
    }

    pub fn set_capability(&self, path: &Path) {
        std::fs::write(path, "x").unwrap();
        mode(path, 0o755);
        rustix::fs::setxattr(path, "security.capability", &CAPABILITY, XattrFlags::empty()).unwrap();
        old(path);
    }
}

fn keep_out(paths: &[&str]) -> KeepOut {
    KeepOut::new(paths.iter().map(|path| ImagePath::new(path).unwrap()))
}

fn make_context(path: &Path) {
    let at = |name: &str| path.join(name);
    for directory in
        ["dir/sub", "empty", "w[1]", "tl/real", "t2/l", "t3", "t6", "t7", "many/p", "many/q", "exdir/a/b"]
    {
        std::fs::create_dir_all(at(directory)).unwrap();
        for made in Path::new(directory).ancestors() {
            mode(&path.join(made), 0o755);
        }
    }
    for file in [
        "a.txt",
        "b.txt",
        "dir/f",
        "dir/sub/g",
        "w[1]/x",
        "tl/real/x",
        "t2/l/new",
        "t6/l",
        "t7/f",
        "many/p/f",
        "many/q/f",
        "st*r",
        "exdir/a/b/q",
        "exdir/a/keep",
        "exdir/top.md",
    ] {
        std::fs::write(at(file), file).unwrap();
        mode(&at(file), 0o644);
    }
    for (text, link) in [
        ("f", "dir/link"),
        ("/abs/none", "dir/dangling"),
        ("dir", "dirlink"),
        ("a.txt", "filelink"),
        ("/dir", "abslink"),
        ("../../../a.txt", "uplink"),
        ("nowhere", "deadlink"),
        ("self", "self"),
        ("real", "tl/l"),
        ("/etc", "t3/real"),
        ("f", "t7/link"),
        ("/abs/none", "t7/dangling"),
        ("../dir", "many/r"),
    ] {
        symlink(text, at(link)).unwrap();
    }
    std::fs::hard_link(at("dir/f"), at("dir/f-hard")).unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    mode(&at("fifo"), 0o644);
    rustix::fs::mknodat(CWD, at("dev"), FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3))
        .unwrap();
    mode(&at("dev"), 0o644);
    drop(std::os::unix::net::UnixListener::bind(at("sock")).unwrap());
    for name in ["a.txt", "dir", "dir/f"] {
        std::os::unix::fs::chown(at(name), Some(1000), Some(1001)).unwrap();
    }
    for (name, bits) in
        [("a.txt", 0o4755), ("b.txt", 0o640), ("dir", 0o2750), ("dir/sub", 0o700), ("dir/sub/g", 0o666)]
    {
        mode(&at(name), bits);
    }
    for (name, attribute) in [("a.txt", "user.k"), ("dir", "user.d"), ("dir/sub", "user.s")] {
        rustix::fs::setxattr(at(name), attribute, b"v", XattrFlags::empty()).unwrap();
    }
    rustix::fs::setxattr(at("b.txt"), "security.capability", &CAPABILITY, XattrFlags::empty()).unwrap();
    for name in [
        "a.txt",
        "b.txt",
        "dir/f",
        "dir/sub/g",
        "dir/sub",
        "dir",
        "empty",
        "tl/real",
        "tl",
        "t3",
        "t7",
        "exdir",
        "exdir/a",
        "exdir/a/keep",
        "exdir/a/b",
        "exdir/a/b/q",
        "exdir/top.md",
    ] {
        old(&at(name));
    }
}

fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
}

/// Sets the time of modification to [`OLD`].
pub fn old(path: &Path) {
    let time = Timespec { tv_sec: OLD, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A root to copy to or from.
pub struct Target {
    place: Place,
    keep_out: KeepOut,
    root: Option<Root>,
}

enum Place {
    Own(TempDir),
    At(PathBuf),
}

impl Target {
    fn opened(mut self) -> Self {
        self.root = Some(self.root());
        self
    }

    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Own(directory) => directory.path(),
            Place::At(path) => path,
        }
    }

    pub fn root(&self) -> Root {
        Root::open(self.path(), self.keep_out.clone()).unwrap()
    }

    pub fn as_stage(&self) -> SourceTree<'_> {
        SourceTree::stage(self.root.as_ref().unwrap())
    }

    pub fn as_context<'a>(&'a self, filter: &'a dyn PathFilter) -> SourceTree<'a> {
        SourceTree::context(self.root.as_ref().unwrap(), filter)
    }

    pub fn as_source(&self) -> SourceTree<'_> {
        self.as_context(&Everything)
    }

    /// One `COPY` (or, with `--extract`, `ADD`) line.
    pub fn copy(&self, source: &SourceTree<'_>, line: &str) -> Result<(), String> {
        self.run(source, line).map(drop)
    }

    /// The paths of its change set; deleted ones with a minus.
    pub fn changes(&self, source: &SourceTree<'_>, line: &str) -> Vec<String> {
        self.run(source, line).unwrap()
    }

    pub fn run(&self, source: &SourceTree<'_>, line: &str) -> Result<Vec<String>, String> {
        let (flags, words): (Vec<&str>, Vec<&str>) = line.split(' ').partition(|word| word.starts_with("--"));
        let mut options = CopyOptions::default();
        let mode = flags
            .iter()
            .find_map(|flag| flag.strip_prefix("--chmod="))
            .map(|text| ModeChange::parse(text).unwrap());
        options.mode = mode.as_ref();
        if let Some((user, group)) =
            flags.iter().find_map(|flag| flag.strip_prefix("--chown=")?.split_once(':'))
        {
            options.owner = Some((user.parse().unwrap(), group.parse().unwrap()));
        }
        options.extract = flags.contains(&"--extract");
        let (destination, sources) = words.split_last().unwrap();
        self.copy_with(source, sources, destination, &options)
    }

    pub fn copy_with(
        &self,
        source: &SourceTree<'_>,
        sources: &[&str],
        destination: &str,
        options: &CopyOptions<'_>,
    ) -> Result<Vec<String>, String> {
        copy(&self.root(), *source, sources, destination.as_bytes(), options)
            .map(|changes| {
                let shown = |(path, change): (&ImagePath, Change)| match change {
                    Change::Upsert => path.to_string(),
                    Change::Delete => format!("-{path}"),
                    Change::MountPoint { mode, .. } => format!("mount point {path} {mode:o}"),
                };
                changes.iter().map(shown).collect()
            })
            .map_err(|error| chain(&error))
    }

    /// Every path below, sorted: type, mode, owner, `old` if its time is [`OLD`], name, link text, number of names if
    /// there are several, device, names of extended attributes. Times of links are not shown.
    pub fn listing(&self) -> Vec<String> {
        let mut lines = BTreeMap::new();
        list(self.path(), self.path(), &mut lines);
        lines.into_values().collect()
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

fn list(root: &Path, directory: &Path, lines: &mut BTreeMap<ImagePath, String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap();
        let kind = match metadata.mode() & 0o170_000 {
            0o040_000 => 'd',
            0o120_000 => 'l',
            0o020_000 => 'c',
            0o010_000 => 'p',
            0o140_000 => 's',
            _ => '-',
        };
        let mut line =
            format!("{kind} {:04o} {}:{} ", metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
        if metadata.mtime() == OLD && kind != 'l' {
            line += "old ";
        }
        line += &name.display().to_string();
        match kind {
            'd' => list(root, &path, lines),
            'l' => line += &format!(" -> {}", std::fs::read_link(&path).unwrap().display()),
            'c' => {
                let device = metadata.rdev();
                line += &format!(" {},{}", rustix::fs::major(device), rustix::fs::minor(device));
            }
            _ if metadata.nlink() > 1 => line += &format!(" {}", metadata.nlink()),
            _ => {}
        }
        if matches!(kind, 'd' | '-') {
            let mut buffer = vec![0; 4096];
            let length = rustix::fs::listxattr(&path, buffer.as_mut_slice()).unwrap();
            let names: Vec<&str> = std::str::from_utf8(&buffer[..length])
                .unwrap()
                .split('\0')
                .filter(|name| !name.is_empty())
                .collect();
            if !names.is_empty() {
                line += &format!(" {{{}}}", names.join(" "));
            }
        }
        lines.insert(ImagePath::new(name.as_os_str().as_bytes()).unwrap(), line);
    }
}

pub fn read(path: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    std::fs::File::open(path).unwrap().read_to_end(&mut content).unwrap();
    content
}

/// No filter, as one.
pub struct Everything;

impl PathFilter for Everything {
    fn verdict(&self, _: &[u8], _: bool) -> Verdict {
        Verdict::Include
    }
}

/// Prunes what has one of these names, and leaves out (but not what they hold) directories of those names.
pub struct Only {
    pub pruned: &'static [&'static [u8]],
    pub passed: &'static [&'static [u8]],
}

impl PathFilter for Only {
    fn verdict(&self, path: &[u8], _: bool) -> Verdict {
        let name = Path::new(OsStr::from_bytes(path)).file_name().unwrap().as_bytes();
        if self.pruned.contains(&name) {
            Verdict::Prune
        } else if self.passed.contains(&name) {
            Verdict::ExcludeButMayHoldIncluded
        } else {
            Verdict::Include
        }
    }
}
