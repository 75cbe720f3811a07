//! What these tests share: a room of layers, and a tree that stands on some.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use zuwai_rootfs::overlay::{LayerDir, Room, Stack, changes, settle};
use zuwai_rootfs::{ChangeSet, Root};

use crate::harness::{Verdict, is_root, need};
use crate::support::{Item, apply, dir, file, image};

pub fn as_root() -> Verdict {
    need(is_root(), "root, for the owners of files")
}

/// A room on the file system of the build's own files: an overlay cannot stand on another one.
pub fn room() -> (TempDir, Arc<Room>) {
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let room = Arc::new(Room::create(directory.path().join("room")).unwrap());
    (directory, room)
}

/// Where the system shows an open root of this process.
pub fn place(root: &Root) -> PathBuf {
    Path::new("/proc/self/fd").join(root.as_fd().as_raw_fd().to_string())
}

/// Adds a layer that holds these.
pub fn push(stack: &mut Stack, items: Vec<Item>) -> Arc<LayerDir> {
    let layer = Arc::new(stack.room().layer().unwrap());
    apply(&layer.root().unwrap(), items).unwrap();
    stack.push(Arc::clone(&layer)).unwrap();
    layer
}

/// A second layer over the small image.
pub fn more() -> Vec<Item> {
    vec![dir("etc"), file("etc/two", "2"), dir("tree"), dir("tree/a"), file("tree/a/w", "w")]
}

/// The small image and the second layer.
pub fn two_layers(room: &Arc<Room>) -> Stack {
    let mut stack = Stack::new(Arc::clone(room));
    push(&mut stack, image());
    push(&mut stack, more());
    stack
}

/// Does something to the tree, as a layer on top of it; tells what changed.
pub fn step(stack: &mut Stack, work: impl FnOnce(&Root)) -> ChangeSet {
    let upper = stack.upper().unwrap();
    let root = stack.writable(&upper).unwrap();
    work(&root);
    settle(root, &upper).unwrap();
    let found = changes(&stack.view().unwrap(), &upper).unwrap();
    stack.push(Arc::new(upper)).unwrap();
    found
}

/// Runs a script in the tree. A shell complains that the place has no name.
pub fn script(stack: &mut Stack, script: &str) -> ChangeSet {
    step(stack, |root| {
        let output = Command::new("sh").arg("-ec").arg(script).current_dir(place(root)).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    })
}
