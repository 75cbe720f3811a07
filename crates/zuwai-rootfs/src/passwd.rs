//! Users and groups as an image's own `/etc/passwd` and `/etc/group` have them.
//!
//! Parsed by hand: the C library's look-ups would load name-service libraries out of the image. The rules are those of
//! runc and BuildKit (`moby/sys/user`): a number is always an id and needs no entry, a name must have one,
//! supplementary groups come from the group file when no group is given.

use zuwai_layer::ImagePath;

use crate::error::RootfsError;
use crate::root::Root;
use crate::run_error::RunError;

/// The most that is read of either file.
const FILE_LIMIT: usize = 8 << 20;

/// The largest user or group id that a command may have, as runc takes it.
const LARGEST_ID: u32 = i32::MAX as u32;

/// Who a command runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// All groups, the primary one first.
    pub groups: Vec<u32>,
    /// Home directory: that of the first entry with this user id, `/` if there is none.
    pub home: Vec<u8>,
}

/// Whom files are given to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Names that have no entry.
    pub unknown: Vec<UserError>,
}

/// Why a user or group is not to be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// A name without an entry in the passwd file.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    /// A name without an entry in the group file.
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
    /// An id that is too large.
    #[error("id {0} is out of range: uids and gids must be in range 0-2147483647")]
    OutOfRange(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct UserEntry {
    name: Vec<u8>,
    uid: u32,
    gid: u32,
    home: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct GroupEntry {
    name: Vec<u8>,
    gid: u32,
    members: Vec<Vec<u8>>,
}

/// The users and groups of one image. A file that is missing has no entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    users: Vec<UserEntry>,
    groups: Vec<GroupEntry>,
}

/// Looks up who a command runs as: `USER`'s argument, expanded; empty is root.
///
/// # Errors
/// When the files cannot be read, or a name is in neither of them.
pub fn lookup(root: &Root, user: &str) -> Result<ResolvedUser, RunError> {
    Ok(Accounts::load(root)?.resolve(user)?)
}

impl Accounts {
    /// Reads an image's files.
    ///
    /// # Errors
    /// When a file is there but cannot be read, or is larger than any real one.
    pub fn load(root: &Root) -> Result<Self, RootfsError> {
        let read = |name: &str| -> Result<Vec<u8>, RootfsError> {
            let path = ImagePath::clamped(name).unwrap_or_default();
            Ok(root.read_small(&path, FILE_LIMIT)?.unwrap_or_default())
        };
        Ok(Self::parse(&read("etc/passwd")?, &read("etc/group")?))
    }

    /// Reads the text of both files. Lines that are none of theirs are passed over.
    #[must_use]
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self {
            users: lines(passwd).filter_map(user).collect(),
            groups: lines(group).filter_map(self::group).collect(),
        }
    }

    /// Resolves `user`, `uid`, `user:group` and all their mixtures; empty is root, even without an entry.
    ///
    /// # Errors
    /// When a name has no entry, or a number is too large.
    pub fn resolve(&self, spec: &str) -> Result<ResolvedUser, UserError> {
        let (user, group) = spec.split_once(':').unwrap_or((spec, ""));
        let user = if user.is_empty() { "0" } else { user };
        let (uid, entry) = self.user(user)?;
        let mut gid = entry.map_or(0, |entry| entry.gid);
        let mut groups = Vec::new();
        if !group.is_empty() {
            gid = self.group_id(group)?;
        } else if let Some(entry) = entry {
            let member = |group: &&GroupEntry| group.members.contains(&entry.name);
            groups.extend(self.groups.iter().filter(member).map(|group| group.gid));
        }
        groups.retain(|id| *id != gid);
        groups.insert(0, gid);
        let home = self.users.iter().find(|entry| entry.uid == uid).map(|entry| entry.home.clone());
        let home = home.filter(|home| !home.is_empty()).unwrap_or_else(|| b"/".to_vec());
        Ok(ResolvedUser { uid, gid, groups, home })
    }

    /// Whom `user[:group]` gives files to, with BuildKit's rules for COPY and WORKDIR: a name without an entry is root
    /// (a group without one the user's own), a user by number has the group of the same number, an empty part is 0.
    ///
    /// # Errors
    /// When a number is too large.
    pub fn owner(&self, spec: &str) -> Result<Owner, UserError> {
        let (user, group) = spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
        let mut owner = Owner::default();
        match self.user_id(user) {
            _ if user.is_empty() => {}
            Ok(uid) => {
                owner.uid = uid;
                let by_number = user.bytes().all(|byte| byte.is_ascii_digit());
                owner.gid = if by_number { uid } else { self.primary_group(user).unwrap_or(uid) };
            }
            Err(unknown @ UserError::UnknownUser(_)) => owner.unknown.push(unknown),
            Err(error) => return Err(error),
        }
        match group.map(|group| (group, self.group_id(group))) {
            None => {}
            Some(("", _)) => owner.gid = 0,
            Some((_, Ok(gid))) => owner.gid = gid,
            Some((_, Err(unknown @ UserError::UnknownGroup(_)))) => owner.unknown.push(unknown),
            Some((_, Err(error))) => return Err(error),
        }
        Ok(owner)
    }

    /// The id of a user given by name or number.
    ///
    /// # Errors
    /// When a name has no entry, or a number is too large.
    pub fn user_id(&self, user: &str) -> Result<u32, UserError> {
        Ok(self.user(user)?.0)
    }

    /// The primary group of the user given by name or number, if it has an entry.
    #[must_use]
    pub fn primary_group(&self, user: &str) -> Option<u32> {
        self.user(user).ok()?.1.map(|entry| entry.gid)
    }

    /// The id of a group given by name or number.
    ///
    /// # Errors
    /// When a name has no entry, or a number is too large.
    pub fn group_id(&self, group: &str) -> Result<u32, UserError> {
        match number(group)? {
            Some(id) => Ok(id),
            None => self
                .groups
                .iter()
                .find(|entry| entry.name == group.as_bytes())
                .map(|entry| entry.gid)
                .ok_or_else(|| UserError::UnknownGroup(group.to_owned())),
        }
    }

    fn user(&self, user: &str) -> Result<(u32, Option<&UserEntry>), UserError> {
        if let Some(id) = number(user)? {
            return Ok((id, self.users.iter().find(|entry| entry.uid == id)));
        }
        let entry = self.users.iter().find(|entry| entry.name == user.as_bytes());
        entry.map(|entry| (entry.uid, Some(entry))).ok_or_else(|| UserError::UnknownUser(user.to_owned()))
    }
}

