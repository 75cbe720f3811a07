//! The user's own agent behind the socket of a step.

use std::path::Path;
use std::time::Duration;

use zuwai_build::ssh::SshAgent;
use zuwai_testkit::server::Server;

use crate::scene::{Scene, fingerprint_of, has_openssh, listed, public, ssh_add};

/// A running `ssh-agent` whose socket is `socket`.
fn start_agent(scene: &Scene, socket: &Path) -> Server {
    let arguments = ["-D", "-a", socket.to_str().unwrap()].map(str::to_owned);
    let mut server = Server::start("ssh-agent", &arguments, &scene.path(""), |_| {});
    server.wait_until(Duration::from_secs(10), |_| socket.exists().then_some(()));
    server
}

#[test]
fn an_agents_keys_are_listed_and_sign() {
    if !has_openssh() {
        return;
    }
    let scene = Scene::new();
    let theirs = scene.path("agent");
    let _agent = start_agent(&scene, &theirs);
    let keys = [
        scene.key("ed25519", &["-t", "ed25519"]),
        scene.key("rsa", &["-t", "rsa", "-b", "2048"]),
        // Not a kind that this program signs with itself.
        scene.key("ecdsa", &["-t", "ecdsa", "-b", "521"]),
    ];
    for key in &keys {
        assert_eq!(ssh_add(&theirs, &["-q", key.to_str().unwrap()]).code, 0);
    }
    let (_serving, socket) = scene.serve(&SshAgent::open([&theirs]).unwrap());
    assert_eq!(listed(&socket), keys.each_ref().map(|key| fingerprint_of(key)));
    for key in &keys {
        let test = ssh_add(&socket, &["-T", public(key).to_str().unwrap()]);
        assert!(test.code == 0, "{}", test.all());
        scene.sign(&socket, key);
    }
}

#[test]
fn neither_an_agent_nor_keys_can_be_changed() {
    if !has_openssh() {
        return;
    }
    let scene = Scene::new();
    let theirs = scene.path("agent");
    let _agent = start_agent(&scene, &theirs);
    let key = scene.key("key", &["-t", "ed25519"]);
    assert_eq!(ssh_add(&theirs, &["-q", key.to_str().unwrap()]).code, 0);
    let other = scene.key("other", &["-t", "ed25519"]);
    for agent in [SshAgent::open([&theirs]).unwrap(), SshAgent::open([&key]).unwrap()] {
        let (_serving, socket) = scene.serve(&agent);
        for refused in [
            &["-D"][..],
            &["-d", key.to_str().unwrap()],
            &["-q", other.to_str().unwrap()],
            &["-q", "-t", "60", other.to_str().unwrap()],
        ] {
            let finished = ssh_add(&socket, refused);
            assert!(finished.code != 0, "{refused:?}: {}", finished.all());
            assert_eq!(listed(&socket), [fingerprint_of(&key)], "{refused:?}");
            assert_eq!(listed(&theirs), [fingerprint_of(&key)], "{refused:?}");
        }
    }
}

/// In place, a build moves the container's files away.
#[test]
fn an_agent_is_found_after_its_directory_was_moved() {
    if !has_openssh() {
        return;
    }
    let scene = Scene::new();
    std::fs::create_dir(scene.path("run")).unwrap();
    let theirs = scene.path("run/agent");
    let _agent = start_agent(&scene, &theirs);
    let key = scene.key("key", &["-t", "ed25519"]);
    assert_eq!(ssh_add(&theirs, &["-q", key.to_str().unwrap()]).code, 0);
    let agent = SshAgent::open([&theirs]).unwrap();
    std::fs::rename(scene.path("run"), scene.path("moved")).unwrap();
    let (_serving, socket) = scene.serve(&agent);
    scene.sign(&socket, &key);
}

#[test]
fn an_agent_that_has_ended_refuses_only_its_commands() {
    if !has_openssh() {
        return;
    }
    let scene = Scene::new();
    let theirs = scene.path("agent");
    let mut server = start_agent(&scene, &theirs);
    let (_serving, socket) = scene.serve(&SshAgent::open([&theirs]).unwrap());
    assert_eq!(ssh_add(&socket, &["-l"]).code, 1, "no keys");
    server.stop();
    for _ in 0..2 {
        let finished = ssh_add(&socket, &["-l"]);
        assert!(finished.all().contains("agent refused operation"), "{}", finished.all());
    }
}
