//! Arguments that exist without being declared, and what declaring them does.
//!
//! The rules are BuildKit's:
//! - Before the first FROM the platform arguments have values; an ARG there adds to them or, for a name that is given
//!   from outside, takes that value. FROM lines see all of these, stages none.
//! - In a stage `ARG name` gives the value from outside, else its default, else the value from before the first FROM. It
//!   holds from there on, also in stages built on this one. Of several in one line each sees those before it.
//! - ENV and ARG of one name: the later one counts; an ARG without any value changes nothing. Only ENV reaches the image.
//! - `TARGETSTAGE` is the name of the stage that is built, as `--target` gives it; `default` where it has none.
//! - Proxy arguments given from outside are in the environment of every RUN.

/// Proxy arguments: in the environment of RUN without ARG, and neither in history nor in cache keys unless declared.
pub const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Platform arguments: known to FROM lines, and to a stage that declares them by ARG.
pub const PLATFORM_ARGS: [&str; 11] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "BUILDOSVERSION",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETOSVERSION",
    "TARGETSTAGE",
];

/// Arguments that speak to the builder: even when declared they are not in the environment of RUN.
pub const BUILDER_ARGS: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Whether a name is one of the proxy arguments.
pub fn is_proxy_arg(name: &str) -> bool {
    PROXY_ARGS.contains(&name)
}

/// Whether a name is one of the platform arguments.
pub fn is_platform_arg(name: &str) -> bool {
    PLATFORM_ARGS.contains(&name)
}

/// Whether a name is one that speaks to the builder only.
pub fn is_builder_arg(name: &str) -> bool {
    BUILDER_ARGS.contains(&name)
}
