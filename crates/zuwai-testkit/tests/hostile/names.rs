//! Names that no path inside an image has, that are as long as can be, or that mean something else than they seem to.

use crate::attack::Expect::{Builds, Ends, Fails, Same};
use crate::attack::{Attack, Layer, PLAIN, layer, over_busybox};
use crate::tar::{directory, entry_of, file};
use crate::ways::Way;

const BAD_NAME: crate::attack::Expect = Fails(&["layer", "path"]);

pub fn attacks() -> Vec<Attack> {
    let mut attacks = vec![
        Attack {
            name: "name-upwards",
            layers: || {
                over_busybox(|tar| {
                    tar.file("../../../../../../mnt/canary/file", "overwritten");
                })
            },
            expect: BAD_NAME,
            ..PLAIN
        },
        Attack {
            name: "name-upwards-from-a-directory",
            layers: || {
                over_busybox(|tar| {
                    tar.directory("a").file("a/../../mnt/canary/planted", "planted");
                })
            },
            expect: BAD_NAME,
            ..PLAIN
        },
        Attack {
            name: "name-upwards-in-an-extended-header",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("harmless").pax("path", b"../../mnt/canary/planted").content(b"planted"));
                })
            },
            expect: BAD_NAME,
            ..PLAIN
        },
        Attack {
            name: "name-is-dots",
            layers: || {
                over_busybox(|tar| {
                    tar.directory("..");
                })
            },
            expect: BAD_NAME,
            ..PLAIN
        },
        Attack {
            name: "name-absolute",
            layers: || {
                over_busybox(|tar| {
                    tar.file("/srv/file", "inside")
                        .file("//srv//.//again", "inside")
                        .hardlink("/srv/linked", "/srv/file");
                })
            },
            dockerfile: "FROM HOSTILE\nRUN cat /srv/* > /seen\n",
            expect: Same,
            ..PLAIN
        },
        Attack {
            name: "root-becomes-a-file",
            layers: || {
                over_busybox(|tar| {
                    tar.file(".", "a file");
                })
            },
            expect: Fails(&["root"]),
            ..PLAIN
        },
        Attack {
            name: "root-becomes-a-link",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("./", "/mnt/canary").file("planted", "planted");
                })
            },
            expect: Ends,
            ..PLAIN
        },
        Attack {
            name: "root-is-closed",
            layers: || {
                over_busybox(|tar| {
                    tar.add(directory(".").mode(0).owner(7, 8));
                })
            },
            dockerfile: "FROM HOSTILE\nRUN true\nCOPY f /\n",
            expect: Builds,
            ..PLAIN
        },
        Attack {
            name: "names-of-any-bytes",
            layers: || {
                over_busybox(|tar| {
                    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
                    let long = "n".repeat(255);
                    tar.directory("d")
                        .add(entry_of(&[b"d/", &bytes[..]].concat(), b'0'))
                        .add(entry_of(format!("d/{long}").as_bytes(), b'0'))
                        .add(entry_of(b"d/\n\x1b[31m\xff", b'5'))
                        .add(entry_of(b"d/-rf *", b'0'));
                })
            },
            dockerfile: "FROM HOSTILE AS hostile\nRUN cp -a /d /e && rm -rf /d\nFROM BUSYBOX\nCOPY --from=hostile /e /e\n",
            expect: Same,
            ..PLAIN
        },
        Attack {
            name: "name-too-long",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file(&"n".repeat(256)));
                })
            },
            expect: BAD_NAME,
            ..PLAIN
        },
        Attack {
            name: "name-with-a-zero-byte",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("harmless").pax("path", b"a\0b"));
                })
            },
            expect: Fails(&["layer"]),
            ..PLAIN
        },
        Attack {
            name: "ten-thousand-deep-in-one-name",
            layers: || {
                over_busybox(|tar| {
                    tar.add(entry_of(&b"d/".repeat(10_000), b'5'));
                })
            },
            expect: BAD_NAME,
            ..PLAIN
        },
        Attack {
            name: "ten-thousand-deep-through-links",
            layers: || {
                over_busybox(|tar| {
                    // Each link spares the name of what comes after it from the length of what comes before.
                    let step = vec!["d"; 1000].join("/");
                    tar.add(directory(&step)).symlink("l0", &step);
                    for link in 1..10 {
                        let before = link - 1;
                        tar.add(directory(&format!("l{before}/{step}")))
                            .symlink(&format!("l{link}"), &format!("l{before}/{step}"));
                    }
                    tar.file("l9/bottom", "deep");
                })
            },
            dockerfile: "FROM HOSTILE AS hostile\nRUN true\nFROM BUSYBOX\nCOPY --from=hostile /d /d\n",
            expect: Ends,
            ..PLAIN
        },
        Attack {
            name: "ten-thousand-deep-by-run",
            layers: || vec![Layer::Busybox],
            dockerfile: "FROM HOSTILE
RUN step=$(for i in $(seq 1000); do printf d/; done); mkdir deep; \\
    for i in $(seq 10); do mkdir -p new/$step && mv deep new/${step}deep && mv new deep || exit 1; done
RUN true
COPY f /
",
            expect: Ends,
            ..PLAIN
        },
        Attack {
            name: "deep-and-gone",
            layers: || {
                let deep = layer(|tar| {
                    tar.add(entry_of(&b"d/".repeat(1900), b'5'));
                });
                let gone = layer(|tar| {
                    tar.marker(".wh.d");
                });
                vec![Layer::Busybox, deep, gone]
            },
            dockerfile: "FROM HOSTILE\nRUN [ ! -e /d ] && mkdir /d\n",
            expect: Same,
            ..PLAIN
        },
        Attack {
            name: "a-hundred-thousand-in-one-directory",
            layers: || {
                over_busybox(|tar| {
                    tar.directory("many");
                    for number in 0..100_000 {
                        tar.file(&format!("many/{number}"), "");
                    }
                })
            },
            dockerfile: "FROM HOSTILE\nRUN [ $(ls /many | wc -l) = 100000 ] && rm /many/77777\n",
            expect: Builds,
            ..PLAIN
        },
        Attack {
            name: "one-name-of-every-kind",
            layers: || {
                over_busybox(|tar| {
                    tar.directory("x")
                        .file("x/below", "")
                        .file("x", "file")
                        .symlink("x", "/mnt/canary/file")
                        .fifo("x");
                    tar.file("x", "again").directory("x").directory("x/in").file("x/in/file", "");
                    tar.symlink("y", "/mnt/canary").directory("y").file("y/planted", "inside");
                    tar.file("z", "")
                        .hardlink("zz", "z")
                        .symlink("z", "/mnt/canary/file")
                        .file("zz", "other");
                })
            },
            dockerfile: "FROM HOSTILE\nRUN find /x /y /z /zz > /dev/null\nCOPY f /z\n",
            expect: Same,
            except: &[(Way::Docker, Ends)],
            ..PLAIN
        },
    ];
    attacks.extend(markers());
    attacks
}

