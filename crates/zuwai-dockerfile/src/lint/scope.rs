//! The variables that a stage's instructions see.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::BaseImage;
use crate::expand::Lookup;

/// Variables by name, and names that are declared without a value.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// The scope at the end of the stage that this one is built on.
    below: Option<Rc<Scope>>,
    /// The value, and when it was set.
    variables: BTreeMap<String, (u64, String)>,
    declared: BTreeSet<String>,
    clock: u64,
    base_is_known: bool,
}

impl Scope {
    /// The scope at the start of a stage on this image; without one, on an image that nothing is known of.
    pub fn on_image(base: Option<&BaseImage>) -> Self {
        let mut scope = Self::default();
        scope.base_is_known = base.is_some();
        for (name, value) in base.iter().flat_map(|base| &base.environment) {
            scope.set(name, value.clone());
        }
        // A builder gives every stage a PATH.
        if Lookup::get(&scope, "PATH").is_none() {
            let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            scope.set("PATH", path.to_owned());
        }
        scope
    }

    /// The scope at the start of a stage on another one.
    pub fn on_stage(below: &Rc<Scope>) -> Self {
        Self {
            below: Some(Rc::clone(below)),
            variables: BTreeMap::new(),
            declared: BTreeSet::new(),
            clock: below.clock,
            base_is_known: below.base_is_known,
        }
    }

    pub fn set(&mut self, name: &str, value: String) {
        self.clock += 1;
        self.variables.insert(name.to_owned(), (self.clock, value));
    }

    /// Declares an argument as ARG does; without a value the name keeps the one it has.
    pub fn declare(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.set(name, value);
        }
        self.declared.insert(name.to_owned());
    }

    pub fn declares(&self, name: &str) -> bool {
        self.layers().any(|layer| layer.declared.contains(name))
    }

    /// The names that are declared as arguments, with a value or without.
    pub fn declared(&self) -> impl Iterator<Item = &str> {
        self.layers().flat_map(|layer| &layer.declared).map(String::as_str)
    }

    pub fn base_is_known(&self) -> bool {
        self.base_is_known
    }

    /// The names that have a value, the one that was set last at the end.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut times: BTreeMap<&str, u64> = BTreeMap::new();
        for layer in self.layers() {
            for (name, (time, _)) in &layer.variables {
                times.entry(name).or_insert(*time);
            }
        }
        let mut names: Vec<(u64, &str)> = times.into_iter().map(|(name, time)| (time, name)).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name)
    }

    /// This scope, and those that it is built on.
    fn layers(&self) -> impl Iterator<Item = &Scope> {
        std::iter::successors(Some(self), |scope| scope.below.as_deref())
    }
}

impl Lookup for Scope {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.layers().find_map(|layer| layer.variables.get(name))?;
        Some(Cow::Borrowed(value))
    }
}

impl Drop for Scope {
    /// One after the other: thousands of stages on each other would be too deep for the stack.
    fn drop(&mut self) {
        let mut below = self.below.take();
        while let Some(mut scope) = below.and_then(Rc::into_inner) {
            below = scope.below.take();
        }
    }
}
