//! What stages that are built side by side share: made once, by the first that asks.

use std::sync::{Arc, Mutex, PoisonError};

/// A value that is made under its lock.
type Entry<T> = Arc<Mutex<Option<T>>>;

/// Values by key. The first who asks for one makes it, others wait for that; after a failure the next one tries again.
#[derive(Debug)]
pub struct MadeOnce<K, T> {
    entries: Mutex<Vec<(K, Entry<T>)>>,
}

impl<K, T> Default for MadeOnce<K, T> {
    fn default() -> Self {
        Self { entries: Mutex::default() }
    }
}

impl<K: PartialEq + Clone, T: Clone> MadeOnce<K, T> {
    /// The value of a key, made now if it is not there.
    ///
    /// # Errors
    /// What `make` gives.
    pub fn get_or_make<E>(&self, key: &K, make: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let entry = self.entry(key);
        let mut value = entry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*value {
            return Ok(value.clone());
        }
        let made = make()?;
        *value = Some(made.clone());
        Ok(made)
    }

    fn entry(&self, key: &K) -> Entry<T> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, entry)) = entries.iter().find(|(known, _)| known == key) {
            return Arc::clone(entry);
        }
        let entry = Entry::default();
        entries.push((key.clone(), Arc::clone(&entry)));
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_made_once() {
        let values = MadeOnce::default();
        let failed: Result<u32, &str> = values.get_or_make(&"a", || Err("no"));
        assert_eq!(failed, Err("no"));
        let numbers: Vec<u32> = std::thread::scope(|scope| {
            let ask = |number| values.get_or_make::<()>(&"a", || Ok(number)).unwrap();
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || ask(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
        assert_eq!(values.get_or_make::<()>(&"b", || Ok(9)), Ok(9));
    }
}
