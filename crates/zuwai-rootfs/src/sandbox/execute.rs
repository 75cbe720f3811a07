//! The last stage: a forked process takes on the command's identity, finds its program and becomes it.
//!
//! In runc's order: identity first, so that what the user may not enter or execute is not found either.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use super::spec::Execution;
use super::system::{self, SignalSet};
use crate::command::StartError;

/// Becomes the command; returns only if that fails. With `escapable`, the root was entered by chroot alone, which whoever
/// may chroot again can leave.
pub(super) fn become_command(execution: &Execution, workdir: &OsStr, escapable: bool) -> StartError {
    match prepare(execution, workdir, escapable) {
        Ok(program) => explain(&program, &system::execve(&program, &execution.argv, &execution.env)),
        Err(error) => error,
    }
}

fn prepare(execution: &Execution, workdir: &OsStr, escapable: bool) -> Result<PathBuf, StartError> {
    let exec = |error: String| StartError::Exec { path: shown(&execution.argv), error };
    // Rust ignores SIGPIPE in its own programs; nobody else expects that.
    system::default_signal(libc::SIGPIPE);
    SignalSet::new(&[]).block_only().map_err(|error| exec(error.to_string()))?;
    let _ = system::start_session();
    rustix::process::umask(Mode::from_raw_mode(0o022));

    let keep = execution
        .capabilities
        .map(|keep| if escapable { keep & !CapabilitySet::SYS_CHROOT.bits() } else { keep });
    if let Some(keep) = keep {
        shrink_bounding_set(keep).map_err(|error| exec(format!("drop capabilities: {error}")))?;
    }
    // Root may enter what the user may not, and the user (on a network disk) what root may not.
    let entered_as_root = rustix::process::chdir(workdir);
    take_identity(execution)?;
    if let Some(keep) = keep {
        keep_capabilities(keep, execution.uid == 0)
            .map_err(|error| exec(format!("drop capabilities: {error}")))?;
    }
    if entered_as_root.is_err() {
        rustix::process::chdir(workdir).map_err(|error| StartError::Workdir {
            path: workdir.to_string_lossy().into_owned(),
            error: error.to_string(),
        })?;
    }
    let path = execution.env.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    find_program(execution.argv.first().ok_or(StartError::Empty)?, path.unwrap_or_default())
}

fn take_identity(execution: &Execution) -> Result<(), StartError> {
    let refused = |error: Errno| {
        let hint = match error {
            Errno::INVAL => {
                ": this id is not mapped; an ordinary user needs ranges in /etc/subuid and /etc/subgid and the programs \
                 newuidmap and newgidmap"
            }
            Errno::PERM => ": the container lacks CAP_SETUID or CAP_SETGID",
            _ => "",
        };
        let error = error.to_string();
        StartError::Identity { uid: execution.uid, gid: execution.gid, error, hint: hint.to_owned() }
    };
    let (uid, gid) = (Uid::from_raw(execution.uid), Gid::from_raw(execution.gid));
    let groups: Vec<Gid> = execution.groups.iter().copied().map(Gid::from_raw).collect();
    let is_already = rustix::process::getuid() == uid && rustix::process::getgid() == gid;
    match rustix::thread::set_thread_groups(&groups) {
        Ok(()) => {}
        // Who stays as he is needs no right to change; and where an ordinary user has mapped himself alone, the kernel
        // takes no groups of anybody.
        Err(Errno::PERM) if is_already || setgroups_denied() => {}
        // Groups that are not mapped mean nothing to any file here.
        Err(Errno::INVAL) if rustix::thread::set_thread_groups(&[gid]).is_ok() => {}
        Err(error) => return Err(refused(error)),
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(refused)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(refused)
}

fn setgroups_denied() -> bool {
    fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}

fn shrink_bounding_set(keep: u64) -> rustix::io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep & (1 << number) != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Only root keeps any, as with Docker; none are inherited through a program of another user.
fn keep_capabilities(keep: u64, root: bool) -> rustix::io::Result<()> {
    let wanted = if root { CapabilitySet::from_bits_retain(keep) } else { CapabilitySet::empty() };
    let kept = wanted & rustix::thread::capabilities(None)?.permitted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}

/// As Go's `exec.LookPath`, which runc uses: a name with a slash is a path, another is looked for in `PATH`.
fn find_program(program: &OsStr, path: &OsStr) -> Result<PathBuf, StartError> {
    let name = program.to_string_lossy().into_owned();
    if program.as_bytes().contains(&b'/') {
        return match executable(Path::new(program)) {
            Ok(()) => Ok(program.into()),
            Err(Errno::ISDIR) => Err(StartError::Directory { program: name }),
            Err(Errno::ACCESS) => Err(StartError::NotExecutable { program: name }),
            Err(_) => Err(StartError::NoSuchFile { path: name.clone(), program: name }),
        };
    }
    if program.is_empty() {
        return Err(StartError::Empty);
    }
    path.as_bytes()
        .split(|byte| *byte == b':')
        // A relative directory of PATH would run whatever lies in the working directory; Go refuses that too.
        .filter(|directory| directory.starts_with(b"/"))
        .map(|directory| Path::new(OsStr::from_bytes(directory)).join(program))
        .find(|candidate| executable(candidate).is_ok())
        .ok_or(StartError::NotInPath { program: name })
}

fn executable(path: &Path) -> Result<(), Errno> {
    let metadata =
        fs::metadata(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOENT))?;
    if metadata.is_dir() {
        return Err(Errno::ISDIR);
    }
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // Where the call is not known or blocked, the mode must do.
        Err(Errno::NOSYS | Errno::PERM) if metadata.permissions().mode() & 0o111 != 0 => Ok(()),
        Err(Errno::NOSYS | Errno::PERM) => Err(Errno::ACCESS),
        other => other,
    }
}

