//! Links that lead out of the root: as parents of later entries, as what a step writes to, and where the program itself looks.

use crate::attack::Expect::{Builds, Ends, Fails, Same};
use crate::attack::{Attack, Layer, PLAIN, layer, over_busybox};
use crate::tar::Tar;
use crate::ways::Way;

const UP: &str = "../../../../../../../../../../../../../../mnt/canary";

/// What goes through the link `evil`.
fn through(tar: &mut Tar, target: &str) {
    tar.symlink("evil", target)
        .file("evil/planted", "planted")
        .file("evil/file", "overwritten")
        .directory("evil/dir")
        .symlink("evil/symlink", "planted")
        .hardlink("evil/linked", "evil/file")
        .marker("evil/.wh.secret")
        .marker("evil/dir/.wh..wh..opq");
}

const STEPS: &str = "FROM HOSTILE AS hostile
COPY f /evil/copied
COPY f /evil/file
COPY f /leaf
ADD --chmod=600 f /evil/dir/
WORKDIR /evil/work
RUN ls / > /seen
COPY --chown=7:8 . /evil/
FROM BUSYBOX
COPY --from=hostile /evil /got/
COPY --from=hostile /evil/dir /leaf /got-too/
";

/// A container's mounts are not the image's: in place what lies on them is left out.
const NOT_ON_MOUNTS: &[(Way, crate::attack::Expect)] = &[(Way::Docker, Ends)];

pub fn attacks() -> Vec<Attack> {
    vec![
        Attack {
            name: "link-absolute",
            layers: || {
                over_busybox(|tar| {
                    through(tar, "/mnt/canary");
                    tar.symlink("leaf", "/mnt/canary/file");
                })
            },
            dockerfile: STEPS,
            expect: Same,
            except: NOT_ON_MOUNTS,
            ..PLAIN
        },
        Attack {
            name: "link-upwards",
            layers: || {
                over_busybox(|tar| {
                    through(tar, UP);
                    tar.symlink("leaf", &format!("{UP}/file"));
                })
            },
            dockerfile: STEPS,
            expect: Same,
            except: NOT_ON_MOUNTS,
            ..PLAIN
        },
        Attack {
            name: "link-in-the-middle",
            layers: || {
                over_busybox(|tar| {
                    tar.directory("a").symlink("a/top", "../../../../..").symlink("a/again", "top/a/top/mnt");
                    through(tar, "a/again/canary");
                    tar.symlink("leaf", "a/again/canary/file");
                })
            },
            dockerfile: STEPS,
            expect: Same,
            except: NOT_ON_MOUNTS,
            ..PLAIN
        },
        Attack {
            name: "directory-becomes-a-link",
            layers: || {
                let directory = layer(|tar| {
                    tar.directory("evil")
                        .file("evil/file", "inside")
                        .directory("evil/dir")
                        .file("evil/secret", "inside");
                });
                let link = layer(|tar| {
                    tar.symlink("evil", "/mnt/canary").symlink("leaf", "evil/file");
                });
                let below = layer(|tar| {
                    tar.file("evil/file", "overwritten")
                        .marker("evil/.wh.secret")
                        .marker("evil/dir/.wh..wh..opq");
                });
                vec![Layer::Busybox, directory, link, below]
            },
            dockerfile: STEPS,
            expect: Ends,
            ..PLAIN
        },
        Attack {
            name: "link-to-itself",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("evil", "evil").file("evil/x", "");
                })
            },
            expect: Fails(&["evil", "layer"]),
            ..PLAIN
        },
        Attack {
            name: "hard-link-outside",
            layers: || {
                over_busybox(|tar| {
                    tar.hardlink("stolen", "/mnt/canary/secret");
                })
            },
            expect: Fails(&["stolen", "mnt/canary/secret"]),
            ..PLAIN
        },
        Attack {
            name: "hard-link-upwards",
            layers: || {
                over_busybox(|tar| {
                    tar.hardlink("stolen", "../../../../../mnt/canary/secret");
                })
            },
            expect: Fails(&["stolen"]),
            ..PLAIN
        },
        Attack {
            name: "hard-link-through-a-link",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("evil", "/mnt/canary").hardlink("stolen", "evil/secret");
                })
            },
            expect: Fails(&["stolen"]),
            ..PLAIN
        },
        Attack {
            name: "hard-link-to-a-link",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("leaf", "/mnt/canary/file")
                        .hardlink("same", "leaf")
                        .file("plain", "plain")
                        .hardlink("plain-too", "plain");
                })
            },
            dockerfile: "FROM HOSTILE\nRUN ls -l /same > /dev/null\nCOPY f /same\nCOPY f /plain-too\n",
            expect: Same,
            except: NOT_ON_MOUNTS,
            ..PLAIN
        },
        Attack {
            name: "users-from-outside",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("etc/passwd", "/mnt/canary/passwd")
                        .symlink("etc/group", "../../../../mnt/canary/group");
                })
            },
            // Whom nobody knows is taken as root.
            dockerfile: "FROM HOSTILE\nCOPY --chown=canary:canary f /\n",
            expect: Same,
            ..PLAIN
        },
        Attack {
            name: "run-as-a-user-from-outside",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("etc/passwd", UP).symlink("etc/group", "/mnt/canary/group");
                })
            },
            dockerfile: "FROM HOSTILE\nUSER canary\nRUN true\n",
            expect: Fails(&["canary"]),
            ..PLAIN
        },
        Attack {
            name: "mounted-files-are-links",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("etc/resolv.conf", "/mnt/canary/file")
                        .symlink("etc/hosts", UP)
                        .symlink("etc/hostname", "/mnt/canary/new");
                })
            },
            dockerfile: "FROM HOSTILE\nRUN cat /etc/resolv.conf /etc/hosts > /dev/null; true\nRUN true\nCOPY f /etc/hostname\n",
            ..PLAIN
        },
        Attack {
            name: "mount-points-are-links",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("proc", "/mnt/canary/dir")
                        .symlink("sys", UP)
                        .symlink("dev", "mnt/canary/dir/inner")
                        .symlink("tmp", "/mnt/canary");
                })
            },
            dockerfile: "FROM HOSTILE\nRUN ls / > /dev/null\nRUN true\nCOPY f /tmp/\n",
            ..PLAIN
        },
        Attack {
            name: "the-builders-places-are-links",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("kaniko", "/mnt/canary/dir")
                        .symlink("workspace", "/mnt/canary")
                        .symlink(".zuwai", UP)
                        .symlink("mnt", "/");
                })
            },
            dockerfile: "FROM HOSTILE AS hostile\nRUN true\nCOPY f /kaniko/\nCOPY f /workspace/\nFROM BUSYBOX\nCOPY --from=hostile / /all/\n",
            expect: Same,
            except: NOT_ON_MOUNTS,
            ..PLAIN
        },
        Attack {
            name: "etc-is-a-link",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("etc", "/mnt/canary").file("etc/passwd", "root:x:0:0::/:/bin/sh\n");
                })
            },
            dockerfile: "FROM HOSTILE\nRUN true\nCOPY f /etc/hosts\nUSER root\nRUN true\n",
            ..PLAIN
        },
        Attack {
            name: "run-mounts-through-links",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("evil", "/elsewhere/canary").symlink("up", "../../../../../../elsewhere");
                })
            },
            dockerfile: "FROM HOSTILE
