//! Dockerfiles and contexts that are wrong.

use zuwai_testkit::need::{REGISTRY, needs};

use crate::scene::{Scene, transcript};

#[test]
fn a_dockerfile_that_is_wrong() {
    if !needs(REGISTRY) {
        return;
    }
    let mut scene = Scene::new();
    scene.file(".dockerignore", "secret\n");
    scene.file("secret", "");
    scene.file("there", "");
    let mut cases = Vec::new();
    for dockerfile in [
        "",
        "# only a comment\n",
        "RUN echo before FROM\n",
        "FROM scratch\nCOPY there\n",
        "FROM scratch\nENV lonely\n",
        "FROM scratch\nCOPI there /\n",
        "FROM scratch\nCOPY --frm=x there /\n",
        "FROM scratch\nRUN --mount=type=nope true\n",
        "FROM scratch\nRUN <<EOF\nno end\n",
        "FROM ${MISSING}\n",
        "FROM ${MISSING?must be set}\n",
        "FROM debian::12\n",
        "FROM scratch\nCOPY --from=1 a b\n",
        "FROM scratch\nCOPY not-there /\n",
        "FROM scratch\nCOPY there \\\n  not-there /to/\n",
        "FROM scratch\nCOPY secret /\n",
        "FROM scratch\nCOPY ../outside /\n",
        "FROM scratch AS first\nFROM scratch\nCOPY --from=first /nothing /\n",
        "FROM scratch\nADD --chmod=9999 there /\n",
    ] {
        cases.push((dockerfile.replace('\n', "⏎"), scene.fails(dockerfile, 1)));
    }
    scene.flags = vec!["--target=thrid".to_owned()];
    let dockerfile = "FROM scratch AS first\nFROM scratch AS second\nFROM scratch\n";
    cases.push(("--target=thrid".to_owned(), scene.fails(dockerfile, 1)));
    insta::assert_snapshot!(transcript(cases));
}

#[test]
fn a_dockerfile_or_ignore_file_that_cannot_be_read() {
    if !needs(REGISTRY) {
        return;
    }
    let scene = Scene::new();
    let mut cases = vec![("no Dockerfile", scene.fails_as_it_is(1))];
    std::fs::create_dir(scene.path("context/Dockerfile")).unwrap();
    cases.push(("a directory", scene.fails_as_it_is(1)));
    std::fs::remove_dir(scene.path("context/Dockerfile")).unwrap();
    std::os::unix::fs::symlink("nowhere", scene.path("context/Dockerfile")).unwrap();
    cases.push(("a link to nowhere", scene.fails_as_it_is(1)));
    std::fs::remove_file(scene.path("context/Dockerfile")).unwrap();
    scene.file("Dockerfile", [0x7f, b'E', b'L', b'F', 0, 0xff, b'\n']);
    cases.push(("no text", scene.fails_as_it_is(1)));
    scene.file(".dockerignore", "ok\n[a-\n");
    cases.push(("an ignore file", scene.fails("FROM scratch\nCOPY x /\n", 1)));
    insta::assert_snapshot!(transcript(cases));
}
