//! This program inside a container or as another user: does one thing and says how it went.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use zuwai_rootfs::copy::{CopyOptions, SourceTree, copy};
use zuwai_rootfs::isolation::{Isolation, Mode, choose};
use zuwai_rootfs::overlay::{Room, Stack, changes};
use zuwai_rootfs::run::{Output, run};
use zuwai_rootfs::run_error::RunError;
use zuwai_rootfs::signals::{Interrupt, Side, listen, reap_if_first};
use zuwai_rootfs::userns::{self, Entry};
use zuwai_rootfs::volumes::Volume;
use zuwai_rootfs::{KeepOut, Root, container};

use crate::everything;
use crate::harness::shell;

/// `inside choose STATE`, `inside in-place USER SCRIPT`, `inside namespaces ROOT USER SCRIPT`, `inside volume
/// ROOT VOLUME SCRIPT`, `inside connect SOCKET`, `inside who`, `inside set-net-raw FILE`, `inside everything ROOT WORK`, `inside stack ROOT
/// WORK USER SCRIPT`.
pub fn main_if_inside() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["inside", rest @ ..] = words.as_slice() else { return };
    match rest {
        ["connect", path] => connect(Path::new(path)),
        ["who"] => {
            println!("{}", rustix::process::geteuid().as_raw());
            std::process::exit(0);
        }
        ["set-net-raw", path] => {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(*path, "security.capability", &crate::overlays::NET_RAW, flags).unwrap();
            std::process::exit(0);
        }
        _ => {}
    }
    if let Ok(Side::Watcher(code)) = reap_if_first() {
        std::process::exit(code);
    }
    match userns::enter() {
        Entry::NotNeeded => {}
        Entry::Inside(maps) => println!("inside: single {} usual {}", maps.is_single(), maps.is_usual()),
        Entry::Watched(code) => std::process::exit(code),
        Entry::Refused(error) => println!("refused: {error}"),
    }
    zuwai_rootfs::sandbox::close_to_others().unwrap();
    match rest {
        ["choose", state] => {
            let container = container::detect(|name| std::env::var(name).ok());
            match choose(Isolation::Auto, Path::new(state), container.as_deref(), false) {
                Ok(choice) => println!("{choice}"),
                Err(error) => println!("error: {error}"),
            }
        }
        ["in-place", user, script] => command(Path::new("/"), user, script, Mode::InPlace, None),
        ["namespaces", root, user, script] => {
            command(Path::new(root), user, script, Mode::Namespaces, None);
        }
        ["volume", root, volume, script] => {
            let volume = Volume { path: volume.into(), hidden: Vec::new() };
            command(Path::new(root), "", script, Mode::Namespaces, Some(volume));
        }
        ["stack", root, work, user, script] => stack(Path::new(root), Path::new(work), user, script),
        ["everything", root, work] => print!("{}", everything::happens(Path::new(root), Path::new(work))),
        other => panic!("inside does not know {other:?}"),
    }
    std::process::exit(0);
}

/// Says what a socket says.
fn connect(path: &Path) -> ! {
    let mut text = String::new();
    match UnixStream::connect(path).and_then(|mut stream| stream.read_to_string(&mut text)) {
        Ok(_) => print!("{text}"),
        Err(error) => println!("{error}"),
    }
    std::process::exit(0);
}

/// Runs a script in a stack of one layer, a copy of `root`, in a room at `work`; says what it has changed.
fn stack(root: &Path, work: &Path, user: &str, script: &str) {
    let room = Arc::new(Room::create(work).unwrap());
    let layer = Arc::new(room.layer().unwrap());
    let from = Root::open(root, KeepOut::default()).unwrap();
    let to = layer.root().unwrap();
    let options = CopyOptions::default();
    copy(&to, SourceTree::stage(&from), &["."], b"/", &options).unwrap();
    let mut stack = Stack::new(Arc::clone(&room));
    stack.push(layer).unwrap();
    let (view, upper) = (stack.view().unwrap(), stack.upper().unwrap());
    let overlay = Some(stack.mount(Some(&upper)));
    let command = zuwai_rootfs::command::Command { user: user.to_owned(), overlay, ..shell(script) };
    match run(&view, &command, Mode::Namespaces, Output::inherit(), &Interrupt::new()) {
        Ok(outcome) => println!("{outcome:?}"),
        Err(error) => println!("error: {error}"),
    }
    for (path, change) in changes(&view, &upper).unwrap().changes {
        println!("{change:?} {path}");
    }
}

fn command(root: &Path, user: &str, script: &str, mode: Mode, volume: Option<Volume>) {
    let root = Root::open(root, KeepOut::default()).unwrap();
    let interrupt = Interrupt::new();
    listen(&interrupt, |signal, _| std::process::exit(128 + signal)).unwrap();
    let volumes = volume.into_iter().collect();
    let command = zuwai_rootfs::command::Command { user: user.to_owned(), volumes, ..shell(script) };
    match run(&root, &command, mode, Output::inherit(), &interrupt) {
        Ok(outcome) => println!("{outcome:?}"),
        // The listener ends the program.
        Err(RunError::Interrupted { .. }) => std::thread::sleep(Duration::from_secs(20)),
        Err(error) => println!("error: {error}"),
    }
}