/// A decimal number within range; `None` for what is a name.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match digits.parse::<u32>() {
        Ok(id) if id <= LARGEST_ID => Ok(Some(id)),
        _ => Err(UserError::OutOfRange(text.to_owned())),
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(|line| line.split(|byte| *byte == b':').map(<[u8]>::trim_ascii).collect())
}

fn id(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// `name:password:uid:gid:comment:home:shell`
#[allow(clippy::needless_pass_by_value)]
fn user(fields: Vec<&[u8]>) -> Option<UserEntry> {
    let home = fields.get(5).copied().unwrap_or_default().to_vec();
    Some(UserEntry {
        name: fields.first()?.to_vec(),
        uid: id(fields.get(2)?)?,
        gid: id(fields.get(3)?)?,
        home,
    })
}

/// `name:password:gid:member,member`
#[allow(clippy::needless_pass_by_value)]
fn group(fields: Vec<&[u8]>) -> Option<GroupEntry> {
    let members = fields.get(3).copied().unwrap_or_default();
    let members = members.split(|byte| *byte == b',').map(|name| name.trim_ascii().to_vec());
    let members = members.filter(|name| !name.is_empty()).collect();
    Some(GroupEntry { name: fields.first()?.to_vec(), gid: id(fields.get(2)?)?, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_resolved_as_buildkit_does() {
        let accounts =
            Accounts::parse(b"root:x:0:0::/root:\napp:x:1000:1001::/:\n", b"root:x:0:\nextra:x:2000:app\n");
        for (spec, uid, gid, unknown) in [
            ("app", 1000, 1001, 0),
            ("1000", 1000, 1000, 0),
            ("app:extra", 1000, 2000, 0),
            ("app:", 1000, 0, 0),
            (":2000", 0, 2000, 0),
            (":extra", 0, 2000, 0),
            ("nosuch", 0, 0, 1),
            ("app:nosuch", 1000, 1001, 1),
            ("7:8", 7, 8, 0),
        ] {
            let owner = accounts.owner(spec).unwrap();
            assert_eq!((owner.uid, owner.gid, owner.unknown.len()), (uid, gid, unknown), "{spec}");
        }
    }

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# note\nbroken line\nbad:x:one:1::/bad:\n\
        app:x:1000:1000:An app:/home/app:/bin/sh\nwww:x:33:33::/var/www:\n0815:x:77:77::/seven:\nnohome:x:5:5:::\n";
    const GROUP: &[u8] = b"root:x:0:\nbin:x:1:root,daemon\napp:x:1000:app\nwheel:x:10:app, root\nwww:x:33:\n";

    fn accounts() -> Accounts {
        Accounts::parse(PASSWD, GROUP)
    }

    #[test]
    fn users_resolve_as_runc_resolves_them() {
        for (spec, uid, gid, groups, home) in [
            ("", 0, 0, vec![0, 1, 10], "/root"),
            ("root", 0, 0, vec![0, 1, 10], "/root"),
            ("0", 0, 0, vec![0, 1, 10], "/root"),
            ("app", 1000, 1000, vec![1000, 10], "/home/app"),
            ("1000", 1000, 1000, vec![1000, 10], "/home/app"),
            ("app:", 1000, 1000, vec![1000, 10], "/home/app"),
            ("app:www", 1000, 33, vec![33], "/home/app"),
            ("app:4242", 1000, 4242, vec![4242], "/home/app"),
            ("4242", 4242, 0, vec![0], "/"),
            ("4242:app", 4242, 1000, vec![1000], "/"),
            ("0815", 815, 0, vec![0], "/"),
            ("nohome", 5, 5, vec![5], "/"),
            (":www", 0, 33, vec![33], "/root"),
        ] {
            let user = accounts().resolve(spec).unwrap();
            let expected = ResolvedUser { uid, gid, groups, home: home.as_bytes().to_vec() };
            assert_eq!(user, expected, "{spec}");
        }
    }

    #[test]
    fn names_without_an_entry_are_errors() {
        let unknown = |spec: &str| accounts().resolve(spec).unwrap_err().to_string();
        assert_eq!(unknown("nobody"), "unable to find user nobody: no matching entries in passwd file");
        assert_eq!(unknown("bad"), "unable to find user bad: no matching entries in passwd file");
        assert_eq!(unknown("app:none"), "unable to find group none: no matching entries in group file");
        assert_eq!(unknown("-1"), "unable to find user -1: no matching entries in passwd file");
        assert!(unknown("4294967295").contains("range"));
        assert!(unknown("0:2147483648").contains("range"));
    }

    #[test]
    fn an_image_without_the_files_has_root_and_numbers() {
        let empty = Accounts::default();
        assert_eq!(empty.resolve("").unwrap().groups, [0]);
        assert_eq!(empty.resolve("12:34").unwrap().gid, 34);
        assert!(empty.resolve("root").is_err());
    }

    #[test]
    fn owners_for_copies_resolve_by_name_and_number() {
        assert_eq!(accounts().user_id("app").unwrap(), 1000);
        assert_eq!(accounts().group_id("wheel").unwrap(), 10);
        assert_eq!(accounts().primary_group("www"), Some(33));
        assert_eq!(accounts().primary_group("999"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_it_panic(passwd: Vec<u8>, group: Vec<u8>, spec: String) {
            let _ = Accounts::parse(&passwd, &group).resolve(&spec);
        }
    }
}
