//! SSH agents of a build: what `RUN --mount=type=ssh` hands to a command.
//!
//! An [`SshAgent`] is opened when the build starts, before anything is unpacked: an agent's socket, or private keys,
//! which then stay in memory. [`serve`] gives a step a socket of its own that speaks the agent protocol. Through it a
//! command can list keys and have data signed, as with BuildKit; it can neither add or remove keys nor lock the agent,
//! and never sees a private key.
//!
//! In reading order:
//! - `wire`: messages and what they are made of
//! - `protocol`: which requests there are, and answers from keys
//! - `key`, `openssh`, `ecdsa`, `rsa`: private keys in files, and signing
//! - `upstream`: the user's own agent
//! - `listener`, `serving`: a step's socket and the threads behind it

mod ecdsa;
mod key;
mod listener;
mod openssh;
mod protocol;
mod rsa;
mod serving;
mod upstream;
mod wire;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use self::key::Key;
use self::upstream::Upstream;

pub use self::key::KeyError;
pub use self::serving::{Serving, serve};

/// The ID of an agent that has no other: BuildKit's.
pub const DEFAULT_ID: &str = "default";

/// No file with a private key is larger, in bytes: BuildKit's limit.
const KEY_FILE_LIMIT: u64 = 100 << 10;

/// One agent. Copies are the same agent.
#[derive(Debug, Clone)]
pub struct SshAgent {
    source: Arc<Source>,
}

/// Where signatures come from.
#[derive(Debug)]
enum Source {
    Upstream(Upstream),
    Keys(Vec<Key>),
}

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// There is no such file, or it cannot be opened.
    #[error("failed to open {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("failed to read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The file is neither an agent's socket nor a private key that can be used.
    #[error("failed to parse {path}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// Something comes after an agent's socket.
    #[error("only single socket allowed")]
    OneSocket,
    /// An agent's socket comes after keys.
    #[error("invalid combination of keys and sockets")]
    KeysAndSocket,
    /// Two agents have the same ID.
    #[error("duplicate agent ID {0:?}")]
    Duplicate(String),
    /// The socket of a step cannot be made.
    #[error("cannot serve the SSH agent at {path}", path = path.display())]
    Serve {
        /// Where it was to be.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

impl SshAgent {
    /// Opens an agent's socket, or reads private keys without a passphrase: OpenSSH's format, PKCS#8, PKCS#1 (RSA) or
    /// SEC 1 (elliptic curves). One socket, or any number of keys.
    ///
    /// # Errors
    /// When a path is neither, with BuildKit's words.
    pub fn open<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, SshError> {
        let (mut socket, mut keys) = (None, Vec::<Key>::new());
        for path in paths {
            let path = path.as_ref();
            if socket.is_some() {
                return Err(SshError::OneSocket);
            }
            let opened = Upstream::open(path);
            socket = opened.map_err(|source| SshError::Open { path: path.to_owned(), source })?;
            if socket.is_none() {
                let key = read_key(path)?;
                if !keys.iter().any(|known| known.public_blob() == key.public_blob()) {
                    keys.push(key);
                }
            }
        }
        let source = match socket {
            Some(_) if !keys.is_empty() => return Err(SshError::KeysAndSocket),
            Some(socket) => Source::Upstream(socket),
            None => Source::Keys(keys),
        };
        Ok(Self { source: Arc::new(source) })
    }
}

fn read_key(path: &Path) -> Result<Key, SshError> {
    let file = File::open(path).map_err(|source| SshError::Open { path: path.to_owned(), source })?;
    // As large as it may become: a buffer that grows would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(KEY_FILE_LIMIT as usize));
    file.take(KEY_FILE_LIMIT)
        .read_to_end(&mut text)
        .map_err(|source| SshError::Read { path: path.to_owned(), source })?;
    Key::parse(&text).map_err(|source| SshError::Parse { path: path.to_owned(), source })
}

/// The agents of a build by their IDs.
#[derive(Debug, Default)]
pub struct SshAgents(BTreeMap<String, SshAgent>);

impl SshAgents {
    /// Adds an agent.
    ///
    /// # Errors
    /// When there is one with this ID.
    pub fn insert(&mut self, id: &str, agent: SshAgent) -> Result<(), SshError> {
        match self.0.insert(id.to_owned(), agent) {
            None => Ok(()),
            Some(_) => Err(SshError::Duplicate(id.to_owned())),
        }
    }

    /// The agent of this ID, if there is one. A mount without an ID means [`DEFAULT_ID`].
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&SshAgent> {
        self.0.get(id)
    }
}
