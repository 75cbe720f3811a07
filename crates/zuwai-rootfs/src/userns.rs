//! User namespaces: which ids this process has, and maps of them for others.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use rustix::process::Pid;
use rustix::thread::{CapabilitySet, UnshareFlags};

use crate::sandbox::system;
use crate::signals::{Side, fork_watched};

/// A run of ids and what they are one namespace further out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first id here.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The user and group ids that processes of a namespace can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    /// User ids.
    pub uids: Vec<IdRange>,
    /// Group ids.
    pub gids: Vec<IdRange>,
}

impl IdMaps {
    /// Those of this process's own namespace.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        let read = |path| fs::read_to_string(path).map(|text| parse_map(&text));
        Ok(Self { uids: read("/proc/self/uid_map")?, gids: read("/proc/self/gid_map")? })
    }

    /// The same ids, unchanged, for a namespace inside.
    fn identity(&self) -> Self {
        let same = |ranges: &[IdRange]| {
            ranges.iter().map(|range| IdRange { outside: range.inside, ..*range }).collect::<Vec<_>>()
        };
        Self { uids: same(&self.uids), gids: same(&self.gids) }
    }

    /// Whether there is but one user id, so that nothing can belong to anybody else.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.uids.iter().map(|range| u64::from(range.count)).sum::<u64>() <= 1
    }

    /// Whether images' usual ids can all be had: 0 to 65535 of users and groups.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        let usual = |ranges: &[IdRange]| {
            ranges.iter().any(|range| range.inside == 0 && range.count >= 65536)
                || (0..=65535).all(|id| ranges.iter().any(|range| range.contains(id)))
        };
        usual(&self.uids) && usual(&self.gids)
    }
}

impl IdRange {
    fn contains(&self, id: u32) -> bool {
        id.checked_sub(self.inside).is_some_and(|distance| distance < self.count)
    }
}

fn parse_map(text: &str) -> Vec<IdRange> {
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some(IdRange { inside: next()?, outside: next()?, count: next()? })
    };
    text.lines().filter_map(range).collect()
}

fn map_text(ranges: &[IdRange]) -> String {
    let mut text = String::new();
    for IdRange { inside, outside, count } in ranges {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{inside} {outside} {count}");
    }
    text
}

/// Maps the ids of a child that has entered a user namespace and waits. Root maps all ids it has to themselves; an
/// ordinary user becomes root inside and has the ids that `/etc/subuid` and `/etc/subgid` grant besides, or none.
pub(crate) fn map_child(child: Pid) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return write_maps(child, &IdMaps::own()?.identity()).map_err(name_what_is_missing);
    }
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    if map_with_grants(child, uid, gid).unwrap_or(false) {
        return Ok(());
    }
    // One's own single group may be mapped only when nobody inside can drop groups by it.
    write_proc(child, "setgroups", "deny")?;
    let single = |outside| vec![IdRange { inside: 0, outside, count: 1 }];
    write_maps(child, &IdMaps { uids: single(uid), gids: single(gid) })
}

/// What root needs to map the ids it has (`user_namespaces(7)`): the last since Linux 5.12, for id 0.
const MAPPING_CAPABILITIES: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETFCAP, "CAP_SETFCAP"),
];

/// The kernel says only that it is not permitted.
fn name_what_is_missing(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error;
    }
    let Ok(has) = rustix::thread::capabilities(None) else { return error };
    match missing(has.effective) {
        names if names.is_empty() => error,
        names => io::Error::new(
            error.kind(),
            format!("{error}: this process is root without {}, which mapping ids takes", names.join(", ")),
        ),
    }
}

fn missing(has: CapabilitySet) -> Vec<&'static str> {
    let lacks =
        |(capability, name): &(CapabilitySet, &'static str)| (!has.contains(*capability)).then_some(*name);
    MAPPING_CAPABILITIES.iter().filter_map(lacks).collect()
}

fn write_maps(child: Pid, maps: &IdMaps) -> io::Result<()> {
    write_proc(child, "uid_map", &map_text(&maps.uids))?;
    write_proc(child, "gid_map", &map_text(&maps.gids))
}

fn write_proc(child: Pid, file: &str, text: &str) -> io::Result<()> {
    let path = format!("/proc/{}/{file}", child.as_raw_nonzero());
    let write = || fs::OpenOptions::new().write(true).open(&path)?.write_all(text.as_bytes());
    write().map_err(|error| io::Error::new(error.kind(), format!("write {file}: {error}")))
}

/// Whether the system's set-uid programs could map what the user was granted.
fn map_with_grants(child: Pid, uid: u32, gid: u32) -> io::Result<bool> {
    let name = user_name(uid);
    let grants = |file: &str| fs::read_to_string(file).map(|text| granted(&text, name.as_deref(), uid));
    let (uids, gids) = (grants("/etc/subuid")?, grants("/etc/subgid")?);
    let Some((map_users, map_groups)) = program("newuidmap").zip(program("newgidmap")) else {
        return Ok(false);
    };
    if uids.is_empty() || gids.is_empty() {
        return Ok(false);
    }
    for (program, own, ranges) in [(map_users, uid, uids), (map_groups, gid, gids)] {
        let text = map_text(&with_root(own, &ranges));
        let mut command = Command::new(program);
        command.arg(child.as_raw_nonzero().to_string()).args(text.split_ascii_whitespace()).env_clear();
        let output = command.stdin(std::process::Stdio::null()).output()?;
        if !output.status.success() {
            tracing::warn!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
            return Ok(false);
        }
    }
    Ok(true)
}

