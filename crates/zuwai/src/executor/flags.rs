//! The flags of `executor` and its subcommands: both kanikos' (`data/kaniko-flags.tsv`), and a few of our own.
//!
//! A flag whose work is not done yet is refused by name unless its value asks for what happens anyway. A flag that is
//! taken without effect says why that is right.

use crate::flag_value::Kind::{
    Bool, CommaList, Duration, GitOptions, Int, KeyMultiValues, KeyValues, List, Secret, Text, Word,
};
use crate::moving::IMAGE_FORMAT;
use crate::pflag::{Flag, flag, join};

const FALSE: &[&str] = &["false"];
const NEVER: &[&str] = &[];

// Flags that several commands have.
/// Who may have credentials beside the docker configuration.
pub const CREDENTIAL_HELPERS: Flag = flag(
    "credential-helpers",
    List,
    "who is asked for credentials after the docker configuration: env, google, ecr, acr, gitlab; repeat for several, empty for none (default all)",
);
/// Where `push` pushes to as well.
pub const DESTINATION: Flag =
    flag("destination", List, "name to push the image to; repeat for several").short('d');
/// The flags of `zuwai build` have it too, as those below that are public.
pub const IMAGE_DOWNLOAD_RETRY: Flag =
    flag("image-download-retry", Int, "how often a failed download is tried again; at least 4 times");
const INSECURE: Flag = flag("insecure", Bool, "push over plain HTTP");
const INSECURE_PULL: Flag = flag("insecure-pull", Bool, "pull over plain HTTP");
pub const INSECURE_REGISTRY: Flag =
    flag("insecure-registry", List, "registry to talk plain HTTP to; repeat for several");
/// `buildah build` has it too; there 0 is no limit.
pub const JOBS: Flag =
    flag("jobs", Int, "how many independent stages are built side by side; 0 is one a processor");
const LOG_FORMAT: Flag = flag("log-format", Text, "form of log lines: text, color or json").default("color");
const LOG_TIMESTAMP: Flag = flag("log-timestamp", Bool, "log full time stamps");
pub const PUSH_IGNORE_IMMUTABLE_TAG_ERRORS: Flag =
    flag("push-ignore-immutable-tag-errors", Bool, "an immutable tag that exists is no error");
pub const PUSH_CHUNK_SIZE: Flag = flag(
    "push-chunk-size",
    Text,
    "most bytes of a layer in one request, as 50m, for proxies that refuse large bodies",
);
pub const PUSH_RETRY: Flag =
    flag("push-retry", Int, "how often a failed push is tried again; at least 4 times");
pub const REGISTRY_CERTIFICATE: Flag = flag(
    "registry-certificate",
    KeyValues,
    "certificates to trust for a registry: REGISTRY=FILE; repeat for several",
);
pub const REGISTRY_CLIENT_CERT: Flag = flag(
    "registry-client-cert",
    KeyValues,
    "certificate to show to a registry: REGISTRY=CERTIFICATE,KEY; repeat for several",
);
pub const REGISTRY_MAP: Flag = flag(
    "registry-map",
    KeyMultiValues,
    "where to pull a registry's images from: REGISTRY=HOST[/PATH][;...]; repeat for several",
)
.environment("KANIKO_REGISTRY_MAP");
pub const REGISTRY_MIRROR: Flag =
    flag("registry-mirror", List, "mirror of Docker Hub: HOST[/PATH]; repeat for several")
        .environment("KANIKO_REGISTRY_MIRROR");
pub const SKIP_DEFAULT_REGISTRY_FALLBACK: Flag =
    flag("skip-default-registry-fallback", Bool, "do not ask a registry itself when its mirrors fail");
pub const SKIP_PUSH_PERMISSION_CHECK: Flag =
    flag("skip-push-permission-check", Bool, "do not check first that the push will be allowed");
const SKIP_TLS_VERIFY: Flag =
    flag("skip-tls-verify", Bool, "push without checking the registry's certificate");
const SKIP_TLS_VERIFY_PULL: Flag =
    flag("skip-tls-verify-pull", Bool, "pull without checking the registry's certificate");
