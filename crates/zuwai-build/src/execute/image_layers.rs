//! The layers of images as trees stand on them: each unpacked once, into a directory of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use zuwai_layer::Digest;
use zuwai_oci::registry::Download;
use zuwai_oci::store::Store;
use zuwai_rootfs::overlay::{self, LayerDir, Room, Stack};
use zuwai_rootfs::unpack::{Adopted, Implied, LayerUnpacked, adopt_parents, unpack, unpack_layer_dir};

use super::Network;
use super::base::{self, StageLayer};
use super::made_once::MadeOnce;
use crate::error::{BuildError, StepError};

/// The unpacked layers of one build.
#[derive(Debug)]
pub struct ImageLayers {
    room: Arc<Room>,
    threads: usize,
    /// Layers that were unpacked without a look at those below, by chain ID.
    alone: MadeOnce<Digest, Alone>,
    /// Layers that fit those below, by chain ID.
    finished: MadeOnce<Digest, Arc<LayerDir>>,
}

/// A layer's directory as it was unpacked.
#[derive(Debug, Clone)]
struct Alone {
    directory: Arc<LayerDir>,
    /// What is to be compared with the layers below; `None` if the layer cannot be unpacked without them.
    implied: Option<Arc<Implied>>,
}

/// One of the layers of an image: it, its chain ID, and what brings it.
struct Wanted<'a> {
    layer: &'a StageLayer,
    chain_id: Digest,
    download: Option<Download>,
}

impl ImageLayers {
    /// Layers in this room, unpacked by as many threads.
    pub fn new(room: Arc<Room>, threads: usize) -> Self {
        Self { room, threads, alone: MadeOnce::default(), finished: MadeOnce::default() }
    }

    /// The stack of an image's layers. Those that nobody has unpacked yet are fetched all at once, and unpacked several at
    /// a time as their bytes arrive.
    ///
    /// # Errors
    /// When a layer cannot be fetched or unpacked, or is not what its digests say.
    pub fn stack(
        &self,
        layers: &[StageLayer],
        image: &str,
        store: &Store,
        network: Network<'_>,
    ) -> Result<Stack, BuildError> {
        let wanted: Vec<Wanted<'_>> = layers
            .iter()
            .zip(chain_ids(layers))
            .zip(base::downloads(layers, store, network))
            .map(|((layer, chain_id), download)| Wanted { layer, chain_id, download })
            .collect();
        let failed = |index, source| base::unpack_error(image, (index, layers.len()), source);
        self.unpack_alone(&wanted, store, network).map_err(|failure| failed(failure.0, failure.1))?;
        let mut stack = Stack::new(Arc::clone(&self.room));
        for (index, wanted) in wanted.iter().enumerate() {
            let made =
                self.finished.get_or_make(&wanted.chain_id, || self.finish(&stack, wanted, store, network));
            made.and_then(|layer| Ok(stack.push(layer)?)).map_err(|source| failed(index, source))?;
        }
        Ok(stack)
    }

    /// Unpacks each layer into a directory of its own. The error is of the lowest layer that failed.
    fn unpack_alone(
        &self,
        wanted: &[Wanted<'_>],
        store: &Store,
        network: Network<'_>,
    ) -> Result<(), Box<(usize, StepError)>> {
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<Box<(usize, StepError)>>> = Mutex::new(None);
        let failure_so_far = || failure.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || {
            // What is above a layer that failed is of no use.
            while failure_so_far().is_none() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(wanted) = wanted.get(index) else { return };
                let made = self.alone.get_or_make(&wanted.chain_id, || self.alone(wanted, store, network));
                if let Err(error) = made {
                    let mut failure = failure_so_far();
                    if failure.as_ref().is_none_or(|failure| index < failure.0) {
                        *failure = Some(Box::new((index, error)));
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(wanted.len()) {
                scope.spawn(work);
            }
            work();
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Unpacks a layer as its bytes arrive. If they were damaged on the way it is unpacked once more, from the store, when
    /// it is there whole.
    fn alone(&self, wanted: &Wanted<'_>, store: &Store, network: Network<'_>) -> Result<Alone, StepError> {
        match self.alone_from(wanted, wanted.download.as_ref(), store) {
            Err(StepError::Store(error)) if error.is_damage() => {
                tracing::warn!("{error}; unpacking the layer again");
                let again = base::downloads(std::slice::from_ref(wanted.layer), store, network);
                again.iter().flatten().try_for_each(Download::wait_blocking)?;
                self.alone_from(wanted, None, store)
            }
            done => done,
        }
    }

    fn alone_from(
        &self,
        wanted: &Wanted<'_>,
        download: Option<&Download>,
        store: &Store,
    ) -> Result<Alone, StepError> {
        let directory = self.room.layer()?;
        let root = directory.root()?;
        let unpacked =
            base::read_layer(wanted.layer, download, store, |reader| unpack_layer_dir(&root, reader))?;
        let implied = match unpacked {
            LayerUnpacked::Alone(unpacked) => {
                base::warn_of_refused(unpacked.refused);
                Some(Arc::new(unpacked.implied))
            }
            LayerUnpacked::NeedsBelow => None,
        };
        Ok(Alone { directory: Arc::new(directory), implied })
    }

    /// Makes a layer fit those below.
    fn finish(
        &self,
        below: &Stack,
        wanted: &Wanted<'_>,
        store: &Store,
        network: Network<'_>,
    ) -> Result<Arc<LayerDir>, StepError> {
        let alone = self.alone.get_or_make(&wanted.chain_id, || self.alone(wanted, store, network))?;
        if let Some(implied) = &alone.implied {
            let view =
                if below.layers().is_empty() || implied.is_empty() { None } else { Some(below.view()?) };
            let root = alone.directory.root()?;
            if let Adopted::Done = adopt_parents(view.as_ref(), &root, implied)? {
                return Ok(alone.directory);
            }
        }
        alone.directory.remove()?;
        let upper = below.upper()?;
        let view = below.writable(&upper)?;
        let unpacked = base::read_layer(wanted.layer, None, store, |reader| unpack(&view, reader))?;
        base::warn_of_refused(unpacked.refused);
        overlay::settle(view, &upper)?;
        Ok(Arc::new(upper))
    }
}

/// Each layer's chain ID, which names it together with all below
/// (<https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid>).
fn chain_ids(layers: &[StageLayer]) -> Vec<Digest> {
    let mut ids: Vec<Digest> = Vec::new();
    for layer in layers {
        let id = match ids.last() {
            Some(below) => Digest::of(format!("{below} {}", layer.diff_id).as_bytes()),
            None => layer.diff_id,
        };
        ids.push(id);
    }
    ids
}
