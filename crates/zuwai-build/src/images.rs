//! The images that a build starts from: resolved once each, several at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Runtime;
use zuwai_oci::config::ImageConfig;
use zuwai_oci::error::OciError;
use zuwai_oci::image::Image;
use zuwai_oci::registry::Registry;

use crate::error::BuildError;
use crate::plan::planner::{Images, WantedImage};
use crate::plan::{ImageKey, ImageSource};

/// Images as registries and OCI layouts have them, each asked for once a build.
pub struct RegistryImages<'a> {
    runtime: &'a Runtime,
    registry: &'a Registry,
    resolved: Mutex<HashMap<ImageKey, Arc<Image>>>,
}

impl<'a> RegistryImages<'a> {
    /// Nothing resolved yet.
    pub fn new(runtime: &'a Runtime, registry: &'a Registry) -> Self {
        Self { runtime, registry, resolved: Mutex::default() }
    }

    /// Resolves images that are not yet, all at once.
    ///
    /// # Errors
    /// When one cannot be had; the first of them in the given order is named.
    pub fn resolve(&self, images: &[WantedImage]) -> Result<(), BuildError> {
        let mut open: Vec<&WantedImage> = Vec::new();
        for wanted in images {
            if !self.lock().contains_key(&wanted.image)
                && !open.iter().any(|other| other.image == wanted.image)
            {
                open.push(wanted);
            }
        }
        let requests: Vec<_> = open
            .iter()
            .map(|WantedImage { name, image, .. }| {
                tracing::info!("Retrieving image manifest {name}");
                match &image.source {
                    ImageSource::Registry(reference) => {
                        tracing::info!("Retrieving image {name} from registry {}", reference.registry());
                    }
                    ImageSource::Layout(layout) => tracing::info!("Retrieving image {name} from {layout}"),
                }
                let (registry, image) = (self.registry.clone(), image.clone());
                self.runtime.spawn(async move { resolve(&registry, &image).await })
            })
            .collect();
        for (WantedImage { image, at, .. }, request) in open.into_iter().zip(requests) {
            let answer = self.runtime.block_on(request).map_err(|error| BuildError::Runtime(error.into()))?;
            let resolved = answer.map_err(|source| {
                let error = BuildError::Image { image: Box::new(image.clone()), source: Box::new(source) };
                match at {
                    Some(at) => BuildError::At { at: at.clone(), source: Box::new(error) },
                    None => error,
                }
            })?;
            self.lock().insert(image.clone(), Arc::new(resolved));
        }
        Ok(())
    }

    /// An image, resolved now if it was not.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn get(&self, image: &ImageKey) -> Result<Arc<Image>, BuildError> {
        loop {
            if let Some(resolved) = self.lock().get(image) {
                return Ok(Arc::clone(resolved));
            }
            let name = image.source.familiar();
            self.resolve(&[WantedImage { name, image: image.clone(), at: None }])?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ImageKey, Arc<Image>>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn resolve(registry: &Registry, image: &ImageKey) -> Result<Image, OciError> {
    match &image.source {
        ImageSource::Registry(reference) => Ok(registry.resolve(reference, &image.platform).await?.image),
        // A few small files: not worth a thread of their own.
        ImageSource::Layout(layout) => layout.resolve(&image.platform),
    }
}

impl Images for RegistryImages<'_> {
    fn config(&self, image: &ImageKey) -> Result<Arc<ImageConfig>, BuildError> {
        Ok(Arc::new(self.get(image)?.config().clone()))
    }
}