pub const SKIP_TLS_VERIFY_REGISTRY: Flag =
    flag("skip-tls-verify-registry", List, "registry whose certificate is not checked; repeat for several");

/// The flags of `executor`.
pub const EXECUTOR: &[Flag] = &[
    flag("annotation", KeyValues, "annotation of the image's manifest; repeat for several").later(NEVER),
    flag("build-arg", List, "value of an ARG as NAME=value; NAME alone takes it from the environment"),
    flag("cache", Bool, "use a cache of layers").later(FALSE),
    flag("cache-copy-layers", Bool, "cache the layers of COPY too").only_with("cache"),
    flag("cache-dir", Text, "directory with base images that the warmer fetched")
        .default("/cache")
        .only_with("cache"),
    flag("cache-repo", Text, "repository of the layer cache").only_with("cache"),
    flag("cache-run-layers", Bool, "cache the layers of RUN").default("true").only_with("cache"),
    flag("cache-ttl", Duration, "how long cached layers are good").default("336h0m0s").only_with("cache"),
    flag("cleanup", Bool, "clear the file system after the build")
        .environment("KANIKO_CLEANUP")
        .always_so("a build leaves the container's file system as it found it, so that another can follow"),
    flag("compressed-caching", Bool, "compress cached layers in memory")
        .default("true")
        .always_so("no layer is ever held in memory"),
    flag("compression", Word("compression", &["gzip", "zstd"]), "compression of new layers: gzip or zstd"),
    flag("compression-level", Int, "how hard new layers are compressed; -1 is fast").default("-1"),
    flag("context", Text, "the build's context: a directory, or dir://DIRECTORY")
        .short('c')
        .default("/workspace/"),
    flag("context-sub-path", Text, "directory inside the context that is the context proper"),
    CREDENTIAL_HELPERS,
    flag("custom-platform", Text, "the platform to build for, as linux/arm64"),
    flag("customPlatform", Text, "old name of --custom-platform").deprecated_for("custom-platform"),
    DESTINATION,
    flag("digest-file", Text, "file to write the image's digest to"),
    flag("dockerfile", Text, "the Dockerfile, relative to the context").short('f').default("Dockerfile"),
    flag("dryrun", Bool, "print what would be done").later(FALSE),
    flag("force", Bool, "build although this does not look like a container"),
    flag("force-build-metadata", Bool, "write the history of instructions that change no file")
        .always_so("the image's history has every instruction"),
    flag("git", GitOptions, "how a git context is fetched")
        .default("branch=,single-branch=false,depth=0,recurse-submodules=false,insecure-skip-tls=false")
        .only_with("context=git://..."),
    flag("ignore-path", List, "path that never becomes part of a layer; repeat for several"),
    flag("ignore-var-run", Bool, "leave what the container has in /var/run out of the image")
        .default("true")
        .always_so("what is mounted there never reaches a layer, what the image has there is the image's"),
    IMAGE_DOWNLOAD_RETRY,
    IMAGE_FORMAT,
    flag(
        "image-fs-extract-retry",
        Int,
        "how often a layer that fails while it is downloaded and unpacked is tried again; at least 4 times",
    ),
    flag("image-name-tag-with-digest-file", Text, "file to write NAME:TAG@DIGEST of every destination to"),
    flag("image-name-with-digest-file", Text, "file to write NAME@DIGEST of every destination to"),
    INSECURE,
    INSECURE_PULL,
    INSECURE_REGISTRY,
    flag("kaniko-dir", Text, "directory for everything the build keeps on disk")
        .default("/kaniko")
        .environment("KANIKO_DIR"),
    flag("label", List, "label of the image as NAME=value; repeat for several"),
    LOG_FORMAT,
    LOG_TIMESTAMP,
    flag("materialize", Bool, "leave the image's files in / after the build, which is in place then"),
    flag("no-push", Bool, "do not push the image").environment("KANIKO_NO_PUSH"),
    flag("no-push-cache", Bool, "do not push to the layer cache").only_with("cache"),
    flag("oci-layout-path", Text, "directory to write the image to as an OCI layout"),
    flag("pre-cleanup", Bool, "clear the file system before the build")
        .environment("KANIKO_PRE_CLEANUP")
        .always_so("a build starts from an empty root, whatever the container holds"),
    flag("preserve-context", Bool, "keep the context intact through the build")
        .environment("KANIKO_PRESERVE_CONTEXT")
        .always_so("a build never changes its context"),
    PUSH_IGNORE_IMMUTABLE_TAG_ERRORS,
    PUSH_RETRY,
    REGISTRY_CERTIFICATE,
    REGISTRY_CLIENT_CERT,
    REGISTRY_MAP,
    REGISTRY_MIRROR,
    flag("reproducible", Bool, "leave time stamps out of the image").later(FALSE),
    flag("secret", Secret, "secret for RUN --mount=type=secret: id=ID[,src=FILE][,env=VARIABLE]"),
    flag("single-snapshot", Bool, "make one layer of all that a stage changes"),
    SKIP_DEFAULT_REGISTRY_FALLBACK,
    SKIP_PUSH_PERMISSION_CHECK,
    SKIP_TLS_VERIFY,
    SKIP_TLS_VERIFY_PULL,
    SKIP_TLS_VERIFY_REGISTRY,
    flag("skip-unused-stages", Bool, "build only stages the image needs").always_so("others are never built"),
    flag("snapshot-mode", Word("string", &["full", "redo", "time"]), "how changed files are found")
        .default("full")
        .always_so("every change is found, and files are read only where their times do not tell"),
    flag("snapshotMode", Word("string", &["full", "redo", "time"]), "old name of --snapshot-mode")
        .deprecated_for("snapshot-mode"),
    flag("ssh", List, "SSH agent for RUN --mount=type=ssh: default, or ID=SOCKET or ID=KEY[,KEY]"),
    flag("tar-path", Text, "file to write the image to as a docker archive"),
    flag("tarPath", Text, "old name of --tar-path").deprecated_for("tar-path"),
    flag("target", CommaList, "the stage to build"),
    flag("use-new-run", Bool, "find changes without a snapshot before each RUN").always_so("there is none"),
    flag("verbosity", Text, "what is logged: trace, debug, info, warn, error, fatal or panic")
        .short('v')
        .default("info"),
    // Zuwai's own.
    flag(
        "build-context",
        List,
        "context in place of an image or a stage: NAME=DIRECTORY, docker-image://IMAGE, oci-layout://DIRECTORY, or an address",
    ),
    JOBS,
    flag("isolation", Word("string", &["auto", "namespaces", "in-place"]), "where RUN runs").default("auto"),
    PUSH_CHUNK_SIZE,
];