/// Whiteouts and opaque markers.
fn markers() -> Vec<Attack> {
    vec![
        Attack {
            name: "whiteouts-of-mounts",
            layers: || {
                over_busybox(|tar| {
                    for name in
                        ["proc", "sys", "dev", "kaniko", "workspace", "mnt", "program", "tmp", ".zuwai"]
                    {
                        tar.marker(&format!(".wh.{name}"));
                    }
                    tar.marker("mnt/.wh.canary")
                        .marker("etc/.wh.resolv.conf")
                        .marker("etc/.wh.hosts")
                        .marker("run/.wh.secrets");
                })
            },
            dockerfile: "FROM HOSTILE\nRUN ls / > /dev/null\nCOPY f /workspace/\nRUN true\n",
            expect: Builds,
            ..PLAIN
        },
        Attack {
            name: "whiteout-of-etc",
            layers: || {
                over_busybox(|tar| {
                    tar.marker(".wh.etc");
                })
            },
            dockerfile: "FROM HOSTILE\nRUN true\nCOPY f /etc/\n",
            expect: Builds,
            ..PLAIN
        },
        Attack {
            name: "opaque-root",
            layers: || {
                let opaque = layer(|tar| {
                    tar.marker(".wh..wh..opq")
                        .directory("mnt")
                        .marker("mnt/.wh..wh..opq")
                        .marker("proc/.wh..wh..opq")
                        .marker("etc/.wh..wh..opq");
                });
                vec![
                    layer(|tar| {
                        tar.directory("etc").file("etc/gone", "");
                    }),
                    opaque,
                    Layer::Busybox,
                ]
            },
            dockerfile: "FROM HOSTILE\nRUN [ ! -e /etc/gone ]\nCOPY f /mnt/\n",
            expect: Builds,
            except: &[(Way::Docker, Ends)],
            ..PLAIN
        },
        Attack {
            name: "opaque-directories-with-mounts",
            layers: || {
                over_busybox(|tar| {
                    for name in ["mnt", "mnt/canary", "etc", "proc", "sys", "dev", "kaniko", "program"] {
                        tar.marker(&format!("{name}/.wh..wh..opq"));
                    }
                })
            },
            dockerfile: "FROM HOSTILE\nRUN true\nCOPY f /f\n",
            expect: Builds,
            ..PLAIN
        },
        Attack {
            name: "markers-through-links",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("evil", "/mnt")
                        .marker("evil/canary/.wh..wh..opq")
                        .marker("evil/.wh.canary")
                        .marker("evil/canary/dir/.wh.inner");
                })
            },
            expect: Builds,
            ..PLAIN
        },
        Attack {
            name: "marker-of-nothing",
            layers: || {
                over_busybox(|tar| {
                    tar.marker(".wh.");
                })
            },
            expect: Fails(&["layer", "marker"]),
            ..PLAIN
        },
        Attack {
            name: "marker-of-itself",
            layers: || {
                over_busybox(|tar| {
                    tar.marker("usr/.wh..");
                })
            },
            expect: Fails(&["layer", "marker"]),
            ..PLAIN
        },
        Attack {
            name: "marker-of-the-parent",
            layers: || {
                over_busybox(|tar| {
                    tar.directory("a").marker("a/.wh...");
                })
            },
            expect: Fails(&["layer", "marker"]),
            ..PLAIN
        },
    ]
}
