//! The images that a build starts from: resolved once each, several at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Runtime;
use zuwai_oci::config::ImageConfig;
use zuwai_oci::registry::{Registry, ResolvedImage};

use crate::error::BuildError;
use crate::plan::ImageKey;
use crate::plan::planner::Images;

/// Images as registries have them, each asked for once a build.
pub struct RegistryImages<'a> {
    runtime: &'a Runtime,
    registry: &'a Registry,
    resolved: Mutex<HashMap<ImageKey, Arc<ResolvedImage>>>,
}

impl<'a> RegistryImages<'a> {
    /// Nothing resolved yet.
    pub fn new(runtime: &'a Runtime, registry: &'a Registry) -> Self {
        Self { runtime, registry, resolved: Mutex::default() }
    }

    /// Resolves images that are not yet, all at once. Each comes with its name as the Dockerfile has it, for the log.
    ///
    /// # Errors
    /// When one cannot be had; the first of them in the given order is named.
    pub fn resolve(&self, images: &[(String, ImageKey)]) -> Result<(), BuildError> {
        let mut open: Vec<&(String, ImageKey)> = Vec::new();
        for image in images {
            if !self.lock().contains_key(&image.1) && !open.iter().any(|(_, other)| *other == image.1) {
                open.push(image);
            }
        }
        let requests: Vec<_> = open
            .iter()
            .map(|(name, image)| {
                tracing::info!("Retrieving image manifest {name}");
                tracing::info!("Retrieving image {name} from registry {}", image.reference.registry());
                let (registry, image) = (self.registry.clone(), image.clone());
                self.runtime.spawn(async move { registry.resolve(&image.reference, &image.platform).await })
            })
            .collect();
        for ((_, image), request) in open.into_iter().zip(requests) {
            let answer = self.runtime.block_on(request).map_err(|error| BuildError::Runtime(error.into()))?;
            let resolved = answer.map_err(|source| BuildError::Image {
                image: Box::new(image.clone()),
                source: Box::new(source),
            })?;
            self.lock().insert(image.clone(), Arc::new(resolved));
        }
        Ok(())
    }

    /// An image, resolved now if it was not.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn get(&self, image: &ImageKey) -> Result<Arc<ResolvedImage>, BuildError> {
        loop {
            if let Some(resolved) = self.lock().get(image) {
                return Ok(Arc::clone(resolved));
            }
            self.resolve(&[(image.reference.familiar(), image.clone())])?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ImageKey, Arc<ResolvedImage>>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Images for RegistryImages<'_> {
    fn config(&self, image: &ImageKey) -> Result<Arc<ImageConfig>, BuildError> {
        Ok(Arc::new(self.get(image)?.image.config().clone()))
    }
}
