//! What is missing here, for a hint after something was refused.

use super::capability::{Capabilities, Capability, names};
use crate::userns::IdMaps;

/// What unpacking and copying take.
const FILES: [Capability; 5] =
    [Capability::Chown, Capability::DacOverride, Capability::Fowner, Capability::Fsetid, Capability::Setfcap];

/// What root takes to have namespaces: without one of these commands run in place, with the capabilities of the container.
const MAPPING: [Capability; 3] = [Capability::Setuid, Capability::Setgid, Capability::Setfcap];

/// What commands of package managers and the like take besides.
const COMMANDS: [Capability; 5] =
    [Capability::Chown, Capability::DacOverride, Capability::Fowner, Capability::Fsetid, Capability::Kill];

/// What this process lacks to write files of any owner and mode; `None` where nothing is missing.
#[must_use]
pub fn lacks_for_files() -> Option<String> {
    single_id().or_else(|| lacking(&Capabilities::effective().missing(&FILES)))
}

/// What a command lacks that runs here; `None` where it lacks nothing, or has namespaces and with them all it needs.
#[must_use]
pub fn lacks_for_commands() -> Option<String> {
    single_id().or_else(|| lacking(&for_commands(Capabilities::effective())))
}

fn for_commands(has: Capabilities) -> Vec<Capability> {
    let mut missing = has.missing(&MAPPING);
    if !missing.is_empty() {
        missing.extend(has.missing(&COMMANDS));
        missing.sort_unstable();
        missing.dedup();
    }
    missing
}

fn single_id() -> Option<String> {
    let single = IdMaps::own().is_ok_and(|ids| ids.is_single());
    single.then(|| {
        "only one user id can be had here, so that files belong to root alone and commands run as root alone".to_owned()
    })
}

fn lacking(missing: &[Capability]) -> Option<String> {
    (!missing.is_empty()).then(|| format!("this container is without {}", names(missing)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_lack_something_only_where_they_run_in_place_for_want_of_it() {
        for (has, missing) in [
            // Docker's: whatever refuses namespaces, no capability is missing.
            ("a80425fb", &[][..]),
            // Without CHOWN alone: in a namespace there is another one.
            ("a80425fa", &[]),
            ("280425fb", &[Capability::Setfcap]),
            ("280425fa", &[Capability::Chown, Capability::Setfcap]),
        ] {
            assert_eq!(for_commands(Capabilities::from_hex(has)), missing, "{has}");
        }
        assert_eq!(lacking(&[]), None);
        assert_eq!(lacking(&[Capability::Chown]).unwrap(), "this container is without CAP_CHOWN");
    }
}
