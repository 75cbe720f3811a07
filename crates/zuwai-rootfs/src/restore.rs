//! Moving a parked tree back.

use std::os::fd::AsFd as _;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use zuwai_layer::ImagePath;

use crate::error::RootfsError;
use crate::metadata::Metadata;
use crate::park::{UNFINISHED, same_metadata, set_times};
use crate::root::Root;
use crate::walk::{self, Names};

/// Moves a tree that [`park`](crate::park::park) moved away back into its root, from which everything else has been
/// removed: directories that stayed, because they lead to what is kept out, are merged and get their metadata back.
///
/// # Errors
/// When something cannot be moved.
pub fn restore(parked: &Root, root: &Root) -> Result<(), RootfsError> {
    let mut names = Names::default();
    let mut waiting = vec![ImagePath::root()];
    let mut merged = Vec::new();
    while let Some(directory) = waiting.pop() {
        let from = walk::open(parked, &directory)
            .map_err(RootfsError::host("open directory", parked.host_path()))?;
        let to = walk::open(root, &directory).map_err(RootfsError::io("open directory", &directory))?;
        names.read(from.as_fd()).map_err(RootfsError::host("read directory", parked.host_path()))?;
        let times = Metadata::of(&from).map_err(RootfsError::io("look at", &directory))?.mtime;
        for name in names.iter() {
            if name == UNFINISHED {
                // Parking was ended there.
                rustix::fs::unlinkat(&from, name, AtFlags::REMOVEDIR)
                    .map_err(RootfsError::host("remove a directory in", parked.host_path()))?;
                continue;
            }
            let path = walk::child(&directory, name)?;
            match rustix::fs::renameat(&from, name, &to, name) {
                Ok(()) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY | Errno::XDEV) => waiting.push(path),
                Err(error) => return Err(RootfsError::io("move back", &path)(error)),
            }
        }
        same_metadata(&from, &to, &directory)?;
        set_times(&to, times).map_err(RootfsError::io("set the times of", &directory))?;
        if !directory.is_root() {
            merged.push(directory);
        }
    }
    // Empty now, each after those above it.
    for directory in merged.iter().rev() {
        rustix::fs::unlinkat(parked, directory.as_relative(), AtFlags::REMOVEDIR)
            .map_err(RootfsError::host("remove what was moved back from", parked.host_path()))?;
    }
    Ok(())
}
