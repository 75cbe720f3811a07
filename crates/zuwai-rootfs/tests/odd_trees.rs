//! Trees that are large, deep or hollow, and file systems that lie about times.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "this is a test")]

mod support;

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{is_root, path, root, sh, shown};
use zuwai_layer::LayerWriter;
use zuwai_rootfs::ctime::Doubt;
use zuwai_rootfs::layer::write_layer;
use zuwai_rootfs::{Ctime, Index, KeepOut, Root};

/// Keeps the beginning of what is written, and counts the rest.
#[derive(Default)]
struct Beginning {
    bytes: Vec<u8>,
    length: u64,
}

impl Write for Beginning {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let kept = buffer.len().min((64 << 10) - self.bytes.len());
        self.bytes.extend_from_slice(&buffer[..kept]);
        self.length += buffer.len() as u64;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_hollow_file_of_five_gibibytes_is_whole_in_the_layer_and_takes_no_disk() {
    const SIZE: u64 = 5 << 30;
    let (directory, root) = root();
    let mut index = Index::scan(&root, 1).unwrap();
    let hollow = directory.path().join("root/hollow");
    std::fs::File::create(&hollow).unwrap().set_len(SIZE).unwrap();
    let changes = index.rescan(&root, 1).unwrap();
    assert_eq!(shown(&changes), ["+ /hollow"]);
    let mut layer = LayerWriter::new(Beginning::default());
    assert_eq!(write_layer(&root, &changes, &mut layer).unwrap().entries, 1);
    let written = layer.finish().unwrap();
    // One header, for the size fits its field: eleven digits of octal.
    assert_eq!(&written.bytes[..6], b"hollow");
    assert_eq!(&written.bytes[124..135], format!("{SIZE:011o}").as_bytes());
    assert_eq!(written.length, 512 + SIZE + 1024);
    assert!(std::fs::metadata(&hollow).unwrap().blocks() < 64, "reading it has filled it");
}

#[test]
fn what_a_hollow_file_holds_between_its_holes_is_compared() {
    let (directory, root) = root();
    let top = directory.path().join("root");
    let fill = |byte: char| {
        let script = format!(
            "truncate -s 64M hollow; printf {byte} | dd of=hollow bs=1 seek=50000000 conv=notrunc status=none; touch -d @0 hollow"
        );
        sh(&top, &script);
    };
    fill('a');
    let mut index = Index::scan_with(&root, 1, Ctime::Doubtful(Doubt::Content)).unwrap();
    assert!(index.rescan(&root, 1).unwrap().is_empty());
    fill('b');
    assert_eq!(shown(&index.rescan(&root, 1).unwrap()), ["+ /hollow"]);
    assert!(std::fs::metadata(top.join("hollow")).unwrap().blocks() < 256, "reading it has filled it");
}

/// Makes directories in each other, so many levels, with a file in the last.
fn deep(top: &Path, levels: usize) {
    let script = format!(
        "import os\nfor level in range({levels}):\n    os.mkdir('d')\n    os.chdir('d')\nopen('f', 'w').close()"
    );
    assert!(Command::new("python3").args(["-c", &script]).current_dir(top).status().unwrap().success());
}

#[test]
fn a_tree_as_deep_as_a_path_can_tell_is_found_and_written() {
    let (directory, root) = root();
    let mut index = Index::scan(&root, 2).unwrap();
    deep(&directory.path().join("root"), 2040);
    let changes = index.rescan(&root, 2).unwrap();
    assert_eq!(changes.len(), 2041);
    let mut layer = LayerWriter::new(Beginning::default());
    assert_eq!(write_layer(&root, &changes, &mut layer).unwrap().entries, 2041);
    assert!(index.rescan(&root, 2).unwrap().is_empty());
}

#[test]
fn a_tree_that_no_path_reaches_to_the_end_of_is_an_error_that_says_so() {
    let (directory, root) = root();
    let top = directory.path().join("root");
    let mut index = Index::scan(&root, 2).unwrap();
    deep(&top, 10_000);
    let error = index.rescan(&root, 2).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().starts_with("a path in /d/d/"), "{error}");
    assert!(source.ends_with("is too long"), "{source}");
    // What could not be read is not recorded: once it is gone, nothing has happened.
    sh(&top, "rm -r d");
    assert!(index.rescan(&root, 2).unwrap().is_empty());
}

/// A directory as a FUSE file system shows it whose ctime is its mtime; unmounted at the end.
struct Liar {
    bindfs: Child,
    at: std::path::PathBuf,
}

impl Liar {
    fn mount(of: &Path, at: &Path) -> Option<Self> {
        let bindfs = Command::new("bindfs")
            .args(["-f", "--ctime-from-mtime"])
            .args([of, at])
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let liar = Self { bindfs, at: at.to_owned() };
        let device = std::fs::metadata(of).unwrap().dev();
        for _ in 0..500 {
            if std::fs::metadata(at).is_ok_and(|metadata| metadata.dev() != device) {
                return Some(liar);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        let _ = self.bindfs.kill();
        let _ = self.bindfs.wait();
    }
}

#[test]
fn a_file_system_whose_ctime_lies_is_found_out_and_its_files_are_read() {
    let test = "a_file_system_whose_ctime_lies_is_found_out_and_its_files_are_read";
    if !is_root(test) {
        return;
    }
    let directory = tempfile::TempDir::new().unwrap();
    let [behind, at] = ["behind", "at"].map(|name| directory.path().join(name));
    std::fs::create_dir(&behind).unwrap();
    std::fs::create_dir(&at).unwrap();
    let Some(_liar) = Liar::mount(&behind, &at) else {
        eprintln!("SKIPPED {test}: needs bindfs and /dev/fuse");
        return;
    };
    let tree = at.join("root");
    std::fs::create_dir(&tree).unwrap();
    sh(&tree, "echo one > f; echo two > g; ln -s f l; touch -d @1600000000 f g");
    let root = Root::open(&tree, KeepOut::default()).unwrap();
    // The file of the trial is made beside the root, or in it without a name; neither is seen afterwards.
    for beside in [Some(at.as_path()), None] {
        assert_eq!(Ctime::of(&root, beside), Ctime::Doubtful(Doubt::Content), "{beside:?}");
        assert_eq!(std::fs::read_dir(&at).unwrap().count(), 1, "{beside:?}");
    }
    let mut index = Index::scan(&root, 2).unwrap();
    assert_eq!(index.len(), 3, "the file of the trial is not in the tree");
    let mut trusting = Index::scan_with(&root, 2, Ctime::Kept).unwrap();
    assert!(index.rescan(&root, 2).unwrap().is_empty());
    sh(&tree, "echo eno > f; touch -d @1600000000 f");
    assert!(trusting.rescan(&root, 2).unwrap().is_empty(), "what the trial is for");
    assert_eq!(shown(&index.rescan(&root, 2).unwrap()), ["+ /f"]);
    assert!(index.rescan(&root, 2).unwrap().is_empty());
    let mut changes = zuwai_rootfs::ChangeSet::default();
    sh(&tree, "echo copied > g");
    changes.upsert(path("g"));
    index.refresh(&root, &changes).unwrap();
    assert!(index.rescan(&root, 2).unwrap().is_empty(), "a copy is known");
}
