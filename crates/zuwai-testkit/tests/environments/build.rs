//! The builds of the table: one for each thing that an environment may not allow.

use std::path::Path;

use zuwai_testkit::cache::scratch;
use zuwai_testkit::command::{must_run, program};

/// A build.
pub struct Build {
    /// Its name in the table.
    pub name: &'static str,
    /// The Dockerfile; `REGISTRY/` stands before names of base images.
    pub dockerfile: &'static str,
    /// What it is in the table's legend.
    pub about: &'static str,
    /// The abilities that `executor doctor` names, without which it fails.
    pub needs: &'static [&'static str],
}

const fn build(
    name: &'static str,
    about: &'static str,
    needs: &'static [&'static str],
    dockerfile: &'static str,
) -> Build {
    Build { name, dockerfile, about, needs }
}

/// All of them.
pub const BUILDS: [Build; 11] = [
    build(
        "metadata",
        "`ENV`, `LABEL`, `CMD` and the like alone",
        &[],
        "FROM REGISTRY/busybox\nENV A=b\nLABEL c=d\nCMD [\"sh\"]\n",
    ),
    build(
        "COPY",
        "`COPY` from the context",
        &["files"],
        "FROM REGISTRY/busybox\nCOPY one.txt two.txt /src/\n",
    ),
    build(
        "COPY --chown",
        "`COPY --chown` to another user",
        &["files", "owners"],
        "FROM REGISTRY/busybox\nCOPY --chown=app:1000 one.txt /home/app/\n",
    ),
    build(
        "RUN",
        "`RUN` as root",
        &["run"],
        "FROM REGISTRY/busybox\nRUN cat /etc/passwd | sort > /sorted && ln /sorted /link && rm -r /home/app\n",
    ),
    build(
        "RUN, USER",
        "`RUN` as another user",
        &["run", "users"],
        "FROM REGISTRY/busybox\nUSER 1000\nRUN id -u > /home/app/who\n",
    ),
    build(
        "useradd",
        "`RUN useradd` and `chown`",
        &["run", "owners"],
        "FROM REGISTRY/small\nRUN useradd -u 1500 worker && touch /mine && chown worker:worker /mine && rm -f /etc/*-\n",
    ),
    build(
        "setcap",
        "`RUN setcap`",
        &["run", "capabilities"],
        "FROM REGISTRY/small\nRUN touch /capable && setcap cap_net_raw+ep /capable\n",
    ),
    build(
        "dpkg",
        "`RUN dpkg -i` of a package with files of other users and a script that changes owners",
        &["run", "owners", "packages"],
        "FROM REGISTRY/small\nCOPY tool.deb /\nRUN dpkg -i /tool.deb && rm -rf /tool.deb /var/log/* /var/cache/* /var/lib/dpkg/*-old\n",
    ),
    build(
        "stages",
        "several stages, with `COPY --from`",
        &["run"],
        "FROM REGISTRY/busybox AS one\nRUN mkdir /out && echo made > /out/file && chmod 600 /out/file\nFROM REGISTRY/busybox AS two\nRUN echo other > /two\nFROM REGISTRY/busybox\nCOPY --from=one /out /out\nCOPY --from=two /two /\nRUN cat /out/file /two > /both\n",
    ),
    build(
        "RUN --mount",
        "`RUN --mount` of a cache, a secret and a tmpfs",
        &["run"],
        "FROM REGISTRY/busybox\nRUN --mount=type=cache,target=/cache --mount=type=secret,id=word --mount=type=tmpfs,target=/scratch echo kept > /cache/a && echo gone > /scratch/b && wc -c < /run/secrets/word > /length\n",
    ),
    build(
        "network=none",
        "`RUN --network=none`",
        &["run", "network"],
        "FROM REGISTRY/busybox\nRUN --network=none ! wget -q -T 1 -O /dev/null http://REGISTRY/v2/ && touch /alone\n",
    ),
];

/// Writes the context of all builds.
pub fn write_context(context: &Path, registry: &str) {
    std::fs::create_dir_all(context).unwrap();
    let write = |name: &str, text: &str| std::fs::write(context.join(name), text).unwrap();
    write("one.txt", "one\n");
    write("two.txt", "two\n");
    write("word", "sesame\n");
    for (number, build) in BUILDS.iter().enumerate() {
        write(&format!("Dockerfile.{number}"), &build.dockerfile.replace("REGISTRY", registry));
    }
    package(context);
}

/// Debian's own `dpkg`, `useradd` and this machine's `setcap`, with what they need and no more: an image of a few megabytes
/// keeps a table of more than a hundred builds quick.
const SMALL: &str = r#"
FROM REGISTRY/debian AS full
COPY setcap /usr/sbin/
RUN <<END
set -e
mkdir -p /small/usr/bin /small/usr/sbin /small/usr/lib /small/usr/lib64 /small/etc /small/tmp /small/var/lib/dpkg/info /small/var/games
cd /small
ln -s usr/bin usr/sbin usr/lib usr/lib64 .
chmod 1777 tmp
for name in sh dpkg dpkg-deb dpkg-split dpkg-query diff tar rm touch chown chmod mkdir cat ldconfig start-stop-daemon useradd setcap; do
    program=$(readlink -f "$(command -v $name)")
    cp --parents -L "$program" $(ldd "$program" | grep -o '/[^ ]*') .
done
cp -P /usr/bin/sh usr/bin/
cp /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/login.defs etc/
touch var/lib/dpkg/status var/lib/dpkg/available
END
FROM scratch
COPY --from=full /small /
ENV PATH=/usr/sbin:/usr/bin
CMD ["sh"]
"#;

/// Makes the base image `small` from `debian` and pushes it.
pub fn push_small(registry: &str) {
    let context = scratch("small");
    std::fs::write(context.path().join("Dockerfile"), SMALL.replace("REGISTRY", registry)).unwrap();
    let setcap = zuwai_testkit::need::find_program("setcap").unwrap();
    std::fs::copy(setcap, context.path().join("setcap")).unwrap();
    let state = format!("--root-dir={}", context.path().join("state").display());
    let mut zuwai = zuwai_testkit::zuwai::zuwai();
    must_run(
        zuwai.args(["build", &state, "--push", "-t"]).arg(format!("{registry}/small")).arg(context.path()),
    );
}

/// `tool.deb`: a file of the user games, a setgid directory, a script that gives files away.
fn package(context: &Path) {
    let script = r#"
        set -e
        mkdir -p tree/DEBIAN tree/usr/bin tree/var/games/tool
        printf 'Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a test\n' > tree/DEBIAN/control
        printf '#!/bin/sh\nset -e\ntouch /var/games/tool/scores\nchown games:staff /var/games/tool/scores\nchmod 2755 /usr/bin/tool\n' > tree/DEBIAN/postinst
        printf '#!/bin/sh\necho tool\n' > tree/usr/bin/tool
        chmod 755 tree tree/DEBIAN tree/DEBIAN/postinst tree/usr tree/usr/bin tree/usr/bin/tool tree/var tree/var/games
        chown -R 0:0 tree
        chown 5:60 tree/usr/bin/tool
        chown 5:60 tree/var/games/tool
        chmod 2775 tree/var/games/tool
        dpkg-deb --build tree tool.deb
        rm -r tree
    "#;
    must_run(program("sh").args(["-c", script]).current_dir(context));
}
