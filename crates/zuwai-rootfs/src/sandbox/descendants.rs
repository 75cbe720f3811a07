//! Ending what a command left behind where no PID namespace does it.
//!
//! The helper is a subreaper: whatever loses its parent becomes its child, so that all of a step hangs from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::thread::Uid;

use super::stages::own_pid;
use super::system;

/// Kills everything that descends from this process.
///
/// By groups too: a process that forks and ends, over and over, is gone before its number has been read, but the kernel
/// starts none in a group while it kills that. (All groups of descendants are the step's own: who leads a session has
/// begun it, and nobody joins a group of another session.)
pub(super) fn kill_all() {
    let table = table();
    let own = own_pid().as_raw_nonzero().get();
    let own_group = table.get(&own).map(|process| process.group);
    let mut groups = BTreeSet::new();
    for (pid, process) in table.iter().filter(|(pid, _)| descends(&table, **pid, own)) {
        let Some(pid) = Pid::from_raw(*pid) else { continue };
        if rustix::process::kill_process(pid, Signal::KILL) == Err(Errno::PERM) {
            kill_as_its_user(pid);
        }
        groups.insert(process.group);
    }
    for group in groups.into_iter().filter(|group| Some(*group) != own_group).filter_map(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
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

fn descends(table: &BTreeMap<i32, Process>, pid: i32, ancestor: i32) -> bool {
    let mut at = pid;
    // A table read while processes come and go might hold a circle.
    for _ in 0..table.len() {
        match table.get(&at) {
            Some(process) if process.parent == ancestor => return true,
            Some(process) => at = process.parent,
            None => return false,
        }
    }
    false
}

/// What is read of a process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    parent: i32,
    group: i32,
}

fn table() -> BTreeMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    entries
        .flatten()
        .filter_map(number)
        .filter_map(|pid| Some((pid, process(&text(pid, "stat")?)?)))
        .collect()
}

/// The fourth and fifth fields of `stat`. The second is the program's name in parentheses, which may hold anything.
fn process(stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(1);
    let mut number = || fields.next()?.parse().ok();
    Some(Process { parent: number()?, group: number()? })
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
    fn parent_and_group_are_found_behind_any_name() {
        assert_eq!(process("12 (sh) S 7 12 12 0"), Some(Process { parent: 7, group: 12 }));
        assert_eq!(process("12 (a) R 9 (x) S 7 12"), Some(Process { parent: 7, group: 12 }));
        assert_eq!(process("12 (sh) S 7"), None);
        assert_eq!(process("12"), None);
    }

    #[test]
    fn descent_goes_through_any_number_of_parents_and_ends_in_a_circle() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 6), (6, 5), (7, 99)];
        let table = parents.map(|(pid, parent)| (pid, Process { parent, group: 1 })).into();
        assert!(descends(&table, 4, 2) && descends(&table, 2, 1));
        for (pid, ancestor) in [(5, 1), (7, 1), (2, 3), (42, 1)] {
            assert!(!descends(&table, pid, ancestor), "{pid} from {ancestor}");
        }
    }
}
