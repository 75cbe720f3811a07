//! What a transfer works with: the network, a place on disk, and the signal that ends it.

use std::cell::OnceCell;
use std::future::Future;
use std::path::{Path, PathBuf};

use tokio::runtime::Runtime;
use zuwai_oci::registry::{Registry, RegistryOptions};
use zuwai_oci::store::Store;
use zuwai_rootfs::signals::Interrupt;

use crate::error::BuildError;
use crate::network_runtime;
use crate::state_dir::StateDir;
use crate::stopping::unless_stopped;

/// One transfer's means.
pub struct Session<'a> {
    /// The client.
    pub registry: Registry,
    /// Its threads.
    pub runtime: Runtime,
    interrupt: &'a Interrupt,
    root_dir: PathBuf,
    /// Made when it is needed.
    kept: OnceCell<(Store, StateDir)>,
}

impl<'a> Session<'a> {
    /// Makes the client; nothing on disk yet.
    ///
    /// # Errors
    /// When the options make no sense, or the system refuses threads.
    pub fn start(
        options: &RegistryOptions,
        root_dir: &Path,
        interrupt: &'a Interrupt,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            runtime: network_runtime()?,
            registry: Registry::new(options.clone())?,
            interrupt,
            root_dir: root_dir.to_owned(),
            kept: OnceCell::new(),
        })
    }

    /// Does work on the network to its end, unless the program is told to stop.
    ///
    /// # Errors
    /// [`BuildError::Interrupted`]; what the work gives is within.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, BuildError> {
        self.runtime.block_on(unless_stopped(self.interrupt, work))
    }

    /// A store that goes when the transfer ends.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn store(&self) -> Result<Store, BuildError> {
        if let Some((store, _)) = self.kept.get() {
            return Ok(store.clone());
        }
        let state = StateDir::create(&self.root_dir)?;
        state.remove_when_given_up(self.interrupt);
        let store = self.stopping(Store::create(state.path().join("store"))?);
        Ok(self.kept.get_or_init(|| (store, state)).0.clone())
    }

    /// The store, which takes nothing more when the program is told to stop.
    pub fn stopping(&self, store: Store) -> Store {
        let closing = store.clone();
        self.interrupt.when_raised(move || closing.close());
        store
    }

    /// What came of the work: that it was told to stop, whatever else went wrong because of that.
    ///
    /// # Errors
    /// As the work, or [`BuildError::Interrupted`].
    pub fn settle<T>(&self, result: Result<T, BuildError>) -> Result<T, BuildError> {
        result.or_else(|error| self.interrupt.check().map_err(BuildError::Interrupted).and(Err(error)))
    }
}
