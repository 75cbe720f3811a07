//! Ending what a command left behind where no PID namespace does it.
//!
//! The helper is a subreaper: whatever loses its parent becomes its child, so that all of a step hangs from it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::thread::Uid;

use super::stages::own_pid;
use super::system;

/// Kills everything that descends from this process.
pub(super) fn kill_all() {
    let parents = parents();
    let own = own_pid().as_raw_nonzero().get();
    for pid in parents.keys().copied().filter(|pid| descends(&parents, *pid, own)) {
        let Some(pid) = Pid::from_raw(pid) else { continue };
        if rustix::process::kill_process(pid, Signal::KILL) == Err(Errno::PERM) {
            kill_as_its_user(pid);
        }
    }
}

/// Containers are often without `CAP_KILL`: then root may not kill another user's process, but may become that user.
fn kill_as_its_user(pid: Pid) {
    let Some(uid) = user(pid) else { return };
    let uid = Uid::from_raw(uid);
    let _ = system::in_forked_child(|| {
        if rustix::thread::set_thread_res_uid(uid, uid, uid).is_ok() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    });
}

fn descends(parents: &BTreeMap<i32, i32>, pid: i32, ancestor: i32) -> bool {
    let mut at = pid;
    // A table read while processes come and go might hold a circle.
    for _ in 0..parents.len() {
        match parents.get(&at) {
            Some(parent) if *parent == ancestor => return true,
            Some(parent) => at = *parent,
            None => return false,
        }
    }
    false
}

fn parents() -> BTreeMap<i32, i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    entries
        .flatten()
        .filter_map(number)
        .filter_map(|pid| Some((pid, parent_of(&text(pid, "stat")?)?)))
        .collect()
}

/// The fourth field of `stat`. The second is the program's name in parentheses, which may hold anything.
fn parent_of(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn user(pid: Pid) -> Option<u32> {
    let status = text(pid.as_raw_nonzero().get(), "status")?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().next()?.parse().ok()
}

fn text(pid: i32, file: &str) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/{file}")).ok()?.take(16 << 10).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_of("12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of("12 (a) R 9 (x) S 7 12"), Some(7));
        assert_eq!(parent_of("12"), None);
    }

    #[test]
    fn descent_goes_through_any_number_of_parents_and_ends_in_a_circle() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 6), (6, 5), (7, 99)]);
        assert!(descends(&parents, 4, 2) && descends(&parents, 2, 1));
        for (pid, ancestor) in [(5, 1), (7, 1), (2, 3), (42, 1)] {
            assert!(!descends(&parents, pid, ancestor), "{pid} from {ancestor}");
        }
    }
}
