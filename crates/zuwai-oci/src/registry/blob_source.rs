//! Where the bytes of a blob come from that is being sent.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::descriptor::Descriptor;
use crate::error::OciError;
use crate::reference::Reference;
use crate::registry::Registry;
use crate::registry::body::{Body, FilePart, OnceBody};
use crate::registry::download::pull_request;
use crate::store::Store;

/// The bytes of a blob, from any offset on.
pub(super) enum BlobSource<'a> {
    /// The store has it.
    Store(&'a Store, &'a Descriptor),
    /// It is in a registry, and goes from there to the other without staying here. Its digest is the receiver's to check.
    Registry(&'a Registry, &'a Reference, &'a Descriptor),
}

impl BlobSource<'_> {
    /// A part of the blob as a body. What is taken of it to be sent is counted in `moved`.
    pub(super) async fn body(
        &self,
        offset: u64,
        length: u64,
        moved: Arc<AtomicU64>,
    ) -> Result<Body, OciError> {
        match self {
            Self::Store(store, blob) => {
                Ok(Body::File(FilePart { path: store.blob_path(&blob.digest), offset, length, moved }))
            }
            Self::Registry(registry, origin, blob) => {
                let mut tour = registry.blob_tour(origin, blob.digest);
                while let Some(place) = tour.next() {
                    let request = pull_request(&place, blob);
                    match registry.open_blob_part(&place, blob, offset, length, &request).await {
                        Ok(part) => return Ok(Body::Stream(OnceBody::new(part, length, moved))),
                        Err(error) => tour.failed(place, error),
                    }
                }
                Err(tour.error())
            }
        }
    }
}
