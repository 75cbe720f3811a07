//! As an ordinary user: the whole program in a user namespace.

use std::fs;
use std::os::unix::fs::chown;
use std::process::{Command as Program, Stdio};

use crate::everything;
use crate::harness::{BUSYBOX, Test, Verdict, busybox_root, is_root, need};

pub const TESTS: [Test; 6] = [
    ("ordinary_user_is_root_inside", ordinary_user_is_root_inside),
    ("ordinary_user_gets_namespaces", gets_namespaces),
    ("ordinary_user_gets_every_kind_of_mount", gets_every_kind_of_mount),
    ("ordinary_user_runs_in_a_stack_of_layers", runs_in_a_stack_of_layers),
    ("granted_ids_are_mapped", granted_ids_are_mapped),
    ("granted_ids_are_in_stacks_of_layers", granted_ids_are_in_stacks_of_layers),
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

fn runs_in_a_stack_of_layers() -> Verdict {
    needed()?;
    let (root, work) = (busybox_root(), tempfile::tempdir().unwrap());
    for entry in [walk(root.path()), walk(work.path())].concat() {
        std::os::unix::fs::lchown(&entry, Some(UID), Some(UID)).unwrap();
    }
    let room = work.path().join("room");
    let text = says(&[
        "stack",
        root.path().to_str().unwrap(),
        room.to_str().unwrap(),
        "",
        "id -u; rm /bin/ash; echo x > /tmp/x",
    ]);
    let changed = "0\nExited(0)\nDelete /bin/ash\nUpsert /dev\nUpsert /proc\nUpsert /sys\nUpsert /tmp/x\n";
    assert_eq!(text, format!("inside: single true usual false\n{changed}"));
    Ok(())
}

fn granted_ids_are_mapped() -> Verdict {
    needed()?;
    let root = busybox_root();
    let script = "echo $(id -u):$(id -g):$(id -G); touch /tmp/mine";
    let text = says_with_grants(&root, &format!("namespaces {} app '{script}'", root.path().display()))?;
    assert_eq!(text, "inside: single false usual true\n1000:1000:1000 10\nExited(0)\n");
    let made = fs::metadata(root.path().join("tmp/mine")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 200_999);
    Ok(())
}

fn granted_ids_are_in_stacks_of_layers() -> Verdict {
    needed()?;
    let (root, work) = (busybox_root(), tempfile::tempdir().unwrap());
    chown(work.path(), Some(UID), Some(UID)).unwrap();
    let script = "id -u; touch /tmp/mine; cp /bin/busybox /tmp/s";
    let command = format!("stack {} {}/room app '{script}'", root.path().display(), work.path().display());
    let text = says_with_grants(&root, &command)?;
    let changed = "Upsert /dev\nUpsert /proc\nUpsert /sys\nUpsert /tmp/mine\nUpsert /tmp/s\n";
    assert_eq!(text, format!("inside: single false usual true\n1000\nExited(0)\n{changed}"));
    let made = walk(work.path()).into_iter().find(|path| path.ends_with("tmp/mine")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(made).unwrap()), 200_999);
    Ok(())
}

/// In a mount namespace where this machine has such a user with such grants.
fn says_with_grants(root: &tempfile::TempDir, arguments: &str) -> Result<String, String> {
    need(std::path::Path::new("/usr/bin/newuidmap").exists(), "newuidmap")?;
    fs::set_permissions(root.path().join("tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777))
        .unwrap();
    for entry in walk(root.path()) {
        std::os::unix::fs::lchown(&entry, Some(UID), Some(UID)).unwrap();
    }
    let place = busybox_root();
    let own = place.path().join("own");
    fs::copy(std::env::current_exe().unwrap(), &own).unwrap();
    let grants = tempfile::tempdir().unwrap();
    fs::write(grants.path().join("passwd"), format!("root:x:0:0::/:\ngranted:x:{UID}:{UID}::/:\n")).unwrap();
    fs::write(grants.path().join("subid"), "granted:200000:70000\n").unwrap();
    let script = format!(
        "set -e; cd {grants}; touch /etc/subuid /etc/subgid; mount --bind passwd /etc/passwd; \
         mount --bind subid /etc/subuid; mount --bind subid /etc/subgid; cd /; \
         exec setpriv --reuid {UID} --regid {UID} --clear-groups {own} inside {arguments}",
        grants = grants.path().display(),
        own = own.display(),
    );
    let output = Program::new("/usr/bin/unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
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