RUN --mount=type=tmpfs,target=/evil/tmpfs --mount=type=cache,target=/up/cache --mount=target=/evil/context \\
    touch /evil/tmpfs/x /up/cache/x && cat /evil/context/f > /seen
RUN --mount=type=bind,rw,target=/up touch /up/x
",
            expect: Same,
            ..PLAIN
        },
        Attack {
            name: "run-mounts-onto-the-outside",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("evil", "/mnt/canary").symlink("up", UP);
                })
            },
            dockerfile: "FROM HOSTILE
RUN --mount=type=tmpfs,target=/evil/dir --mount=type=bind,target=/up/new true
RUN --mount=type=cache,target=/evil/file/deeper true
",
            ..PLAIN
        },
        Attack {
            name: "links-in-the-context",
            setup: "ln -s /mnt/canary/secret secret; ln -s /mnt/canary canary; ln -s ../../../../../../mnt/canary/file file",
            layers: || vec![Layer::Busybox],
            dockerfile: "FROM HOSTILE\nCOPY secret /\n",
            expect: Fails(&["secret"]),
            ..PLAIN
        },
        Attack {
            name: "links-in-a-copied-directory",
            setup: "mkdir d; ln -s /mnt/canary/secret d/secret; ln -s /mnt/canary d/canary; ln -s ../../../../../mnt d/up",
            layers: || vec![Layer::Busybox],
            dockerfile: "FROM HOSTILE\nCOPY d /d/\nCOPY f /d/canary/f\nRUN true\n",
            expect: Same,
            except: NOT_ON_MOUNTS,
            ..PLAIN
        },
        Attack {
            name: "ignore-file-is-a-pipe",
            setup: "mkfifo .dockerignore",
            layers: || vec![Layer::Busybox],
            dockerfile: "FROM HOSTILE\nCOPY f /\n",
            expect: Ends,
            ..PLAIN
        },
        Attack {
            name: "ignore-file-is-a-link",
            setup: "ln -s /mnt/canary/file .dockerignore; : > outside",
            layers: || vec![Layer::Busybox],
            dockerfile: "FROM HOSTILE\nCOPY outside /\n",
            // A user's own context may have it from elsewhere.
            expect: Ends,
            ..PLAIN
        },
        Attack {
            name: "links-are-replaced-by-steps",
            layers: || {
                over_busybox(|tar| {
                    tar.symlink("evil", "/mnt/canary").directory("d").file("d/file", "");
                })
            },
            dockerfile: "FROM HOSTILE AS hostile
RUN rm /evil && mkdir /evil && echo inside > /evil/file
RUN rm -rf /d && ln -s /elsewhere /d
COPY f /d/
FROM hostile
RUN rm -rf /evil && ln -s /elsewhere/again /evil
COPY f /evil/
COPY --from=hostile /evil/ /evil/
",
            expect: Same,
            ..PLAIN
        },
        Attack {
            name: "stage-with-links-is-copied-whole",
            layers: || {
                over_busybox(|tar| {
                    through(tar, "/elsewhere");
                    tar.symlink("usr/lib", "/mnt/canary").symlink("opt", "../../../mnt");
                })
            },
            dockerfile: "FROM HOSTILE AS hostile\nFROM HOSTILE\nCOPY --from=hostile / /\n",
            expect: Builds,
            ..PLAIN
        },
    ]
}
