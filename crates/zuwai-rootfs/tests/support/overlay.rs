//! Overlays as the kernel shows them, for tests: mounted in a mount namespace of a process that ends with the test.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A mounted overlay.
pub struct Overlay {
    process: Child,
    place: PathBuf,
}

impl Overlay {
    /// Mounts directories of a room over one another, the lowest first; what is written goes to `upper` if there is one.
    /// `None`, and a word, where that is not permitted.
    pub fn mount(test: &str, room: &Path, lower: &[String], upper: Option<&str>) -> Option<Self> {
        let place = room.join("merged");
        for directory in ["merged", "nothing", "work"] {
            std::fs::create_dir_all(room.join(directory)).unwrap();
        }
        let mut layers: Vec<&str> = lower.iter().rev().map(String::as_str).collect();
        layers.push("nothing");
        if upper.is_none() {
            layers.push("nothing2"); // a mount without an upper directory wants two
            std::fs::create_dir_all(room.join("nothing2")).unwrap();
        }
        let mut options = format!("userxattr,lowerdir={}", layers.join(":"));
        if let Some(upper) = upper {
            options.push_str(&format!(",upperdir={upper},workdir=work"));
        }
        let mut process = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-ec"])
            .arg("mount -t overlay overlay -o \"$1\" merged; echo mounted; exec cat")
            .args(["sh", &options])
            .current_dir(room)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        if said != "mounted\n" {
            eprintln!("SKIPPED {test}: overlays cannot be mounted here");
            process.wait().unwrap();
            return None;
        }
        Some(Self { place, process })
    }

    /// Where this process sees it.
    pub fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.process.id()));
        root.join(self.place.strip_prefix("/").unwrap())
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}
