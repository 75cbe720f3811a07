//! What the kernel says of a process: `/proc/self/status` and the switches that decide about user namespaces.

use std::fs;
use std::io;

use rustix::thread::UnshareFlags;

use super::capability::Capabilities;
use crate::sandbox::system;

/// What decides about a process beside what is tried. Every value is one of `proc(5)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// The effective user id.
    pub uid: u32,
    /// The effective capabilities.
    pub capabilities: Capabilities,
    /// Whether a seccomp filter is there.
    pub seccomp: bool,
    /// Whether programs that it starts gain nothing by set-uid bits and file capabilities.
    pub no_new_privileges: bool,
    /// The profile of `AppArmor`, or label of `SELinux`, that confines it.
    pub confinement: Option<String>,
    /// What the kernel answered when a child of this process asked for a user namespace; 0 where it got one.
    pub unshare_errno: u8,
    /// Switches of this kernel that refuse user namespaces.
    pub settings: Vec<Setting>,
}

/// A kernel setting that refuses something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name, as `sysctl` has it.
    pub name: &'static str,
    /// The value it has.
    pub value: &'static str,
    /// The value it should have.
    pub wanted: &'static str,
}

const SETTINGS: [Setting; 4] = [
    Setting { name: "user.max_user_namespaces", value: "0", wanted: "65536" },
    Setting { name: "user.max_mnt_namespaces", value: "0", wanted: "65536" },
    Setting { name: "kernel.unprivileged_userns_clone", value: "0", wanted: "1" },
    Setting { name: "kernel.apparmor_restrict_unprivileged_userns", value: "1", wanted: "0" },
];

impl Process {
    /// Reads it. What cannot be read is taken for absent: it only explains what is tried.
    #[must_use]
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let confinement = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
        let setting = |name: &str| fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok();
        let unshare_errno = try_unshare().unwrap_or(0);
        Self { unshare_errno, ..Self::of(&status, &confinement, setting) }
    }

    /// Why it gets no user namespace.
    #[must_use]
    pub fn unshare_refused(&self) -> Option<io::Error> {
        (self.unshare_errno != 0).then(|| io::Error::from_raw_os_error(self.unshare_errno.into()))
    }

    fn of(status: &str, confinement: &str, setting: impl Fn(&str) -> Option<String>) -> Self {
        let field = |name: &str| {
            let mut lines = status.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(field, _)| *field == name).map(|(_, value)| value.trim()).unwrap_or_default()
        };
        let confinement = confinement.trim_end_matches(['\0', '\n']);
        let is_set = |it: &Setting| setting(it.name).is_some_and(|value| value.trim() == it.value);
        Self {
            uid: field("Uid").split_ascii_whitespace().nth(1).and_then(|uid| uid.parse().ok()).unwrap_or(0),
            capabilities: Capabilities::from_hex(field("CapEff")),
            seccomp: field("Seccomp") == "2",
            no_new_privileges: field("NoNewPrivs") == "1",
            confinement: (!confinement.is_empty() && confinement != "unconfined")
                .then(|| confinement.to_owned()),
            unshare_errno: 0,
            settings: SETTINGS.into_iter().filter(is_set).collect(),
        }
    }
}

/// Asks for a user namespace in a child process, which tells the number of the error and ends.
fn try_unshare() -> io::Result<u8> {
    let (reader, writer) = rustix::pipe::pipe()?;
    system::in_forked_child(|| {
        let answer = match system::unshare(UnshareFlags::NEWUSER) {
            Ok(()) => 0,
            Err(error) => {
                error.raw_os_error().and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX)
            }
        };
        let _ = rustix::io::write(&writer, &[answer]);
    })?;
    drop(writer);
    let mut answer = [0];
    rustix::io::read(&reader, &mut answer)?;
    Ok(answer[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status =
            "Name:\tx\nUid:\t0\t1000\t0\t0\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let setting = |name: &str| name.starts_with("user.max_user").then(|| "0\n".to_owned());
        let process = Process::of(status, "docker-default (enforce)\n", setting);
        assert_eq!((process.uid, process.seccomp, process.no_new_privileges), (1000, true, true));
        assert!(process.capabilities.has(super::super::Capability::Setfcap));
        assert_eq!(process.confinement.as_deref(), Some("docker-default (enforce)"));
        assert_eq!(process.settings, [SETTINGS[0]]);
    }

    #[test]
    fn what_is_not_there_is_absent() {
        let process = Process::of("", "unconfined\n", |_| None);
        assert_eq!(process, Process::default());
    }
}
