//! The user's volumes, mounted inside the root.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::filesystem::cover;
use super::stages::{During as _, Failure};
use super::stubs::{self, Stubs};
use crate::volumes::Volume;

/// Mounts a volume with all below it, as it is outside: what is read-only there is so here. The working directory is
/// the outer root.
pub(super) fn bind(stubs: &mut Stubs, volume: &Volume) -> Result<(), Failure> {
    let outside = Path::new(&volume.path);
    let doing = format!("mount the volume {}", outside.display());
    let source = outside.strip_prefix("/").during(&doing)?;
    let is_directory = match fs::symlink_metadata(source) {
        Ok(metadata) => metadata.is_dir(),
        // Unmounted since the build began, as mounts of other programs come and go: there is nothing to be seen.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).during(&doing),
    };
    let target = if is_directory { stubs.directory(outside) } else { stubs.file(outside) }.during(&doing)?;
    let in_image = fs::symlink_metadata(&target).during(&doing)?;
    if in_image.is_dir() != is_directory {
        let kind = if is_directory { "not a directory" } else { "a directory" };
        return Err(Failure::new(doing, format_args!("the image has something there that is {kind}")));
    }
    rustix::mount::mount_bind_recursive(source, &target).during(&doing)?;
    for hidden in &volume.hidden {
        hide(outside, &target, Path::new(hidden))?;
    }
    Ok(())
}

/// Hides what is in a volume. What an earlier command has moved elsewhere would be seen there, so that it is an error if
/// it is not in its place.
fn hide(outside: &Path, target: &Path, hidden: &Path) -> Result<(), Failure> {
    let doing = format!("hide {}", hidden.display());
    let path = target.join(hidden.strip_prefix(outside).during(&doing)?);
    let real = stubs::real_path(&path).during(&doing)?;
    let metadata = fs::symlink_metadata(&path).during(&doing)?;
    if real != path {
        return Err(Failure::new(doing, "it was replaced by a link"));
    }
    cover(&path, metadata.is_dir()).during(&doing)
}
