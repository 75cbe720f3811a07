//! Layers that are small in the registry and large on disk, built where there is little room: the build ends with the system's "no
//! space left", or never needed the room.

use crate::attack::Expect::{Ends, Fails};
use crate::attack::{Attack, Layer, PLAIN, over_busybox};
use crate::tar::{Tar, file};

/// Half a GiB, of which a registry holds half a megabyte: more than the tests' state directory has room for.
const ZEROS: u64 = 512 << 20;

const ROOM: Option<&str> = Some("256m");

pub fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "bomb-of-zeros",
            layers: || {
                let mut tar = Tar::default();
                tar.add(file("bomb").claim(ZEROS));
                vec![Layer::Busybox, Layer::Zeros(tar.broken_off(), ZEROS + 1024)]
            },
            expect: Fails(&["No space left on device", "/bomb"]),
            room: ROOM,
            ..PLAIN
        },
        Attack {
            name: "bomb-of-holes",
            layers: || {
                over_busybox(|tar| {
                    // GNU's sparse format 1.0: the map comes first in the content. 64 TiB, of which nothing is there.
                    let size = 64_u64 << 40;
                    let mut map = b"1\n".to_vec();
                    map.extend(format!("{size}\n0\n").into_bytes());
                    map.resize(512, 0);
                    let header = file("GNUSparseFile.0/bomb")
                        .pax("GNU.sparse.major", b"1")
                        .pax("GNU.sparse.minor", b"0")
                        .pax("GNU.sparse.name", b"bomb")
                        .pax("GNU.sparse.realsize", size.to_string().as_bytes())
                        .content(&map);
                    tar.add(header);
                })
            },
            expect: Ends,
            room: ROOM,
            ..PLAIN
        },
    ]
}
