//! What the user can do about a build that stopped.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;

use zuwai_layer::error::LayerError;
use zuwai_oci::error::OciError;
use zuwai_rootfs::copy::CopyError;
use zuwai_rootfs::error::RootfsError;
use zuwai_rootfs::run_error::RunError;
use zuwai_rootfs::survey;

use crate::error::{BuildError, StepError};
use crate::ssh::DEFAULT_ID;

/// Where a build keeps its files, and how the user says that.
#[derive(Debug, Clone, Copy)]
pub struct RootDir<'a> {
    /// The directory.
    pub path: &'a Path,
    /// The flag that names it.
    pub flag: &'a str,
}

impl RootDir<'_> {
    /// Where to read on about what the place refuses, in the words of the face that was used.
    fn see_doctor(self) -> String {
        let face = if self.flag == "--kaniko-dir" { "executor" } else { "zuwai" };
        format!("'{face} doctor', run here, says what is refused and what to add to the pod or container")
    }
}

impl BuildError {
    /// What the user can do about it, to be shown after the error and its causes.
    pub fn hint(&self, root_dir: RootDir<'_>) -> Option<String> {
        if let Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) = disk_error(self) {
            return Some(self.room(root_dir));
        }
        match self {
            // It is the image, and not the place.
            Self::Archive { source, .. } if matches!(source.root(), OciError::Format(_)) => source.hint(),
            Self::Write { .. } | Self::Archive { .. } => {
                Some("name a place that can be written, or mount a directory there".to_owned())
            }
            Self::State { path, .. } if !path.starts_with(root_dir.path) => Some(format!(
                "building in the container's own / takes root and a / that can be written; {}",
                root_dir.see_doctor()
            )),
            Self::Isolation(
                RunError::NamespacesRefused { .. } | RunError::NotInContainer { namespaces: Some(_) },
            ) => Some(root_dir.see_doctor()),
            Self::State { .. } => {
                Some(format!("name a directory that files can be made in with {}", root_dir.flag))
            }
            Self::At { source, .. } => source.hint(root_dir),
            Self::Step { source, .. } | Self::Trigger { source, .. } | Self::Unpack { source, .. } => {
                source.hint(root_dir)
            }
            Self::Image { source, .. }
            | Self::PushPermission { source }
            | Self::Push { source, .. }
            | Self::Source { source, .. } => source.hint(),
            Self::OwnName { .. } => Some("name one or more places to push it to".to_owned()),
            Self::Format { source, .. } => source.hint(),
            Self::Store(source) => source.hint(),
            _ => None,
        }
    }

    /// Where room is missing.
    fn room(&self, root_dir: RootDir<'_>) -> String {
        match self {
            Self::Write { path, .. } | Self::Archive { path, .. } => {
                format!(
                    "the disk of {} is full: free some room there, or write to another place",
                    path.display()
                )
            }
            _ => format!(
                "the disk is full: the build keeps its files in {}; free some room there, or name a directory on a larger \
                 disk with {}",
                root_dir.path.display(),
                root_dir.flag
            ),
        }
    }
}

impl StepError {
    fn hint(&self, root_dir: RootDir<'_>) -> Option<String> {
        match self {
            Self::Store(source) => source.hint(),
            Self::Layer(LayerError::Read(_) | LayerError::Truncated { .. } | LayerError::Header { .. })
            | Self::Rootfs(RootfsError::Layer(
                LayerError::Read(_) | LayerError::Truncated { .. } | LayerError::Header { .. },
            )) => Some("the image's layer is damaged, or no archive at all; build and push the image anew".to_owned()),
            Self::Build(source) => source.hint(root_dir),
            Self::Mount { source, .. } => source.hint(root_dir),
            Self::Remote(source) => source.hint(),
            Self::NoSecret { id } => Some(format!("give it with --secret id={id},src=FILE or --secret id={id},env=NAME")),
            Self::NoSshAgent { id } if id == DEFAULT_ID => {
                Some("give one with --ssh default, which is the agent of SSH_AUTH_SOCK, or --ssh default=KEY".to_owned())
            }
            Self::NoSshAgent { id } => Some(format!("give one with --ssh {id}=SOCKET or --ssh {id}=KEY")),
            Self::DiffId { .. } => Some(
                "the image does not hold together in its registry; build and push it anew".to_owned(),
            ),
            Self::Failed { exit_code: 137, .. } => Some(
                "the kernel kills what needs more memory than there is: raise the memory limit of the container, or let \
                 the command do less at a time"
                    .to_owned(),
            ),
            Self::Failed { signal: None, .. } => {
                let lacks = survey::lacks_for_commands()?;
                Some(format!("{lacks}: if the command was refused something, {}", root_dir.see_doctor()))
            }
            Self::Rootfs(error) if is_refused(error) && survey::lacks_for_files().is_some() => {
                let lacks = survey::lacks_for_files()?;
                Some(format!("{lacks}; {}", root_dir.see_doctor()))
            }
            Self::Rootfs(RootfsError::Copy(CopyError::NotFound { .. })) => Some(
                "paths to copy are relative to the build context, or to the root of the stage or image that --from names"
                    .to_owned(),
            ),
            Self::Rootfs(RootfsError::Copy(CopyError::Excluded { .. })) => {
                Some("a line that begins with ! in .dockerignore takes a path in again".to_owned())
            }
            _ => None,
        }
    }
}

