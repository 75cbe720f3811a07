//! Looks at a tree twice, as before and after a RUN, and says what that took: `scan ROOT THREADS [COMMAND]`.
//!
//! The command runs in the tree between the two looks. With `ZUWAI_SCAN_LIST` set, the changes are listed.
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::process::Command;
use std::time::Instant;

use zuwai_rootfs::{Ctime, Index, KeepOut, Root};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = |number| std::env::args().nth(number).ok_or("usage: scan ROOT THREADS [COMMAND]");
    let root = Root::open(argument(1)?, KeepOut::default())?;
    let threads = argument(2)?.parse()?;
    let begin = Instant::now();
    let ctime = Ctime::of(&root, root.host_path().parent());
    println!("ctime {ctime:?} trial_ms {}", begin.elapsed().as_millis());
    let begin = Instant::now();
    let mut index = Index::scan_with(&root, threads, ctime)?;
    println!("paths {} scan_ms {} rss_kib {}", index.len(), begin.elapsed().as_millis(), resident()?);
    if let Ok(command) = argument(3) {
        Command::new("sh").args(["-ec", &command]).current_dir(root.host_path()).status()?;
    }
    let begin = Instant::now();
    let changes = index.rescan(&root, threads)?;
    println!("changes {} rescan_ms {} rss_kib {}", changes.len(), begin.elapsed().as_millis(), resident()?);
    if std::env::var_os("ZUWAI_SCAN_LIST").is_some() {
        changes.iter().for_each(|(path, change)| println!("{change:?} {path}"));
    }
    Ok(())
}

/// The most memory that this process has had, in KiB.
fn resident() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    Ok(line.trim().trim_end_matches(" kB").parse().unwrap_or_default())
}
