//! Images to and from real registries, archives read by other tools, and servers that misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs)]

mod archives;
mod authentication;
mod clouds;
mod credentials_matrix;
mod cuts;
mod exchange;
mod fault_matrix;
mod faults;
mod places;
mod proxies;
mod quirks;
mod real_parts;
mod sample;
mod stub;
mod tls;
mod transfers;
