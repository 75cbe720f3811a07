//! What mounts in place have covered.

use std::os::fd::AsFd as _;

use rustix::io::Errno;
use zuwai_layer::ImagePath;

use super::Index;
use crate::error::RootfsError;
use crate::metadata::Metadata;
use crate::placement::Covered;
use crate::root::Root;
use crate::walk;

impl Index {
    /// Records what was moved away and back for a step as it is now: the next rescan must not find it for its ctime.
    /// Nothing is read but what the system knows of each file.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn pass_over(&mut self, root: &Root, covered: &Covered) -> Result<(), RootfsError> {
        for path in covered.paths() {
            let Some(parent) = path.parent() else { continue };
            self.pass_over_names(root, &parent, covered, |name| Some(name) == path.name())?;
            let below: Vec<ImagePath> =
                self.directories.range(path.clone()..).map(|(path, _)| path.clone()).collect();
            for directory in below.iter().take_while(|directory| directory.starts_with(path)) {
                self.pass_over_names(root, directory, covered, |_| true)?;
            }
        }
        Ok(())
    }

    fn pass_over_names(
        &mut self,
        root: &Root,
        directory: &ImagePath,
        covered: &Covered,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), RootfsError> {
        let Some(recorded) = self.directories.get_mut(directory) else { return Ok(()) };
        let handle = match walk::open(root, directory) {
            Ok(handle) => handle,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(RootfsError::io("open directory", directory)(error)),
        };
        for (name, before) in recorded.listing.iter_mut().filter(|(name, _)| wanted(name)) {
            let Ok(now) = Metadata::at(handle.as_fd(), name) else { continue };
            if is_same(before, &now) && !covered.was_changed(&walk::child(directory, name)?) {
                *before = now;
                self.newest = self.newest.max(now.ctime);
            }
        }
        Ok(())
    }
}

/// Whether nothing differs that an image holds. What moving changes may differ.
fn is_same(before: &Metadata, now: &Metadata) -> bool {
    let of = |metadata: &Metadata| (metadata.kind, metadata.mode, metadata.uid, metadata.gid, metadata.rdev);
    of(before) == of(now) && (now.is_directory() || (before.size, before.mtime) == (now.size, now.mtime))
}
