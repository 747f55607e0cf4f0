//! The uses that wait to be written, and when each key's next one is due: bounded, one per key.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{state::store::KeyUse, value::key::KeyId};

/// The most keys that wait at a time: 8,192 are 16 full statements, and about 2 MiB at worst.
const CAPACITY: usize = 8_192;

/// The uses that wait, one per key.
///
/// Invariant: one place of `places` is taken for each cell that is held, and for each [`Place`]. A
/// key with a use in `waiting` or in a [`Batch`] has a cell that is held. So what a batch gives back
/// always fits.
pub(super) struct Queue {
    places: Semaphore,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    waiting: HashMap<KeyId, KeyUse>,
    cells: HashMap<KeyId, Cell>,
}

/// What the recorder knows of a key by itself, whatever becomes of the slots that stand for it.
struct Cell {
    /// From when on the next use is noted, in nanoseconds of the monotonic clock. Never moves back.
    due: u64,
    /// Whether a use waits or is being written. A cell that is not held is a memory of what was
    /// written lately: a slot that was read before that write does not know of it.
    is_held: bool,
}

/// A place in the queue that was taken and is not filled yet; dropping it gives it back.
pub(super) struct Place<'a> {
    queue: &'a Queue,
    permit: SemaphorePermit<'a>,
}

/// A use's moment, in nanoseconds of the monotonic clock.
pub(super) struct Moment<'a> {
    pub(super) now: u64,
    /// A window on.
    pub(super) next: u64,
    /// Where the slot keeps what it knows of the key's cell.
    pub(super) due: &'a AtomicU64,
    /// What the slot held when it was found due.
    pub(super) expected: u64,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(CAPACITY), book: Mutex::default() }
    }

    /// Takes a place, if one is left; never waits for one.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        let permit = self.places.try_acquire().ok()?;
        Some(Place { queue: self, permit })
    }

    /// Takes all that waits, to be written.
    pub(super) fn take(&self) -> Batch<'_> {
        let waiting = mem::take(&mut self.book().waiting);
        let mut uses: Vec<_> = waiting.into_values().collect();
        // Several processes that write the same rows lock them in one order.
        uses.sort_unstable_by_key(|key_use| key_use.key);
        Batch { queue: self, uses }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.book().waiting.is_empty()
    }

    /// How many keys' uses are held, those that are just being written included.
    pub(super) fn held(&self) -> usize {
        CAPACITY - self.places.available_permits()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing under this lock can panic halfway through a change.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Fills the place, if the use is due by the key's cell as well, and says whether it was. A key
    /// that is held already keeps the place it has, and the later time.
    pub(super) fn fill(self, key_use: KeyUse, moment: &Moment<'_>) -> bool {
        let mut book = self.queue.book();
        let known = book.cells.get(&key_use.key);
        if let Some(cell) = known.filter(|cell| cell.due > moment.now) {
            // It was noted through another slot: this one was read without knowing.
            moment.due.fetch_max(cell.due, Ordering::Relaxed);
            return false;
        }
        // Relaxed on both sides: the lock publishes the use. Losing means that another thread has
        // noted this moment through the same slot; the place is given back.
        let (ok, or) = (Ordering::Relaxed, Ordering::Relaxed);
        if moment.due.compare_exchange(moment.expected, moment.next, ok, or).is_err() {
            return false;
        }
        if known.is_none_or(|cell| !cell.is_held) {
            self.permit.forget();
        }
        book.cells.insert(key_use.key, Cell { due: moment.next, is_held: true });
        book.enqueue(key_use);
        true
    }
}

