//! The uses that wait to be written: bounded, one per key.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{state::store::KeyUse, value::key::KeyId};

/// The most keys that wait at a time: 8,192 are 16 full statements, and about 2 MiB at worst.
const CAPACITY: usize = 8_192;

/// The uses that wait, one per key.
///
/// Invariant: one place of `places` is taken for each use in `waiting` or in a [`Batch`], and for
/// each [`Place`] that is held. So what a batch gives back always fits.
pub(super) struct Queue {
    places: Semaphore,
    waiting: Mutex<HashMap<KeyId, KeyUse>>,
}

/// A place in the queue that was taken and is not filled yet; dropping it gives it back.
pub(super) struct Place<'a> {
    queue: &'a Queue,
    permit: SemaphorePermit<'a>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(CAPACITY), waiting: Mutex::default() }
    }

    /// Takes a place, if one is left; never waits for one.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        let permit = self.places.try_acquire().ok()?;
        Some(Place { queue: self, permit })
    }

    /// Takes all that waits, to be written.
    pub(super) fn take(&self) -> Batch<'_> {
        let mut uses: Vec<_> = mem::take(&mut *self.waiting()).into_values().collect();
        // Several processes that write the same rows lock them in one order.
        uses.sort_unstable_by_key(|key_use| key_use.key);
        Batch { queue: self, uses }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    /// How many uses are held, those that are just being written included.
    pub(super) fn held(&self) -> usize {
        CAPACITY - self.places.available_permits()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<KeyId, KeyUse>> {
        // Nothing under this lock can panic halfway through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Fills the place. A key that waits already keeps the place it has, and the later time.
    pub(super) fn fill(self, key_use: KeyUse) {
        if enqueue(&mut self.queue.waiting(), key_use) {
            self.permit.forget();
        }
    }
}

/// Whether the use took a place of its own.
fn enqueue(waiting: &mut HashMap<KeyId, KeyUse>, key_use: KeyUse) -> bool {
    match waiting.entry(key_use.key) {
        Entry::Vacant(entry) => {
            entry.insert(key_use);
            true
        }
        Entry::Occupied(mut entry) => {
            if entry.get().at < key_use.at {
                entry.insert(key_use);
            }
            false
        }
    }
}

/// Uses that are being written. What is left when it is dropped goes back to the queue: after an
/// error, when the worker is cancelled in the middle of a statement, and when the store panics.
pub(super) struct Batch<'a> {
    queue: &'a Queue,
    uses: Vec<KeyUse>,
}

impl Batch<'_> {
    /// The next statement's uses.
    pub(super) fn next(&self, most: usize) -> &[KeyUse] {
        &self.uses[self.uses.len().saturating_sub(most)..]
    }

    /// The last `count` uses are dealt with, and their places free again.
    pub(super) fn settle(&mut self, count: usize) {
        self.uses.truncate(self.uses.len() - count);
        self.queue.places.add_permits(count);
    }

    /// Gives up what is left, and says how much that was.
    pub(super) fn abandon(mut self) -> usize {
        let count = self.uses.len();
        self.settle(count);
        count
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.uses.is_empty() {
            return;
        }
        let mut waiting = self.queue.waiting();
        let merged = self.uses.drain(..).filter(|key_use| !enqueue(&mut waiting, *key_use)).count();
        drop(waiting);
        self.queue.places.add_permits(merged);
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::value::digest::{DigestAlgorithm, TokenDigest};

    fn key_use(key: KeyId, second: i64) -> KeyUse {
        let at = DateTime::<Utc>::UNIX_EPOCH + chrono::Duration::seconds(second);
        let digest = TokenDigest::of(DigestAlgorithm::Sha256, "t");
        KeyUse { key, digest, at, if_before: at }
    }

    fn put(queue: &Queue, key: KeyId, second: i64) {
        queue.place().unwrap().fill(key_use(key, second));
    }

    #[test]
    fn one_place_a_key_and_the_later_time_stays() {
        let (queue, key) = (Queue::new(), KeyId::random());
        for second in [5, 9, 2] {
            put(&queue, key, second);
        }
        assert_eq!(queue.held(), 1);
        let mut batch = queue.take();
        assert_eq!(batch.next(500), [key_use(key, 9)]);
        batch.settle(1);
        drop(batch);
        assert_eq!((queue.held(), queue.is_empty()), (0, true));
    }

    #[test]
    fn a_batch_gives_back_what_was_not_written_and_it_always_fits() {
        let queue = Queue::new();
        let keys: Vec<_> = (0..CAPACITY).map(|_| KeyId::random()).collect();
        keys.iter().for_each(|key| put(&queue, *key, 1));
        assert!(queue.place().is_none(), "bounded");
        let mut batch = queue.take();
        assert!(queue.place().is_none(), "what is being written keeps its place");
        batch.settle(batch.next(500).len());
        let again = batch.next(1)[0].key;
        put(&queue, again, 7);
        assert_eq!(queue.held(), CAPACITY - 499);
        drop(batch);
        assert_eq!(queue.held(), CAPACITY - 500, "the key that came again was merged");
        let batch = queue.take();
        assert!(batch.uses.contains(&key_use(again, 7)), "with the later time");
        assert_eq!(batch.abandon(), CAPACITY - 500);
        assert_eq!(queue.held(), 0);
    }

    #[test]
    fn a_place_that_is_not_filled_is_given_back() {
        let queue = Queue::new();
        drop(queue.place());
        assert_eq!(queue.held(), 0);
    }
}
