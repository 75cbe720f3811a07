//! The images that a build starts from: resolved once each, several at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Runtime;
use zuwai_oci::config::ImageConfig;
use zuwai_oci::registry::{Registry, ResolvedImage};

use crate::error::BuildError;
use crate::plan::ImageKey;
use crate::plan::planner::{Images, WantedImage};

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
                tracing::info!("Retrieving image {name} from registry {}", image.reference.registry());
                let (registry, image) = (self.registry.clone(), image.clone());
                self.runtime.spawn(async move { registry.resolve(&image.reference, &image.platform).await })
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
    pub fn get(&self, image: &ImageKey) -> Result<Arc<ResolvedImage>, BuildError> {
        loop {
            if let Some(resolved) = self.lock().get(image) {
                return Ok(Arc::clone(resolved));
            }
            let name = image.reference.familiar();
            self.resolve(&[WantedImage { name, image: image.clone(), at: None }])?;
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
