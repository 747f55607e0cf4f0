//! A concurrent map of which one entry is touched at a time.
//!
//! `DashMap`, or a plain map under the model checker's lock, which does not see `DashMap`'s. No
//! guard ever leaves this file, so that none can be held across an await, and no closure that is
//! passed in calls a map again, which debug builds check (I11).

use std::hash::Hash;

#[cfg(not(any(token_auth_loom, token_auth_shuttle)))]
use dashmap::{DashMap, Entry};

#[cfg(any(token_auth_loom, token_auth_shuttle))]
use super::sync::{Mutex, lock};

/// A concurrent map. Its hasher is keyed at random, so that nobody can choose keys that collide.
pub(crate) struct ConcurrentMap<K: Hash + Eq, V> {
    #[cfg(not(any(token_auth_loom, token_auth_shuttle)))]
    map: DashMap<K, V>,
    #[cfg(any(token_auth_loom, token_auth_shuttle))]
    map: Mutex<std::collections::HashMap<K, V>>,
}

#[cfg(not(any(token_auth_loom, token_auth_shuttle)))]
impl<K: Hash + Eq, V> ConcurrentMap<K, V> {
    pub(crate) fn new() -> Self {
        Self { map: DashMap::new() }
    }

    /// What `look` makes of the value under `key`.
    pub(crate) fn read<R>(&self, key: &K, look: impl FnOnce(&V) -> R) -> Option<R> {
        let _alone = Alone::enter();
        self.map.view(key, |_, value| look(value))
    }

    /// Changes the value under `key`, if there is one.
    pub(crate) fn edit<R>(&self, key: &K, edit: impl FnOnce(&mut V) -> R) -> Option<R> {
        let _alone = Alone::enter();
        self.map.get_mut(key).map(|mut value| edit(&mut value))
    }

    /// One operation on the entry: `occupied` changes the value that is there; otherwise what
    /// `vacant` makes is put there.
    pub(crate) fn upsert<R>(
        &self,
        key: K,
        occupied: impl FnOnce(&mut V) -> R,
        vacant: impl FnOnce() -> (V, R),
    ) -> R {
        let _alone = Alone::enter();
        match self.map.entry(key) {
            Entry::Occupied(mut entry) => occupied(entry.get_mut()),
            Entry::Vacant(entry) => {
                let (value, answer) = vacant();
                entry.insert(value);
                answer
            }
        }
    }

    /// Removes the value under `key` if it meets `condition`.
    pub(crate) fn remove_if(&self, key: &K, condition: impl FnOnce(&V) -> bool) -> Option<V> {
        let _alone = Alone::enter();
        self.map.remove_if(key, |_, value| condition(value)).map(|(_, value)| value)
    }
}

#[cfg(any(token_auth_loom, token_auth_shuttle))]
impl<K: Hash + Eq, V> ConcurrentMap<K, V> {
    pub(crate) fn new() -> Self {
        Self { map: Mutex::new(std::collections::HashMap::new()) }
    }

    pub(crate) fn read<R>(&self, key: &K, look: impl FnOnce(&V) -> R) -> Option<R> {
        lock(&self.map).get(key).map(look)
    }

    pub(crate) fn edit<R>(&self, key: &K, edit: impl FnOnce(&mut V) -> R) -> Option<R> {
        lock(&self.map).get_mut(key).map(edit)
    }

    pub(crate) fn upsert<R>(
        &self,
        key: K,
        occupied: impl FnOnce(&mut V) -> R,
        vacant: impl FnOnce() -> (V, R),
    ) -> R {
        let mut map = lock(&self.map);
        if let Some(value) = map.get_mut(&key) {
            return occupied(value);
        }
        let (value, answer) = vacant();
        map.insert(key, value);
        answer
    }

    pub(crate) fn remove_if(&self, key: &K, condition: impl FnOnce(&V) -> bool) -> Option<V> {
        let mut map = lock(&self.map);
        map.get(key).is_some_and(condition).then(|| map.remove(key))?
    }
}

/// One operation under way on this thread. A second one under it could wait for the lock that the
/// first one holds, so that debug builds refuse it, even where this once it would have been free.
#[cfg(not(any(token_auth_loom, token_auth_shuttle)))]
struct Alone;

#[cfg(not(any(token_auth_loom, token_auth_shuttle)))]
impl Alone {
    #[inline]
    fn enter() -> Self {
        #[cfg(debug_assertions)]
        assert!(!IS_BUSY.replace(true), "a map is called under a map's guard");
        Self
    }
}

#[cfg(not(any(token_auth_loom, token_auth_shuttle)))]
impl Drop for Alone {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        IS_BUSY.set(false);
    }
}

#[cfg(all(debug_assertions, not(any(token_auth_loom, token_auth_shuttle))))]
thread_local! {
    static IS_BUSY: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(all(test, debug_assertions, not(any(token_auth_loom, token_auth_shuttle))))]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "under a map's guard")]
    fn a_closure_that_calls_a_map_is_found_out() {
        let (one, other) = (ConcurrentMap::new(), ConcurrentMap::<u8, u8>::new());
        one.upsert(1_u8, |_| (), || (1_u8, ()));
        let _ = one.read(&1, |_| other.read(&1, |value| *value));
    }
}
