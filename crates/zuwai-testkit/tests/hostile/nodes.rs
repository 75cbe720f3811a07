//! Devices, pipes, and numbers and attributes that no file has.

use crate::attack::Expect::{Builds, Ends, Fails, Same};
use crate::attack::{Attack, Layer, PLAIN, over_busybox};
use crate::tar::{Entry, Tar, device, directory, entry_of, file};
use crate::ways::Way;

/// No driver has these numbers: opening such a node is an error, which fails the build that does it.
const NOBODYS: (u64, u64) = (4095, 77);

pub fn attacks() -> Vec<Attack> {
    let mut attacks = vec![
        Attack {
            name: "devices",
            layers: || {
                over_busybox(|tar| {
                    tar.add(device("nobodys-disk", b'4', NOBODYS.0, NOBODYS.1))
                        .add(device("nobodys", b'3', NOBODYS.0, NOBODYS.1))
                        .add(device("disk", b'4', 8, 0))
                        .add(device("memory", b'3', 1, 1))
                        .add(device("kernel-log", b'3', 1, 11))
                        .directory("d")
                        .add(device("d/tty", b'3', 5, 0));
                })
            },
            dockerfile: "FROM HOSTILE AS hostile
RUN true
COPY f /nobodys
COPY f /disk
COPY f /kernel-log
RUN true
FROM BUSYBOX
COPY --from=hostile /disk /nobodys /
",
            expect: Same,
            ..PLAIN
        },
        Attack {
            name: "devices-are-copied",
            layers: || {
                over_busybox(|tar| {
                    tar.directory("d")
                        .add(device("d/nobodys", b'3', NOBODYS.0, NOBODYS.1))
                        .fifo("d/pipe")
                        .add(device("d/white", b'3', 0, 0));
                })
            },
            dockerfile: "FROM HOSTILE AS hostile\nRUN true\nFROM BUSYBOX\nCOPY --from=hostile /d/ /d/\n",
            ..PLAIN
        },
        Attack {
            name: "devices-where-the-builder-looks",
            layers: || {
                over_busybox(|tar| {
                    tar.add(device("etc/passwd", b'3', NOBODYS.0, NOBODYS.1)).add(device(
                        "etc/group",
                        b'3',
                        1,
                        5,
                    ));
                })
            },
            dockerfile: "FROM HOSTILE\nCOPY --chown=app f /\nRUN true\n",
            ..PLAIN
        },
        Attack {
            name: "pipes-where-the-builder-looks",
            layers: || {
                over_busybox(|tar| {
                    tar.fifo("etc/passwd").fifo("etc/group");
                })
            },
            dockerfile: "FROM HOSTILE\nCOPY --chown=app:app f /\n",
            expect: Fails(&["/etc/passwd"]),
            ..PLAIN
        },
        Attack {
            name: "run-with-pipes-for-users",
            layers: || {
                over_busybox(|tar| {
                    tar.fifo("etc/passwd").fifo("etc/group").fifo("etc/hosts").fifo("etc/resolv.conf");
                })
            },
            dockerfile: "FROM HOSTILE\nUSER app\nRUN true\n",
            expect: Fails(&["/etc/passwd"]),
            ..PLAIN
        },
        Attack {
            name: "pipes",
            layers: || {
                over_busybox(|tar| {
                    tar.directory("d")
                        .fifo("d/pipe")
                        .fifo("pipe")
                        .fifo("pipe-too")
                        .hardlink("linked", "pipe");
                })
            },
            dockerfile: "FROM HOSTILE AS hostile
RUN chmod 600 /pipe
COPY f /pipe-too
FROM BUSYBOX
COPY --from=hostile /d /d
",
            expect: Same,
            ..PLAIN
        },
        Attack {
            name: "workdir-is-a-pipe",
            layers: || {
                over_busybox(|tar| {
                    tar.fifo("pipe");
                })
            },
            dockerfile: "FROM HOSTILE\nWORKDIR /pipe\nRUN true\n",
            expect: Fails(&["/pipe"]),
            ..PLAIN
        },
        Attack {
            name: "mount-points-are-other-things",
            layers: || {
                over_busybox(|tar| {
                    tar.file("proc", "")
                        .fifo("dev")
                        .add(device("sys", b'3', NOBODYS.0, NOBODYS.1))
                        .directory("etc/hosts")
                        .fifo("etc/resolv.conf");
                })
            },
            dockerfile: "FROM HOSTILE\nRUN true\nCOPY f /f\n",
            ..PLAIN
        },
        Attack {
            name: "set-user-id",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("setuid").mode(0o6755).content(b"#!/bin/sh\n"))
                        .add(file("owned").mode(0o4711).owner(1000, 1000).content(b"x"))
                        .add(directory("setgid").mode(0o3777).owner(0, 50))
                        .add(file("odd-bits").mode(0o177_777));
                })
            },
            dockerfile: "FROM HOSTILE AS hostile\nRUN touch /setgid/new\nFROM BUSYBOX\nCOPY --from=hostile /setuid /owned /setgid /got/\n",
            expect: Same,
            ..PLAIN
        },
        Attack {
            name: "times-out-of-range",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("old").mtime(-1))
                        .add(file("older").mtime(-(1 << 40)))
                        .add(file("late").mtime(1 << 40))
                        .add(directory("d").mtime(-5));
                })
            },
            dockerfile: "FROM HOSTILE\nRUN cp -a /old /older /late /d/\n",
            expect: Builds,
            ..PLAIN
        },
        Attack {
            name: "time-beyond-numbers",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("last").pax("mtime", b"9223372036854775807"))
                        .add(file("first").pax("mtime", b"-9223372036854775808.5"));
                })
            },
            ..PLAIN
        },
        Attack {
            name: "owner-beyond-32-bits",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("x").owner(1 << 32, 0));
                })
            },
            expect: Fails(&["layer", "uid"]),
            ..PLAIN
        },
        Attack {
            name: "owner-beyond-64-bits",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("x").pax("gid", b"18446744073709551616"));
                })
            },
            expect: Fails(&["layer", "18446744073709551616"]),
            ..PLAIN
        },
        Attack {
            name: "owner-is-nobody-at-all",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("minus-one").owner(0xffff_ffff, 0xffff_ffff))
                        .add(file("last").owner(0xffff_fffe, 7))
                        .add(file("overflow").owner(65534, 65535));
                })
            },
            dockerfile: "FROM HOSTILE AS hostile\nRUN true\nFROM BUSYBOX\nCOPY --from=hostile /minus-one /last /overflow /\n",
            ..PLAIN
        },
        Attack {
            name: "more-content-claimed-than-there-is",
            layers: || {
                let mut tar = Tar::default();
                tar.add(file("x").content(b"short").claim(1 << 20));
                vec![Layer::Busybox, Layer::Tar(tar.broken_off())]
            },
            expect: Fails(&["layer", "truncated"]),
            ..PLAIN
        },
        Attack {
            name: "content-claimed-beyond-numbers",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("x").claim(u64::MAX >> 1));
                })
            },
            expect: Fails(&["layer"]),
            ..PLAIN
        },
        Attack {
            name: "not-a-tar",
            layers: || vec![Layer::Busybox, Layer::Tar(b"not a tar ".repeat(1000))],
            expect: Fails(&["layer", "header"]),
            ..PLAIN
        },
        Attack {
            name: "unknown-type",
            layers: || {
                over_busybox(|tar| {
                    tar.add(entry_of(b"x", b'Z'));
                })
            },
            ..PLAIN
        },
        Attack {
            name: "users-of-a-hundred-megabytes",
            layers: || {
                over_busybox(|tar| {
                    let line = format!("{}:x:1:1::/:/bin/sh\n", "u".repeat(1 << 20));
                    tar.file("etc/passwd", &line.repeat(100));
                })
            },
            dockerfile: "FROM HOSTILE\nCOPY --chown=app f /\n",
            expect: Fails(&["/etc/passwd"]),
            ..PLAIN
        },
    ];
    attacks.extend(attributes());
    attacks
}

