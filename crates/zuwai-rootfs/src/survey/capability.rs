//! The capabilities that building in a container's own `/` takes, and what each is for (capabilities(7)).

/// A capability. The value is its number in `linux/capability.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Give files away.
    Chown = 0,
    /// Read and write what its owner has closed.
    DacOverride = 1,
    /// Change mode and times of others' files.
    Fowner = 3,
    /// Keep set-uid and set-gid bits of files that are changed.
    Fsetid = 4,
    /// End processes of other users.
    Kill = 5,
    /// Change groups.
    Setgid = 6,
    /// Change users.
    Setuid = 7,
    /// Take capabilities from commands that are to have fewer.
    Setpcap = 8,
    /// Change the root directory.
    SysChroot = 18,
    /// Make device nodes.
    Mknod = 27,
    /// Give capabilities to files.
    Setfcap = 31,
}

/// All of them, by number.
pub const ALL: [Capability; 11] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::SysChroot,
    Capability::Mknod,
    Capability::Setfcap,
];

impl Capability {
    /// The name as pods and container runtimes write it: without `CAP_`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chown => "CHOWN",
            Self::DacOverride => "DAC_OVERRIDE",
            Self::Fowner => "FOWNER",
            Self::Fsetid => "FSETID",
            Self::Kill => "KILL",
            Self::Setgid => "SETGID",
            Self::Setuid => "SETUID",
            Self::Setpcap => "SETPCAP",
            Self::SysChroot => "SYS_CHROOT",
            Self::Mknod => "MKNOD",
            Self::Setfcap => "SETFCAP",
        }
    }

    /// What cannot be done without it when commands run in place.
    #[must_use]
    pub fn prevents(self) -> &'static str {
        match self {
            Self::Chown => {
                "files keep the owner root: chown, useradd, COPY --chown and images with other users' files"
            }
            Self::DacOverride => {
                "files that their owner has closed cannot be read or written, as package managers do"
            }
            Self::Fowner => "mode and times of other users' files cannot be changed, as package managers do",
            Self::Fsetid => "set-gid bits are lost where a file's group is not the builder's",
            Self::Kill => "processes of other users that a RUN leaves behind cannot be ended",
            Self::Setgid => "commands cannot have another group: USER, su, apt",
            Self::Setuid => "commands cannot be another user: USER, su, apt",
            Self::Setpcap => "commands that are to have fewer capabilities keep them all",
            Self::SysChroot => "chroot in a RUN",
            Self::Mknod => "device nodes cannot be made",
            Self::Setfcap => "setcap, images with file capabilities, and rpm packages that have some",
        }
    }
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Those in effect for this process; none where the kernel does not say.
    #[must_use]
    pub fn effective() -> Self {
        Self(rustix::thread::capabilities(None).map_or(0, |sets| sets.effective.bits()))
    }

    /// As `/proc/PID/status` shows them.
    pub(crate) fn from_hex(text: &str) -> Self {
        Self(u64::from_str_radix(text, 16).unwrap_or(0))
    }

    /// Whether one is there.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u32) != 0
    }

    /// Those of `wanted` that are not there.
    #[must_use]
    pub fn missing(self, wanted: &[Capability]) -> Vec<Capability> {
        wanted.iter().copied().filter(|capability| !self.has(*capability)).collect()
    }
}

/// Their names with `CAP_`, for people.
#[must_use]
pub fn names(capabilities: &[Capability]) -> String {
    let names: Vec<String> = capabilities.iter().map(|it| format!("CAP_{}", it.name())).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_asked() {
        let docker = Capabilities::from_hex("00000000a80425fb");
        assert_eq!(docker.missing(&ALL), []);
        let podman = Capabilities::from_hex("00000000800405fb");
        assert_eq!(podman.missing(&ALL), [Capability::Mknod]);
        assert_eq!(Capabilities::from_hex("no number").missing(&ALL), ALL);
        assert_eq!(names(&[Capability::Chown, Capability::SysChroot]), "CAP_CHOWN, CAP_SYS_CHROOT");
    }
}
