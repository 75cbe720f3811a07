//! Disks that are full, and places that cannot be written.

use zuwai_testkit::need::{Need, REGISTRY, needs};

use crate::scene::{Scene, transcript};

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(next).collect()
}

#[test]
fn a_full_disk() {
    if !needs(REGISTRY) || !needs(&[Need::Root, Need::Program("unshare")]) {
        return;
    }
    let mut scene = Scene::new();
    scene.file("large", noise(8 << 20));
    let mut cases = Vec::new();
    for (name, size, dockerfile, code) in [
        ("nothing fits", "4k", "FROM REGISTRY/busybox\nRUN true\n", 1),
        ("the base's layer does not fit", "256k", "FROM REGISTRY/busybox\nRUN true\n", 1),
        ("a copy does not fit", "7m", "FROM scratch\nCOPY large /\n", 1),
        ("the copy's layer does not fit", "10m", "FROM scratch\nCOPY large /\n", 1),
        (
            "what a RUN wrote does not fit twice",
            "12m",
            "FROM REGISTRY/busybox\nRUN head -c 6m /dev/urandom > /x\n",
            1,
        ),
    ] {
        scene.disk = Some(("state", size));
        cases.push((name, scene.fails(dockerfile, code)));
    }
    // Here either the download or the unpacking may be the first to find the disk full.
    scene.disk = Some(("state", "1800k"));
    assert!(scene.said_by_executor("FROM REGISTRY/busybox\nRUN true\n").contains("hint: the disk is full"));
    scene.push = false;
    scene.outputs = false;
    let out = scene.path("out").display().to_string();
    for (executor, zuwai) in [
        ("--tar-path=OUT/image.tar", "--output=type=docker,dest=OUT/image.tar"),
        ("--oci-layout-path=OUT/layout", "--output=type=oci,tar=false,dest=OUT/layout"),
    ] {
        for size in ["4k", "1m", "8m"] {
            scene.disk = Some(("out", size));
            let flag = |flag: &str| vec![flag.replace("OUT", &out)];
            let said = scene.fails_each("FROM scratch\nCOPY large /\n", flag(executor), flag(zuwai));
            cases.push((executor, said));
        }
    }
    insta::assert_snapshot!(transcript(cases));
}

#[test]
fn places_that_cannot_be_written() {
    if !needs(REGISTRY) {
        return;
    }
    let mut scene = Scene::new();
    scene.outputs = false;
    let file = scene.path("out/file");
    std::fs::write(&file, "in the way").unwrap();
    let mut cases = Vec::new();
    // Flags of one face each.
    for (executor, zuwai) in [
        ("--tar-path=PLACE/image.tar", "--output=type=docker,dest=PLACE/image.tar"),
        ("--tar-path=OUT", "--output=type=docker,dest=OUT"),
        ("--oci-layout-path=PLACE", "--output=type=oci,tar=false,dest=PLACE"),
        ("--oci-layout-path=/proc/layout", "--output=type=oci,tar=false,dest=/proc/layout"),
        ("--digest-file=PLACE/digest", "--iidfile=PLACE/digest"),
        ("--digest-file=OUT", "--metadata-file=OUT"),
        ("--kaniko-dir=PLACE/state", "--root-dir=PLACE/state"),
        ("--kaniko-dir=/proc", "--root-dir=/proc"),
    ] {
        let real = |flag: &str| {
            let flag = flag.replace("PLACE", &file.display().to_string());
            vec![flag.replace("OUT", &scene.path("out").display().to_string())]
        };
        let said = scene.fails_each("FROM REGISTRY/busybox\nENV a=b\n", real(executor), real(zuwai));
        cases.push((executor, said));
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "in the way");
    insta::assert_snapshot!(transcript(cases));
}