/// The user as root, and the granted ranges one after the other from 1.
fn with_root(own: u32, ranges: &[(u32, u32)]) -> Vec<IdRange> {
    let mut map = vec![IdRange { inside: 0, outside: own, count: 1 }];
    let mut inside = 1_u32;
    for (outside, count) in ranges {
        let count = (*count).min(u32::MAX - inside);
        map.push(IdRange { inside, outside: *outside, count });
        inside += count;
    }
    map
}

/// The ranges of a subid file for a user, by name or number.
fn granted(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    let grant = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        ((Some(owner) == name || owner == number) && count > 0).then_some((first, count))
    };
    text.lines().filter_map(grant).collect()
}

/// By hand, as in an image: the C library would load name-service libraries.
fn user_name(uid: u32) -> Option<String> {
    let mut text = String::new();
    fs::File::open("/etc/passwd").ok()?.take(8 << 20).read_to_string(&mut text).ok()?;
    let named = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    text.lines().find_map(named)
}

fn program(name: &str) -> Option<&'static str> {
    let places: [&str; 4] = match name {
        "newuidmap" => [
            "/usr/bin/newuidmap",
            "/bin/newuidmap",
            "/usr/local/bin/newuidmap",
            "/run/wrappers/bin/newuidmap",
        ],
        _ => [
            "/usr/bin/newgidmap",
            "/bin/newgidmap",
            "/usr/local/bin/newgidmap",
            "/run/wrappers/bin/newgidmap",
        ],
    };
    places.into_iter().find(|place| Path::new(place).exists())
}

/// What became of the wish to be root in a user namespace.
#[derive(Debug)]
pub enum Entry {
    /// This process is root already.
    NotNeeded,
    /// From here on this process is root in a user and a mount namespace of its own, with these ids.
    Inside(IdMaps),
    /// This process watched the program to its end, and ends with this code.
    Watched(i32),
    /// It cannot be had, for this reason; the process is who it was.
    Refused(io::Error),
}

/// Makes an ordinary user's program root in a user namespace, as `buildah unshare` does, so that all it unpacks, scans
/// and copies has the ids that the image has. Forks: this process stays outside and watches. Must be called before the
/// program has threads.
#[must_use]
pub fn enter() -> Entry {
    if rustix::process::geteuid().is_root() {
        return Entry::NotNeeded;
    }
    match enter_by_fork() {
        Ok(Side::Watcher(code)) => Entry::Watched(code),
        Ok(Side::Program) => match IdMaps::own() {
            Ok(maps) => Entry::Inside(maps),
            Err(error) => Entry::Refused(error),
        },
        Err(error) => Entry::Refused(error),
    }
}

fn enter_by_fork() -> io::Result<Side> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let child = || {
        let mut stream = &theirs;
        let unshared = system::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS);
        let answer = match &unshared {
            Ok(()) => 0,
            Err(error) => {
                error.raw_os_error().and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX)
            }
        };
        stream.write_all(&[answer])?;
        let mut mapped = [0];
        // When the maps are refused this process is killed, so that the parent goes on alone.
        stream.read_exact(&mut mapped)
    };
    let parent = |pid| {
        let mut answer = [0];
        (&ours).read_exact(&mut answer)?;
        if answer[0] != 0 {
            return Err(io::Error::from_raw_os_error(i32::from(answer[0])));
        }
        map_child(pid)?;
        (&ours).write_all(&[1])
    };
    fork_watched(child, parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange { inside, outside, count }
    }

    #[test]
    fn maps_are_read_and_written() {
        let text = "         0     100000      65536\n     65536       1000          1\nbroken\n";
        let ranges = parse_map(text);
        assert_eq!(ranges, [range(0, 100_000, 65536), range(65536, 1000, 1)]);
        assert_eq!(map_text(&ranges), "0 100000 65536\n65536 1000 1\n");
        let maps = IdMaps { uids: ranges.clone(), gids: ranges };
        assert_eq!(maps.identity().uids, [range(0, 0, 65536), range(65536, 65536, 1)]);
    }

    #[test]
    fn maps_say_what_they_lack() {
        let maps = |uids: Vec<IdRange>| IdMaps { gids: uids.clone(), uids };
        assert!(maps(vec![range(0, 1000, 1)]).is_single());
        assert!(maps(vec![range(0, 0, u32::MAX)]).is_usual());
        assert!(maps(vec![range(0, 1000, 1), range(1, 100_000, 65536)]).is_usual());
        assert!(!maps(vec![range(0, 1000, 1), range(1, 100_000, 1000)]).is_usual());
        assert!(!maps(vec![range(0, 1000, 1), range(1, 100_000, 1000)]).is_single());
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing(CapabilitySet::all()), Vec::<&str>::new());
        assert_eq!(missing(CapabilitySet::SETUID), ["CAP_SETGID", "CAP_SETFCAP"]);
        let refused = name_what_is_missing(io::Error::from_raw_os_error(22)).to_string();
        assert!(!refused.contains("CAP_"), "{refused}");
    }

    #[test]
    fn grants_are_found_by_name_and_number() {
        let text = "alice:100000:65536\n1000:300000:10\nbob:165536:65536\n1000:bad:1\n";
        assert_eq!(granted(text, Some("alice"), 7), [(100_000, 65536)]);
        assert_eq!(granted(text, Some("carol"), 1000), [(300_000, 10)]);
        assert_eq!(granted(text, None, 5), []);
        let map = with_root(1000, &[(100_000, 65536), (300_000, 10)]);
        assert_eq!(map, [range(0, 1000, 1), range(1, 100_000, 65536), range(65537, 300_000, 10)]);
        assert_eq!(with_root(1, &[(5, u32::MAX), (9, 9)])[1].count, u32::MAX - 1);
    }
}
