//! As an ordinary user: the whole program in a user namespace.

use std::fs;
use std::os::unix::fs::chown;
use std::process::{Command as Program, Stdio};

use crate::everything;
use crate::harness::{BUSYBOX, Test, Verdict, busybox_root, is_root, need};

pub const TESTS: [Test; 4] = [
    ("ordinary_user_is_root_inside", ordinary_user_is_root_inside),
    ("ordinary_user_gets_namespaces", gets_namespaces),
    ("ordinary_user_gets_every_kind_of_mount", gets_every_kind_of_mount),
    ("granted_ids_are_mapped", granted_ids_are_mapped),
];

const UID: u32 = 54321;

fn needed() -> Verdict {
    need(is_root(), "root, to become another user")?;
    need(std::path::Path::new(BUSYBOX).exists(), "busybox-static")?;
    need(std::path::Path::new("/usr/bin/setpriv").exists(), "setpriv")
}

fn says(arguments: &[&str]) -> String {
    // The program may lie where an ordinary user may not look.
    let place = busybox_root();
    let own = place.path().join("own");
    fs::copy(std::env::current_exe().unwrap(), &own).unwrap();
    let id = UID.to_string();
    let output = Program::new("/usr/bin/setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(own)
        .arg("inside")
        .args(arguments)
        .stdin(Stdio::null())
        .current_dir("/")
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn ordinary_user_is_root_inside() -> Verdict {
    needed()?;
    let root = busybox_root();
    for entry in walk(root.path()) {
        std::os::unix::fs::lchown(&entry, Some(UID), Some(UID)).unwrap();
    }
    let path = root.path().to_str().unwrap();
    let text =
        says(&["namespaces", path, "", "id -u; ls -ldn /etc | tr -s ' ' | cut -d' ' -f3,4; touch /made"]);
    assert_eq!(text, "inside: single true usual false\n0\n0 0\nExited(0)\n");
    let text = says(&["namespaces", path, "app", "true"]);
    assert!(text.contains("cannot run as uid 1000") && text.contains("/etc/subuid"), "{text}");
    Ok(())
}

fn gets_namespaces() -> Verdict {
    needed()?;
    let state = tempfile::tempdir().unwrap();
    chown(state.path(), Some(UID), Some(UID)).unwrap();
    let text = says(&["choose", state.path().to_str().unwrap()]);
    assert!(text.contains("\nnamespaces: ") && text.contains("only one user id"), "{text}");
    Ok(())
}

fn gets_every_kind_of_mount() -> Verdict {
    needed()?;
    let (root, work) = (busybox_root(), tempfile::tempdir().unwrap());
    for entry in [walk(root.path()), walk(work.path())].concat() {
        std::os::unix::fs::lchown(&entry, Some(UID), Some(UID)).unwrap();
    }
    let text = says(&["everything", root.path().to_str().unwrap(), work.path().to_str().unwrap()]);
    assert_eq!(text, format!("inside: single true usual false\n{}", everything::EXPECTED));
    Ok(())
}

/// In a mount namespace where this machine has such a user with such grants.
fn granted_ids_are_mapped() -> Verdict {
    needed()?;
    need(std::path::Path::new("/usr/bin/newuidmap").exists(), "newuidmap")?;
    let root = busybox_root();
    for entry in walk(root.path()) {
        std::os::unix::fs::lchown(&entry, Some(UID), Some(UID)).unwrap();
    }
    let own = root.path().join("own");
    fs::copy(std::env::current_exe().unwrap(), &own).unwrap();
    let grants = tempfile::tempdir().unwrap();
    fs::write(grants.path().join("passwd"), format!("root:x:0:0::/:\ngranted:x:{UID}:{UID}::/:\n")).unwrap();
    fs::write(grants.path().join("subid"), "granted:200000:70000\n").unwrap();
    let script = format!(
        "set -e; cd {grants}; touch /etc/subuid /etc/subgid; mount --bind passwd /etc/passwd; \
         mount --bind subid /etc/subuid; mount --bind subid /etc/subgid; cd /; \
         exec setpriv --reuid {UID} --regid {UID} --clear-groups {own} inside namespaces {root} app \
         'echo $(id -u):$(id -g):$(id -G); touch /tmp/mine'",
        grants = grants.path().display(),
        own = own.display(),
        root = root.path().display(),
    );
    fs::set_permissions(root.path().join("tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777))
        .unwrap();
    let output = Program::new("/usr/bin/unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(text, "inside: single false usual true\n1000:1000:1000 10\nExited(0)\n");
    let made = fs::metadata(root.path().join("tmp/mine")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 200_999);
    Ok(())
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
