//! The flags of `zuwai build`: docker's and buildx's, those of podman and buildah that differ, and a few of our own.
//!
//! All of docker's are known. One whose work is not done yet is refused by name unless its value asks for what happens
//! anyway.

use crate::executor::flags::{
    CREDENTIAL_HELPERS, IMAGE_DOWNLOAD_RETRY, JOBS, PUSH_CHUNK_SIZE, PUSH_IGNORE_IMMUTABLE_TAG_ERRORS,
    PUSH_RETRY, REGISTRY_CERTIFICATE, REGISTRY_CLIENT_CERT, REGISTRY_MAP, REGISTRY_MIRROR,
    SKIP_DEFAULT_REGISTRY_FALLBACK, SKIP_PUSH_PERMISSION_CHECK,
};
use crate::flag_value::Kind::{Bool, CommaList, Int, List, Text, Word};
use crate::pflag::{Flag, flag};

const FALSE: &[&str] = &["false"];
const TRUE: &[&str] = &["true"];
const NEVER: &[&str] = &[];

/// The flags of `zuwai build`.
pub const BUILD: &[Flag] = &[
    // What is built.
    flag("file", Text, "the Dockerfile (default CONTEXT/Dockerfile); - for standard input").short('f'),
    flag("target", Text, "the stage to build"),
    flag("build-arg", List, "value of an ARG as NAME=value; NAME alone takes it from the environment"),
    flag(
        "build-context",
        List,
        "context in place of an image or a stage: NAME=DIRECTORY, docker-image://IMAGE, oci-layout://DIRECTORY, or an address",
    ),
    flag("label", List, "label of the image as NAME=value"),
    flag("secret", List, "secret for RUN --mount=type=secret: id=ID[,src=FILE][,env=VARIABLE]"),
    flag("ssh", List, "SSH agent for RUN --mount=type=ssh: default, or ID=SOCKET or ID=KEY[,KEY]"),
    flag("platform", CommaList, "the platform to build for, as linux/arm64"),
    // Where it goes.
    flag("tag", List, "name of the image, as NAME:TAG; repeat for several").short('t'),
    flag("output", List, "type=oci|docker|registry[,dest=FILE]; repeat for several").short('o'),
    flag("push", Bool, "push the image; the same as -o type=registry"),
    flag("iidfile", Text, "file to write the image's ID to"),
    flag("metadata-file", Text, "file to write what is known of the result to, as JSON"),
    // In place of a build.
    flag("check", Bool, "check the Dockerfile without building it; the same as --call=check"),
    flag("call", Text, "build, or check[,format=text|json][,ignorestatus=true]"),
    // How.
    JOBS,
    flag("isolation", Word("string", &["auto", "namespaces", "in-place"]), "where RUN runs").default("auto"),
    flag("root-dir", Text, "directory for everything builds keep on disk (default $XDG_DATA_HOME/zuwai)"),
    flag("force", Bool, "build in place although this does not look like a container"),
    flag("compression", Word("string", &["gzip", "zstd", "none"]), "compression of new layers")
        .default("gzip"),
    flag("compression-level", Int, "how hard new layers are compressed; -1 is fast").default("-1"),
    flag(
        "network",
        Word("string", &["default", "host", "none"]),
        "network of RUN: default and host, which are the same here, or none",
    )
    .default("default"),
    CREDENTIAL_HELPERS,
    flag("insecure", Bool, "push over plain HTTP"),
    flag("insecure-pull", Bool, "pull over plain HTTP"),
    flag("insecure-registry", List, "registry to talk plain HTTP to; repeat for several"),
    flag("skip-tls-verify", Bool, "push without checking the registry's certificate"),
    flag("skip-tls-verify-pull", Bool, "pull without checking the registry's certificate"),
    flag("skip-tls-verify-registry", List, "registry whose certificate is not checked; repeat for several"),
    REGISTRY_CERTIFICATE,
    REGISTRY_CLIENT_CERT,
    REGISTRY_MIRROR,
    REGISTRY_MAP,
    SKIP_DEFAULT_REGISTRY_FALLBACK,
    IMAGE_DOWNLOAD_RETRY,
    PUSH_RETRY,
    PUSH_CHUNK_SIZE,
    PUSH_IGNORE_IMMUTABLE_TAG_ERRORS,
    SKIP_PUSH_PERMISSION_CHECK,
    // What is said.
    flag(
        "progress",
        Word("string", &["auto", "plain", "quiet", "tty", "rawjson", "json"]),
        "form of the progress",
    )
    .default("auto")
    .later(&["auto", "plain", "quiet"]),
    flag("quiet", Bool, "print nothing but the image's digest").short('q'),
    flag("debug", Bool, "say more").short('D'),
    // True of every build.
    flag("no-cache", Bool, "use no cached layers").always_so("there is no cache yet"),
    flag("pull", Bool, "ask the registry for newer bases").always_so("registries are asked in every build"),
    flag("rm", Bool, "remove intermediate containers").default("true").later(TRUE),
    flag("force-rm", Bool, "remove intermediate containers of failed builds").always_so("nothing stays"),
    flag("compress", Bool, "compress the context").always_so("the context is not sent anywhere"),
    flag("tls-verify", Bool, "check certificates, as podman has it").default("true").later(TRUE),
    flag("layers", Bool, "keep a layer for every instruction, as podman has it").default("true").later(TRUE),
    flag("format", Word("string", &["oci", "docker"]), "media types of the image, as podman has it")
        .default("oci"),
    flag("provenance", Text, "provenance attestation").later(&["", "false"]),
    flag("sbom", Text, "SBOM attestation").later(&["", "false"]),
    flag("security-opt", List, "security options").later(NEVER),
    flag("load", Bool, "load the image into docker").later(FALSE),
    flag("squash", Bool, "squash new layers").later(FALSE),
    // Not done yet.
    flag("add-host", List, "line for /etc/hosts of RUN").later(NEVER),
    flag("allow", List, "entitlement of the build").later(NEVER),
    flag("annotation", List, "annotation of the image").later(NEVER),
    flag("attest", List, "attestation").later(NEVER),
    flag("authfile", Text, "file with credentials, as podman has it").later(&[""]),
    flag("builder", Text, "builder instance").later(&["", "default"]),
    flag("cache-from", List, "cache to read from").later(NEVER),
    flag("cache-to", List, "cache to write to").later(NEVER),
    flag("cache-ttl", Text, "age of cached layers").later(&[""]),
    flag("cap-add", List, "capability of RUN").later(NEVER),
    flag("cap-drop", List, "capability RUN shall not have").later(NEVER),
    flag("cgroup-parent", Text, "parent cgroup of RUN").later(&[""]),
    flag("cpu-period", Int, "limit of the CPU's period").later(&["0"]),
    flag("cpu-quota", Int, "limit of the CPU's quota").later(&["0"]),
    flag("cpu-shares", Int, "weight of the CPU").later(&["0"]),
    flag("cpuset-cpus", Text, "CPUs of RUN").later(&[""]),
    flag("cpuset-mems", Text, "memory nodes of RUN").later(&[""]),
    flag("creds", Text, "credentials, as podman has it").later(&[""]),
    flag("device", List, "device for RUN").later(NEVER),
    flag("ignorefile", Text, "file in place of .dockerignore").later(&[""]),
    flag("manifest", Text, "manifest list to add the image to").later(&[""]),
    flag("memory", Text, "limit of RUN's memory").short('m').later(&[""]),
    flag("memory-swap", Text, "limit of RUN's swap").later(&[""]),
    flag("no-cache-filter", List, "stages to use no cache for").later(NEVER),
    flag("policy", List, "policy of sources").later(NEVER),
    flag("shm-size", Text, "size of /dev/shm of RUN").later(&[""]),
    flag("source-date-epoch", Text, "time of everything in the image").later(&[""]),
    flag("timestamp", Text, "time of the image, as podman has it").later(&[""]),
    flag("ulimit", List, "limits of RUN").later(NEVER),
    flag("volume", List, "volume for RUN, as podman has it").short('v').later(NEVER),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pflag::parse;

    #[test]
    fn names_and_shorthands_are_unique() {
        let names: BTreeSet<_> = BUILD.iter().map(|flag| flag.name).collect();
        assert_eq!(names.len(), BUILD.len());
        let letters: Vec<_> = BUILD.iter().filter_map(|flag| flag.short).collect();
        assert_eq!(letters.iter().collect::<BTreeSet<_>>().len(), letters.len());
    }

    #[test]
    fn what_asks_for_nothing_new_is_taken() {
        let taken =
            ["--no-cache", "--pull", "--rm", "--network=default", "--provenance=false", "--progress=plain"];
        let parsed = parse(BUILD, taken.map(str::to_owned)).unwrap();
        assert!(parsed.refused().is_empty());
        let refused = ["--rm=false", "--load", "--progress=tty", "--cache-to=x"];
        let parsed = parse(BUILD, refused.map(str::to_owned)).unwrap();
        assert_eq!(parsed.refused().len(), refused.len());
    }
}
