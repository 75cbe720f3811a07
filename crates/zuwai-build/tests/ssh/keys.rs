//! Private keys in files.

use std::error::Error as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};
use zuwai_build::ssh::SshAgent;
use zuwai_testkit::command::{must_run, program};
use zuwai_testkit::need::{Need, needs};

use crate::scene::{Scene, fingerprint_of, has_openssh, listed, public, ssh_add};

/// Every kind of key in every format that `ssh-keygen` writes it in.
const KEYS: &[&[&str]] = &[
    &["-t", "ed25519"],
    &["-t", "ecdsa", "-b", "256"],
    &["-t", "ecdsa", "-b", "384"],
    &["-t", "rsa", "-b", "2048"],
    &["-t", "rsa", "-b", "3072"],
    &["-t", "rsa", "-b", "4096"],
    &["-t", "ecdsa", "-b", "256", "-m", "PEM"],
    &["-t", "ecdsa", "-b", "384", "-m", "PEM"],
    &["-t", "rsa", "-b", "2048", "-m", "PEM"],
    &["-t", "ecdsa", "-b", "256", "-m", "PKCS8"],
    &["-t", "ecdsa", "-b", "384", "-m", "PKCS8"],
    &["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
];

#[test]
fn keys_of_all_kinds_and_formats_sign() {
    if !has_openssh() {
        return;
    }
    for (number, arguments) in KEYS.iter().enumerate() {
        let scene = Scene::new();
        let key = scene.key(&format!("key{number}"), arguments);
        let (_serving, socket) = scene.serve(&SshAgent::open([&key]).unwrap());
        assert_eq!(listed(&socket), [fingerprint_of(&key)], "{arguments:?}");
        scene.sign(&socket, &key);
        // With RSA keys, some versions test with SHA-1.
        if !arguments.contains(&"rsa") {
            let test = ssh_add(&socket, &["-T", public(&key).to_str().unwrap()]);
            assert!(test.code == 0, "{arguments:?}: {}", test.all());
        }
    }
}

#[test]
fn an_ed25519_key_as_openssl_writes_it_signs() {
    if !has_openssh() || !needs(&[Need::Program("openssl")]) {
        return;
    }
    let scene = Scene::new();
    let key = scene.path("key");
    must_run(program("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&key));
    let (_serving, socket) = scene.serve(&SshAgent::open([&key]).unwrap());
    std::fs::write(public(&key), must_run(program("ssh-add").arg("-L").env("SSH_AUTH_SOCK", &socket)))
        .unwrap();
    scene.sign(&socket, &key);
}

#[test]
fn several_keys_are_one_agent_and_the_same_key_is_one() {
    if !has_openssh() {
        return;
    }
    let scene = Scene::new();
    let (one, two) = (scene.key("one", &["-t", "ed25519"]), scene.key("two", &["-t", "ecdsa"]));
    let (_serving, socket) = scene.serve(&SshAgent::open([&one, &two, &one]).unwrap());
    assert_eq!(listed(&socket), [fingerprint_of(&one), fingerprint_of(&two)]);
    scene.sign(&socket, &two);
    let lines = ssh_add(&socket, &["-L"]).stdout;
    assert!(!lines.contains("a comment"), "BuildKit's keys have no comment: {lines}");
}

/// Variables of build services change line ends, and put text around.
#[test]
fn a_key_is_found_whatever_its_lines_look_like() {
    if !has_openssh() {
        return;
    }
    let scene = Scene::new();
    let key = scene.key("key", &["-t", "ed25519"]);
    let text = std::fs::read_to_string(&key).unwrap();
    let joined = text.trim().replace("KEY-----\n", "KEY-----").replace('\n', " ");
    for changed in
        [text.replace('\n', "\r\n"), joined, format!("Some text\n\n{text}\nmore"), text.trim().into()]
    {
        std::fs::write(scene.path("changed"), &changed).unwrap();
        let (_serving, socket) = scene.serve(&SshAgent::open([scene.path("changed")]).unwrap());
        assert_eq!(listed(&socket), [fingerprint_of(&key)], "{changed}");
    }
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    if !has_openssh() {
        return;
    }
    let passphrase = ["-N", "a passphrase"];
    for (arguments, expected) in [
        (&["-t", "ed25519", passphrase[0], passphrase[1]][..], "this private key is passphrase protected"),
        (
            &["-t", "rsa", "-m", "PEM", passphrase[0], passphrase[1]],
            "this private key is passphrase protected",
        ),
        (
            &["-t", "ecdsa", "-m", "PKCS8", passphrase[0], passphrase[1]],
            "this private key is passphrase protected",
        ),
        (&["-t", "ecdsa", "-b", "521"], "unsupported key type \"nistp521\"; there are"),
        (&["-t", "ecdsa", "-b", "521", "-m", "PEM"], "unsupported key type \"EC PRIVATE KEY\"; there are"),
        (&["-t", "ecdsa", "-b", "521", "-m", "PKCS8"], "unsupported key type \"PRIVATE KEY\"; there are"),
        (&["-t", "rsa", "-b", "1024"], "the RSA key cannot be used: TooSmall"),
        (&["-t", "rsa", "-b", "1024", "-m", "PKCS8"], "the RSA key cannot be used: TooSmall"),
    ] {
        let scene = Scene::new();
        let key = scene.key("key", arguments);
        let error = SshAgent::open([&key]).unwrap_err();
        assert_eq!(error.to_string(), format!("failed to parse {}", key.display()));
        let cause = error.source().unwrap().to_string();
        assert!(cause.starts_with(expected), "{arguments:?}: {cause}");
        let of_public = SshAgent::open([public(&key)]).unwrap_err();
        assert!(of_public.source().unwrap().to_string().starts_with("no key found"), "{arguments:?}");
    }
}

/// What is cut or changed anywhere is an error, and no panic.
#[test]
fn a_broken_key_is_an_error() {
    if !has_openssh() {
        return;
    }
    let scene = Scene::new();
    for (name, arguments) in [("openssh", &["-t", "rsa"][..]), ("sec1", &["-t", "ecdsa", "-m", "PEM"])] {
        let key = scene.key(name, arguments);
        let text = std::fs::read_to_string(&key).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for without in 1..lines.len() {
            let kept = lines.iter().enumerate().filter(|(number, _)| *number != without);
            let kept: Vec<_> = kept.map(|(_, line)| *line).collect();
            std::fs::write(&key, kept.join("\n")).unwrap();
            assert!(SshAgent::open([&key]).is_err(), "{name} without line {without}");
        }
    }
}

/// The flags of draft-ietf-sshm-ssh-agent for the algorithms of RFC 8332.
#[test]
fn an_rsa_key_signs_with_the_hash_asked_for_but_never_sha_1() {
    if !has_openssh() {
        return;
    }
    let scene = Scene::new();
    let key = scene.key("key", &["-t", "rsa", "-b", "2048"]);
    let (_serving, socket) = scene.serve(&SshAgent::open([&key]).unwrap());
    let line = std::fs::read_to_string(public(&key)).unwrap();
    let blob = STANDARD.decode(line.split(' ').nth(1).unwrap()).unwrap();
    let [_, e, n] = strings(&blob)[..] else { panic!("{line}") };
    let public = RsaPublicKeyComponents { n: &n[1..], e };
    for (flags, expected, scheme) in [
        (2, "rsa-sha2-256", &RSA_PKCS1_2048_8192_SHA256),
        (4, "rsa-sha2-512", &RSA_PKCS1_2048_8192_SHA512),
        (6, "rsa-sha2-256", &RSA_PKCS1_2048_8192_SHA256),
    ] {
        let answer = sign(&socket, &blob, flags);
        assert_eq!(answer[0], 14, "{flags}");
        let [algorithm, signature] = strings(strings(&answer[1..])[0])[..] else { panic!("{answer:?}") };
        assert_eq!(algorithm, expected.as_bytes());
        public.verify(scheme, b"data", signature).unwrap();
    }
    for flags in [0, 1, 8] {
        assert_eq!(sign(&socket, &blob, flags), [5], "{flags}");
    }
}

/// What the agent at `socket` answers to a request to sign `data`.
fn sign(socket: &Path, blob: &[u8], flags: u32) -> Vec<u8> {
    let mut message = vec![13];
    for string in [blob, b"data"] {
        message.extend((string.len() as u32).to_be_bytes());
        message.extend(string);
    }
    message.extend(flags.to_be_bytes());
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(&(message.len() as u32).to_be_bytes()).unwrap();
    stream.write_all(&message).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// The strings, each after its length, that the bytes are.
fn strings(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut strings = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (string, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        strings.push(string);
        bytes = rest;
    }
    strings
}