impl Book {
    /// Lets a use wait; of two of one key the later one.
    fn enqueue(&mut self, key_use: KeyUse) {
        match self.waiting.entry(key_use.key) {
            Entry::Vacant(entry) => drop(entry.insert(key_use)),
            Entry::Occupied(mut entry) if entry.get().at < key_use.at => {
                entry.insert(key_use);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Lets go of the keys of which no other use waits, and says how many those are.
    fn release(&mut self, written: &[KeyUse]) -> usize {
        let mut released = 0;
        for KeyUse { key, .. } in written {
            if !self.waiting.contains_key(key)
                && let Some(cell) = self.cells.get_mut(key)
            {
                cell.is_held = false;
                released += 1;
            }
        }
        if self.cells.len() > 2 * CAPACITY {
            self.cells.retain(|_, cell| cell.is_held);
        }
        released
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
        let dealt_with = self.uses.split_off(self.uses.len() - count);
        let released = self.queue.book().release(&dealt_with);
        self.queue.places.add_permits(released);
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
        let mut book = self.queue.book();
        self.uses.drain(..).for_each(|key_use| book.enqueue(key_use));
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

    /// A use through a slot that was not used before; the next one is due five seconds later.
    fn put(queue: &Queue, key: KeyId, second: i64) -> bool {
        let now = u64::try_from(second).unwrap();
        let moment = Moment { now, next: now + 5, due: &AtomicU64::new(0), expected: 0 };
        queue.place().unwrap().fill(key_use(key, second), &moment)
    }

    #[test]
    fn one_place_a_key_and_the_later_time_stays() {
        let (queue, key) = (Queue::new(), KeyId::random());
        assert!(put(&queue, key, 1));
        assert!(!put(&queue, key, 5), "not due, whatever the slot knows");
        assert!(put(&queue, key, 9));
        assert_eq!(queue.held(), 1);
        let mut batch = queue.take();
        assert_eq!(batch.next(500), [key_use(key, 9)]);
        batch.settle(1);
        drop(batch);
        assert_eq!((queue.held(), queue.is_empty()), (0, true));
    }

    /// Seen to fail with cells that are dropped when their use was written, or when it was taken to
    /// be written.
    #[test]
    fn a_slot_that_does_not_know_learns_of_a_use_that_was_noted_through_another() {
        let (queue, key) = (Queue::new(), KeyId::random());
        assert!(put(&queue, key, 1));
        let mut batch = queue.take();
        assert!(!put(&queue, key, 5), "it is being written");
        batch.settle(1);
        drop(batch);
        let due = AtomicU64::new(0);
        let moment = Moment { now: 5, next: 10, due: &due, expected: 0 };
        assert!(!queue.place().unwrap().fill(key_use(key, 5), &moment), "it was written");
        assert_eq!((due.into_inner(), queue.held()), (6, 0));
        assert!(put(&queue, key, 6));
    }

    #[test]
    fn a_batch_gives_back_what_was_not_written_and_it_always_fits() {
        let queue = Queue::new();
        let keys: Vec<_> = (0..CAPACITY).map(|_| KeyId::random()).collect();
        keys.iter().for_each(|key| assert!(put(&queue, *key, 1)));
        assert!(queue.place().is_none(), "bounded");
        let mut batch = queue.take();
        assert!(queue.place().is_none(), "what is being written keeps its place");
        batch.settle(batch.next(500).len());
        let again = batch.next(1)[0].key;
        assert!(put(&queue, again, 7));
        assert_eq!(queue.held(), CAPACITY - 500, "the key that came again has its place");
        drop(batch);
        assert_eq!(queue.held(), CAPACITY - 500);
        let batch = queue.take();
        assert!(batch.uses.contains(&key_use(again, 7)), "with the later time");
        assert_eq!(batch.abandon(), CAPACITY - 500);
        assert_eq!(queue.held(), 0);
    }

    /// Seen to fail with a cell that is let go of while another use of its key waits.
    #[test]
    fn a_key_that_comes_again_while_it_is_being_written_keeps_its_place() {
        let (queue, key) = (Queue::new(), KeyId::random());
        assert!(put(&queue, key, 1));
        let mut batch = queue.take();
        assert!(put(&queue, key, 6));
        batch.settle(1);
        drop(batch);
        assert_eq!(queue.held(), 1);
        assert_eq!(queue.take().abandon(), 1);
        assert_eq!((queue.held(), queue.places.available_permits()), (0, CAPACITY));
    }

    #[test]
    fn the_memory_of_what_was_written_is_bounded() {
        let queue = Queue::new();
        for _ in 0..4 * CAPACITY {
            assert!(put(&queue, KeyId::random(), 1));
            let mut batch = queue.take();
            batch.settle(1);
            assert!(queue.book().cells.len() <= 2 * CAPACITY);
        }
    }

    #[test]
    fn a_place_that_is_not_filled_is_given_back() {
        let queue = Queue::new();
        drop(queue.place());
        assert_eq!(queue.held(), 0);
    }
}
