//! Whether overlays work in some place: what a kernel, its security modules and a file system allow together is tried.

use std::fs;
use std::io;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use zuwai_layer::ImagePath;

use super::{Room, Stack, changes, settle};
use crate::change_set::{Change, ChangeSet};
use crate::error::RootfsError;
use crate::root::Root;
use crate::run_error::RunError;

impl Room {
    /// Goes through the life of an upper layer: writes a file, removes one, replaces a directory, and looks whether the
    /// result is as it should be.
    ///
    /// # Errors
    /// What does not work here: overlays at all (the place is on an overlay itself, say), or marks in its file system.
    pub fn try_out(self: &Arc<Self>) -> Result<(), RunError> {
        let mut stack = Stack::new(Arc::clone(self));
        let below = Arc::new(self.layer()?);
        let result = stack.push(Arc::clone(&below)).map_err(RunError::from).and_then(|()| {
            fill(&below)?;
            let upper = stack.upper()?;
            let result = write(&stack, &upper);
            upper.remove().map_err(RunError::from).and(result)
        });
        below.remove().map_err(RunError::from).and(result)
    }
}

fn fill(below: &super::LayerDir) -> Result<(), RootfsError> {
    let make = || -> io::Result<()> {
        fs::write(below.path().join("gone"), "")?;
        fs::create_dir(below.path().join("directory"))?;
        fs::write(below.path().join("directory/gone"), "")
    };
    make().map_err(RootfsError::host("write to", below.path()))
}

fn write(stack: &Stack, upper: &super::LayerDir) -> Result<(), RunError> {
    let root = stack.writable(upper)?;
    change(&root).map_err(RootfsError::host("write through an overlay in", stack.room().path()))?;
    settle(root, upper)?;
    let found = changes(&stack.view()?, upper)?;
    let expected = expected().map_err(|source| RootfsError::Name { directory: ImagePath::root(), source })?;
    if found == expected {
        return Ok(());
    }
    let error = format!("what was written there is {found:?}, not {expected:?}");
    Err(RunError::Sandbox { step: format!("use overlays in {}", stack.room().path().display()), error })
}

fn change(root: &Root) -> rustix::io::Result<()> {
    rustix::fs::unlinkat(root, "gone", AtFlags::empty())?;
    rustix::fs::unlinkat(root, "directory/gone", AtFlags::empty())?;
    rustix::fs::unlinkat(root, "directory", AtFlags::REMOVEDIR)?;
    rustix::fs::mkdirat(root, "directory", Mode::from_raw_mode(0o777))?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(root, "directory/new", flags, Mode::RUSR | Mode::WUSR).map(drop)
}

fn expected() -> Result<ChangeSet, zuwai_layer::PathError> {
    let changes =
        [("directory/gone", Change::Delete), ("directory/new", Change::Upsert), ("gone", Change::Delete)];
    let changes = changes.into_iter().map(|(path, change)| Ok((ImagePath::new(path)?, change)));
    Ok(ChangeSet { changes: changes.collect::<Result<_, _>>()? })
}
