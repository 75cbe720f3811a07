//! Where an image is pulled from: mirrors of its registry, in order, then the registry itself.
//!
//! An image keeps its own name whoever serves it. What is asked of a mirror goes by the mirror's host: its certificate,
//! plain HTTP and credentials. A mirror that cannot be reached is left out for the rest of the build, and what comes
//! after a manifest is asked for first where the manifest came from. A blob that came damaged is asked for elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use zuwai_layer::Digest;

use crate::error::{OciError, with_causes};
use crate::place::Place;
use crate::reference::Reference;
use crate::registry::Registry;
use crate::registry::options::registry_key;
use crate::registry::transport::lock;

/// Which registries stand in for which (`--registry-map`, `--registry-mirror`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    places: BTreeMap<String, Vec<Place>>,
    /// Whether a registry that has mirrors is not asked itself (`--skip-default-registry-fallback`).
    pub instead: bool,
}

impl Mirrors {
    /// Adds a place to look for the images of a registry, after those that were added before.
    pub fn add(&mut self, registry: &str, place: Place) {
        let places = self.places.entry(registry_key(registry)).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
    }

    /// The places of a registry's mirrors, in order.
    fn of(&self, registry: &str) -> &[Place] {
        if self.places.is_empty() {
            return &[];
        }
        self.places.get(&registry_key(registry)).map_or(&[], Vec::as_slice)
    }
}

/// What was learnt about places.
#[derive(Debug, Default)]
pub(crate) struct Experience {
    /// The repository that served a repository's manifest.
    served: Mutex<BTreeMap<String, String>>,
    /// Mirrors that could not be reached.
    unreachable: Mutex<BTreeSet<String>>,
    /// Repositories that sent a blob damaged.
    damaged: Mutex<BTreeSet<(String, Digest)>>,
}

impl Registry {
    /// Where to pull an image from, in order: the place that served it last, the other mirrors that can be reached, the
    /// registry itself. Without mirrors it is the reference alone. Pushes go to the reference itself.
    pub fn places(&self, reference: &Reference) -> Vec<Reference> {
        let mirrors = &self.options().mirrors;
        let configured = mirrors.of(reference.registry());
        if configured.is_empty() {
            return vec![reference.clone()];
        }
        let moved = configured.iter().filter_map(|place| {
            // A name that is too long there is one that nobody can have pushed there.
            reference.at(place).inspect_err(|error| tracing::debug!("{place} is left out: {error}")).ok()
        });
        let all: Vec<Reference> = moved.chain((!mirrors.instead).then(|| reference.clone())).collect();
        let unreachable = lock(&self.experience().unreachable);
        let mut places: Vec<Reference> =
            all.iter().filter(|place| !unreachable.contains(place.registry())).cloned().collect();
        if places.is_empty() {
            places = all;
        }
        if let Some(served) = lock(&self.experience().served).get(&reference.name()) {
            places.sort_by_key(|place| place.name() != *served);
        }
        places
    }

    /// Goes through the places of a reference.
    pub(crate) fn tour(&self, reference: &Reference) -> Tour<'_> {
        let mut places = self.places(reference);
        places.reverse();
        Tour { registry: self, original: reference.clone(), left: places, failed: Vec::new() }
    }

    /// The same for a blob: a place that sent it damaged is left out if there is another.
    pub(crate) fn blob_tour(&self, reference: &Reference, digest: Digest) -> Tour<'_> {
        let mut tour = self.tour(reference);
        let damaged = lock(&self.experience().damaged);
        let is_whole = |place: &Reference| !damaged.contains(&(place.name(), digest));
        if tour.left.iter().any(is_whole) {
            tour.left.retain(is_whole);
        }
        tour
    }

    /// Takes note that a place sent a blob damaged; `true` if another one is left to ask.
    pub(crate) fn sent_damaged(&self, reference: &Reference, place: &Reference, digest: Digest) -> bool {
        let mut damaged = lock(&self.experience().damaged);
        damaged.insert((place.name(), digest));
        self.places(reference).iter().any(|place| !damaged.contains(&(place.name(), digest)))
    }
}

/// The places of a reference, one after the other, until one serves it.
pub(crate) struct Tour<'r> {
    registry: &'r Registry,
    original: Reference,
    left: Vec<Reference>,
    failed: Vec<(Reference, OciError)>,
}

impl Tour<'_> {
    /// The next place.
    pub(crate) fn next(&mut self) -> Option<Reference> {
        self.left.pop()
    }

    /// Takes note that a place served a manifest of the image: what belongs to it is asked for there first.
    pub(crate) fn served(&self, place: &Reference) {
        let alone = self.left.is_empty() && self.failed.is_empty();
        if !alone {
            lock(&self.registry.experience().served).insert(self.original.name(), place.name());
        }
    }

    /// Takes note that a place did not serve what was asked for.
    pub(crate) fn failed(&mut self, place: Reference, error: OciError) {
        if place != self.original {
            // kaniko's words.
            tracing::warn!(
                "Failed to retrieve image {place} from remapped registry {}: {}. Will try with the next registry, or \
                 fallback to the original registry.",
                place.registry(),
                with_causes(&error)
            );
            if error.is_unreachable() {
                lock(&self.registry.experience().unreachable).insert(place.registry().to_owned());
            }
        }
        self.failed.push((place, error));
    }

    /// The error that all these failures are: the original registry's, where it was asked.
    pub(crate) fn error(mut self) -> OciError {
        match self.failed.pop() {
            Some((place, error)) if place == self.original => error,
            Some(last) => {
                self.failed.push(last);
                let places = self.failed.into_iter().map(|(place, error)| (place.name(), error)).collect();
                OciError::NoPlace { reference: Box::new(self.original), places }
            }
            None => OciError::NoPlace { reference: Box::new(self.original), places: Vec::new() },
        }
    }
}
