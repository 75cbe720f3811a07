//! What a Dockerfile may do in a place, and why not.

use super::Survey;
use super::capability::{Capability, names};
use crate::isolation::Mode;

/// Something that Dockerfiles do and that not every place allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// Unpack images and copy files.
    Files,
    /// Files of other users than root: `COPY --chown`, `chown`.
    Owners,
    /// `RUN` at all.
    Run,
    /// `RUN` as another user than root.
    Users,
    /// Package managers: what apt, dpkg and rpm do beside writing files.
    Packages,
    /// Capabilities of files: `setcap`, rpm packages that have some.
    Capabilities,
    /// Device nodes made by a `RUN`.
    Devices,
    /// `RUN --network=none`.
    Network,
}

/// All of them.
pub const ALL: [Ability; 8] = [
    Ability::Files,
    Ability::Owners,
    Ability::Run,
    Ability::Users,
    Ability::Packages,
    Ability::Capabilities,
    Ability::Devices,
    Ability::Network,
];

/// Whether it can be had; else why not.
pub type Verdict = Result<(), String>;

impl Ability {
    /// Its name for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Owners => "owners",
            Self::Run => "run",
            Self::Users => "users",
            Self::Packages => "packages",
            Self::Capabilities => "capabilities",
            Self::Devices => "devices",
            Self::Network => "network",
        }
    }

    /// What of a Dockerfile it is.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Files => "COPY and ADD",
            Self::Owners => "chown, COPY --chown, useradd with a home",
            Self::Run => "RUN",
            Self::Users => "RUN after USER",
            Self::Packages => "apt, dpkg, rpm, apk",
            Self::Capabilities => "setcap",
            Self::Devices => "mknod of devices in RUN",
            Self::Network => "RUN --network=none",
        }
    }

    /// The container's capabilities that it takes where commands run in place.
    fn takes(self) -> &'static [Capability] {
        use Capability::{Chown, DacOverride, Fowner, Fsetid, Mknod, Setfcap, Setgid, Setuid};
        match self {
            Self::Files | Self::Run | Self::Network => &[],
            Self::Owners => &[Chown],
            Self::Users => &[Setuid, Setgid],
            Self::Packages => &[Chown, DacOverride, Fowner, Fsetid, Setuid, Setgid],
            Self::Capabilities => &[Setfcap],
            Self::Devices => &[Mknod],
        }
    }
}

/// Whether a Dockerfile may do it here.
///
/// # Errors
/// Why not, in words that stand for themselves.
pub fn verdict(survey: &Survey, ability: Ability) -> Verdict {
    let choice = survey.isolation.as_ref().map_err(chain)?;
    if let (Ability::Capabilities, Some(error)) = (ability, &survey.no_file_capabilities) {
        return Err(format!("the file system takes no capabilities of files: {error}"));
    }
    match choice.mode {
        Mode::Namespaces => in_namespaces(survey, ability),
        Mode::InPlace => in_place(survey, ability),
    }
}

/// A command has every capability over the ids that are mapped there; the builder, which unpacks and copies, has its own.
fn in_namespaces(survey: &Survey, ability: Ability) -> Verdict {
    let single = survey.ids.as_ref().is_some_and(crate::userns::IdMaps::is_single);
    match ability {
        Ability::Owners | Ability::Users | Ability::Packages if single => {
            Err("only one user id can be had: all files are root's, and commands run as no other user"
                .to_owned())
        }
        Ability::Owners => lacks(survey, ability),
        Ability::Devices => {
            Err("a user namespace makes no devices; those of images and COPY are kept".to_owned())
        }
        _ => Ok(()),
    }
}

fn in_place(survey: &Survey, ability: Ability) -> Verdict {
    if survey.process.uid != 0 {
        return Err("building in the container's own / takes root, and this is an ordinary user".to_owned());
    }
    if let Some(error) = &survey.root_refused {
        return Err(format!("building in the container's own / takes one that can be written: {error}"));
    }
    if ability == Ability::Network {
        return Err("a command that runs in place has the container's network".to_owned());
    }
    lacks(survey, ability)
}

fn lacks(survey: &Survey, ability: Ability) -> Verdict {
    let missing = survey.capabilities.missing(ability.takes());
    if missing.is_empty() { Ok(()) } else { Err(format!("{} is missing", names(&missing))) }
}

fn chain(error: &crate::run_error::RunError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
