//! Stacks of layers, seen and written.

use std::sync::Arc;

use tempfile::TempDir;
use zuwai_rootfs::overlay::Room;

use crate::harness::{Test, Verdict};

pub const TESTS: &[&[Test]] = &[&[("works", works)]];

pub fn room() -> (TempDir, Arc<Room>) {
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let room = Arc::new(Room::create(directory.path().join("room")).unwrap());
    (directory, room)
}

fn works() -> Verdict {
    let (_directory, room) = room();
    room.try_out().unwrap();
    Ok(())
}
