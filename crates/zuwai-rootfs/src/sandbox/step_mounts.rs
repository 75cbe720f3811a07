//! What a step sees besides its root, mounted: `RUN --mount`, and the script of a here-document.
//!
//! As BuildKit has runc do it: after everything else is mounted, one after the other, so that one may lie in another.
//! Links in targets are followed inside the root. Mount points that the root lacks are made and go again; those in
//! what was mounted for the step before, a cache say, stay there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

use super::memory_file::MemoryFile;
use super::place::outside;
use super::spec::Enclosure;
use super::stages::{During as _, Failure};
use super::stubs::{self, Stubs};
use super::{place, read_only, throwaway};
use crate::step_mount::{StepMount, StepMountKind};

/// Mounts all that is in an enclosure for its step. The working directory is the outer root.
pub(super) fn mount_all(stubs: &mut Stubs, enclosure: &Enclosure) -> Result<(), Failure> {
    for (number, mount) in enclosure.mounts.iter().enumerate() {
        let scratch = match &enclosure.scratch {
            Some(scratch) => Some(outside(scratch)?.join(number.to_string())),
            None => None,
        };
        with_source(&mount.kind, |source| {
            Placement::find(stubs, mount, source)?.mount(&mount.kind, source, scratch.as_deref())
        })?;
    }
    Ok(())
}

/// Does something with the path of what is mounted, if that is a file or directory of the outside.
fn with_source(kind: &StepMountKind, work: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    match kind {
        StepMountKind::Bind { source, .. } => place::with(source, work),
        StepMountKind::Cache { directory: path, .. } | StepMountKind::Socket { path } => {
            work(&outside(path)?)
        }
        StepMountKind::Tmpfs { .. } | StepMountKind::File { .. } => work(Path::new("")),
    }
}

/// Where something is mounted.
struct Placement {
    /// A real path that exists.
    target: PathBuf,
    /// The mode of the directory that the image has there.
    mode: Option<u32>,
    /// What is being done, for errors.
    doing: String,
}

impl Placement {
    /// Finds the place of a mount, and makes it where it is missing.
    fn find(stubs: &mut Stubs, mount: &StepMount, source: &Path) -> Result<Self, Failure> {
        let doing = format!("mount the {} at {}", noun(&mount.kind), mount.target.display());
        let real = stubs::real_path(&mount.target).during(&doing)?;
        if let Some(refusal) = refusal(&real, &mount.kind) {
            return Err(Failure::new(&doing, refusal));
        }
        let before = fs::symlink_metadata(&real).ok();
        let is_directory =
            source_is_directory(&mount.kind, source).map_err(|failure| failure.within(&doing))?;
        let target = if is_directory { stubs.directory(&real) } else { stubs.file(&real) }.during(&doing)?;
        if let Some(before) = &before
            && before.is_dir() != is_directory
        {
            let (there, wanted) =
                if is_directory { ("a file", "a directory") } else { ("a directory", "a file") };
            let error = format_args!("not a directory: there is {there}, and this mount is {wanted}");
            return Err(Failure::new(doing, error));
        }
        stubs.leave_what_is_made_below(&target);
        Ok(Self { target, mode: before.map(|it| it.permissions().mode() & 0o7777), doing })
    }

    fn mount(&self, kind: &StepMountKind, source: &Path, scratch: Option<&Path>) -> Result<(), Failure> {
        match kind {
            StepMountKind::Bind { read_only: false, .. } => {
                throwaway::mount(source, &self.target, scratch).map_err(|failure| failure.within(&self.doing))
            }
            StepMountKind::Bind { read_only: true, .. } => self.bind(source, true),
            StepMountKind::Cache { read_only, .. } => self.bind(source, *read_only),
            StepMountKind::Socket { .. } => self.bind(source, false),
            StepMountKind::Tmpfs { size } => self.tmpfs(*size).during(&self.doing),
            StepMountKind::File { content, mode, uid, gid } => {
                let file = MemoryFile { content, mode: *mode, owner: (*uid, *gid) };
                file.mount(&self.target).during(&self.doing)
            }
        }
    }

    /// Shows a file or directory, with all that is mounted below it.
    fn bind(&self, source: &Path, read_only: bool) -> Result<(), Failure> {
        rustix::mount::mount_bind_recursive(source, &self.target).during(&self.doing)?;
        if read_only { read_only::make_all(&self.target).during(&self.doing) } else { Ok(()) }
    }

    /// As with runc it has the mode of the directory that it covers.
    fn tmpfs(&self, size: u64) -> rustix::io::Result<()> {
        let mode = self.mode.unwrap_or(0o1777);
        let size = if size > 0 { format!(",size={size}") } else { String::new() };
        let options = format!("mode={mode:o}{size}");
        if self.target == Path::new("/dev") {
            // It is one already, with devices, which runc would put into the new one.
            return rustix::mount::mount_remount("/dev", MountFlags::NOSUID, options);
        }
        let options = std::ffi::CString::new(options).unwrap_or_default();
        rustix::mount::mount("tmpfs", &self.target, "tmpfs", MountFlags::NOSUID, options.as_c_str())
    }
}

/// Why nothing, or not this, can be mounted at a real path.
fn refusal(real: &Path, kind: &StepMountKind) -> Option<&'static str> {
    if real == Path::new("/") {
        // By a link.
        return Some("this is the root");
    }
    if real.starts_with("/proc") {
        return Some("nothing can be mounted in /proc");
    }
    // Devices are made there, and what must be on no disk has a name there for a moment.
    (real == Path::new("/dev") && !matches!(kind, StepMountKind::Tmpfs { .. }))
        .then_some("nothing but a tmpfs can be mounted on /dev itself")
}

fn noun(kind: &StepMountKind) -> &'static str {
    match kind {
        StepMountKind::Bind { .. } => "bind mount",
        StepMountKind::Cache { .. } => "cache",
        StepMountKind::Tmpfs { .. } => "tmpfs",
        StepMountKind::File { .. } => "file",
        StepMountKind::Socket { .. } => "socket",
    }
}

fn source_is_directory(kind: &StepMountKind, source: &Path) -> Result<bool, Failure> {
    match kind {
        StepMountKind::Bind { source: place, .. } => {
            Ok(fs::symlink_metadata(source).during(format_args!("look at {place}"))?.is_dir())
        }
        StepMountKind::Cache { .. } | StepMountKind::Tmpfs { .. } => Ok(true),
        StepMountKind::File { .. } | StepMountKind::Socket { .. } => Ok(false),
    }
}
