//! Flags of instructions that are wrong, and what they name that is not there: each an error at its place.

use zuwai_testkit::need::{Need, REGISTRY, needs};

use crate::scene::{Scene, transcript};

#[test]
fn a_flag_that_is_wrong() {
    if !needs(REGISTRY) {
        return;
    }
    let scene = Scene::new();
    scene.file("there", "");
    let mut cases = Vec::new();
    for dockerfile in [
        "FROM scratch\nRUN --mount=type=cache,tarrget=/c true\n",
        "FROM scratch\nRUN --mount=type=cache,target=/c,sharing=none true\n",
        "FROM scratch\nRUN --mount=type=cache,target=/c,mode=9 true\n",
        "FROM scratch\nRUN --mount=type=cache,target=/ true\n",
        "FROM scratch\nRUN --mount=type=tmpfs,target=/t,size=much true\n",
        "FROM scratch\nRUN --mount=type=bind,target=/b,required true\n",
        "FROM scratch\nRUN --mount=type=secret true\n",
        "FROM scratch\nRUN --mount=type=secret,id=a,source=b true\n",
        "FROM scratch\nRUN --mount=type=secret,id=a,from=b true\n",
        "FROM scratch\nARG from=x\nRUN --mount=from=$from,target=/x true\n",
        "FROM scratch AS one\nRUN --mount=from=two,target=/x true\nFROM scratch AS two\nCOPY --from=one /a /b\n",
        "FROM scratch AS one\nRUN --mount=from=one,target=/x true\n",
        "FROM scratch\nRUN --network=bridge true\n",
        "FROM scratch\nRUN --security=insecure true\n",
        "FROM scratch\nRUN --device=a.example/b=c,required true\n",
        "FROM scratch\nRUN [\"true\"] <<EOF\nx\nEOF\n",
        "FROM scratch\nCOPY --link=perhaps there /\n",
        "FROM scratch\nCOPY --link --chown=name there /\n",
        "FROM scratch\nCOPY --exclude=[ there /\n",
        "FROM scratch\nCOPY --chmod=u+q there /\n",
        "FROM scratch\nCOPY --parents nowhere/x /\n",
        "FROM scratch\nARG stage=x\nCOPY --from=$stage there /\n",
        "FROM scratch\nCOPY <<a/b /x\na/b\n",
        "FROM scratch\nADD --checksum=md5:0 http://127.0.0.1:1/x /\n",
        "FROM scratch\nADD --checksum=sha256:0 there /\n",
        "FROM scratch\nADD --keep-git-dir=perhaps there /\n",
        "FROM scratch\nADD http://127.0.0.1:1/x /\n",
        "FROM scratch\nADD http://user:word@127.0.0.1:1/x.git#main /\n",
    ] {
        cases.push((dockerfile.replace('\n', "⏎"), scene.fails(dockerfile, 1)));
    }
    insta::assert_snapshot!(transcript(cases));
}

/// What a RUN asks for is looked for before it runs.
#[test]
fn a_mount_of_what_is_not_there() {
    if !needs(REGISTRY) || !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.file("there", "");
    scene.file(".dockerignore", "ignored\n");
    scene.file("ignored", "");
    let mut cases = Vec::new();
    for dockerfile in [
        "FROM scratch\nRUN --mount=type=secret,id=key,required true\n",
        "FROM scratch\nRUN --mount=type=secret,id=key,env=KEY,required true\n",
        "FROM scratch\nRUN --mount=type=ssh,required true\n",
        "FROM scratch\nRUN --mount=type=ssh,id=key,required true\n",
        "FROM scratch\nRUN --mount=source=nowhere,target=/x true\n",
        "FROM scratch\nRUN --mount=source=ignored,target=/x true\n",
        "FROM scratch AS one\nCOPY there /\nFROM scratch\nRUN --mount=from=one,source=/nowhere,target=/x true\n",
    ] {
        cases.push((dockerfile.replace('\n', "⏎"), scene.fails(dockerfile, 1)));
    }
    insta::assert_snapshot!(transcript(cases));
}