/// An entry with what overlay mounts and the kernel understand.
fn with_overlay_marks(entry: Entry, redirect: &[u8]) -> Entry {
    ["user.overlay.", "trusted.overlay."].into_iter().fold(entry, |entry, prefix| {
        [
            ("opaque", &b"y"[..]),
            ("redirect", redirect),
            ("metacopy", b""),
            ("whiteout", b""),
            ("origin", b"\0\xfb\x1d\0"),
        ]
        .into_iter()
        .fold(entry, |entry, (name, value)| entry.xattr(&format!("{prefix}{name}"), value))
    })
}

/// Extended attributes.
fn attributes() -> Vec<Attack> {
    vec![
        Attack {
            name: "attributes-of-overlays",
            layers: || {
                let mut layers = over_busybox(|tar| {
                    tar.directory("d").file("d/below", "").directory("e").file("e/below", "");
                });
                layers.push(crate::attack::layer(|tar| {
                    tar.add(with_overlay_marks(directory("d"), b"/../../../../mnt/canary"))
                        .add(with_overlay_marks(directory("e"), b"/d"))
                        .add(with_overlay_marks(file("d/file"), b"/../../mnt/canary/file"))
                        .add(with_overlay_marks(directory("new"), b"../.."));
                }));
                layers
            },
            dockerfile: "FROM HOSTILE AS hostile
RUN ls -R /d /e /new > /seen && cat /d/file /d/below /e/below
RUN touch /d/more && mv /e /moved
COPY f /d/
FROM BUSYBOX
COPY --from=hostile /d /seen /got/
",
            expect: Builds,
            ..PLAIN
        },
        Attack {
            name: "attributes-malformed",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("short").xattr("security.capability", b"\x01"))
                        .add(file("unknown-version").xattr("security.capability", &[9; 20]))
                        .add(file("acl").xattr("system.posix_acl_access", b"\x02\0\0\0bad"))
                        .add(file("label").xattr("security.selinux", b"system_u:object_r:shadow_t:s0"))
                        .add(file("trusted").xattr("trusted.secret", b"x"))
                        .add(file("no-namespace").xattr("plain", b"x"))
                        .add(file("no-name").xattr("user.", b"x"))
                        .add(entry_of(b"link", b'2').link("/mnt/canary/file").xattr("user.on-a-link", b"x"))
                        .add(entry_of(b"pipe", b'6').xattr("user.on-a-pipe", b"x"));
                })
            },
            dockerfile: "FROM HOSTILE AS hostile\nRUN true\nFROM BUSYBOX\nCOPY --from=hostile /short /acl /label /trusted /\n",
            expect: Ends,
            ..PLAIN
        },
        Attack {
            name: "attributes-too-large-for-files",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("x").xattr("user.large", &[b'x'; 60_000]));
                })
            },
            expect: Ends,
            ..PLAIN
        },
        Attack {
            name: "a-megabyte-of-attributes",
            layers: || {
                over_busybox(|tar| {
                    tar.add(file("x").xattr("user.huge", &vec![b'x'; 1 << 20]));
                })
            },
            expect: Fails(&["layer", "header"]),
            ..PLAIN
        },
        Attack {
            name: "ten-thousand-attributes",
            layers: || {
                over_busybox(|tar| {
                    let entry = (0..10_000)
                        .fold(file("x"), |entry, number| entry.xattr(&format!("user.{number}"), b"x"));
                    tar.add(entry);
                })
            },
            expect: Ends,
            except: &[(Way::Machine, Builds)],
            ..PLAIN
        },
    ]
}
