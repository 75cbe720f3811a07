//! The program in a mount namespace of its own, where a folder of the test is at [`PLACE`]: the same absolute paths in every test, and
//! an ordinary user gets to files that lie in root's folders.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::cache::run_directory;
use crate::command::program;
use crate::need::Need;
use crate::zuwai::binary;

/// Where the folder is.
pub const PLACE: &str = "/mnt";

/// The user and group id of the ordinary user.
pub const USER_ID: u32 = 1234;

/// What both callers need of the machine.
pub const ROOT: &[Need] = &[Need::Root, Need::Program("unshare")];

/// What the ordinary user needs besides.
pub const USER: &[Need] =
    &[Need::Root, Need::Program("unshare"), Need::Program("setpriv"), Need::Program("newuidmap")];

/// Who calls the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The machine's root.
    Root,
    /// An ordinary user without any capability, with 65,536 subordinate user and group ids.
    User,
}

/// `$1` is the folder, `$2` where it is to be, `$3` the binary; `$4`, if there is one, a folder with the files of `/etc` that know
/// the user. The rest is the command.
const ENTER: &str = r#"
    set -e
    folder=$1 place=$2 binary=$3 known=$4
    shift 4
    : > "$folder/program"
    mount --bind "$folder" "$place"
    mount --bind "$binary" "$place/program"
    [ -z "$ROOM" ] || mount -t tmpfs -o "size=$ROOM,mode=777" room "$place/state"
    for file in ${known:+passwd subuid subgid}; do
        [ -e "/etc/$file" ] || : > "/etc/$file"
        mount --bind "$known/$file" "/etc/$file"
    done
    cd /
    exec "$@"
"#;

/// The program, to be given its arguments. It sees `folder` at [`PLACE`], and leaves an empty file `program` there. Where the
/// environment variable `ROOM` is set, `folder/state` is a file system of that size in memory.
///
/// # Panics
/// If what it needs is not there.
#[must_use]
pub fn zuwai_in(folder: &Path, caller: Caller) -> Command {
    let mut command = program("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]);
    command.arg(folder).arg(PLACE).arg(binary());
    match caller {
        Caller::Root => command.arg(""),
        Caller::User => {
            let id = USER_ID.to_string();
            command.arg(known_user()).args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
            command.arg("--inh-caps=-all").env("HOME", Path::new(PLACE).join("home"))
        }
    };
    command.arg(Path::new(PLACE).join("program"));
    command
}

/// Files of `/etc` with the user and its subordinate ids.
fn known_user() -> &'static Path {
    static KNOWN: OnceLock<std::path::PathBuf> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let folder = run_directory().join("known-user");
        std::fs::create_dir_all(&folder).unwrap();
        let passwd =
            format!("root:x:0:0::/root:/bin/sh\nbuilder:x:{USER_ID}:{USER_ID}::{PLACE}/home:/bin/sh\n");
        let files = [
            ("passwd", passwd.as_str()),
            ("subuid", "builder:200000:65536\n"),
            ("subgid", "builder:300000:65536\n"),
        ];
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
            let readable = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(folder.join(name), readable).unwrap();
        }
        folder
    })
}

/// Gives everything in `folder` to the ordinary user; modes stay as they are.
///
/// # Panics
/// If that fails.
pub fn give_to_user(folder: &Path) {
    let metadata = std::fs::symlink_metadata(folder).unwrap();
    std::os::unix::fs::lchown(folder, Some(USER_ID), Some(USER_ID)).unwrap();
    if !metadata.is_symlink() {
        // Giving a file away takes its set-user-ID bit.
        std::fs::set_permissions(folder, metadata.permissions()).unwrap();
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(folder).unwrap() {
            give_to_user(&entry.unwrap().path());
        }
    }
}