/// How registries are reached: the flags of every command that talks to them and builds nothing.
pub const REGISTRY: &[Flag] = &[
    CREDENTIAL_HELPERS,
    IMAGE_DOWNLOAD_RETRY,
    INSECURE,
    INSECURE_PULL,
    INSECURE_REGISTRY,
    PUSH_CHUNK_SIZE,
    PUSH_RETRY,
    REGISTRY_CERTIFICATE,
    REGISTRY_CLIENT_CERT,
    REGISTRY_MAP,
    REGISTRY_MIRROR,
    SKIP_DEFAULT_REGISTRY_FALLBACK,
    SKIP_TLS_VERIFY,
    SKIP_TLS_VERIFY_PULL,
    SKIP_TLS_VERIFY_REGISTRY,
];

/// The flags of `executor push`.
pub const PUSH: &[Flag] = &join::<{ PUSH_OWN.len() + REGISTRY.len() }>(PUSH_OWN, REGISTRY);

const PUSH_OWN: &[Flag] = &[DESTINATION, PUSH_IGNORE_IMMUTABLE_TAG_ERRORS, SKIP_PUSH_PERMISSION_CHECK];

/// The flags of `executor login`.
pub const LOGIN: &[Flag] = &[
    flag("password", Text, "the password").short('p'),
    flag("password-stdin", Bool, "read the password from standard input"),
    flag("username", Text, "the user's name").short('u'),
];

