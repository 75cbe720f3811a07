//! Where sources of mounts are, for the moment in which they are mounted: an overlay is seen nowhere until then.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::UnmountFlags;

use super::overlay::{self, mounting};
use super::stages::{During as _, Failure};
use crate::overlay::OverlayMount;
use crate::place::Place;

/// Where an overlay is mounted meanwhile: on the tmpfs of `/dev`, which is the step's own.
const SHOWN: &str = "/dev/.zuwai-source";

/// Does something with a path of a place that holds for as long as that takes. The working directory is the outer root,
/// and the path one from there.
pub(super) fn with<T>(place: &Place, work: impl FnOnce(&Path) -> Result<T, Failure>) -> Result<T, Failure> {
    match place {
        Place::Host(path) => work(&outside(path)?),
        Place::Overlay { overlay, path } => {
            DirBuilder::new().mode(0o700).create(SHOWN).during(format_args!("make {SHOWN}"))?;
            let result = mount(overlay).and_then(|()| work(&Path::new(SHOWN).join(path)));
            // What was mounted from it stays.
            let _ = rustix::mount::unmount(SHOWN, UnmountFlags::DETACH);
            let _ = std::fs::remove_dir(SHOWN);
            result
        }
    }
}

/// Mounts an overlay of the outer root.
fn mount(overlay: &OverlayMount) -> Result<(), Failure> {
    let from_here = OverlayMount { room: outside(&overlay.room)?, ..overlay.clone() };
    overlay::mount(&from_here, Path::new(SHOWN)).during(mounting(overlay))
}

/// An absolute path of the outer root, from the working directory.
pub(super) fn outside(path: &Path) -> Result<PathBuf, Failure> {
    let relative = path.strip_prefix("/").during(format_args!("find {}", path.display()))?;
    Ok(Path::new(".").join(relative))
}
