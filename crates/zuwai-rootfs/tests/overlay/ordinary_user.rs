//! As an ordinary user, whose program is root in a user namespace.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::fs::XattrFlags;
use zuwai_rootfs::copy::{CopyOptions, SourceTree, copy};
use zuwai_rootfs::overlay::{Room, settle};
use zuwai_rootfs::userns::{self, Entry};
use zuwai_rootfs::{KeepOut, Root};

use crate::harness::{Test, Verdict, is_root, need};
use crate::stage::{place, script, step, two_layers};
use crate::support::{path, shown};
use crate::views::CAPABILITY;

pub const TESTS: [Test; 1] = [("an_ordinary_user_has_views", an_ordinary_user_has_views)];

const UID: u32 = 54321;

const EXPECTED: &str = "inside: single true usual false\n\
    [\"+ /etc/conf\", \"+ /new\", \"- /tree/a\"]\n\
    [\"+ /etc/conf\"] [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]\n\
    plain: cannot write /null: Operation not permitted (os error 1)\n\
    view: cannot write /null: Operation not permitted (os error 1)\n";

fn an_ordinary_user_has_views() -> Verdict {
    need(is_root(), "root, to become another user")?;
    need(Path::new("/usr/bin/setpriv").exists(), "setpriv")?;
    // The program may lie where an ordinary user may not look.
    let directory =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    chown(directory.path(), Some(UID), Some(UID)).unwrap();
    let own = directory.path().join("own");
    fs::copy(std::env::current_exe().unwrap(), &own).unwrap();
    let id = UID.to_string();
    let output = Command::new("/usr/bin/setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(own)
        .arg("inside")
        .arg(directory.path())
        .stdin(Stdio::null())
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(text, EXPECTED);
    Ok(())
}

/// `inside DIRECTORY`: this program as the ordinary user.
pub fn main_if_inside() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [word, directory] = arguments.as_slice() else { return };
    if word != "inside" {
        return;
    }
    match userns::enter() {
        Entry::Inside(maps) => println!("inside: single {} usual {}", maps.is_single(), maps.is_usual()),
        Entry::Watched(code) => std::process::exit(code),
        other => panic!("{other:?}"),
    }
    zuwai_rootfs::sandbox::close_to_others().unwrap();
    inside(Path::new(directory));
    std::process::exit(0);
}

fn inside(directory: &Path) {
    let room = Arc::new(Room::create(directory.join("room")).unwrap());
    room.try_out().unwrap();
    let mut stack = two_layers(&room);
    let changes = script(&mut stack, "chmod 600 etc/conf; rm -r tree/a; echo > new");
    println!("{:?}", shown(&changes));
    let changes = step(&mut stack, |root| {
        let file = place(root).join("etc/conf");
        rustix::fs::setxattr(&file, "security.capability", &CAPABILITY, XattrFlags::empty()).unwrap();
    });
    let xattrs = stack.view().unwrap().xattrs(&path("etc/conf")).unwrap();
    println!("{:?} {:?}", shown(&changes), xattrs[&b"security.capability"[..]]);
    devices(directory, &stack);
}

/// A device cannot be made either way.
fn devices(directory: &Path, stack: &zuwai_rootfs::overlay::Stack) {
    let from = Root::open("/dev", KeepOut::default()).unwrap();
    let put =
        |to: &Root| copy(to, SourceTree::stage(&from), &[b"null"], b"/", &CopyOptions::default()).map(drop);
    fs::create_dir(directory.join("plain")).unwrap();
    let plain = Root::open(directory.join("plain"), KeepOut::default()).unwrap();
    println!("plain: {}", chain(&put(&plain).unwrap_err()));
    let upper = stack.upper().unwrap();
    let view = stack.writable(&upper).unwrap();
    let result = put(&view).and_then(|()| settle(view, &upper));
    println!("view: {}", chain(&result.unwrap_err()));
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
