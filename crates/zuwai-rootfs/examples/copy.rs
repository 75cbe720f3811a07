//! Copies one directory into another as `COPY` does, and says how long it took: `copy SOURCE TARGET`.
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::time::Instant;

use zuwai_rootfs::copy::{CopyOptions, SourceTree, copy};
use zuwai_rootfs::{KeepOut, Root};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = |number| std::env::args().nth(number).ok_or("usage: copy SOURCE TARGET");
    let source = Root::open(argument(1)?, KeepOut::default())?;
    let target = Root::open(argument(2)?, KeepOut::default())?;
    let begin = Instant::now();
    let changes = copy(&target, SourceTree::stage(&source), &["/"], b"/copied/", &CopyOptions::default())?;
    println!("{} paths in {:?}", changes.len(), begin.elapsed());
    Ok(())
}
