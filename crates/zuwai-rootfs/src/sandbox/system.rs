//! The system calls that need unsafe code.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::FdFlags;
use rustix::process::{Pid, Signal};
use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, and the new one's number.
    Parent(Pid),
}

/// Forks a process that has one thread; refuses for any other, in which the child could hold a lock for ever.
pub(crate) fn fork() -> io::Result<Forked> {
    if thread_count()? != 1 {
        return Err(io::Error::other("the process has several threads"));
    }
    // SAFETY: there is no other thread, so that the child has a whole copy of everything.
    fork_result(unsafe { libc::fork() })
}

/// Forks a process that may have threads for a child that does nothing but call `work`, and waits for it.
///
/// `work` may only make system calls: no allocation, no locks.
pub(crate) fn in_forked_child(work: impl FnOnce()) -> io::Result<()> {
    // SAFETY: the child makes system calls (the contract of `work`) and ends by `_exit`, all async-signal-safe.
    match fork_result(unsafe { libc::fork() })? {
        Forked::Child => {
            work();
            // SAFETY: ends the process at once; runs nothing of the parent's.
            unsafe { libc::_exit(0) }
        }
        Forked::Parent(pid) => {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
            Ok(())
        }
    }
}

fn fork_result(pid: libc::pid_t) -> io::Result<Forked> {
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Pid::from_raw(pid).map(Forked::Parent).ok_or_else(|| io::Error::other("fork gave no process")),
    }
}

fn thread_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Leaves namespaces for new ones.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: only namespaces and no file descriptor table is unshared, and the callers have one thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Replaces the program of this process; returns only if that fails. Unlike the C library's `execvp` it never
/// hands a file without `#!` to a shell.
pub(crate) fn execve(path: &Path, argv: &[OsString], env: &[(OsString, OsString)]) -> io::Error {
    let nul = |_| io::Error::new(io::ErrorKind::InvalidInput, "an argument or variable holds a NUL byte");
    let prepare = || -> io::Result<(CString, Vec<CString>, Vec<CString>)> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(nul)?;
        let argv =
            argv.iter().map(|word| CString::new(word.as_bytes()).map_err(nul)).collect::<io::Result<_>>()?;
        let variable = |(name, value): &(OsString, OsString)| {
            let mut text = name.clone().into_vec();
            text.push(b'=');
            text.extend_from_slice(value.as_bytes());
            CString::new(text).map_err(nul)
        };
        Ok((path, argv, env.iter().map(variable).collect::<io::Result<_>>()?))
    };
    let (path, argv, env) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv_pointers, env_pointers) = (pointers(&argv), pointers(&env));
    // SAFETY: both arrays end in a null pointer, and they and their texts live until the call returns.
    unsafe { libc::execve(path.as_ptr(), argv_pointers.as_ptr(), env_pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Takes the socket that the helper was started with for a standard input, and puts `/dev/null` there.
pub(crate) fn channel_from_stdin() -> io::Result<UnixStream> {
    // SAFETY: dup2-like calls on descriptor 0, which this process owns and nobody else uses yet.
    let copy = unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above made this descriptor, and only this value owns it.
    let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(copy) });
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: replaces descriptor 0, which nothing in this process holds as an owned value.
    if unsafe { libc::dup2(null.as_raw_fd(), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stream)
}

/// Keeps every descriptor but the standard ones from the command, also those that the builder was started with.
pub(crate) fn close_descriptors_on_exec() -> io::Result<()> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: a number that the system listed for this process; it is used only for this call. That of the listing
        // itself is closed by now, which the call answers with an error that means nothing.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC);
    }
    Ok(())
}

/// A set of signals.
pub(crate) struct SignalSet(libc::sigset_t);

impl SignalSet {
    /// Of these signals.
    pub(crate) fn new(signals: &[i32]) -> Self {
        // SAFETY: a signal set is plain data, and sigemptyset initialises it.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is a valid one of our own.
        unsafe { libc::sigemptyset(&raw mut set) };
        for signal in signals {
            // SAFETY: as above; a number that is no signal is refused and changes nothing.
            unsafe { libc::sigaddset(&raw mut set, *signal) };
        }
        Self(set)
    }

    /// Blocks these signals in this thread and those it starts from now on, and nothing else.
    pub(crate) fn block_only(&self) -> io::Result<()> {
        // SAFETY: both pointers are valid or null.
        match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) } {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Waits until one of these signals, which must be blocked, has come.
    pub(crate) fn wait(&self) -> io::Result<i32> {
        let mut signal = 0;
        // SAFETY: both pointers are valid.
        match unsafe { libc::sigwait(&raw const self.0, &raw mut signal) } {
            0 => Ok(signal),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Gives a signal its default effect again.
pub(crate) fn default_signal(signal: i32) {
    // SAFETY: no handler is installed; a number that is no signal is refused.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Starts a session. Its number is not asked for: gVisor answers 0, which is no process.
pub(crate) fn start_session() -> io::Result<()> {
    // SAFETY: a plain system call.
    if unsafe { libc::setsid() } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a signal to a process, by number.
pub(crate) fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: a plain system call.
    if unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends a signal to all processes of a group, by number.
pub(crate) fn kill_group(group: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: a plain system call.
    if unsafe { libc::kill(-group.as_raw_nonzero().get(), signal) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Kills every process that this one can see and may signal, except itself and (of its namespace) PID 1. Only for the
/// PID 1 of a namespace of its own.
pub(crate) fn kill_all() {
    if rustix::process::getpid() == Pid::INIT {
        // SAFETY: a plain system call; being PID 1 bounds it to this PID namespace.
        unsafe { libc::kill(-1, Signal::KILL.as_raw()) };
    }
}

/// Makes a mount and all below it read-only (Linux 5.12 and later).
pub(crate) fn make_read_only_recursively(path: &CStr) -> io::Result<()> {
    // SAFETY: the structure is plain data, for which zero means "leave as it is".
    let mut attributes: libc::mount_attr = unsafe { std::mem::zeroed() };
    attributes.attr_set = libc::MOUNT_ATTR_RDONLY;
    // SAFETY: the path ends in NUL and the structure is given with its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the loopback device of this network namespace up. The socket may be of any family.
pub(crate) fn bring_up_loopback(socket: BorrowedFd<'_>) -> io::Result<()> {
    const NAME: &CStr = c"lo";
    #[allow(clippy::cast_possible_truncation, reason = "flags of devices fit where the kernel puts them")]
    const UP: libc::c_short = libc::IFF_UP as libc::c_short;
    // SAFETY: the structure is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: the name with its NUL is shorter than the array, and both are of the same type.
    unsafe { NAME.as_ptr().copy_to_nonoverlapping(request.ifr_name.as_mut_ptr(), NAME.count_bytes() + 1) };
    let socket = socket.as_raw_fd();
    // SAFETY: reads the name and writes the flags of the structure, which outlives the call.
    if unsafe { libc::ioctl(socket, libc::SIOCGIFFLAGS as _, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above wrote the flags, which are a plain number.
    unsafe { request.ifr_ifru.ifru_flags |= UP };
    // SAFETY: reads the structure, which outlives the call.
    if unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
