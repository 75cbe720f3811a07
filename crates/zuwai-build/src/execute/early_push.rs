//! Layers of the image to be, on their way to its destinations while later steps run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use zuwai_oci::reference::Reference;
use zuwai_oci::registry::Registry;
use zuwai_oci::store::Store;

use super::base::StageLayer;
use crate::request::Outputs;

/// Sends layers that are finished. What fails here is told nobody: the push at the end tries again what is missing then,
/// and waits for what is still on its way. Dropped, it ends what it began.
pub struct EarlyPush<'a> {
    runtime: &'a Runtime,
    registry: &'a Registry,
    store: &'a Store,
    outputs: &'a Outputs,
    sending: Mutex<JoinSet<()>>,
}

impl<'a> EarlyPush<'a> {
    /// For these outputs; nothing is sent before a layer is given.
    pub fn new(runtime: &'a Runtime, registry: &'a Registry, store: &'a Store, outputs: &'a Outputs) -> Self {
        Self { runtime, registry, store, outputs, sending: Mutex::default() }
    }

    /// Begins to send a layer to every destination, and returns at once.
    pub fn begin(&self, layer: &StageLayer) {
        if self.outputs.push.is_empty() || layer.descriptor.media_type.is_foreign_layer() {
            return;
        }
        let _guard = self.runtime.enter();
        let (blob, origin) = (&layer.descriptor, &layer.origin);
        let fetched = origin.as_ref().filter(|_| self.is_kept() && !self.store.contains(&blob.digest));
        // Kept by the uploads below, which wait for it.
        let download = fetched.map(|origin| self.registry.download(origin, blob, self.store));
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        while sending.try_join_next().is_some() {}
        for destinations in self.by_registry().into_values() {
            let (registry, store) = (self.registry.clone(), self.store.clone());
            let (blob, origin, download) = (blob.clone(), origin.clone(), download.clone());
            sending.spawn(async move {
                // One after the other: what the first repository has, the next ones mount.
                for destination in destinations {
                    if let Err(error) = registry.push_blob(&destination, &blob, &store, origin.as_ref()).await
                    {
                        tracing::debug!("{error}: left to the push at the end");
                    }
                }
                drop(download);
            });
        }
    }

    fn by_registry(&self) -> BTreeMap<&str, Vec<Reference>> {
        let mut registries: BTreeMap<&str, Vec<Reference>> = BTreeMap::new();
        for destination in &self.outputs.push {
            registries.entry(destination.registry()).or_default().push(destination.clone());
        }
        registries
    }

    /// Whether a layer that nobody unpacks is to be in the store all the same: an archive needs it, or it goes to several
    /// registries.
    fn is_kept(&self) -> bool {
        self.outputs.needs_layers() || self.by_registry().len() > 1
    }
}
