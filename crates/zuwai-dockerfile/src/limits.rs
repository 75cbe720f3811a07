//! The bounds that hold against hostile input. All are far beyond what real Dockerfiles need.

/// The largest Dockerfile in bytes (BuildKit's bound is that of one gRPC message, 16 MiB).
pub const FILE_BYTES: usize = 16 << 20;

/// The longest line in bytes, as in BuildKit.
pub const LINE_BYTES: usize = 65_535;

/// The longest instruction in bytes once its continuation lines are joined.
pub const INSTRUCTION_BYTES: usize = 4 << 20;

/// How deep `${a:-${b:-...}}` may go.
pub const SUBSTITUTION_DEPTH: usize = 64;

/// The largest result of one expansion in bytes.
pub const EXPANSION_BYTES: usize = 16 << 20;

/// The most steps that all patterns (`${v%pattern}`) of one expansion may take together: the length of each times its
/// value's.
pub const PATTERN_STEPS: usize = 16 << 20;

/// How deep arrays and objects may go in the JSON form before it is no JSON any more.
pub const JSON_DEPTH: usize = 128;

/// How many stages one Dockerfile may have.
pub const STAGES: usize = 10_000;

/// How many errors are collected before parsing stops.
pub const ERRORS: usize = 20;