/// Whether the system refused something for want of a right or an id: `EPERM`, `EACCES`, `EINVAL`.
fn is_refused(error: &(dyn Error + 'static)) -> bool {
    matches!(disk_error(error), Some(ErrorKind::PermissionDenied | ErrorKind::InvalidInput))
}

/// What the system said, if an error comes from a file.
fn disk_error(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        let Some(system) = error.downcast_ref::<io::Error>() else { continue };
        match system.get_ref() {
            // An error of another kind that had to be an I/O error on its way here: `source` would leave it out.
            Some(inner) => next = Some(inner),
            None => return Some(system.kind()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use zuwai_oci::error::OciError;

    use super::*;

    fn full() -> io::Error {
        io::Error::from_raw_os_error(28)
    }

    fn root_dir() -> RootDir<'static> {
        RootDir { path: Path::new("/state"), flag: "--root-dir" }
    }

    fn hint(error: &BuildError) -> String {
        error.hint(root_dir()).unwrap()
    }

    #[test]
    fn a_full_disk_is_found_however_deep_it_is_and_its_place_named() {
        let io = OciError::Io { action: "write", path: "/state/x".into(), source: full() };
        let downloading = io::Error::other(OciError::Shared(Arc::new(io)));
        let unpack = |source: StepError| BuildError::Unpack {
            image: "x".to_owned(),
            number: 1,
            total: 1,
            source: Box::new(source),
        };
        for error in [
            BuildError::State { path: "/state".into(), source: full() },
            unpack(StepError::Layer(LayerError::Write(full()))),
            unpack(StepError::Rootfs(LayerError::Read(downloading).into())),
            unpack(StepError::Layer(LayerError::Write(io::Error::other(full())))),
        ] {
            assert!(hint(&error).contains("/state; free some room"), "{error:?}");
        }
        let path = PathBuf::from("/out/image.tar");
        let source = Box::new(OciError::Archive { kind: "docker archive", source: full() });
        for error in
            [BuildError::Write { path: path.clone(), source: full() }, BuildError::Archive { path, source }]
        {
            assert!(hint(&error).starts_with("the disk of /out/image.tar is full"), "{error:?}");
        }
    }

    #[test]
    fn a_place_that_refuses_is_one_for_the_doctor() {
        let refused = BuildError::Isolation(RunError::NamespacesRefused { reason: String::new() });
        assert!(hint(&refused).starts_with("'zuwai doctor', run here"));
        let parking =
            BuildError::State { path: "/.zuwai".into(), source: ErrorKind::PermissionDenied.into() };
        let hint = parking.hint(RootDir { path: Path::new("/kaniko"), flag: "--kaniko-dir" }).unwrap();
        assert!(hint.contains("takes root") && hint.contains("'executor doctor'"), "{hint}");
        let not_here = BuildError::Isolation(RunError::NotInContainer { namespaces: None });
        assert_eq!(not_here.hint(root_dir()), None);
    }

    #[test]
    fn refusals_are_told_from_other_errors() {
        for (number, refused) in [(1, true), (13, true), (22, true), (2, false), (28, false)] {
            let error = BuildError::State { path: "/x".into(), source: io::Error::from_raw_os_error(number) };
            assert_eq!(is_refused(&error), refused, "{number}");
        }
    }

    #[test]
    fn a_state_directory_that_cannot_be_made_is_one_to_be_chosen() {
        let source = ErrorKind::PermissionDenied.into();
        let error = BuildError::State { path: "/state".into(), source };
        assert!(hint(&error).contains("--root-dir"));
        let elsewhere = BuildError::Write { path: "/x".into(), source: ErrorKind::PermissionDenied.into() };
        assert!(!hint(&elsewhere).contains("--root-dir"));
    }
}
