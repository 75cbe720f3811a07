//! SSH agents for commands, with OpenSSH's own programs on both sides.

#![allow(clippy::unwrap_used)]

mod agents;
mod keys;
mod scene;
mod sockets;