/// Says in words what the number of a failed `execve` hides.
fn explain(program: &Path, error: &std::io::Error) -> StartError {
    let path = program.display().to_string();
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => match wanted_interpreter(program) {
            Some((kind, interpreter)) => {
                StartError::NoInterpreter { path, kind: kind.to_owned(), interpreter }
            }
            None => StartError::Exec { path, error: error.to_string() },
        },
        Some(Errno::NOEXEC) => StartError::Format { path },
        Some(Errno::ACCESS) => StartError::NotExecutable { program: path },
        Some(Errno::TOOBIG) => StartError::Exec {
            path,
            error: "the arguments and the environment together are too long".to_owned(),
        },
        _ => StartError::Exec { path, error: error.to_string() },
    }
}

fn shown(argv: &[OsString]) -> String {
    argv.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What a program needs to be run by: the `#!` line of a script, the dynamic loader of a program.
fn wanted_interpreter(program: &Path) -> Option<(&'static str, String)> {
    let mut start = Vec::new();
    File::open(program).ok()?.take(4096).read_to_end(&mut start).ok()?;
    if let Some(line) = start.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
        let word = line.split(u8::is_ascii_whitespace).next()?;
        return Some(("interpreter", String::from_utf8_lossy(word).into_owned()));
    }
    dynamic_loader(&start).map(|loader| ("dynamic loader", loader))
}

/// The `PT_INTERP` segment of a 64-bit little-endian ELF file, if it lies in the part that was read.
fn dynamic_loader(start: &[u8]) -> Option<String> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = start.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    if !start.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(number(0x20, 8)?).ok()?;
    let (size, count) = (usize::try_from(number(0x36, 2)?).ok()?, usize::try_from(number(0x38, 2)?).ok()?);
    let headers = (0..count).filter_map(|index| table.checked_add(size.checked_mul(index)?));
    let header = headers.into_iter().find(|at| number(*at, 4) == Some(PT_INTERP))?;
    let offset = usize::try_from(number(header.checked_add(8)?, 8)?).ok()?;
    let length = usize::try_from(number(header.checked_add(32)?, 8)?).ok()?;
    let text = start.get(offset..offset.checked_add(length)?)?;
    Some(String::from_utf8_lossy(text.strip_suffix(b"\0").unwrap_or(text)).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let put = |path: &str, mode| {
            let path = directory.path().join(path);
            fs::write(&path, "#!/none\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        put("a/tool", 0o644);
        put("b/tool", 0o755);
        put("a/plain", 0o644);
        fs::create_dir(directory.path().join("b/dir")).unwrap();
        directory
    }

    #[test]
    fn programs_are_looked_up_in_path() {
        let tree = tree();
        let base = tree.path().display();
        let path = OsString::from(format!("relative::{base}/none:{base}/a:{base}/b"));
        let found = |name: &str| find_program(OsStr::new(name), &path);
        assert_eq!(found("tool").unwrap(), tree.path().join("b/tool"));
        for name in ["plain", "dir", "missing"] {
            assert_eq!(found(name), Err(StartError::NotInPath { program: name.to_owned() }), "{name}");
        }
        assert_eq!(found(""), Err(StartError::Empty));
    }

    #[test]
    fn a_program_with_a_slash_is_a_path() {
        let tree = tree();
        let found = |name: &str| find_program(tree.path().join(name).as_os_str(), OsStr::new("/bin"));
        assert!(found("b/tool").is_ok());
        assert!(matches!(found("a/plain"), Err(StartError::NotExecutable { .. })));
        assert!(matches!(found("b/dir"), Err(StartError::Directory { .. })));
        assert!(matches!(found("a/none"), Err(StartError::NoSuchFile { .. })));
    }

    #[test]
    fn what_a_program_needs_is_named() {
        let tree = tree();
        let wanted = wanted_interpreter(&tree.path().join("a/tool")).unwrap();
        assert_eq!(wanted, ("interpreter", "/none".to_owned()));
        let mut elf = vec![0; 256];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[0x20], elf[0x36], elf[0x38]) = (64, 56, 1);
        (elf[64], elf[72], elf[96]) = (3, 200, 9);
        elf[200..209].copy_from_slice(b"/lib/ld.\0");
        assert_eq!(dynamic_loader(&elf).unwrap(), "/lib/ld.");
    }

    proptest::proptest! {
        #[test]
        fn no_program_makes_the_explanation_panic(mut bytes: Vec<u8>) {
            let _ = dynamic_loader(&bytes);
            bytes.splice(0..0, *b"\x7fELF\x02\x01");
            let _ = dynamic_loader(&bytes);
        }
    }
}
