//! Registries that are not there or refuse.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use zuwai_testkit::base::Base;
use zuwai_testkit::need::{Need, REGISTRY, needs};
use zuwai_testkit::registry::{PASSWORD, RegistryOptions, USER};

use crate::scene::{Scene, transcript};

const PLAIN: &str = "FROM scratch\nENV a=b\n";

#[test]
fn images_and_registries_that_are_not_there() {
    if !needs(REGISTRY) {
        return;
    }
    let mut scene = Scene::new();
    let mut cases = Vec::new();
    for dockerfile in [
        "FROM REGISTRY/no-such-image\n",
        "FROM scratch AS first\n\nFROM REGISTRY/busybox:no-such-tag AS second\n",
        "FROM REGISTRY/busybox@sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
        "FROM --platform=linux/s390x REGISTRY/busybox-index\n",
        "FROM scratch\nCOPY --from=REGISTRY/no-such-image a b\n",
        "FROM 127.0.0.1:1/nobody/listens\n",
    ] {
        if dockerfile.contains("index") {
            let source = format!("oci:{}:latest", Base::Busybox.layout().display());
            scene.registry.push(&source, "busybox-index:one");
            scene.registry.push_index("busybox-index", "one", "latest");
        }
        let said = scene.fails(&dockerfile.replace("s390x", "riscv64"), 1);
        cases.push((dockerfile.replace('\n', "⏎"), said));
    }
    for destination in
        ["127.0.0.1:1/nobody/listens", "REGISTRY/a:b:c", "REGISTRY/Capital", "REGISTRY/x:-tag", "REGISTRY/"]
    {
        scene.destination = destination.to_owned();
        cases.push((format!("pushed to {destination}"), scene.fails(PLAIN, 1)));
    }
    insta::assert_snapshot!(transcript(cases));
}

#[test]
fn registries_that_do_not_let_us_in() {
    if !needs(REGISTRY) || !needs(&[Need::Program("htpasswd")]) {
        return;
    }
    let mut cases = Vec::new();
    for (name, options) in
        [("basic", RegistryOptions::plain().basic()), ("token", RegistryOptions::plain().token())]
    {
        let mut scene = Scene::with(options.start());
        Base::Busybox.push(&scene.registry);
        scene.push = false;
        if name == "basic" {
            cases.push((
                format!("{name}: pull without credentials"),
                scene.fails("FROM REGISTRY/busybox\n", 1),
            ));
        }
        scene.push = true;
        cases.push((format!("{name}: push without credentials"), scene.fails(PLAIN, 1)));
        let wrong = scene.registry.docker_config(USER, "not the password");
        scene.credentials = Some(wrong.path().to_owned());
        scene.push = false;
        cases.push((format!("{name}: pull, wrong password"), scene.fails("FROM REGISTRY/busybox\n", 1)));
        scene.push = true;
        cases.push((format!("{name}: push, wrong password"), scene.fails(PLAIN, 1)));
        std::fs::write(wrong.path().join("config.json"), format!("{{\"auths\": {{\"{PASSWORD}\": 1"))
            .unwrap();
        cases.push((format!("{name}: a broken config.json"), scene.fails(PLAIN, 1)));
    }
    let scene = Scene::with(RegistryOptions::plain().read_only().start());
    cases.push(("a read-only registry".to_owned(), scene.fails(PLAIN, 1)));
    insta::assert_snapshot!(transcript(cases));
}

#[test]
fn a_push_that_is_refused_at_last() {
    if !needs(REGISTRY) {
        return;
    }
    let mut scene = Scene::with(RegistryOptions::plain().read_only().start());
    // Archives would stay: they are whole, and what was asked for. A digest is that of an image that was pushed.
    scene.outputs = false;
    let digest = scene.path("out/digest").display().to_string();
    scene.flags = vec!["--skip-push-permission-check".to_owned(), format!("--digest-file={digest}")];
    insta::assert_snapshot!(scene.said_by_executor(PLAIN));
}

#[test]
fn servers_that_are_no_registries() {
    if !needs(REGISTRY) {
        return;
    }
    let scene = Scene::new();
    let mut cases = Vec::new();
    for (name, answer) in [
        (
            "a web page",
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 13\r\n\r\n<html></html>",
        ),
        (
            "forbidden",
            "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 66\r\n\r\n\
             {\"errors\":[{\"code\":\"DENIED\",\"message\":\"no access for you today\"}]}",
        ),
        ("broken", "HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        ("hangs up", ""),
        ("speaks no HTTP", "220 mail.example.com ESMTP\r\n"),
    ] {
        let address = server(answer);
        let said = scene.fails(&format!("FROM {address}/some/image:1\n"), 1);
        cases.push((name, said.replace(&address, "SERVER")));
    }
    insta::assert_snapshot!(transcript(cases));
}

/// Answers everything with the same bytes and hangs up.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    address
}
