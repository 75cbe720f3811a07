//! Real parts for Zuwai's tests: registries, a BuildKit to compare with, base images, podman, and a comparer of images.
//!
//! Nothing here imitates: a registry is Debian's `docker-registry`, the oracle is the Docker Engine's BuildKit, a container is
//! podman's. Only what no real server can be made to do is ours: [`fault_registry`], in which things go wrong on command. Everything listens on 127.0.0.1, lives in a folder of its own, and ends with the test process that started it. The
//! comparer shares no code with the crates under test, so that a mistake of theirs is not repeated here.
//!
//! This crate is for tests only: a part that cannot be had panics with what is missing. A test asks [`need::needs`] first, which
//! says on the terminal why a test is skipped, or fails it where `ZUWAI_TEST_REQUIRE_ALL=1` says that nothing may be skipped.
//!
//! The tests that use it, in `tests/`:
//! - `differential`: every Dockerfile of `cases/` equals BuildKit's image, on this machine and in containers
//!   (`ZUWAI_CASE=copy,env` takes the cases with these words in their names);
//! - `beyond_buildkit`: where they differ on purpose;
//! - `in_place`, `gitlab`: builds in the `/` of containers that have files of their own, and what they leave;
//! - `containers`, `labs`: the executor image in Docker's, Kubernetes' and podman's environments, and as tutorials use it;
//! - `environments`: what can be built where: `docs/environments.md`;
//! - `registries`, `fault_registry`, `oracle`: the parts themselves are what they say.
//!
//! `ZUWAI_BIN` names another binary to test than the one cargo built. What is slow to make (base images, the oracle's root) is
//! kept between runs, see [`cache`].
//!
//! Reading order: [`need`], [`command`], [`server`], [`cache`]; [`certificates`], [`http`], [`token`], [`registry`], [`fault_registry`], [`tcp_fault`]; [`archive`],
//! [`layout`], [`base`]; [`image`], [`tree`], [`compare`]; [`oracle`], [`podman`], [`runsc`], [`containerd`]; [`web`]; [`case`], [`zuwai`],
//! [`private`].

// Tests stop at the first thing that is not as it should be; their files are their own and small.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::disallowed_methods)]

pub mod archive;
pub mod base;
pub mod cache;
pub mod case;
pub mod certificates;
pub mod command;
pub mod compare;
pub mod containerd;
pub mod fault_registry;
pub mod forward_proxy;
pub mod http;
pub mod image;
pub mod layout;
pub mod need;
pub mod nginx;
pub mod object_store;
pub mod oracle;
pub mod podman;
pub mod private;
pub mod registry;
pub mod runsc;
pub mod server;
pub mod tcp_fault;
pub mod token;
pub mod tree;
pub mod web;
pub mod zuwai;

pub use registry::{Registry, RegistryOptions};
