//! Changing what a directory holds without a trace in its times.
//!
//! What is put into a root for a step and taken out after it must not change the times of directories, which layers
//! hold. Only the ctime changes, which no layer has.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Timespec, Timestamps};

/// Does something to what a directory holds and puts back the directory's times, whether that went well or not.
pub(crate) fn quietly<T>(directory: BorrowedFd<'_>, work: impl FnOnce() -> T) -> T {
    let before = rustix::fs::fstat(directory);
    let result = work();
    if let Ok(before) = before {
        #[allow(
            clippy::unnecessary_cast,
            clippy::cast_possible_wrap,
            reason = "the types are the platform's"
        )]
        let time = |seconds, nanoseconds| Timespec { tv_sec: seconds as _, tv_nsec: nanoseconds as _ };
        let times = Timestamps {
            last_access: time(before.st_atime, before.st_atime_nsec),
            last_modification: time(before.st_mtime, before.st_mtime_nsec),
        };
        // A file system that takes no times keeps the new ones.
        let _ = rustix::fs::utimensat(directory, ".", &times, AtFlags::empty());
    }
    result
}
