//! Mounting an overlay of layers.
//!
//! For as long as the call takes, the layers' room is the working directory, and layers are named relative to it: as
//! many as the kernel takes (500) then fit into the one page of options that `mount(2)` has.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::overlay::{OverlayMount, Upper};

/// Mounts an overlay on `target`, an absolute path. Needs user and mount namespaces of its own. What is mounted inside
/// of a layer's directory is not part of it.
///
/// `userxattr`: marks are `user.overlay.*` attributes, the only ones that a user namespace may set. `index=off`: a file
/// of several names loses them when it is changed, as with BuildKit, whatever the kernel's default is. `volatile`: nothing is
/// ever synced to disk for the overlay's sake; what a build keeps is what it has read back.
pub(super) fn mount(overlay: &OverlayMount, target: &Path) -> rustix::io::Result<()> {
    let before = rustix::fs::open(".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::chdir(&overlay.room)?;
    let mounted = mount_from_room(overlay, target);
    rustix::process::fchdir(&before)?;
    mounted
}

/// What mounting one is, for errors.
pub(super) fn mounting(overlay: &OverlayMount) -> String {
    format!("mount {} layers of {} as one", overlay.lower.len(), overlay.room.display())
}

fn mount_from_room(overlay: &OverlayMount, target: &Path) -> rustix::io::Result<()> {
    let Some(upper) = &overlay.upper else { return mount_with(&options(overlay, "")?, target) };
    empty_work(upper).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    match mount_with(&options(overlay, ",volatile")?, target) {
        // Not known before Linux 5.10.
        Err(Errno::INVAL) => mount_with(&options(overlay, "")?, target)?,
        other => other?,
    }
    // Where the kernel cannot work in the directory it says so in its log alone, and mounts what cannot be written.
    if rustix::fs::statvfs(target)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        rustix::mount::unmount(target, UnmountFlags::DETACH)?;
        return Err(Errno::ROFS);
    }
    Ok(())
}

fn mount_with(options: &CString, target: &Path) -> rustix::io::Result<()> {
    rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), options.as_c_str())
}

fn options(overlay: &OverlayMount, more: &str) -> rustix::io::Result<CString> {
    let names: Vec<&str> = overlay.lower.iter().rev().map(String::as_str).collect();
    let mut options = format!("userxattr,index=off{more},lowerdir={}", names.join(":"));
    let mut plain = names.iter().all(|name| is_plain(name));
    if let Some(Upper { directory, work }) = &overlay.upper {
        options.extend([",upperdir=", directory, ",workdir=", work]);
        plain = plain && is_plain(directory) && is_plain(work);
    }
    if !plain {
        return Err(Errno::INVAL);
    }
    CString::new(options).map_err(|_| Errno::INVAL)
}

/// Whether a name means itself in a list of options, and leads nowhere else.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Makes the directory that the kernel works in; one left by an earlier mount would be refused.
fn empty_work(upper: &Upper) -> io::Result<()> {
    match fs::remove_dir_all(&upper.work) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => DirBuilder::new().mode(0o700).create(&upper.work),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(lower: &[&str], upper: Option<(&str, &str)>) -> OverlayMount {
        OverlayMount {
            room: "/room".into(),
            lower: lower.iter().map(|name| (*name).to_owned()).collect(),
            upper: upper.map(|(directory, work)| Upper { directory: directory.into(), work: work.into() }),
        }
    }

    #[test]
    fn the_topmost_layer_is_named_first() {
        let shown = |overlay: &OverlayMount| options(overlay, "").unwrap().into_string().unwrap();
        assert_eq!(shown(&overlay(&["e", "0", "1"], None)), "userxattr,index=off,lowerdir=1:0:e");
        assert_eq!(
            shown(&overlay(&["0"], Some(("1", "w-1")))),
            "userxattr,index=off,lowerdir=0,upperdir=1,workdir=w-1"
        );
    }

    #[test]
    fn names_that_mean_more_than_themselves_are_refused() {
        for name in ["", "a:b", "a,b", "a\\", "..", "a/b", "a\0"] {
            assert_eq!(options(&overlay(&[name], None), ""), Err(Errno::INVAL), "{name:?}");
            assert_eq!(options(&overlay(&["0"], Some((name, "w"))), ""), Err(Errno::INVAL), "{name:?}");
        }
    }

    #[test]
    fn as_many_layers_as_the_kernel_takes_fit_into_a_page() {
        let names: Vec<String> = (0..500).map(|_| "zzzz".to_owned()).collect();
        let many = OverlayMount { lower: names, ..overlay(&[], Some(("zzzz", "w-zzzz"))) };
        assert!(options(&many, ",volatile").unwrap().as_bytes_with_nul().len() < 4096);
    }
}