/// The flags of `warmer`.
pub const WARMER: &[Flag] = &[
    flag("build-arg", List, "value of an ARG as NAME=value"),
    flag("cache-dir", Text, "directory to keep base images in").short('c').default("/cache"),
    flag("cache-ttl", Duration, "how long cached images are good").default("336h0m0s"),
    flag("customPlatform", Text, "the platform to fetch images for"),
    flag("dockerfile", Text, "Dockerfile whose base images are fetched").short('d'),
    flag("force", Bool, "fetch images that are there already").short('f'),
    flag("image", List, "image to fetch; repeat for several").short('i'),
    INSECURE_PULL,
    INSECURE_REGISTRY,
    LOG_FORMAT,
    LOG_TIMESTAMP,
    REGISTRY_CERTIFICATE,
    REGISTRY_CLIENT_CERT,
    REGISTRY_MAP,
    REGISTRY_MIRROR,
    SKIP_DEFAULT_REGISTRY_FALLBACK,
    SKIP_TLS_VERIFY_PULL,
    SKIP_TLS_VERIFY_REGISTRY,
    flag("verbosity", Text, "what is logged: trace, debug, info, warn, error, fatal or panic")
        .short('v')
        .default("info"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pflag::{Support, parse};

    /// A value each type of kaniko's takes.
    fn example(kind: &str) -> &'static str {
        match kind {
            "bool" => "true",
            "int" => "3",
            "duration" => "1h",
            "key-value-arg" | "key-multi-value-arg" => "key=value",
            "compression" => "zstd",
            "imageformat" => "docker",
            "gitoptions" => "branch=main",
            _ => "full",
        }
    }

    #[test]
    fn every_kaniko_flag_is_taken_or_refused_by_name() {
        let mut seen = BTreeSet::new();
        for line in include_str!("../../data/kaniko-flags.tsv").lines().skip(1) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [command, name, short, kind, default, variable, _] = columns[..] else {
                panic!("not seven columns: {line:?}");
            };
            seen.insert((command, name));
            let table = match command {
                "executor" => EXECUTOR,
                "executor push" => PUSH,
                "executor login" => LOGIN,
                "warmer" => WARMER,
                other => panic!("no such command: {other}"),
            };
            let place = format!("{command} --{name}");
            let flag =
                table.iter().find(|flag| flag.name == name).unwrap_or_else(|| panic!("unknown: {place}"));
            assert_eq!(flag.short.map(|letter| format!("-{letter}")).unwrap_or_default(), short, "{place}");
            let kind_name = if name == "destination" || kind != "strings" { kind } else { "strings" };
            assert_eq!(flag.kind.name(), kind_name, "{place}");
            assert_eq!(flag.environment.unwrap_or_default(), variable, "{place}");
            // The table leaves out zero values, and documents a form where --secret has no default.
            if !default.is_empty() && name != "secret" {
                assert_eq!(flag.default, default, "{place}");
            }

            let value = example(kind);
            let parsed = parse(table, [format!("--{name}={value}")])
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            let refused = parsed.refused();
            match flag.support {
                Support::Later(_) => assert_eq!(refused, [format!("--{name}")], "{place}"),
                _ => assert!(refused.is_empty(), "{place}: {refused:?}"),
            }
        }
        assert_eq!(seen.len(), 105, "the table of kaniko's flags has changed");
    }

    #[test]
    fn no_default_is_refused() {
        for table in [EXECUTOR, PUSH, LOGIN, WARMER] {
            for flag in table {
                let Support::Later(harmless) = flag.support else { continue };
                if !flag.kind.appends() {
                    assert!(flag.kind.is_among(flag.default, harmless), "--{}", flag.name);
                }
            }
        }
    }

    #[test]
    fn names_and_shorthands_are_unique() {
        for table in [EXECUTOR, PUSH, LOGIN, WARMER] {
            let names: BTreeSet<_> = table.iter().map(|flag| flag.name).collect();
            assert_eq!(names.len(), table.len());
            let letters: Vec<_> = table.iter().filter_map(|flag| flag.short).collect();
            assert_eq!(letters.iter().collect::<BTreeSet<_>>().len(), letters.len());
        }
    }
}
