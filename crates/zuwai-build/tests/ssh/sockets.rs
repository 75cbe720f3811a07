//! The socket of a step: its file, many and hostile connections, and its end.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use zuwai_build::ssh::{SshAgent, serve};
use zuwai_testkit::need::is_root;

use crate::scene::{Scene, own_id};

const LIST: &[u8] = &[0, 0, 0, 1, 11];
const NO_KEYS: &[u8] = &[0, 0, 0, 5, 12, 0, 0, 0, 0];
const FAILURE: &[u8] = &[0, 0, 0, 1, 5];

/// An agent of no keys.
fn empty() -> SshAgent {
    SshAgent::open::<&Path>([]).unwrap()
}

fn ask(stream: &mut UnixStream, message: &[u8], answer: &[u8]) {
    stream.write_all(message).unwrap();
    let mut read = vec![0; answer.len()];
    stream.read_exact(&mut read).unwrap();
    assert_eq!(read, answer, "{message:?}");
}

#[test]
fn the_socket_has_the_mode_and_owner_asked_for() {
    let scene = Scene::new();
    let own = (own_id("-u"), own_id("-g"));
    let socket = scene.path("socket");
    for mode in [0o600, 0o666, 0o000, 0o777] {
        let owners: &[_] = if is_root() { &[own, (1234, 5678)] } else { &[own] };
        for &(uid, gid) in owners {
            let serving = serve(&empty(), &socket, mode, uid, gid).unwrap();
            let metadata = socket.symlink_metadata().unwrap();
            assert!(metadata.file_type().is_socket());
            assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (mode, uid, gid));
            drop(serving);
            assert!(!socket.exists());
        }
    }
}

#[test]
fn a_socket_may_have_a_long_path_and_be_moved() {
    let scene = Scene::new();
    let deep = scene.path(&format!("{0}/{0}/{0}", "long".repeat(40)));
    std::fs::create_dir_all(&deep).unwrap();
    let serving = serve(&empty(), &deep.join("ssh_agent.0"), 0o600, own_id("-u"), own_id("-g")).unwrap();
    let moved = scene.path("moved");
    std::fs::rename(&deep, &moved).unwrap();
    ask(&mut UnixStream::connect(moved.join("ssh_agent.0")).unwrap(), LIST, NO_KEYS);
    drop(serving);
    assert!(moved.read_dir().unwrap().next().is_none());
}

#[test]
fn what_is_in_the_way_stays() {
    let scene = Scene::new();
    let path = scene.path("taken");
    std::fs::write(&path, "mine").unwrap();
    let error = serve(&empty(), &path, 0o600, own_id("-u"), own_id("-g")).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot serve the SSH agent at {}", path.display()));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert!(serve(&empty(), &scene.path("no/socket"), 0o600, 0, 0).is_err());
}

#[test]
fn all_other_requests_fail_and_what_is_no_message_ends_the_connection() {
    let scene = Scene::new();
    let (_serving, socket) = scene.serve(&empty());
    let connect = || UnixStream::connect(&socket).unwrap();
    let mut stream = connect();
    for kind in (0..=u8::MAX).filter(|kind| *kind != 11) {
        ask(&mut stream, &[0, 0, 0, 1, kind], FAILURE);
        ask(&mut stream, &[0, 0, 0, 3, kind, 0xff, 0xff], FAILURE);
    }
    for hostile in [&[0, 0, 0, 0][..], &[0, 4, 0, 1, 11], &[0xff; 64]] {
        let mut stream = connect();
        stream.write_all(hostile).unwrap();
        let mut rest = Vec::new();
        // Bytes that were not read make the end an error.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{hostile:?}: {rest:?}");
    }
    // Two in one piece, and one byte by byte.
    let mut stream = connect();
    ask(&mut stream, &[LIST, LIST].concat(), &[NO_KEYS, NO_KEYS].concat());
    for byte in LIST {
        stream.write_all(&[*byte]).unwrap();
    }
    ask(&mut stream, &[], NO_KEYS);
}

#[test]
fn a_connection_too_many_waits_until_one_ends() {
    let scene = Scene::new();
    let (_serving, socket) = scene.serve(&empty());
    let mut open: Vec<_> = (0..64).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for stream in &mut open {
        ask(stream, LIST, NO_KEYS);
    }
    let mut waiting = UnixStream::connect(&socket).unwrap();
    waiting.write_all(LIST).unwrap();
    waiting.set_nonblocking(true).unwrap();
    assert_eq!(waiting.read(&mut [0; 9]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    waiting.set_nonblocking(false).unwrap();
    open.pop();
    ask(&mut waiting, &[], NO_KEYS);
}

#[test]
fn the_end_of_serving_ends_connections_that_are_open() {
    let scene = Scene::new();
    let (serving, socket) = scene.serve(&empty());
    let mut open: Vec<_> = (0..70).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    ask(&mut open[0], LIST, NO_KEYS);
    // Half a message.
    open[1].write_all(&[0, 0]).unwrap();
    drop(serving);
    assert!(!socket.exists() && UnixStream::connect(&socket).is_err());
    for stream in &mut open {
        let _ = stream.read_to_end(&mut Vec::new());
    }
}
